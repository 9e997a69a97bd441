from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit, require_same_classes
from edgedet.data.synth.dataset import CLASS_NAMES, MANIFEST, make_synthetic
from edgedet.errors import ConfigError, DataError, ToolchainError

pytest.importorskip("cv2")


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_synthetic(tmp_path_factory.mktemp("synth") / "set", images=40, seed=11)


def both_splits(folder: Path) -> tuple[CocoSplit, CocoSplit]:
    return load_split(folder, "train"), load_split(folder, "valid")


def test_make_synthetic_loads_as_roboflow_without_warnings(drawn: Path) -> None:
    train, valid = both_splits(drawn)
    require_same_classes(train, valid)
    assert (len(train.images), len(valid.images)) == (32, 8)
    assert train.class_names == CLASS_NAMES
    assert train.category_ids == (1, 2)
    assert train.warnings == ()
    assert valid.warnings == ()


def test_make_synthetic_same_seed_gives_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    again = make_synthetic(tmp_path / "again", images=40, seed=11)
    assert all_bytes(drawn) == all_bytes(again)


def test_make_synthetic_image_does_not_depend_on_the_number_of_images(drawn: Path, tmp_path: Path) -> None:
    fewer = all_bytes(make_synthetic(tmp_path / "fewer", images=5, seed=11))
    more = all_bytes(drawn)
    pictures = [name for name in fewer if name.endswith(".jpg")]
    assert len(pictures) == 5
    assert all(fewer[name] == more[name] for name in pictures)


def test_make_synthetic_other_seed_gives_other_images(drawn: Path, tmp_path: Path) -> None:
    other = all_bytes(make_synthetic(tmp_path / "other", images=2, seed=12))
    assert other["train/000000.jpg"] != all_bytes(drawn)["train/000000.jpg"]


def test_make_synthetic_splits_differ(drawn: Path) -> None:
    assert (drawn / "train" / "000000.jpg").read_bytes() != (drawn / "valid" / "000000.jpg").read_bytes()


def test_make_synthetic_boxes_vary_and_lie_inside(drawn: Path) -> None:
    records = [record for split in both_splits(drawn) for record in split.images]
    counts = [len(record.labels) for record in records]
    assert min(counts) >= 1
    assert max(counts) <= 8
    assert len(set(counts)) >= 4
    boxes = np.concatenate([record.boxes for record in records])
    heights = boxes[:, 3] - boxes[:, 1]
    assert boxes.min() >= 0
    assert (boxes[:, 2] <= 320).all()
    assert (boxes[:, 3] <= 240).all()
    assert heights.min() < 20
    assert heights.max() > 70
    assert (boxes == 0).any() or (boxes[:, 3] == 240).any()  # some are cut off by the border
    share = np.concatenate([record.labels for record in records]).mean()
    assert 0.35 < share < 0.65  # both classes


def test_make_synthetic_images_have_the_size_asked_for(tmp_path: Path) -> None:
    out = make_synthetic(tmp_path / "wide", images=4, seed=0, size=(200, 120), valid_fraction=0.5)
    with Image.open(out / "valid" / "000001.jpg") as image:
        assert image.size == (200, 120)
        assert image.mode == "RGB"
    assert [len(split.images) for split in both_splits(out)] == [2, 2]


def test_make_synthetic_boxes_show_something_else_than_the_background(drawn: Path) -> None:
    """Heads stand out: contrast inside the boxes is above that of the picture's smooth background."""
    inside = []
    for record in load_split(drawn, "train").images:
        with Image.open(record.path) as image:
            grey = np.asarray(image.convert("L"), np.float32)
        for left, top, right, bottom in record.boxes.astype(int):
            inside.append(grey[top:bottom, left:right].std())
    assert np.median(inside) > 8


def test_make_synthetic_finished_folder_is_left_alone(drawn: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in drawn.rglob("*")}
    seen: list[tuple[int, int]] = []
    make_synthetic(drawn, images=40, seed=11, progress=lambda done, total: seen.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in drawn.rglob("*")} == before
    assert seen == [(40, 40)]


def test_make_synthetic_folder_with_other_parameters_raises_data_error(drawn: Path) -> None:
    with pytest.raises(DataError, match="holds another data set"):
        make_synthetic(drawn, images=41, seed=11)


def test_make_synthetic_foreign_folder_raises_data_error_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(DataError, match="no synthetic data set"):
        make_synthetic(tmp_path, images=4, seed=0)
    assert (tmp_path / "note.txt").read_text() == "mine"


def test_make_synthetic_existing_file_raises_data_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="no folder"):
        make_synthetic(tmp_path / "out", images=4, seed=0)


def test_make_synthetic_damaged_earlier_output_raises_data_error(tmp_path: Path) -> None:
    out = make_synthetic(tmp_path / "out", images=3, seed=0)
    (out / "train" / "000001.jpg").unlink()
    with pytest.raises(DataError, match="1 of 2 images"):
        make_synthetic(out, images=3, seed=0)


def test_make_synthetic_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert (make_synthetic(tmp_path / "out", images=2, seed=0) / MANIFEST).is_file()


def test_make_synthetic_interrupted_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_synthetic(tmp_path / "out", images=4, seed=0, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_make_synthetic_progress_counts_up(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_synthetic(tmp_path / "out", images=5, seed=0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": 1}, "images must be at least 2"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"size": (320, 20)}, "size must be at least 96"),
        ({"valid_fraction": 0.0}, "valid_fraction"),
        ({"valid_fraction": 1.0}, "valid_fraction"),
    ],
)
def test_make_synthetic_wrong_argument_raises_config_error(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    arguments: dict[str, object] = {"images": 4, "seed": 0, **change}
    with pytest.raises(ConfigError, match=message):
        make_synthetic(tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_make_synthetic_without_opencv_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ToolchainError, match=r'pip install "edgedet\[train\]"'):
        make_synthetic(tmp_path / "out", images=2, seed=0)
