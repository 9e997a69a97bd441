from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgedet.data.coco.build import load_split
from edgedet.data.pictures.preprocess import load_image, resize_to_input
from edgedet.errors import ConfigError, ConversionError, ShapeError, ToolchainError
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.graph.model import load_int8_model
from edgedet.runtimes.names import INT8_RUNTIMES
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.protocol import Int8Runtime

PACKAGES = {"ref": "ai_edge_litert", "xnnpack": "ai_edge_litert", "tflm": "tflite_micro"}


def opened(path: Path, name: str) -> Int8Runtime:
    if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    return open_runtime(path, name)


def toy_inputs(runtime: Int8Runtime, toy_data: Path) -> list[np.ndarray]:
    images = [load_image(record.path) for record in load_split(toy_data, "valid").images]
    rng = np.random.default_rng(0)
    images += [rng.integers(0, 256, (64, 96, 3), dtype=np.uint8), np.full((5, 7, 3), 255, np.uint8)]
    return [runtime.prepare(resize_to_input(image, runtime.preprocess)[0]) for image in images]


@pytest.mark.parametrize("name", ["sim", "tflm"])
def test_open_runtime_chip_arithmetic_equals_reference_kernels(name: str, toy_model: Path, toy_data: Path) -> None:
    runtime, witness = opened(toy_model, name), opened(toy_model, "ref")
    for x in toy_inputs(runtime, toy_data):
        for output, expected in zip(runtime.invoke(x), witness.invoke(x), strict=True):
            assert output.dtype == np.int8
            np.testing.assert_array_equal(output, expected)


def test_open_runtime_xnnpack_is_within_one_step(toy_model: Path, toy_data: Path) -> None:
    runtime, witness = opened(toy_model, "xnnpack"), opened(toy_model, "ref")
    for x in toy_inputs(runtime, toy_data):
        for output, expected in zip(runtime.invoke(x), witness.invoke(x), strict=True):
            # Two convolutions deep at most, each at most 1 LSB off by another rounding.
            assert np.abs(output.astype(int) - expected).max() <= 2


@pytest.mark.parametrize("name", INT8_RUNTIMES)
def test_open_runtime_outputs_come_in_contract_order(name: str, toy_model: Path) -> None:
    runtime = opened(toy_model, name)
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[16:40, 32:56, 1] = 255  # a green square
    raw = runtime.invoke(runtime.prepare(pixels))
    assert [a.shape for a in raw] == [
        (1, 8, 12, 3), (1, 8, 12, 4), (1, 4, 6, 3), (1, 4, 6, 4), (1, 2, 3, 3), (1, 2, 3, 4),
    ]  # fmt: skip
    found = runtime.decode(raw, 0.5)
    assert found.labels.tolist() == [1]
    np.testing.assert_allclose(found.boxes, [[32, 16, 56, 40]], atol=6)  # hand-made box regression
    assert runtime.name == name
    assert runtime.arithmetic


@pytest.mark.parametrize("name", ["ref", "xnnpack", "tflm"])
def test_open_runtime_arithmetic_names_package_and_version(name: str, toy_model: Path) -> None:
    version = importlib.metadata.version(PACKAGES[name].replace("_", "-"))
    assert opened(toy_model, name).arithmetic.endswith(version)


