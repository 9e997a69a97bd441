from __future__ import annotations

import json
import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from edgedet.data.coco.build import load_split
from edgedet.data.formats.file_names import FileNames, plain_name
from edgedet.errors import DataError

NFC, NFD = unicodedata.normalize("NFC", "Café 1.png"), unicodedata.normalize("NFD", "Café 1.png")
LATIN = os.fsdecode("Café 1.png".encode("latin-1"))


@pytest.mark.parametrize(
    ("stated", "on_disk"),
    [
        (NFC, NFD),
        (NFD, NFC),
        (NFC, LATIN),
        (NFD, LATIN),
        (LATIN, NFC),
        ("Caf%C3%A9%201.png", NFC),
        ("Caf%E9%201.png", NFC),
        ("a\\b\\c.png", "a/b/c.png"),
        ("a/b/c.png", "a\\b\\c.png"),
        ("a%2Fc.png", "a/c.png"),
        (f"{NFC}/c.png", f"{NFD}/c.png"),
        ("img_1.png", "IMG_1.PNG"),
        ("Train/A.png", "train/a.png"),
        (" a.png\r\n", "a.png"),
    ],
)
def test_find_name_written_in_another_way(tmp_path: Path, stated: str, on_disk: str) -> None:
    path = tmp_path / on_disk
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    (tmp_path / "other.png").write_bytes(b"")
    assert FileNames(tmp_path).find(stated, "a.json") == (path, True)
    assert FileNames(tmp_path).find(on_disk, "a.json") == (path, False)


def test_find_exact_name_wins_and_two_others_are_an_error(tmp_path: Path) -> None:
    for name in (NFC, NFD):
        (tmp_path / name).write_bytes(b"")
    files = FileNames(tmp_path)
    assert files.find(NFD, "a.json") == (tmp_path / NFD, False)
    with pytest.raises(DataError, match=r"a\.json: there is no file 'Caf\\udce9 1\.png', but .*xe9.* and .*u0301"):
        files.find(LATIN, "a.json")
    assert files.find("absent.png", "a.json") == (tmp_path / "absent.png", False)
    assert files.find("..%2F..%2Fetc%2Fpasswd", "a.json")[1] is False  # nothing above the folder is looked at
    with pytest.raises(DataError, match="half a character"):
        files.find("a\ud800.png", "a.json")


def test_find_upper_case_counts_where_both_are_there(tmp_path: Path) -> None:
    for name in ("A.png", "a.png"):
        (tmp_path / name).write_bytes(b"")
    files = FileNames(tmp_path)
    assert files.find("a.png", "a.json") == (tmp_path / "a.png", False)
    with pytest.raises(DataError, match=r"there is no file 'A\.PNG', but 'A\.png' and 'a\.png'"):
        files.find("A.PNG", "a.json")


def test_plain_name_keeps_what_is_no_difference() -> None:
    assert plain_name("50%.png") == "50%.png"
    assert plain_name("A.png") != plain_name("a.png")


def test_load_split_warns_once_of_names_written_in_another_way(tiny_coco_once: Path, tmp_path: Path) -> None:
    data = shutil.copytree(tiny_coco_once, tmp_path / "data")
    path = next(data.glob("*/_annotations.coco.json"))
    document = json.loads(path.read_text())
    for index, image in enumerate(document["images"]):
        name = f"é {index}.png"
        os.rename(path.parent / image["file_name"], path.parent / unicodedata.normalize("NFD", name))
        image["file_name"] = name
    path.write_text(json.dumps(document))
    split = load_split(data, path.parent.name)
    (warning,) = [warning for warning in split.warnings if warning.code == "file_name_differs"]
    assert warning.count == len(split.images)
    assert all(record.path.is_file() for record in split.images)
