from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.errors import ConversionError
from edgedet.evaluate.detect import Clock, detect
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.protocol import Int8Runtime


@pytest.fixture
def runtime(toy_model: Path) -> Int8Runtime:
    return open_runtime(toy_model, "sim")


def green_patch() -> np.ndarray:
    image = np.zeros((640, 300, 3), np.uint8)
    image[320:480, 100:200, 1] = 255
    return image


def test_detect_upright_image_gives_image_pixels(runtime: Int8Runtime) -> None:
    found = detect(runtime, green_patch(), 0.1).in_image
    assert len(found) >= 1
    assert (found.boxes[:, 2] <= 300).all()
    assert found.boxes[0, 3] > 320


def test_detect_file_equals_its_pixels_and_adds_to_the_clock(runtime: Int8Runtime, tmp_path: Path) -> None:
    Image.fromarray(green_patch()).save(tmp_path / "green.png")
    clock = Clock()
    from_file = detect(runtime, tmp_path / "green.png", 0.1, clock)
    once = (clock.preprocess, clock.invoke, clock.decode)
    assert min(once) > 0
    from_pixels = detect(runtime, green_patch(), 0.1, clock)
    assert all(
        later > before for later, before in zip((clock.preprocess, clock.invoke, clock.decode), once, strict=True)
    )
    assert (from_file.pixels == from_pixels.pixels).all()
    assert from_file.placement == from_pixels.placement
    assert (from_file.in_input.boxes == from_pixels.in_input.boxes).all()
    assert (from_file.in_image.scores == from_file.in_input.scores).all()
    # The image is taller than wide: its boxes in the input are smaller.
    assert (from_file.in_input.boxes < from_file.in_image.boxes).all()


class Broken:
    """The model with a float output that is no number in one place."""

    def __init__(self, inner: Int8Runtime) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = tuple(output.astype(np.float32) for output in self._inner.invoke(x))
        outputs[0].flat[3] = np.nan
        return outputs


def test_detect_outputs_that_are_no_numbers_are_an_error(runtime: Int8Runtime, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(ConversionError, match=r"a\.png: the network's outputs hold NaN"):
        detect(Broken(runtime), tmp_path / "a.png", None)  # type: ignore[arg-type]
