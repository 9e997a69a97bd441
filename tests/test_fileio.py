from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.errors import ConfigError
from edgedet.fileio import (
    atomic_path,
    atomic_write_bytes,
    atomic_write_text,
    remove_unfinished,
    require_out_file,
    require_out_folder,
)


def test_atomic_write_creates_the_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.bin"
    atomic_write_bytes(path, b"one")
    atomic_write_text(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_path_error_keeps_the_old_file_and_removes_the_new(tmp_path: Path) -> None:
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_require_out_folder_accepts_what_can_be_written_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "there", tmp_path / "new", tmp_path / "new" / "deeper", Path("relative"), Path()):
        require_out_folder(path, "--out")
        require_out_file(path / "report.json", "--json")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert list((tmp_path / "there").iterdir()) == []


def test_require_out_folder_names_the_file_in_its_way(tmp_path: Path) -> None:
    file, link = tmp_path / "afile", tmp_path / "link"
    file.write_text("kept")
    link.symlink_to(tmp_path / "nowhere")
    for path in (file, link):
        with pytest.raises(ConfigError, match=rf"--out {path}: is a file, expected a folder or a new name"):
            require_out_folder(path, "--out")
    with pytest.raises(ConfigError, match=rf"--out {file}/a/b: {file} is a file, expected a folder there"):
        require_out_folder(file / "a" / "b", "--out")
    with pytest.raises(ConfigError, match=rf"--json {file}/r.json: {file} is a file"):
        require_out_file(file / "r.json", "--json")
    with pytest.raises(ConfigError, match=r"--json .* is a folder, expected the name of a file"):
        require_out_file(tmp_path, "--json")
    assert file.read_text() == "kept"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, where even root can't write")
def test_require_out_folder_where_nobody_can_write() -> None:
    for check, path in ((require_out_folder, "/proc/x"), (require_out_file, "/proc/x/y.json")):
        with pytest.raises(ConfigError, match=rf"--out {path}: nothing can be written in /proc \(.+\); give another"):
            check(Path(path), "--out")


def test_remove_unfinished_takes_only_what_belongs_to_the_file(tmp_path: Path) -> None:
    for name in (".a.pt.x1", ".b.pt.x1"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.pt").write_text("whole")
    remove_unfinished(tmp_path / "a.pt")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.pt.x1", "a.pt"]
