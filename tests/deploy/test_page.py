"""report.html of a deployment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from toy_detector import write_toy_model

from edgedet.deploy.api import deploy
from edgedet.errors import ConfigError
from edgedet.escape import html_text
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.metadata import contract_metadata, read_contracts
from edgedet.npu.cores import GROVE, NpuOptions
from edgedet.outputs.page_files import PAGE


def test_page_shows_arena_operators_files_and_origin(tmp_path: Path) -> None:
    model = write_toy_model(tmp_path / "toy.tflite")
    report = deploy(model, "c99", tmp_path / "out")
    text = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert text.count("<svg") == 1
    assert f"{report.arena_bytes:,}" in text
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["model"]["sha256"] in text
    for name, entry in manifest["files"].items():
        assert name == PAGE or (f">{name}</td>" in text and f"{entry['bytes']:,}" in text), name
    for use in report.operators:
        assert use.kind in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text


def test_page_of_tflm_says_what_the_arena_holds_and_what_decodes(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    report = deploy(write_toy_model(tmp_path / "toy.tflite"), "tflm", tmp_path / "out")
    text = (report.out / PAGE).read_text(encoding="utf-8")
    assert report.arena is not None
    for size in (report.arena.margin_bytes, report.arena_bytes):
        assert f">{size:,}</td>" in text
    assert "The arena was measured with the tflite_micro wheel" in text
    assert "detect.c, the same detections as in Python" in text
    assert "carries no contracts" not in text
    assert "<code>cmake -S . -B build -DTFLM_ROOT=...</code> builds it" in text
    assert "AP is COCO" not in text  # nothing is measured here


@pytest.mark.toolchain
def test_page_of_web_is_of_a_page_and_not_of_a_chip(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    for tool in ("clang", "wasm-ld"):
        require_tool(tool)
    report = deploy(write_toy_model(tmp_path / "toy.tflite"), "web", tmp_path / "out")
    text = (report.out / PAGE).read_text(encoding="utf-8")
    assert report.plan is not None
    assert text.count("<svg") == 1  # of the arena
    assert "chip" not in text
    assert "flash" not in text
    assert "In this folder: open ./index.html in a browser" in text
    manifest = json.loads((report.out / "manifest.json").read_text(encoding="utf-8"))
    for module in manifest["compiler"]["modules"].values():
        assert f"{module['bytes']:,} bytes" in text


def test_page_of_an_npu_says_what_runs_where(tmp_path: Path) -> None:
    pytest.importorskip("ethosu")
    pytest.importorskip("tflite_micro")
    model = write_toy_model(tmp_path / "toy.tflite")
    report = deploy(model, "ethos-u55-64", tmp_path / "out", npu=NpuOptions(preset=GROVE))
    text = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert report.npu is not None
    assert report.board is not None
    assert f"{report.npu.on_npu} of {report.npu.on_npu + len(report.npu.on_cpu)}</dd>" in text
    assert f"{report.npu.figures.sram_bytes:,} bytes of SRAM" in text
    assert f"toy.tflite, {model.stat().st_size:,} bytes" in text  # the hash beside it is of this file
    assert f"{report.model_bytes:,} bytes, SHA-256" in text
    assert "The arena was not measured: Vela" in text
    assert "This folder goes into the SDK of the board" in text
    for item in report.board.placed:
        assert f">{item.need.bytes:,}</td>" in text
    assert html_text(report.board.time.text()) in text


def test_page_of_the_same_deployment_has_the_same_bytes(tmp_path: Path) -> None:
    model = write_toy_model(tmp_path / "toy.tflite")
    first, second = (deploy(model, "c99", tmp_path / name).out / PAGE for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_page_texts_of_a_stranger_stay_texts(tmp_path: Path) -> None:
    path = write_toy_model(tmp_path / "<b>toy.tflite")
    graph = parse_tflite(path.read_bytes(), "toy")
    contracts = read_contracts(graph, "toy")
    hostile = replace(contracts.outputs, class_names=("<script>alert(1)</script>", "b", "c"))
    path.write_bytes(serialize(replace(graph, metadata=(contract_metadata(contracts.preprocess, hostile),))))
    text = (deploy(path, "c99", tmp_path / "out").out / PAGE).read_text(encoding="utf-8")
    assert "<b>toy" not in text
    assert "&lt;b&gt;toy" in text
    assert "<script>alert" not in text


def test_page_texts_of_a_board_file_stay_texts(tmp_path: Path, repo_dir: Path) -> None:
    hostile = "</td><script>alert(1)</script> */ ]]> ??/ $(touch x) `x` '"
    source = (repo_dir / "firmware_export" / "boards" / "nicla_vision.toml").read_text(encoding="utf-8")
    board = tmp_path / "board.toml"
    texts = re.compile(r"^(title|chip|source|taken_by|taken_source) = .*$", re.MULTILINE)
    board.write_text(texts.sub(lambda found: f"{found[1]} = {json.dumps(hostile)}", source), encoding="utf-8")
    model = write_toy_model(tmp_path / "toy.tflite")
    plain = (deploy(model, "c99", tmp_path / "plain", board="nicla_vision").out / PAGE).read_text(encoding="utf-8")
    out = deploy(model, "c99", tmp_path / "out", board=str(board), project="zephyr").out
    text = (out / PAGE).read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in text
    assert text.count("<script") == plain.count("<script")
    assert [path.name for path in out.rglob("*") if path.is_file() and b"alert(1)" in path.read_bytes()] == [PAGE]


@pytest.mark.parametrize("key", ["title", "taken_by"])
def test_board_file_with_line_ends_in_its_texts_is_refused(tmp_path: Path, repo_dir: Path, key: str) -> None:
    source = (repo_dir / "firmware_export" / "boards" / "nicla_vision.toml").read_text(encoding="utf-8")
    board = tmp_path / "board.toml"
    board.write_text(re.sub(rf"^{key} = .*$", rf'{key} = "a\\n#error b"', source, flags=re.MULTILINE))
    model = write_toy_model(tmp_path / "toy.tflite")
    with pytest.raises(ConfigError, match=f"{key}: expected a text without line ends and control characters"):
        deploy(model, "c99", tmp_path / "out", board=str(board))
    assert not (tmp_path / "out").exists()


def test_deploy_replaces_an_earlier_page(tmp_path: Path) -> None:
    model = write_toy_model(tmp_path / "toy.tflite")
    deploy(model, "c99", tmp_path / "out")
    report = deploy(model, "c99", tmp_path / "out", name="faces")
    assert report.out / PAGE in report.files
    assert "faces_model.c" in (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
