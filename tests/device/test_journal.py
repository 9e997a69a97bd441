"""Results that an interrupted run left, whole, damaged or written by somebody else."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from edgedet.device.journal import Journal, Kept
from edgedet.errors import ConfigError

KEPT = Kept(b"abcd", bytes(24), (0.5, 1.5, 2.0))


def journal(path: Path) -> Journal:
    return Journal(path, "1" * 64, "c99 of edgedet 1", 4)


def written(path: Path, *inputs: bytes) -> Path:
    made = journal(path)
    for data in inputs:
        made.add(data, KEPT)
    made.close(remove=False)
    return path


def test_journal_goes_on_behind_what_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "a.results", b"1", b"2", b"3")
    path.write_bytes(path.read_bytes()[:-9])
    again = journal(path)
    assert [again.get(data) for data in (b"1", b"2", b"3")] == [KEPT, KEPT, None]
    again.add(b"4", KEPT)
    again.close(remove=False)
    assert set(journal(path).earlier) > set(again.earlier)
    again = journal(path)
    assert again.get(b"4") == KEPT
    again.close(remove=True)
    assert not path.exists()


@pytest.mark.parametrize(
    "change",
    [{"detections": "YWJj"}, {"detections": None},
     {"outputs": "YWJj"}, {"outputs": "***"}, {"outputs": 4}, {"ms": [1, 2]}, {"ms": [1, 2, 10**400]}, {"ms": "abc"},
     {"ms": [1e999, 0, 0]}, {"input_sha256": 5}, {"more": 1}],
)  # fmt: skip
def test_journal_lines_that_say_something_else_are_not_taken(tmp_path: Path, change: dict[str, Any]) -> None:
    path = written(tmp_path / "a.results", b"1")
    header, line = path.read_bytes().splitlines(keepends=True)
    text = json.dumps({**json.loads(line[9:]), **change}).encode()
    path.write_bytes(header + b"%08x %s\n" % (zlib.crc32(text), text))
    assert journal(path).earlier == {}


def test_journal_that_is_empty_or_of_another_model_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.results"
    other = written(tmp_path / "other.results", b"1").read_bytes().replace(b"1" * 64, b"2" * 64)
    for data in (b"", other, other[:60]):
        path.write_bytes(data)
        made = journal(path)
        assert made.earlier == {}
        made.close(remove=False)


def test_journal_leaves_a_file_of_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.results"
    for data in (b"my notes", b"\n", b"\xff" * 100, b"00000000 {}\n", b"[" * 100_000):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match="it is another file; move it away"):
            journal(path)
        assert path.read_bytes() == data
