from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.bare_images import load_folder
from edgedet.data.check.content import require_bright
from edgedet.data.coco.wide_pictures import range_of, weak_pictures, weak_text
from edgedet.data.pictures.preprocess import load_image
from edgedet.diagnose.inspect import InspectRequest, inspect_model
from edgedet.errors import DataError


@pytest.mark.parametrize(("bits", "dark"), [(10, True), (12, True), (14, True), (15, False), (16, False)])
def test_weak_text_bits_that_are_used_decide(tmp_path: Path, bits: int, dark: bool) -> None:
    pixels = np.zeros((8, 8), np.uint16)
    pixels[0, 0] = 2**bits - 1
    Image.fromarray(pixels).save(tmp_path / "a.png")
    text = weak_text([range_of(load_image(tmp_path / "a.png"))], 1)
    assert bool(text) == dark
    if dark:
        assert f"about {bits} are used" in text


def save(folder: Path, values: np.ndarray, count: int = 3) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        Image.fromarray(values.astype(np.uint16)).save(path)
    return paths


@pytest.mark.parametrize(
    ("low", "high", "broken_pixels", "words"),
    [
        (29_000, 31_000, 0, "between 113 and 121 of 255"),  # hundredths of a kelvin
        (0, 1023, 2, "between 0 and 4 of 255"),  # a camera of 10 bits with two white pixels
        (7_000, 9_500, 1, "between 27 and 37 of 255"),  # raw counts of a thermal camera, and its mark
        (0, 65_535, 0, ""),
        (20_000, 32_000, 0, ""),
    ],
)
def test_weak_pictures_little_contrast_is_named(
    tmp_path: Path, low: int, high: int, broken_pixels: int, words: str
) -> None:
    values = np.random.default_rng(0).integers(low, high + 1, (64, 64))
    values.flat[:broken_pixels] = 65_535
    text = weak_pictures(save(tmp_path, values))
    assert words in text
    assert bool(text) == bool(words)


def test_weak_pictures_one_or_two_may_show_a_wall(tmp_path: Path) -> None:
    assert weak_pictures(save(tmp_path, np.full((8, 8), 30_000), count=2)) == ""
    assert weak_pictures([]) == ""


def test_load_folder_dark_pictures_are_refused_where_they_are_used(tmp_path: Path) -> None:
    save(tmp_path, np.random.default_rng(0).integers(0, 4096, (16, 16)))
    with pytest.raises(DataError, match="about 12 are used"):
        require_bright(load_folder(tmp_path, ("a",)))


def test_inspect_refuses_dark_pictures_before_it_opens_a_model(tmp_path: Path) -> None:
    save(tmp_path, np.random.default_rng(0).integers(0, 4096, (16, 16)))
    split = load_folder(tmp_path, ("a",))
    with pytest.raises(DataError, match="about 12 are used"):
        inspect_model(InspectRequest(tmp_path / "absent.tflite", tmp_path / "absent.pt", split))
