from __future__ import annotations

import json
import re
from pathlib import Path

import graph_maker
import numpy as np
import pytest

from edgedet.commands.main import main
from edgedet.errors import ConfigError, ConversionError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import serialize, write_tflite
from edgedet.lint.api import lint
from edgedet.lint.finding import Finding
from edgedet.npu.cores import NpuOptions, npu_setup
from edgedet.npu.variants import relu_for_silu
from edgedet.npu.vela import compile_for_npu

pytest.importorskip("ethosu", reason="needs the extra vela (ethos-u-vela)")
TARGET = "ethos-u55-64"


def silu_network() -> g.Graph:
    """Large SiLU and 5x5 depthwise layers behind a convolution with 4 channels and a PAD."""
    m = graph_maker.GraphMaker(5)
    x = m.input((1, 64, 64, 3))
    x = m.conv(x, 4, (3, 3), activation="RELU6")
    pads = m.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    padded = m.same("PAD", [x, pads], (1, 66, 66, 4))
    y = m.conv(padded, 16, (3, 3), (2, 2), activation="NONE")
    last = m.operators.pop()
    m.tensors[y] = g.Tensor("conv", (1, 32, 32, 16), "int8", m.tensors[y].quantization)
    m.operators.append(g.Operator("CONV_2D", last.inputs, (y,), g.ConvOptions("VALID", (2, 2))))
    gate = m.add("LOGISTIC", [y], (1, 32, 32, 16), (1 / 256, -128))
    silu = m.add("MUL", [y, gate], (1, 32, 32, 16), (0.03, -100), g.ElementwiseOptions(pot_scale_int16=False))
    large = m.conv(silu, 16, (5, 5), activation="RELU6", depthwise=True)
    return m.graph([m.concat([large, m.alias_scale(silu, large)])])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    path = tmp_path_factory.mktemp("lint") / "it.tflite"
    write_tflite(silu_network(), path)
    return {finding.code: finding for finding in lint(path, TARGET).findings if finding.code.startswith("npu-")}


def test_npu_silu_states_the_difference_of_two_compilations(found: dict[str, Finding]) -> None:
    graph, setup = silu_network(), npu_setup(TARGET, NpuOptions())
    cycles = [compile_for_npu(serialize(x), "x", setup).figures.cycles for x in (graph, relu_for_silu(graph))]
    assert f"1 SiLU cost {cycles[0] - cycles[1]:,} of {cycles[0]:,} cycles" in found["npu-silu"].why
    assert f"compiled with ReLU instead it takes {cycles[1]:,}" in found["npu-silu"].why


def test_npu_findings_say_what_costs_nothing(found: dict[str, Finding]) -> None:
    assert found["npu-padding"].severity == "info"
    assert re.match(r"1 PADs cost 0 of [\d,]+ cycles \(0\.0 %\)", found["npu-padding"].why)
    assert "in the opposite order it is" in found["npu-concatenation"].why


def test_npu_depthwise_names_the_large_window(found: dict[str, Finding]) -> None:
    assert len(found["npu-depthwise"].where) == 1
    assert re.search(r"keep \d+ % of the MACs busy, others \d+ %", found["npu-depthwise"].why)


def test_npu_cpu_names_operators_with_reasons(tmp_path: Path) -> None:
    write_tflite(graph_maker.every_operator(), tmp_path / "every.tflite")
    codes = {finding.code: finding for finding in lint(tmp_path / "every.tflite", "ethos-u85-128").findings}
    assert len(codes["npu-cpu"].where) == 3
    assert "Vela leaves 3 of 22 operators to the processor" in codes["npu-cpu"].why


def test_lint_command_with_an_npu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "it.tflite"
    write_tflite(silu_network(), path)
    assert main(["lint", str(path), "--preset", "grove-vision-ai-v2", "--json", str(tmp_path / "r.json")]) == 0
    assert "npu-silu" in capsys.readouterr().out
    assert "npu-padding" in {entry["code"] for entry in json.loads((tmp_path / "r.json").read_text())["findings"]}
    assert main(["lint", str(path), "--memory-mode", "Sram_Only"]) == 2
    assert "options of an NPU without --target" in capsys.readouterr().err


def test_lint_refuses_what_no_npu_runs(tmp_path: Path) -> None:
    path = tmp_path / "compiled.tflite"
    path.write_bytes(compile_for_npu(serialize(silu_network()), "x", npu_setup(TARGET, NpuOptions())).data)
    with pytest.raises(UnsupportedOpError, match="from before the compiler"):
        lint(path, TARGET)
    m = graph_maker.GraphMaker(0)
    x = m.tensor((1, 4), "float32", name="x")
    m.inputs.append(x)
    y = m.tensor((1, 4), "float32", name="y")
    m.operators.append(g.Operator("EXP", (x,), (y,)))
    write_tflite(m.graph([y]), tmp_path / "float.tflite")
    with pytest.raises(ConversionError, match="an NPU runs int8 only"):
        lint(tmp_path / "float.tflite", TARGET)
    with pytest.raises(ConfigError, match="options of an NPU without `target`"):
        lint(path, None, NpuOptions())
