"""Data sets written in another format and read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.convert import convert_dataset
from edgedet.data.paths import DataPaths
from edgedet.data.synth.dataset import make_synthetic
from edgedet.errors import ConfigError, DataError
from edgedet.evaluate.evaluator import EvalReport, evaluate
from edgedet.net.runtime import TorchRuntime
from edgedet.resources import resource_dir

BOXES = [[3.3, 2.25, 10.5, 12.125], [0, 0, 40, 30], [38.7, 28.9, 0.6, 0.7]]


def coco(root: Path) -> Path:
    """Boxes off the pixels, a crowd, an area of a segment, two images of the same name, a negative."""
    (root / "train" / "sub").mkdir(parents=True)
    names = ["a.png", "sub/a.jpg", "empty.png"]
    for name in names:
        Image.new("RGB", (40, 30), (9, 99, 199)).save(root / "train" / name)
    annotations = [
        {"id": n, "image_id": 1, "category_id": 4 - n % 2, "bbox": box, "area": 2.5 if n == 2 else box[2] * box[3]}
        for n, box in enumerate(BOXES, 1)
    ]
    annotations.append({"id": 9, "image_id": 2, "category_id": 3, "bbox": [1, 1, 20, 20], "area": 400, "iscrowd": 1})
    document = {
        "images": [{"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(names, 1)],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "no: 'x'"}, {"id": 4, "name": "a<b>"}],
    }
    (root / "train" / "_annotations.coco.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize(
    ("form", "tolerance_px"),
    # as stated in edgedet/data/formats/write.py; float32 boxes have steps of 4e-6 px here
    [("coco", 0.0), ("yolo", 5e-6), ("voc", 0.5)],
)
def test_convert_dataset_read_back_gives_the_same_boxes(tmp_path: Path, form: str, tolerance_px: float) -> None:
    source = DataPaths(coco(tmp_path / "source"))
    report = convert_dataset(source, tmp_path / "new", form)
    assert report.images == {"train": 3}
    before, after = source.load("train"), DataPaths(tmp_path / "new").load("train")
    by_name = {record.path.stem: record for record in after.images}
    assert set(by_name) == {"a", "a_2", "empty"}
    for old, new in zip(before.images, (by_name["a"], by_name["a_2"], by_name["empty"]), strict=True):
        assert old.path.read_bytes() == new.path.read_bytes()
        kept = ~old.crowd if form == "yolo" else np.ones(len(old.labels), bool)
        assert report.left_out == (1 if form == "yolo" else 0)
        assert report.boxes == {"train": 3 if form == "yolo" else 4}  # that were written
        if form != "voc":
            np.testing.assert_allclose(new.boxes, old.boxes[kept], atol=tolerance_px)
        else:  # the third box is thinner than a pixel and becomes one
            np.testing.assert_allclose(new.boxes[:2], old.boxes[:2], atol=tolerance_px)
        assert [after.class_names[n] for n in new.labels] == [before.class_names[n] for n in old.labels[kept]]
        np.testing.assert_array_equal(new.crowd, old.crowd[kept])
    if form == "coco":
        np.testing.assert_array_equal(by_name["a"].areas, before.images[0].areas)
        assert after.category_ids == before.category_ids
    if form == "voc":
        np.testing.assert_array_equal(by_name["a"].boxes[2], [39, 29, 40, 30])


def test_convert_dataset_writes_rows_by_hand(tmp_path: Path) -> None:
    convert_dataset(DataPaths(coco(tmp_path / "source")), tmp_path / "yolo", "yolo")
    first = (tmp_path / "yolo" / "train" / "labels" / "a.txt").read_text().splitlines()[0].split()
    # class 3 has label 0; (3.3 + 5.25) / 40, (2.25 + 6.0625) / 30, 10.5 / 40, 12.125 / 30
    assert first == ["0", "0.2137500000", "0.2770833333", "0.2625000000", "0.4041666667"]
    convert_dataset(DataPaths(tmp_path / "source"), tmp_path / "voc", "voc")
    text = (tmp_path / "voc" / "Annotations" / "a.xml").read_text()
    # 3.3 to 13.8 rounds to 3 to 14: pixels 4 to 14, counted from 1; 2.25 to 14.375 to pixels 3 to 14
    assert "<xmin>4</xmin><ymin>3</ymin><xmax>14</xmax><ymax>14</ymax>" in text
    assert "a&lt;b&gt;" in text


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_synthetic(tmp_path_factory.mktemp("drawn") / "synth", images=40, seed=11)


@pytest.fixture(scope="module")
def demo_report(drawn: Path) -> EvalReport:
    return evaluate(demo_runtime(), DataPaths(drawn).load("valid"))


def demo_runtime() -> TorchRuntime:
    return TorchRuntime.from_checkpoint(resource_dir("models") / "rtmdet_pico_relu6_synth.pt")


@pytest.mark.parametrize(
    ("form", "tolerance"),
    # 1e-9: boxes less than 1e-6 px off; VOC as exact, because the drawn boxes lie on whole pixels
    [("coco", 0.0), ("yolo", 1e-9), ("voc", 1e-9)],
)
def test_convert_dataset_gives_the_same_ap(
    drawn: Path, demo_report: EvalReport, tmp_path: Path, form: str, tolerance: float
) -> None:
    convert_dataset(DataPaths(drawn), tmp_path / "new", form)
    report = evaluate(demo_runtime(), DataPaths(tmp_path / "new").load("valid"))
    assert demo_report.ap.ap > 0.2
    assert abs(report.ap.ap - demo_report.ap.ap) <= tolerance
    assert abs(report.ap.ap50 - demo_report.ap.ap50) <= tolerance


def test_convert_dataset_bad_input_writes_nothing(tmp_path: Path) -> None:
    source = coco(tmp_path / "source")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"`out` .*full: is not empty"):
        convert_dataset(DataPaths(source), tmp_path / "full")
    with pytest.raises(ConfigError, match="`to` must be one of coco, yolo, voc"):
        convert_dataset(DataPaths(source), tmp_path / "new", "createml")
    with pytest.raises(DataError, match="no annotations of train found"):
        convert_dataset(DataPaths(tmp_path / "full"), tmp_path / "new")
    (source / "train" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 3 images can't be read"):
        convert_dataset(DataPaths(source), tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "source"]
