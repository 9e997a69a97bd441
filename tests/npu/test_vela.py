from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import graph_maker
import pytest
from tiny_detector import tiny_graph

from edgedet.errors import ConversionError, ToolchainError
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.npu import vela
from edgedet.npu.compiled import read_compiled
from edgedet.npu.cores import NpuOptions, npu_setup
from edgedet.npu.vela import compile_for_npu, vela_command

INSTALLED = vela.importlib.util.find_spec("ethosu") is not None
needs_vela = pytest.mark.skipif(not INSTALLED, reason="needs the extra vela (ethos-u-vela)")


def program(folder: Path, body: str) -> Path:
    """Something in Vela's place, as a broken installation would be."""
    path = folder / "vela"
    path.write_text(
        f"#!{sys.executable}\nimport os, sys\nif '--version' in sys.argv: print('7.0.0'); sys.exit(0)\n{body}\n"
    )
    path.chmod(0o755)
    return path


@needs_vela
def test_compile_for_npu_leaves_out_what_it_says_and_gives_reasons() -> None:
    graph = graph_maker.every_operator()
    data = serialize(graph)
    compiled = compile_for_npu(data, "every.tflite", npu_setup("ethos-u55-64", NpuOptions()))
    npu = read_compiled(compiled.data, graph, None, "every.tflite", compiled.figures.reasons)
    assert npu.on_npu + len(npu.on_cpu) == len(graph.operators)
    left = {one.kind: one.reason for one in npu.on_cpu}
    assert set(left) == {"RESIZE_NEAREST_NEIGHBOR", "STRIDED_SLICE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH"}
    assert "unsupported negative stride" in left["STRIDED_SLICE"]
    assert all("\n" not in reason and reason for reason in left.values())


@needs_vela
@pytest.mark.parametrize(
    ("target", "options", "has_cache"),
    [
        ("ethos-u55-32", NpuOptions("Sram_Only"), False),
        ("ethos-u65-512", NpuOptions("Dedicated_Sram_384KB", "Ethos_U65_High_End"), True),
        ("ethos-u85-128", NpuOptions(optimise="size"), False),
    ],
)
def test_compile_for_npu_takes_every_family(target: str, options: NpuOptions, has_cache: bool) -> None:
    graph = tiny_graph()
    compiled = compile_for_npu(serialize(graph), "tiny.tflite", npu_setup(target, options))
    npu = read_compiled(compiled.data, graph, None, "tiny.tflite", compiled.figures.reasons)
    assert (npu.on_cpu, npu.on_npu) == ((), len(graph.operators))
    assert (npu.cache_bytes > 0) == has_cache
    assert compiled.figures.cycles > 0
    assert (compiled.figures.dram_bytes > 0) == has_cache
    names = [graph.tensors[index].name for index in graph.outputs]
    assert [names[i] for i in npu.order] == [npu.graph.tensors[index].name for index in npu.graph.outputs]


@needs_vela
def test_compile_for_npu_takes_any_names() -> None:
    graph = tiny_graph()
    hostile = (
        "a,b,c",
        "x\ny",
        '"q"',
        "it's",
        "../../up",
        "n" * 3000,
        "Größe\t\\",
        "operator: ADD, ofm: 'z'\nReason: no",
    )
    tensors = tuple(
        replace(tensor, name=f"{hostile[i % len(hostile)]}{i}") if i not in graph.outputs else tensor
        for i, tensor in enumerate(graph.tensors)
    )
    renamed = replace(graph, tensors=tensors)
    compiled = compile_for_npu(serialize(renamed), "x", npu_setup("ethos-u55-64", NpuOptions()))
    npu = read_compiled(compiled.data, renamed, None, "x", compiled.figures.reasons)
    assert (npu.on_npu, npu.on_cpu) == (len(graph.operators), ())
    assert compiled.figures.cycles == sum(layer.cycles for layer in compiled.figures.layers)


@needs_vela
def test_compile_for_npu_own_configuration_gives_its_clock(tmp_path: Path) -> None:
    (tmp_path / "board.ini").write_text(
        "[System_Config.Mine]\ncore_clock=123e6\naxi0_port=Sram\naxi1_port=OffChipFlash\nSram_clock_scale=1.0\n"
        "OffChipFlash_clock_scale=0.5\n[Memory_Mode.Flash]\nconst_mem_area=Axi1\narena_mem_area=Axi0\ncache_mem_area=Axi0\n"
    )
    setup = npu_setup("ethos-u55-256", NpuOptions("Flash", "Mine", tmp_path / "board.ini"))
    assert compile_for_npu(serialize(tiny_graph()), "tiny.tflite", setup).figures.clock_hz == 123e6


def test_compile_for_npu_without_vela_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match=r'ethos-u-vela is not installed.*pip install "edgedet\[vela\]"'):
        vela_command(npu_setup("ethos-u55-64", NpuOptions()))


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ("os.kill(os.getpid(), 11)", ToolchainError, "m.tflite: Vela 7.0.0 crashed (signal 11)"),
        ("sys.exit(0)", ToolchainError, "m.tflite: Vela 7.0.0 wrote no compiled file"),
        (
            "raise RuntimeError('Compilation failed: no way')",
            ConversionError,
            "refuses the model: Compilation failed: no",
        ),
        ("sys.exit(3)", ConversionError, "refuses the model: exit status 3, without a word"),
        (
            "os.mkdir('out'); open('out/model_vela.tflite', 'w').close()",
            ToolchainError,
            "Vela 7.0.0 wrote 0 files model_summary_*.csv instead of one",
        ),
    ],
)
def test_compile_for_npu_failing_vela_is_one_sentence(
    tmp_path: Path, body: str, kind: type[Exception], words: str
) -> None:
    setup = npu_setup("ethos-u55-64", NpuOptions(vela=program(tmp_path, body)))
    with pytest.raises(kind) as error:
        compile_for_npu(b"not read", "m.tflite", setup)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert "Traceback" not in str(error.value)


def test_compile_for_npu_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela, "TIMEOUT_S", 1)
    setup = npu_setup("ethos-u55-64", NpuOptions(vela=program(tmp_path, "import time; time.sleep(60)")))
    with pytest.raises(ToolchainError, match="did not end within 1 s"):
        compile_for_npu(b"", "m.tflite", setup)


@pytest.mark.parametrize(("path", "words"), [("absent", "no such program"), ("/bin/true", "expected the program of")])
def test_compile_for_npu_wrong_program_is_refused(path: str, words: str, tmp_path: Path) -> None:
    setup = npu_setup("ethos-u55-64", NpuOptions(vela=tmp_path / path))
    with pytest.raises(ToolchainError, match=words):
        compile_for_npu(b"", "m.tflite", setup)


def test_read_compiled_file_without_the_npu_is_refused() -> None:
    graph = parse_tflite(serialize(tiny_graph()), "tiny")
    with pytest.raises(ConversionError, match="no operator runs on the NPU"):
        read_compiled(serialize(tiny_graph()), graph, None, "tiny.tflite", {})
