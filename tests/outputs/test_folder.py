"""Folders that appear whole, in every way in which they take the place of an earlier one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgedet.errors import OutputError
from edgedet.outputs import swap
from edgedet.outputs.folder import added_files, new_folder
from edgedet.outputs.lock import hold_output
from edgedet.outputs.names import old_path


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def write_run(out: Path, text: str) -> None:
    with added_files(out, "report.json", frozenset({"stale.svg"})) as folder:
        for name in ("model", "report.json"):
            (folder / name).write_text(text)


@pytest.fixture(params=["exchange", "two renamings", "file by file"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    if request.param == "two renamings":
        monkeypatch.setattr(swap, "exchange", lambda one, other: False)
    if request.param == "file by file":
        (tmp_path / "out").mkdir()
        monkeypatch.chdir(tmp_path / "out")
    return str(request.param)


def test_added_files_replace_and_leave_the_others(way: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_run(out, "1")
    (out / "notes").mkdir()
    (out / "notes" / "mine.txt").write_text("kept")
    (out / "stale.svg").write_text("of the old model")
    (out / "link").symlink_to("notes")
    write_run(out, "2")
    assert contents(out) == {"model": "2", "report.json": "2", "notes/mine.txt": "kept"}
    assert os.readlink(out / "link") == "notes"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_added_files_error_leaves_everything_as_it_was(way: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_run(out, "1")

    def fail() -> None:
        with added_files(out, "report.json") as folder:
            (folder / "model").write_text("2")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert contents(out) == {"model": "1", "report.json": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_new_folder_follows_a_link_and_keeps_the_rights(tmp_path: Path) -> None:
    real, out = tmp_path / "real", tmp_path / "out"
    real.mkdir(mode=0o700)
    (real / "old").write_text("1")
    out.symlink_to(real)
    with new_folder(out, "seal") as folder:
        (folder / "new").write_text("2")
    assert out.is_symlink()
    assert contents(real) == {"new": "2"}
    assert real.stat().st_mode & 0o777 == 0o700


def test_hold_output_brings_back_a_folder_whose_successor_did_not_come(tmp_path: Path) -> None:
    out = tmp_path / "out"
    old = old_path(out)
    old.mkdir()
    (old / "model").write_text("1")
    with hold_output(out):
        assert contents(out) == {"model": "1"}
    old.mkdir()
    with hold_output(out):
        assert not old.exists()
    assert contents(out) == {"model": "1"}


def test_added_files_that_cant_be_written_name_the_file_without_hidden_parts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OutputError) as caught, added_files(out, "report.json") as folder:
        (folder / "absent" / "model").write_text("1")
    assert str(caught.value).startswith(f"{out}/absent/model: can't be written (No such file or directory): ")


def test_errors_of_files_that_are_read_meanwhile_stay(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"), new_folder(tmp_path / "out", "seal"):
        Path("/nowhere/at/all").read_bytes()


def test_new_folder_brings_along_what_somebody_put_there_meanwhile_and_nothing_else(way: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with new_folder(out, "seal") as fresh:
        (fresh / "seal").write_text("old")
        (fresh / "a").write_text("old")
        (fresh / "below").mkdir()
        (fresh / "below" / "b").write_text("old")
    with new_folder(out, "seal") as fresh:
        (fresh / "seal").write_text("new")
        (out / "mine.txt").write_text("mine")
    assert {path.name: path.read_text() for path in out.iterdir()} == {"seal": "new", "mine.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_new_folder_keeps_the_rights_of_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o700)
    with new_folder(tmp_path / "out", "seal") as fresh:
        (fresh / "seal").write_text("new")
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_folder_with_a_mount_below_is_never_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mounted there would move into the old folder, and be emptied with it."""
    out, mounts = tmp_path / "my out", tmp_path / "mountinfo"
    (out / "share").mkdir(parents=True)
    (out / "share" / "theirs").write_text("kept")
    mounts.write_text("36 35 8:1 / {} rw - ext4 /dev/sda rw\n".format(str(out / "share").replace(" ", "\\040")))
    monkeypatch.setattr(swap, "_MOUNTS", mounts)
    before = out.stat().st_ino
    with added_files(out, "seal") as fresh:
        (fresh / "seal").write_text("new")
    assert out.stat().st_ino == before
    assert (out / "share" / "theirs").read_text() == "kept"
    assert (out / "seal").read_text() == "new"
