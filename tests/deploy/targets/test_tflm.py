"""Target tflm for files without contracts: any type and number of inputs and outputs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest
from PIL import Image

from edgedet.commands.main import main
from edgedet.data.pictures.pixel_formats import rgb_to_gray
from edgedet.deploy.api import MANIFEST, deploy
from edgedet.errors import ConfigError, ToolchainError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.tflite.flatbuffer_write import build as build_unchecked

tflite_micro = pytest.importorskip("tflite_micro", reason="needs the extra tflm")
pytest.importorskip("jinja2", reason="needs the extra tflm")
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]


def written(folder: Path, graph: g.Graph) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(build_unchecked(graph))
    return path


def borders() -> g.Graph:
    """Inputs int8 and float32; outputs int8 (twice in another order), int16, float32."""
    m = maker.GraphMaker(3)
    x = m.input((1, 8, 8, 3))
    y = m.tensor((1, 8, 8, 4), "float32", name='odd "name" */')
    m.inputs.append(y)
    q = m.tensor((1, 8, 8, 4), "int8", maker.quantization(0.02, 5))
    m.operators.append(g.Operator("QUANTIZE", (y,), (q,)))
    total = m.add("ADD", [m.conv(x, 4), q], (1, 8, 8, 4), (0.05, -3), g.ElementwiseOptions())
    real = m.tensor((1, 8, 8, 4), "float32")
    m.operators.append(g.Operator("DEQUANTIZE", (total,), (real,)))
    wide = m.tensor((1, 8, 8, 4), "int16", maker.quantization(0.001, 0))
    m.operators.append(g.Operator("QUANTIZE", (total,), (wide,)))
    return m.graph([real, total, wide])


def float_sum() -> g.Graph:
    """Nothing that the simulator runs."""
    tensors = tuple(g.Tensor(name, (1, 5), "float32") for name in ("a", "b", "sum"))
    return g.Graph(tensors, (g.Operator("ADD", (0, 1), (2,), g.ElementwiseOptions()),), (0, 1), (2,))


def golden_tensors(out: Path, role: str) -> list[np.ndarray]:
    """Arrays of golden.cc by its own text: types from the table, bytes from the arrays."""
    text = (out / "golden.cc").read_text(encoding="utf-8")
    table = re.search(rf"edgedet_golden_{role}s\[[^\]]*\] = \{{(.*?)\n\}};", text, re.DOTALL)
    assert table is not None
    arrays = []
    for kind, array, size in re.findall(r'", "(\w+)", (\w+), (\d+)u\},', table[1]):
        body = re.search(rf"{array}\[{size}\] = \{{(.*?)\}};", text, re.DOTALL)
        assert body is not None
        data = bytes(int(item, 16) for item in re.findall(r"0x([0-9a-f]{2}),", body[1]))
        assert len(data) == int(size)
        arrays.append(np.frombuffer(data, kind))
    return arrays


def run_tflm(path: Path, graph: g.Graph, inputs: list[np.ndarray]) -> list[np.ndarray]:
    interpreter = tflite_micro.runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=1 << 20)
    for position, (index, array) in enumerate(zip(graph.inputs, inputs, strict=True)):
        interpreter.set_input(array.reshape(graph.tensors[index].shape), position)
    interpreter.invoke()
    return [interpreter.get_output(position) for position in range(len(graph.outputs))]


@pytest.mark.parametrize("make", [borders, float_sum])
def test_deploy_tflm_any_types_golden_vectors_are_what_tflm_computes(
    make: Callable[[], g.Graph], tmp_path: Path
) -> None:
    graph = make()
    path = written(tmp_path, graph)
    report = deploy(path, "tflm", tmp_path / "out")
    assert not (report.out / "contract.h").exists()
    assert "there is no contract.h" in " ".join(report.text().split())
    inputs, outputs = golden_tensors(report.out, "input"), golden_tensors(report.out, "output")
    for golden, found in zip(outputs, run_tflm(path, graph, inputs), strict=True):
        assert golden.dtype == found.dtype
        assert golden.tobytes() == found.tobytes()
        assert len(np.unique(golden)) > 3, "a nearly constant output proves nothing"
    manifest = json.loads((report.out / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["contract"] is None
    assert [entry["dtype"] for entry in manifest["golden"]["inputs"]] == [str(array.dtype) for array in inputs]


def test_deploy_tflm_says_whether_the_simulator_confirms_the_golden_vectors(tmp_path: Path) -> None:
    checked = deploy(written(tmp_path, borders()), "tflm", tmp_path / "checked")
    alone = deploy(written(tmp_path, float_sum()), "tflm", tmp_path / "alone")
    words = "TFLite Micro alone, not cross-checked by the simulator: "
    assert checked.unchecked == ""
    assert words not in checked.text()
    assert f"outputs by {words}" in alone.text()
    entries = [json.loads((r.out / MANIFEST).read_text(encoding="utf-8"))["golden"] for r in (checked, alone)]
    assert entries[0]["checked"] == "NumPy simulator = TFLite Micro, every byte"
    assert entries[1]["checked"].startswith(words)
    assert str(tmp_path) not in entries[1]["checked"]
    headers = [(r.out / "golden.h").read_text(encoding="utf-8") for r in (checked, alone)]
    assert "equal to TFLite Micro's reference kernels in every byte" in headers[0]
    assert "does not run this model: not cross-checked" in headers[1]


@pytest.mark.toolchain
def test_deploy_tflm_any_types_sources_compile_and_hold_the_bytes(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    out = deploy(written(tmp_path, borders()), "tflm", tmp_path / "out").out
    program = tmp_path / "check.cc"
    program.write_text(
        '#include "golden.h"\n#include "golden.h"\n#include "model_data.h"\n#include <cstdio>\n#include <cstring>\n'
        "int main() {\n"
        "  for (const edgedet_golden_tensor& t : edgedet_golden_inputs) {\n"
        "    unsigned sum = 0; for (uint32_t i = 0; i < t.bytes; ++i) sum += t.data[i];\n"
        '    std::printf("%s|%s|%u|%u|%d\\n", t.name, t.type, (unsigned)t.bytes, sum, (int)((uintptr_t)t.data % 16));\n'
        "  }\n  return EDGEDET_GOLDEN_NUM_OUTPUTS == 3 ? 0 : 1;\n}\n",
        encoding="utf-8",
    )
    sources = [str(out / "golden.cc"), str(out / "model_data.cc"), str(program)]
    command = [compiler, "-std=c++17", *STRICT, "-I", str(out), *sources, "-o", str(tmp_path / "check")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    lines = subprocess.run([tmp_path / "check"], capture_output=True, text=True, check=True).stdout.splitlines()
    arrays = golden_tensors(out, "input")
    expected = [(str(a.dtype), str(a.nbytes), str(sum(a.tobytes())), "0") for a in arrays]
    assert [tuple(line.split("|")[1:]) for line in lines] == expected
    assert lines[1].startswith('odd "name" */|')


def test_deploy_tflm_image_without_contract_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"carries no preprocessing contract.*`edgedet contract`"):
        deploy(written(tmp_path, borders()), "tflm", tmp_path / "out", image=tmp_path / "photo.png")
    assert not (tmp_path / "out").exists()


def test_deploy_tflm_contract_of_another_head_takes_a_grey_image(tmp_path: Path) -> None:
    """A classifier with one channel: no contract.h, but the picture becomes the golden input."""
    m = maker.GraphMaker(5)
    bare = written(tmp_path, m.graph([m.conv(m.input((1, 24, 40, 1)), 2)]))
    path = tmp_path / "grey.tflite"
    options = ["--head", "none", "--classes", "a,b", "--channels", "gray", "--mean", "0", "--std", "255"]
    assert main(["contract", str(bare), *options, "--out", str(path)]) == 0
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    out = deploy(path, "tflm", tmp_path / "out", image=tmp_path / "photo.png").out
    assert not (out / "contract.h").exists()
    (found,) = golden_tensors(out, "input")
    np.testing.assert_array_equal(found, (rgb_to_gray(image).astype(np.int16) - 128).ravel())
    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["contract"]["preprocess"]["channel_order"] == "GRAY"


def test_deploy_tflm_example_of_another_maker_has_exact_golden_vectors(shared_dir: Path, tmp_path: Path) -> None:
    path = shared_dir / "data" / "tflite" / "mlperf_ad_fullint.tflite"
    report = deploy(path, "tflm", tmp_path / "out")
    assert report.unchecked == ""
    assert [use.method for use in report.operators] == ["AddDequantize", "AddFullyConnected", "AddQuantize"]
    assert [array.dtype for array in golden_tensors(report.out, "output")] == [np.float32]


@pytest.mark.slow
def test_deploy_tflm_network_with_state_has_tflms_own_golden_vectors(shared_dir: Path, tmp_path: Path) -> None:
    """SVDF; its arena must be searched for above sizes in which TFLite Micro crashes."""
    path = shared_dir / "data" / "tflite" / "tflm_keyword_scrambled_8bit.tflite"
    report = deploy(path, "tflm", tmp_path / "out")
    assert "SVDF" in report.unchecked
    assert "AddSvdf" in (report.out / "op_resolver.h").read_text(encoding="utf-8")
    inputs, outputs = golden_tensors(report.out, "input"), golden_tensors(report.out, "output")
    found = run_tflm(path, read_tflite(path), inputs)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in outputs]


def test_deploy_tflm_file_after_an_npu_compiler_says_so(shared_dir: Path, tmp_path: Path) -> None:
    path = shared_dir / "data" / "tflite" / "tflm_person_detect_vela.tflite"
    with pytest.raises(UnsupportedOpError, match=r"compiled by Vela for Arm Ethos-U.*from before the compiler"):
        deploy(path, "tflm", tmp_path / "out")


def test_deploy_tflm_file_that_tflm_refuses_gives_its_words(shared_dir: Path, tmp_path: Path) -> None:
    path = shared_dir / "data" / "tflite" / "gd32_yolov10_front.tflite"
    with pytest.raises(ToolchainError, match=r"gd32_yolov10_front\.tflite: TFLite Micro refuses.*INT64.*gather"):
        deploy(path, "tflm", tmp_path / "out")
    assert not (tmp_path / "out").exists()
