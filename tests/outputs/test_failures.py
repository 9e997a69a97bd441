"""What the system refuses becomes one line that names the file."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
import torch

from edgedet.commands.main import main
from edgedet.errors import OutputError
from edgedet.net.checkpoint import write_torch_file
from edgedet.outputs.failures import naming_output


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, r"free some space"),
        (errno.EDQUOT, r"quota"),
        (errno.EROFS, r"reading only"),
        (errno.EFBIG, r"ulimit -f"),
        (errno.ENOENT, r"folder is gone"),
        (errno.EIO, r"disk has errors"),
    ],
)
def test_naming_output_says_file_reason_and_remedy(code: int, words: str) -> None:
    with pytest.raises(OutputError, match=words) as caught, naming_output(Path("runs/best.pt")):
        raise OSError(code, os.strerror(code))
    assert str(caught.value).startswith(f"runs/best.pt: can't be written ({os.strerror(code)}): ")


@pytest.mark.parametrize(
    "text",
    [
        "[enforce fail at inline_container.cc:672] . unexpected pos 290 vs 0",
        "PytorchStreamWriter failed writing file data/0: file write failed",
    ],
)
def test_naming_output_understands_torch(text: str) -> None:
    with pytest.raises(OutputError, match=r"^x\.pt: can't be written; is the disk full"), naming_output(Path("x.pt")):
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="shapes differ"), naming_output(Path("x.pt")):
        raise RuntimeError("shapes differ")


@pytest.fixture
def small_files():
    """No file may be larger than 64 KiB, as under `ulimit -f 64`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_checkpoint_above_the_limit_of_file_size_keeps_the_old_one(tmp_path: Path, small_files) -> None:
    path = tmp_path / "last.pt"
    write_torch_file({"a": torch.zeros(3)}, path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"last\.pt: can't be written \(File too large\): .*ulimit -f"):
        write_torch_file({"a": torch.zeros(100_000)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_command_on_a_full_device_ends_with_one_line(tmp_path: Path, small_files, capsys) -> None:
    assert main(["data", "synth", "--out", str(tmp_path / "synth"), "--images", "200"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert f"{tmp_path}/synth: can't be written (File too large)" in line
    assert list(tmp_path.iterdir()) == []
