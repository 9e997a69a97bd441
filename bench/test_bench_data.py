"""Speed of the preprocessing and of the synthetic data set."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture

from edgedet.contracts import PreprocessSpec
from edgedet.data.pictures.preprocess import normalize, quantize_input, resize_to_input

SPEC = PreprocessSpec(192, 192)


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("width", "height"), [(320, 240), (640, 480), (1920, 1080), (4000, 3000)])
def test_bench_resize_to_input(benchmark: BenchmarkFixture, width: int, height: int) -> None:
    image = random_image(height, width)
    pixels, placement = resize_to_input(image, SPEC)
    size = (placement.new_width, placement.new_height)
    pillow = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR), int)
    assert np.abs(pixels[: size[1], : size[0]].astype(int) - pillow).max() <= 2
    benchmark(resize_to_input, image, SPEC)


def test_bench_quantize_input(benchmark: BenchmarkFixture) -> None:
    pixels = random_image(192, 192)
    np.testing.assert_array_equal(quantize_input(pixels, SPEC, 1 / 255, -128), pixels.astype(int) - 128)
    benchmark(quantize_input, pixels, SPEC, 1 / 255, -128)


def test_bench_normalize(benchmark: BenchmarkFixture) -> None:
    pixels = random_image(192, 192)
    np.testing.assert_array_equal(normalize(pixels, SPEC), (pixels / 255.0).astype(np.float32))
    benchmark(normalize, pixels, SPEC)


def test_bench_draw_scene(benchmark: BenchmarkFixture) -> None:
    pytest.importorskip("cv2")
    from edgedet.data.synth.scene import draw_scene

    def draw_ten() -> None:
        for index in range(10):
            draw_scene(np.random.default_rng([0, 0, index]), 320, 240)

    scene = draw_scene(np.random.default_rng([0, 0, 0]), 320, 240)
    assert scene.pixels.shape == (240, 320, 3)
    assert len(scene.boxes) == len(scene.masked) >= 1
    benchmark(draw_ten)
