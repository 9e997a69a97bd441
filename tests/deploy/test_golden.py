from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.deploy.golden import check_equal, draw_pixels, golden_input
from edgedet.errors import ConversionError, DataError
from edgedet.graph.model import load_int8_model


def test_draw_pixels_same_seed_repeats_and_uses_the_full_range() -> None:
    first, again, other = draw_pixels(32, 64, 3), draw_pixels(32, 64, 3), draw_pixels(32, 64, 4)
    assert first.shape == (32, 64, 3)
    assert first.dtype == np.uint8
    assert (first.min(), first.max()) == (0, 255)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_golden_input_image_goes_through_the_contract(tiny_model: Path, tmp_path: Path) -> None:
    pixels = draw_pixels(32, 64, 1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    q_input = golden_input(load_int8_model(tiny_model), tmp_path / "a.png", 0)
    np.testing.assert_array_equal(q_input[0], (pixels.astype(np.int16) - 128).astype(np.int8))


def test_golden_input_missing_image_is_a_data_error(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png"):
        golden_input(load_int8_model(tiny_model), tmp_path / "none.png", 0)


def test_check_equal_one_byte_apart_names_output_and_gap() -> None:
    ours = np.array([[-128, 127]], np.int8)
    check_equal(["cls_8"], [ours], [ours.copy()])
    with pytest.raises(ConversionError, match=r"output box_8: 1 of 2 values differ.*by up to 255"):
        check_equal(["cls_8", "box_8"], [ours, ours], [ours, np.array([[127, 127]], np.int8)])
