"""Files that both splits are drawn from are parsed once, and give what two readings give."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.data.formats import layout
from edgedet.data.formats.once import once, reading_once
from edgedet.data.paths import DataPaths


def test_once_remembers_inside_the_block_alone() -> None:
    calls = []

    def read() -> int:
        calls.append(len(calls))
        return calls[-1]

    assert (once("a", read), once("a", read)) == (0, 1)
    with reading_once():
        assert (once("a", read), once("a", read), once("b", read)) == (2, 2, 3)
        with reading_once():
            assert once("a", read) == 2
        assert once("b", read) == 3
    assert once("a", read) == 4


def test_once_forgets_after_an_error() -> None:
    def broken() -> int:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), reading_once():
        once("a", broken)
    assert once("a", lambda: 2) == 2


def test_validation_drawn_from_a_file_parses_it_once_and_gives_the_same_splits(
    tiny_coco: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = DataPaths(
        train_ann=tiny_coco / "train" / "_annotations.coco.json", train_images=tiny_coco / "train", val_fraction=0.5
    )
    apart = [paths.load(split) for split in ("train", "valid")]
    parsed = []
    parse_coco = layout.parse_coco
    monkeypatch.setattr(layout, "parse_coco", lambda path, folder: parsed.append(path) or parse_coco(path, folder))
    with reading_once():
        together = [paths.load(split) for split in ("train", "valid")]
    assert len(parsed) == 1
    for one, other in zip(apart, together, strict=True):
        assert one.images
        assert one.to_coco_dict() == other.to_coco_dict()
        assert one.warnings == other.warnings
