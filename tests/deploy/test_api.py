from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgedet.deploy.api import MANIFEST, DeployReport, deploy
from edgedet.errors import ConfigError, ConversionError
from edgedet.graph.model import load_int8_model
from edgedet.numerics.decode import dequantize_output, sigmoid
from edgedet.runtimes.open import open_runtime

pytest.importorskip("tflite_micro")
CXX = shutil.which("g++") or shutil.which("clang++")
CC = shutil.which("gcc") or shutil.which("clang")
STRICT = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]


@pytest.fixture(scope="module")
def deployed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DeployReport:
    return deploy(tiny_model, "tflm", tmp_path_factory.mktemp("deploy") / "out")


def text_of(report: DeployReport, name: str) -> str:
    return (report.out / name).read_text(encoding="utf-8")


def array_body(text: str, name: str) -> str:
    found = re.search(rf"{name}\[[^\]]*\] = \{{(.*?)\}};", text, re.DOTALL)
    assert found, name
    return found.group(1)


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def golden_arrays(report: DeployReport, names: list[str]) -> list[np.ndarray]:
    text = text_of(report, "golden.cc")
    return [np.array([int(v) for v in array_body(text, n).replace(",", " ").split()], np.int8) for n in names]


def test_deploy_model_array_reads_back_as_the_file(deployed: DeployReport, tiny_model: Path) -> None:
    body = array_body(text_of(deployed, "model_data.cc"), "edgedet_model_data")
    data = bytes(int(item, 16) for item in re.findall(r"0x([0-9a-f]{2}),", body))
    assert data == tiny_model.read_bytes()
    assert f"#define EDGEDET_MODEL_BYTES {len(data)}u" in text_of(deployed, "model_data.h")
    assert "alignas(16) const unsigned char edgedet_model_data" in text_of(deployed, "model_data.cc")


def test_deploy_golden_vectors_are_what_tflm_computes(deployed: DeployReport, tiny_model: Path) -> None:
    runtime = open_runtime(tiny_model, "tflm")
    names = list(runtime.outputs.tensor_names)
    q_input, *goldens = golden_arrays(deployed, ["edgedet_golden_input", *(f"golden_{n}" for n in names)])
    outputs = runtime.invoke(q_input.reshape(1, 32, 64, 3))
    for name, golden, output in zip(names, goldens, outputs, strict=True):
        np.testing.assert_array_equal(golden, output.ravel(), err_msg=name)
        assert golden.std() > 3, f"{name}: a nearly constant output proves nothing"


def test_deploy_resolver_registers_exactly_the_operators(deployed: DeployReport, tiny_model: Path) -> None:
    text = text_of(deployed, "op_resolver.h")
    added = re.findall(r"if \(resolver\.(Add\w+)\((.*?)\) != kTfLiteOk\)\n +return kTfLiteError;", text)
    kernels = ["CONV_2D", "DEPTHWISE_CONV_2D", None, "MAX_POOL_2D"]
    assert [method for method, _ in added] == ["AddConv2D", "AddDepthwiseConv2D", "AddLogistic", "AddMaxPool2D"]
    assert [kernel for _, kernel in added] == [f"tflite::Register_{k}_INT8()" if k else "" for k in kernels]
    assert "kEdgedetOperatorKinds = 4;" in text
    assert {o.kind: o.count for o in deployed.operators} == {
        "CONV_2D": 11,
        "DEPTHWISE_CONV_2D": 3,
        "LOGISTIC": 1,
        "MAX_POOL_2D": 1,
    }


def test_deploy_contract_positions_and_thresholds_follow_the_names(deployed: DeployReport, tiny_model: Path) -> None:
    model = load_int8_model(tiny_model)
    rows = re.findall(r'\{"(\w+)", EDGEDET_(\w+), ([^}]*)\}', text_of(deployed, "contract.h"))
    assert [name for name, _, _ in rows] == list(model.outputs.tensor_names)
    for (name, kind, rest), scale, zero_point in zip(rows, model.scales, model.zero_points, strict=True):
        position, stride, height, width, channels, scale_text, zp, threshold = rest.split(", ")
        tensor = model.graph.tensors[model.graph.outputs[int(position)]]
        assert tensor.name == name
        assert tensor.shape == (1, int(height), int(width), int(channels))
        assert (int(stride), kind) == (int(name[4:]), name[:3].upper())
        assert np.float32(float(scale_text.rstrip("f"))) == np.float32(scale)
        assert int(zp) == zero_point
        if kind == "CLS":
            q = np.array([int(threshold) - 1, int(threshold)], np.int8)
            below, above = sigmoid(dequantize_output(q, scale, zero_point))
            assert below <= model.outputs.score_threshold < above


