from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.contract.labels import appended_labels, parse_classes
from edgedet.errors import ConfigError


def test_parse_classes_list_or_file(tmp_path: Path) -> None:
    assert parse_classes("cat, dog") == ("cat", "dog")
    assert parse_classes("cat") == ("cat",)
    assert parse_classes("cat,???,dog,???") == ("cat", "???", "dog", "???")
    (tmp_path / "names").write_text("traffic light\n\nstop, sign\n")
    assert parse_classes(str(tmp_path / "names")) == ("traffic light", "stop, sign")


@pytest.mark.parametrize("text", ["", ",", "a,a"])
def test_parse_classes_none_or_twice_raise(text: str) -> None:
    with pytest.raises(ConfigError, match="expected different names"):
        parse_classes(text)


@pytest.mark.parametrize("text", ["coco.txt", "no folder/voc.names", "a,b.txt"])
def test_parse_classes_missing_file_is_no_class(text: str) -> None:
    with pytest.raises(ConfigError, match="there is no file of this name"):
        parse_classes(text)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + bytes(10)])
def test_appended_labels_without_a_readable_archive_are_none(data: bytes) -> None:
    assert appended_labels(data) == ()
