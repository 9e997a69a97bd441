from __future__ import annotations

import os
from pathlib import Path

from edgedet.data.paths import DataPaths
from edgedet.training.changes import DataWatch


def test_data_watch_names_files_that_changed_or_vanished_once(tiny_coco: Path) -> None:
    data = DataPaths(tiny_coco)
    watch = DataWatch(data.load("train"), data.load("valid"))
    assert watch.warning() == ""
    (tiny_coco / "train" / "3.png").unlink()
    (tiny_coco / "valid" / "0.png").write_bytes(b"another picture")
    assert f"2 images changed during training, first {tiny_coco}/train/3.png" in watch.warning()
    assert watch.warning() == ""
    os.utime(tiny_coco / "train" / "4.png", ns=(1, 1))
    assert "1 images changed" in watch.warning()
