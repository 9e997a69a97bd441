from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import foreign_files as files
import pytest

from edgedet.commands.main import main
from edgedet.graph.flatbuffer import read_tflite

schema = files.schema


def test_convert_shows_what_it_does_not_support_and_writes_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "foreign.tflite", tmp_path / "again.tflite"
    path.write_bytes(files.everything())
    assert main(["convert", str(path), "--out", str(out)]) == 0
    shown, err = capsys.readouterr()
    assert err == ""
    for line in (
        "  CUSTOM (my_op)  1",
        "subgraph 1             body: 1 operators (ABS 1)",
        "signature              main: picture -> ",
        "appended archive       labels.txt; 126 bytes",
        "unsupported            operator 2 (SVDF, writes 'extra') is not supported",
        "unsupported            operator 3 (CUSTOM (my_op), writes 'extra') is not supported",
        "unsupported            tensor 10 ('extra'): type float16 is not one of "
        "int8, int16, int32, int64, uint8, float32, bool",
        "unsupported            subgraph 1 ('body'): one is the limit",
        "behind the flatbuffer  355 bytes of data, which TFLite Micro ignores; --out moves them inside",
        f"wrote {out}",
    ):
        assert " ".join(line.split()) in " ".join(shown.split())
    assert read_tflite(out) == read_tflite(path)
    with zipfile.ZipFile(out) as archive:
        assert archive.read("labels.txt") == b"cat\ndog\n"
    assert main(["convert", str(out)]) == 0
    assert "behind the flatbuffer" not in capsys.readouterr().out


def test_convert_out_refuses_what_it_would_lose_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def edit(model: Any) -> None:
        sparsity = schema.SparsityParametersT()
        sparsity.traversalOrder, sparsity.blockMap, sparsity.dimMetadata = [0], [], []
        files.add_tensor(model, [4], buffer=files.add_data(model, b"\x05"), sparsity=sparsity)

    path, out = tmp_path / "sparse.tflite", tmp_path / "again.tflite"
    path.write_bytes(files.edited(files.plain(), edit))
    assert main(["convert", str(path)]) == 0
    assert "unsupported            tensor 7 ('extra'): is sparse; export a plain model" in capsys.readouterr().out
    assert main(["convert", str(path), "--out", str(out)]) == 2
    message = "tensor 7 ('extra') is sparse, which edgedet shows but can't write; keep the file as it is"
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_who_runs_a_foreign_file_refuses_it_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "foreign.tflite", tmp_path / "out"
    path.write_bytes(files.everything())
    assert main(["deploy", str(path), "--target", "c99", "--out", str(out)]) == 2
    assert "operator 2 (SVDF, writes 'extra') is not supported; supported are" in capsys.readouterr().err
    assert not out.exists()
