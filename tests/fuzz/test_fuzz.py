"""A few hundred damaged files of each kind, and those that once were finds; `make fuzz` reads 10,000 of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzz import run
from fuzz.kinds import KINDS, Kind

CORPUS = Path(__file__).with_name("corpus")
FILES = {"flatbuffer": 20, "metadata": 60, "coco": 150, "checkpoint": 10, "import": 6, "toml": 60, "image": 250}
FILES |= {"replies": 150, "requests": 30, "board": 60}


@pytest.mark.parametrize("name", KINDS)
def test_fuzz_some_files_of_each_kind_find_nothing(name: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    if name == "requests":
        require_tool("gcc")
    outcome = run.fuzz(name, 0, 0, FILES[name], 1e9, tmp_path)
    assert not outcome.finds, "\n".join(outcome.finds.values())
    assert outcome.tried == outcome.accepted + outcome.refused == FILES[name]
    assert outcome.refused > 0


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_corpus_every_file_that_was_a_find_is_refused(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    outcome = run.Outcome(path.parent.name)
    error = run.read_one(KINDS[path.parent.name](), copy, outcome)
    if error is not None:
        raise error
    assert outcome.refused == 1


def test_damaged_same_number_gives_same_file() -> None:
    for name in ("metadata", "coco", "toml", "image"):
        kind = KINDS[name]()
        first, again, other = (kind.damaged(np.random.default_rng((0, n))) for n in (3, 3, 4))
        assert first == again != other


class _Broken(Kind):
    suffix = ".x"

    def damaged(self, rng: np.random.Generator) -> bytes:
        return b"x"

    def read(self, path: Path) -> None:
        raise IndexError("as a broken reader would")


def test_fuzz_reader_that_crashes_is_found_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run.KINDS, "toml", _Broken)
    outcome = run.fuzz("toml", 0, 0, 5, 1e9, tmp_path)
    assert (outcome.tried, len(outcome.finds)) == (5, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["toml_0.x"]


def test_write_section_replaces_its_own_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "reliability.md"
    path.write_text("# Reliability\n\nbefore\n")
    for text in ("one", "two"):
        run.write_section(path, f"{run.BEGIN}\n{text}\n{run.END}")
    assert path.read_text() == f"# Reliability\n\nbefore\n\n{run.BEGIN}\ntwo\n{run.END}\n"
