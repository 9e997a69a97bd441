from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2", reason="augmentation needs the extra train")

from edgedet.config import load_model_file
from edgedet.contracts import PreprocessSpec
from edgedet.data.augment import ImageCache, augment
from edgedet.data.coco.build import load_split
from edgedet.data.pictures.preprocess import load_image, resize_to_input

BASE = load_model_file("rtmdet_pico_relu6").train
PLAIN = replace(
    BASE, mosaic=0.0, mixup=0.0, scale_min=1.0, scale_max=1.0, crop=False, hsv_h=0.0, hsv_s=0.0, hsv_v=0.0,
    flip=0.0, flip_vertical=0.0,
)  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path) -> ImageCache:
    """Black pictures of 120x80 px with one white rectangle each."""
    folder = tmp_path / "train"
    folder.mkdir()
    images, annotations = [], []
    for index, (x, y, w, h) in enumerate([(10, 20, 40, 30), (60, 10, 30, 60), (0, 0, 120, 80)]):
        pixels = np.zeros((80, 120, 3), np.uint8)
        pixels[y : y + h, x : x + w] = 255
        Image.fromarray(pixels).save(folder / f"{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "width": 120, "height": 80})
        annotations.append({"id": index + 1, "image_id": index, "category_id": 1, "bbox": [x, y, w, h], "iscrowd": 0})
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (folder / "_annotations.coco.json").write_text(json.dumps(document))
    return ImageCache(load_split(tmp_path, "train"), PreprocessSpec(96, 64), largest_scale=2.0)


def test_augment_everything_off_equals_the_evaluator_pixels(cache: ImageCache) -> None:
    flat = ImageCache(cache.split, cache.spec, largest_scale=1.0)
    sample = augment(flat, 0, PLAIN, strong=True, rng=np.random.default_rng(0))
    record = cache.split.images[0]
    pixels, placement = resize_to_input(load_image(record.path), cache.spec)
    np.testing.assert_array_equal(sample.pixels, pixels)
    np.testing.assert_allclose(sample.boxes, placement.to_input(record.boxes), atol=1e-4)  # float32


def test_augment_grey_everything_off_equals_the_evaluator_pixels(cache: ImageCache) -> None:
    spec = PreprocessSpec(96, 64, channel_order="GRAY", mean=(0.0,), std=(255.0,))
    sample = augment(ImageCache(cache.split, spec, largest_scale=1.0), 0, PLAIN, True, np.random.default_rng(0))
    pixels, _ = resize_to_input(load_image(cache.split.images[0].path), spec)
    np.testing.assert_array_equal(sample.pixels, pixels)


def test_augment_grey_picture_goes_through_everything_as_the_colour_one_does(cache: ImageCache) -> None:
    """Black and white pictures: hue and saturation change nothing, so that both ways must meet."""
    spec = PreprocessSpec(96, 64, channel_order="GRAY", mean=(0.0,), std=(255.0,))
    grey = ImageCache(cache.split, spec, largest_scale=2.0)
    config = replace(BASE, mosaic=0.5, mixup=0.5, flip=0.5, flip_vertical=0.5)
    for seed in range(8):
        ours = augment(grey, seed % 3, config, True, np.random.default_rng(seed))
        colour = augment(cache, seed % 3, config, True, np.random.default_rng(seed))
        assert ours.pixels.shape == (64, 96, 1)
        gap = np.abs(ours.pixels.astype(int) - colour.pixels[..., :1])
        assert gap.max() <= 1  # cv2's HSV rounds
        np.testing.assert_array_equal(ours.boxes, colour.boxes)


def test_augment_flips_move_boxes_with_the_pixels(cache: ImageCache) -> None:
    plain = augment(cache, 0, PLAIN, True, np.random.default_rng(0))
    both = augment(cache, 0, replace(PLAIN, flip=1.0, flip_vertical=1.0), True, np.random.default_rng(0))
    np.testing.assert_array_equal(both.pixels, plain.pixels[::-1, ::-1])
    x0, y0, x1, y1 = plain.boxes[0]
    np.testing.assert_allclose(both.boxes[0], [96 - x1, 64 - y1, 96 - x0, 64 - y0])


def _white_box(pixels: np.ndarray) -> list[int]:
    rows, columns = np.nonzero((pixels > 200).all(-1))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("seed", range(20))
def test_augment_random_resize_keeps_boxes_on_the_object(cache: ImageCache, seed: int) -> None:
    config = replace(PLAIN, scale_min=0.6, scale_max=1.8, crop=True, flip=0.5)
    sample = augment(cache, 1, config, True, np.random.default_rng(seed))
    assert sample.pixels.shape == (64, 96, 3)
    assert sample.pixels.dtype == np.uint8
    if len(sample.boxes):
        # resampling blurs edges by about a pixel of the input
        np.testing.assert_allclose(sample.boxes[0], _white_box(sample.pixels), atol=1.5)


@pytest.mark.parametrize("seed", range(10))
def test_augment_mosaic_and_mixup_give_valid_boxes(cache: ImageCache, seed: int) -> None:
    config = replace(BASE, mosaic=1.0, mixup=1.0)
    sample = augment(cache, 0, config, True, np.random.default_rng(seed))
    assert sample.pixels.shape == (64, 96, 3)
    assert len(sample.boxes) == len(sample.labels)
    assert (sample.boxes[:, 2:] - sample.boxes[:, :2] >= 2).all()
    assert (sample.boxes >= 0).all()
    assert (sample.boxes <= [96, 64, 96, 64]).all()


def test_augment_same_generator_gives_the_same_sample(cache: ImageCache) -> None:
    first, second = (augment(cache, 0, BASE, True, np.random.default_rng((1, 2))) for _ in range(2))
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.boxes, second.boxes)


def test_augment_hsv_off_leaves_pixels_untouched(cache: ImageCache) -> None:
    sample = augment(cache, 2, PLAIN, True, np.random.default_rng(0))
    assert (sample.pixels == 255).all()


def test_augment_crowd_is_no_target(cache: ImageCache) -> None:
    record = replace(cache.split.images[0], crowd=np.array([True]))
    split = replace(cache.split, images=(record,))
    sample = augment(ImageCache(split, cache.spec, 1.0), 0, PLAIN, True, np.random.default_rng(0))
    assert sample.boxes.shape == (0, 4)
    assert sample.labels.shape == (0,)