def test_deploy_manifest_hashes_match_every_file(deployed: DeployReport, tiny_model: Path) -> None:
    manifest = json.loads(text_of(deployed, MANIFEST))
    assert {path.relative_to(deployed.out).as_posix() for path in files_of(deployed.out)} == {
        *manifest["files"],
        MANIFEST,
    }
    assert deployed.files == tuple(deployed.out / name for name in (*manifest["files"], MANIFEST))
    for name, entry in manifest["files"].items():
        data = (deployed.out / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert manifest["model"]["sha256"] == hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert manifest["arena"]["total_bytes"] == deployed.arena.total_bytes
    assert f"EDGEDET_TENSOR_ARENA_BYTES {deployed.arena.total_bytes}u" in text_of(deployed, "model_data.h")


def test_deploy_twice_replaces_the_folder_with_identical_bytes(deployed: DeployReport, tiny_model: Path) -> None:
    before = {path: path.read_bytes() for path in files_of(deployed.out)}
    deploy(tiny_model, "tflm", deployed.out)
    assert {path: path.read_bytes() for path in files_of(deployed.out)} == before
    assert [path.name for path in deployed.out.parent.iterdir()] == [deployed.out.name]


def test_deploy_unknown_target_lists_the_targets(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`target` 'c98': expected one of tflm, .* \(did you mean 'c99'\?\)"):
        deploy(tiny_model, "c98", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_deploy_foreign_folder_is_left_alone(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"not empty and holds no manifest\.json"):
        deploy(tiny_model, "tflm", tmp_path)
    assert (tmp_path / "keep.txt").read_text(encoding="utf-8") == "mine"


def test_deploy_folder_with_own_files_added_is_left_alone(
    deployed: DeployReport, tiny_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(deployed.out, tmp_path / "out")
    (tmp_path / "out" / "main.cc").write_text("int main() {}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"did not write \(main\.cc\)"):
        deploy(tiny_model, "tflm", tmp_path / "out")
    assert (tmp_path / "out" / "main.cc").exists()


def test_deploy_out_is_a_file_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="is a file"):
        deploy(tiny_model, "tflm", tmp_path / "out")


def test_deploy_truncated_model_leaves_nothing(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.tflite").write_bytes(tiny_model.read_bytes()[:2000])
    with pytest.raises(ConversionError, match=r"cut\.tflite"):
        deploy(tmp_path / "cut.tflite", "tflm", tmp_path / "a" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.tflite"]


@pytest.mark.toolchain
@pytest.mark.skipif(CXX is None or CC is None, reason="no C or C++ compiler")
@pytest.mark.parametrize("fixture", ["tiny_model", "mean_std_model"])
def test_deploy_sources_compile_and_repeat_contract_and_golden(
    fixture: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = load_int8_model(request.getfixturevalue(fixture))
    report = deploy(model.path, "tflm", tmp_path / "out")
    program = tmp_path / "check.cc"
    program.write_text(
        '#include "contract.h"\n#include "golden.h"\n#include "model_data.h"\n#include <cstdio>\n'
        "int main() {\n"
        "  for (int c = 0; c < 3; ++c) for (int p = 0; p < 256; ++p)\n"
        '    printf("%d ", edgedet_quantize_pixel(c, (uint8_t)p));\n'
        '  printf("\\n%d %u\\n", (int)((uintptr_t)edgedet_model_data % 16), (unsigned)edgedet_model_data_bytes);\n'
        '  for (const char* name : edgedet_class_names) printf("%s\\n", name);\n'
        '  printf("%.9g %.9g\\n", (double)EDGEDET_INPUT_SCALE, (double)edgedet_std[2]);\n'
        "  for (int i = 0; i < EDGEDET_GOLDEN_NUM_OUTPUTS; ++i)\n"
        '    printf("%d ", (int)edgedet_golden_outputs[i].bytes -\n'
        "      edgedet_outputs[i].height * edgedet_outputs[i].width * edgedet_outputs[i].channels);\n}\n",
        encoding="utf-8",
    )
    sources = [str(report.out / "model_data.cc"), str(report.out / "golden.cc"), str(program)]
    command = [str(CXX), "-std=c++17", *STRICT, "-I", str(report.out), *sources, "-o", str(tmp_path / "check")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(tmp_path / "check")], capture_output=True, check=True)
    lines = done.stdout.decode("utf-8").splitlines()

    runtime = open_runtime(model.path, "sim")
    spec = model.preprocess
    pixels = np.arange(256, dtype=np.uint8)[: spec.width, None].repeat(3, axis=1)
    table = np.array(lines[0].split(), np.int64).reshape(3, 256)
    for start in range(0, 256, spec.width):
        row = pixels + np.uint8(start)
        q_row = runtime.prepare(np.broadcast_to(row, (spec.height, spec.width, 3)))[0, 0]
        np.testing.assert_array_equal(table[:, start : start + spec.width].T, q_row)
    assert lines[1] == f"0 {len(model.data)}"
    assert tuple(lines[2:6]) == model.outputs.class_names
    scale, std = (np.float32(value) for value in lines[6].split())
    assert (scale, std) == (np.float32(model.input_scale), np.float32(spec.std[2]))
    assert lines[7].split() == ["0"] * 6


@pytest.mark.toolchain
@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_deploy_headers_compile_as_c99(deployed: DeployReport, tmp_path: Path) -> None:
    program = tmp_path / "check.c"
    program.write_text(
        '#include "contract.h"\n#include "contract.h"\n#include "golden.h"\n#include "model_data.h"\n'
        "int main(void) { return edgedet_quantize_pixel(0, 128) + edgedet_outputs[0].stride - 8 + "
        "(edgedet_class_names[0][0] != 'm') + (edgedet_mean[0] + edgedet_std[0] < 0.0f); }\n",
        encoding="utf-8",
    )
    command = [
        str(CC),
        "-std=c99",
        "-pedantic",
        *STRICT,
        "-I",
        str(deployed.out),
        "-c",
        str(program),
        "-o",
        str(tmp_path / "o"),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
