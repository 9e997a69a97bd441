"""Damaged pictures are found before any work, all of them, or left out and named."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.commands.main import main
from edgedet.contracts import PreprocessSpec
from edgedet.data.check.content import load_for_training
from edgedet.data.check.whole import whole_splits
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.preprocess import load_image
from edgedet.data.pictures.whole import decode_problem, decode_problems
from edgedet.errors import BrokenImagesError, DataError
from edgedet.quantize.calibration.images import draw_whole

SPEC = PreprocessSpec(64, 64)


def damage(folder: Path) -> list[Path]:
    """Two damaged pictures in train (a cut one, and none at all), one in valid."""
    cut, none, other = folder / "train" / "3.png", folder / "train" / "5.png", folder / "valid" / "1.png"
    for path in (cut, other):
        path.write_bytes(path.read_bytes()[:-600])
    none.write_bytes(b"no picture")
    return [cut, none, other]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_decode_problem_agrees_with_load_image_wherever_a_jpeg_is_cut(
    tmp_path: Path, mode: str, progressive: bool
) -> None:
    rng = np.random.default_rng(3)
    buffer = io.BytesIO()
    picture = Image.fromarray(rng.integers(0, 256, (90, 130, 3), np.uint8)).convert(mode)
    picture.save(buffer, format="JPEG", quality=90, progressive=progressive)
    whole, path = buffer.getvalue(), tmp_path / "a.jpg"
    lengths = [0, 3, 300, *range(700, len(whole), len(whole) // 9), len(whole) - 2, len(whole)]
    judged = []
    for length in lengths:
        path.write_bytes(whole[:length])
        try:
            load_image(path)
            expected = ""
        except DataError as error:
            expected = str(error)
        judged.append(bool(expected))
        assert bool(decode_problem(path)) == bool(expected), length
    assert True in judged
    assert False in judged


def test_decode_problems_keep_their_order(tiny_coco: Path) -> None:
    cut, none, _ = damage(tiny_coco)
    paths = [tiny_coco / "train" / f"{n}.png" for n in range(9)]
    found = list(decode_problems(paths))
    assert [bool(text) for text in found] == [path in (cut, none) for path in paths]


def test_load_for_training_names_every_broken_picture_of_both_splits(tiny_coco: Path) -> None:
    broken = damage(tiny_coco)
    with pytest.raises(BrokenImagesError, match="3 of 13 images can't be read") as caught:
        load_for_training(DataPaths(tiny_coco), SPEC)
    assert all(f"{path}: " in str(caught.value) for path in broken)
    assert "\n" not in str(caught.value)
    train, valid = load_for_training(DataPaths(tiny_coco, skip_broken=True), SPEC)
    assert (len(train.images), len(valid.images)) == (7, 3)
    assert [text.partition(": ")[0] for text in (*train.broken, *valid.broken)] == [
        str(broken[1]), str(broken[0]), str(broken[2])
    ]  # fmt: skip
    assert {a["image_id"] for a in train.to_coco_dict()["annotations"]} <= {r.image_id for r in train.images}


def test_whole_splits_of_broken_pictures_alone_is_an_error(tiny_coco: Path) -> None:
    for path in (tiny_coco / "valid").glob("*.png"):
        path.write_bytes(path.read_bytes()[:200])
    split = DataPaths(tiny_coco).load("valid")
    with pytest.raises(DataError, match="all 4 images are broken"):
        whole_splits((split,), skip_broken=True)


def test_draw_whole_draws_others_in_place_of_broken_ones(tiny_coco: Path) -> None:
    cut, none, _ = damage(tiny_coco)
    split = DataPaths(tiny_coco, skip_broken=True).load("train")
    left, records = draw_whole(split, 7, 0, skip_broken=True)
    assert len(records) == 7
    assert not {cut, none} & {record.path for record in records}
    assert [text.partition(": ")[0] for text in left.broken] == [str(none), str(cut)]
    with pytest.raises(BrokenImagesError, match="2 of"):
        draw_whole(replace(split), 8, 0, skip_broken=False)


def test_evaluate_refuses_or_leaves_out_and_names_them(
    toy_model: Path, toy_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    (data / "valid").mkdir(parents=True)
    for path in (toy_data / "valid").iterdir():
        (data / "valid" / path.name).write_bytes(path.read_bytes())
    names = ("picture1.png", "picture4.png")
    for name in names:
        (data / "valid" / name).write_bytes((data / "valid" / name).read_bytes()[:-3000])
    assert main(["evaluate", str(toy_model), "--data", str(data)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "2 of 6 images can't be read" in err.splitlines()[-1]
    assert all(name in err for name in names)
    assert "by --skip-broken" in err
    result = tmp_path / "report.json"
    assert main(["evaluate", str(toy_model), "--data", str(data), "--skip-broken", "--json", str(result)]) == 0
    value = json.loads(result.read_text())
    assert value["images"] == 4
    assert [Path(text.partition(": ")[0]).name for text in value["broken"]] == list(names)
    assert "note: images left out because they are broken: 2 (" in capfd.readouterr().out
