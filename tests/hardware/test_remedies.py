"""What is proposed really helps: each proposal is done, and fits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.deploy.preflight import check
from edgedet.graph.flatbuffer import write_tflite
from edgedet.hardware.board import load_board
from edgedet.quantize.skeleton import skeleton_graph


@pytest.fixture(scope="module")
def pico(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest network at 96x96 px."""
    return write_pico(tmp_path_factory.mktemp("pico"), 96)


def write_pico(folder: Path, side: int) -> Path:
    file = load_model_file("rtmdet_pico_relu6")
    graph = skeleton_graph(file.model, file.preprocess.spec((side, side)), OutputSpec(("a", "b", "c")))
    path = folder / f"pico_{side}.tflite"
    write_tflite(graph, path)
    return path


def test_remedies_for_too_little_ram_help(pico: Path, small_board: Callable[..., Path], tmp_path: Path) -> None:
    board = load_board(str(small_board(1 << 20, 36_600)))
    said: list[str] = []
    report = check(pico, (board,), log=said.append)
    (found,) = report.checks
    assert not report.fits
    by_kind = {remedy.kind: remedy for remedy in found.remedies}
    assert set(by_kind) == {"ram", "input"}  # no shipped network is smaller
    assert said == ["a plan for less RAM", "smaller inputs", "other networks"]
    limit = int(re.search(r"`--ram (\d+)`", by_kind["ram"].text)[1])  # type: ignore[index]
    with_ram = check(pico, (board,), ram_bytes=limit)
    assert with_ram.fits
    assert with_ram.checks[0].part("arena").need.bytes == by_kind["ram"].arena_bytes <= limit
    side = int(re.search(r"at (\d+)x", by_kind["input"].text)[1])  # type: ignore[index]
    smaller = check(write_pico(tmp_path, side), (board,))
    assert smaller.fits
    assert smaller.checks[0].part("arena").need.bytes == by_kind["input"].arena_bytes


def test_remedies_nothing_is_found_and_said(toy_model: Path, small_board: Callable[..., Path]) -> None:
    """Nothing of edgedet's is smaller than the toy."""
    board = load_board(str(small_board(1_000, 200_000)))
    (found,) = check(toy_model, (board,)).checks
    assert not found.fits
    assert found.remedies == ()
    assert "nothing was found" in str(check(toy_model, (board,)))


def test_remedies_name_the_largest_network_that_fits(tmp_path: Path, small_board: Callable[..., Path]) -> None:
    file = load_model_file("rtmdet_nano_half")
    graph = skeleton_graph(file.model, file.preprocess.spec((96, 96)), OutputSpec(("a", "b", "c")))
    path = tmp_path / "half.tflite"
    write_tflite(graph, path)
    board = load_board(str(small_board(450_000, 110_000)))
    (found,) = check(path, (board,)).checks
    assert "flash" in found.missing
    (remedy,) = found.remedies
    assert remedy.kind == "model"
    # 450 kB of flash hold pico alone; 110 kB of RAM its arena at 160 px, as docs/chip.md has it, and not at 192.
    assert remedy.text.startswith("rtmdet_pico_relu6 at 160x160 px: arena 102,736 bytes")


def test_check_all_boards_looks_for_no_remedies(toy_model: Path, small_board: Callable[..., Path]) -> None:
    small = load_board(str(small_board(1_000, 1_000)))
    report = check(toy_model, (small, load_board("nicla_vision")))
    assert [item.fits for item in report.checks] == [False, True]
    assert not report.fits
    assert report.checks[0].remedies == ()