@pytest.mark.parametrize("name", INT8_RUNTIMES)
def test_open_runtime_keeps_the_terminal_clean(name: str, toy_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runtime = opened(toy_model, name)
    runtime.invoke(runtime.prepare(np.zeros((64, 96, 3), np.uint8)))
    del runtime
    assert capfd.readouterr() == ("", "")
    os.write(2, b"still open")  # the descriptor is back in place
    assert capfd.readouterr().err == "still open"


def test_open_runtime_repeated_invocation_gives_fresh_arrays(toy_model: Path, toy_data: Path) -> None:
    for name in INT8_RUNTIMES:
        runtime = opened(toy_model, name)
        first, second, *_ = toy_inputs(runtime, toy_data)
        kept = runtime.invoke(first)
        copies = [output.copy() for output in kept]
        runtime.invoke(second)
        assert all(np.array_equal(a, b) for a, b in zip(kept, copies, strict=True))


def test_open_runtime_unknown_name_lists_the_known_ones(toy_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"one of sim, ref, xnnpack, tflm, c99, .* for a .tflite; got 'gpu'"):
        open_runtime(toy_model, "gpu")


@pytest.mark.parametrize(
    ("name", "missing", "command"),
    [
        ("ref", ("ai_edge_litert", "tflite_runtime"), r"edgedet\[runtime\]"),
        ("xnnpack", ("ai_edge_litert", "tflite_runtime"), r"edgedet\[runtime\]"),
        ("tflm", ("tflite_micro",), r"edgedet\[tflm\]"),
    ],
)
def test_open_runtime_missing_package_gives_the_install_command(
    name: str, missing: tuple[str, ...], command: str, toy_model: Path, tmp_path: Path
) -> None:
    # A fresh interpreter in which the package can't be found.
    code = f"""
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from edgedet.errors import ToolchainError
from edgedet.runtimes.open import open_runtime
from pathlib import Path
try:
    open_runtime(Path({str(toy_model)!r}), {name!r})
except ToolchainError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert re.search(f'{missing[0]}.* is not installed.*pip install "{command}"', done.stdout)


def test_load_int8_model_without_metadata_says_what_to_do(toy_model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.tflite"
    write_tflite(dataclasses.replace(read_tflite(toy_model), metadata=()), bare)
    for name in INT8_RUNTIMES:
        with pytest.raises(ConversionError, match=r"bare.tflite: 0 metadata buffers.*edgedet quantize"):
            open_runtime(bare, name)


def test_load_int8_model_example_of_another_maker_lacks_metadata(shared_dir: Path) -> None:
    with pytest.raises(ConversionError, match="metadata"):
        load_int8_model(shared_dir / "data" / "example_15_ops_int8.tflite")


@pytest.mark.parametrize("size", [0, 3, 100, 0.5, 0.99])
def test_load_int8_model_truncated_file_raises(size: float, toy_model: Path, tmp_path: Path) -> None:
    data = toy_model.read_bytes()
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(data[: int(size if size >= 3 or size == 0 else size * len(data))])
    with pytest.raises(ConversionError, match=r"cut\.tflite"):
        load_int8_model(cut)


def test_load_int8_model_missing_file_or_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="can't read the model"):
        load_int8_model(tmp_path / "absent.tflite")
    with pytest.raises(ConversionError, match="can't read the model"):
        load_int8_model(tmp_path)


def test_prepare_wrong_size_raises(toy_model: Path) -> None:
    runtime = open_runtime(toy_model, "sim")
    with pytest.raises(ShapeError, match=r"expected \(64, 96, 3\), found \(96, 64, 3\)"):
        runtime.prepare(np.zeros((96, 64, 3), np.uint8))


def test_prepare_mean_zero_std_255_is_pixel_minus_128(toy_model: Path) -> None:
    runtime = open_runtime(toy_model, "sim")
    pixels = np.arange(64 * 96 * 3, dtype=np.uint32).astype(np.uint8).reshape(64, 96, 3)
    x = runtime.prepare(pixels)
    assert x.shape == (1, 64, 96, 3)
    np.testing.assert_array_equal(x[0].astype(int), pixels.astype(int) - 128)


def test_open_runtime_interpreter_refusal_becomes_one_error(
    toy_model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    opened(toy_model, "ref")
    model = load_int8_model(toy_model)
    broken = dataclasses.replace(model, data=model.data[:64])  # parse_tflite would stop this file earlier
    monkeypatch.setattr("edgedet.runtimes.open.load_int8_model", lambda path: broken)
    with pytest.raises(ToolchainError, match=r"toy\.tflite: ai-edge-litert .* can't run this file"):
        open_runtime(toy_model, "ref")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(np.__version__.startswith("1."), reason="tflite-runtime works with this NumPy")
def test_open_runtime_tflite_runtime_with_numpy_2_names_the_way_out(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its import succeeds with NumPy 2, only Interpreter() fails, inside C++; an importable package is all it takes.
    (tmp_path / "tflite_runtime").mkdir()
    (tmp_path / "tflite_runtime" / "__init__.py").touch()
    (tmp_path / "tflite_runtime" / "interpreter.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.delitem(sys.modules, "ai_edge_litert.interpreter", raising=False)
    with pytest.raises(ToolchainError, match=r"NumPy 1 only, found NumPy 2.*numpy<2"):
        open_runtime(toy_model, "ref")
    monkeypatch.delitem(sys.modules, "tflite_runtime.interpreter")
    monkeypatch.delitem(sys.modules, "tflite_runtime")


@pytest.mark.parametrize("name", INT8_RUNTIMES)
def test_open_runtime_float_file_says_to_quantize(name: str, toy_model: Path, tmp_path: Path) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    import flatbuffers

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(toy_model.read_bytes(), 0))
    for tensor in model.subgraphs[0].tensors:
        buffer = model.buffers[tensor.buffer]
        if buffer.data is not None and len(buffer.data):
            stored = np.int8 if tensor.type == schema.TensorType.INT8 else np.int32
            values = np.asarray(buffer.data, np.uint8).view(stored).astype(np.float32)
            buffer.data = values.view(np.uint8)
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "float.tflite"
    path.write_bytes(bytes(builder.Output()))
    with pytest.raises(ConversionError, match=r"float\.tflite.*is float32.*edgedet quantize"):
        open_runtime(path, name)
