from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgedet.contracts import PreprocessSpec
from edgedet.data.coco.split import CocoSplit, ImageRecord
from edgedet.data.pictures.preprocess import load_image, normalize, resize_to_input
from edgedet.errors import DataError
from edgedet.quantize.calibration.images import (
    ImageFiles,
    check_not_constant,
    draw_images,
    image_batches,
    make_manifest,
)

SPEC = PreprocessSpec(64, 32)


def record(path: Path, number: int) -> ImageRecord:
    none = np.zeros(0)
    return ImageRecord(number, path, 40, 30, np.zeros((0, 4), np.float32), none, none, none)


def split_of(records: list[ImageRecord]) -> CocoSplit:
    return CocoSplit("train", Path("a.json"), tuple(records), ("a",), (1,), ())


@pytest.fixture
def images(tmp_path: Path) -> list[ImageRecord]:
    rng = np.random.default_rng(0)
    records = []
    for i in range(7):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(path)
        records.append(record(path, i))
    return records


def test_draw_images_same_seed_same_images_whatever_the_order(images):
    first = draw_images(split_of(images), 4, seed=3)
    again = draw_images(split_of(images[::-1]), 4, seed=3)
    assert [r.path for r in first] == [r.path for r in again]
    assert len({r.path for r in first}) == 4
    assert [r.path for r in draw_images(split_of(images), 4, seed=4)] != [r.path for r in first]


def test_draw_images_more_than_there_are_gives_all_once(images):
    assert {r.path for r in draw_images(split_of([*images, images[0]]), 100, 0)} == {r.path for r in images}


def test_draw_images_none_is_an_error(images):
    with pytest.raises(DataError, match="at least 1"):
        draw_images(split_of(images), 0, 0)
    with pytest.raises(DataError, match=r"a\.json"):
        draw_images(split_of([]), 5, 0)


def test_image_batches_are_the_evaluators_pixels(images):
    batches = list(image_batches(images, SPEC, batch=3))
    assert [tuple(b.shape) for b in batches] == [(3, 3, 32, 64), (3, 3, 32, 64), (1, 3, 32, 64)]
    for got, source in zip(torch.cat(batches), images, strict=True):
        pixels, _ = resize_to_input(load_image(source.path), SPEC)
        np.testing.assert_array_equal(got.numpy().transpose(1, 2, 0), normalize(pixels, SPEC))


def test_make_manifest_lists_files_hashes_and_contract(images):
    manifest = make_manifest(images[:2], split_of(images), SPEC, "ptq", 5)
    content = json.loads(manifest.to_json())
    assert content["seed"] == 5
    assert content["method"] == "ptq"
    assert PreprocessSpec.from_json(content["preprocess"]) == SPEC
    assert [i["file"] for i in content["images"]] == [str(r.path) for r in images[:2]]
    assert content["images"][0]["sha256"] == hashlib.sha256(images[0].path.read_bytes()).hexdigest()


def test_make_manifest_missing_file_is_an_error(tmp_path):
    gone = record(tmp_path / "gone.png", 0)
    with pytest.raises(DataError, match=r"gone\.png"):
        make_manifest([gone], split_of([gone]), SPEC, "ptq", 0)


def test_make_manifest_keeps_the_options(images):
    options = {"weights": "mse", "ranges": {"method": "auto"}}
    assert (
        json.loads(make_manifest(images[:1], split_of(images), SPEC, "ptq", 0, options).to_json())["options"] == options
    )


def test_image_files_read_any_part(images):
    files = ImageFiles(tuple(images), SPEC)
    assert len(files) == 7
    parts = [torch.cat(list(files.batches(*part))) for part in ((0, 7), (2, 5))]
    assert torch.equal(parts[0][2:5], parts[1])
    assert list(files.batches(3, 3)) == []


def test_check_not_constant_stops_at_the_first_good_image(images, tmp_path):
    Image.new("RGB", (40, 30), (9, 9, 9)).save(images[0].path)
    gone = record(tmp_path / "gone.png", 9)
    check_not_constant([images[0], images[1], gone])
    with pytest.raises(DataError, match=r"0\.png: shows a single colour"):
        check_not_constant([images[0]])
    almost = Image.new("RGB", (40, 30), (9, 9, 9))
    almost.putpixel((39, 29), (9, 9, 10))
    almost.save(images[0].path)
    check_not_constant([images[0]])
