"""The ways to run a model, behind one small protocol: NumPy simulator, LiteRT or tflite-runtime, TFLite Micro.

All of them take the same int8 `.tflite`, read both contracts from its metadata, and differ only in the arithmetic,
which each names. Checkpoints run through `edgedet.train.runtime.TorchRuntime`, which follows the same protocol; it
lives there because nothing here imports torch.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgedet.convert.flatbuffer import parse_tflite
from edgedet.convert.graph import Graph, Tensor
from edgedet.convert.metadata import read_contracts
from edgedet.data.preprocess import quantize_input
from edgedet.errors import ConfigError, ConversionError, ShapeError, ToolchainError, missing_extra
from edgedet.evaluate.simulator import Simulator
from edgedet.numerics.decode import decode_int8
from edgedet.structs import Detections, OutputSpec, PreprocessSpec

INT8_RUNTIMES = ("sim", "ref", "xnnpack", "tflm")
COMPILED_RUNTIMES = ("c99", "qemu:cortex-m4", "qemu:cortex-m7", "qemu:cortex-m55")  # these need a C compiler

# q_input int8 (1, H, W, C) -> int8 outputs in the order of the file
_Run = Callable[[np.ndarray], Sequence[np.ndarray]]


class Runtime(Protocol):
    """A model that can be run on one image at a time."""

    @property
    def name(self) -> str:
        """Short name, as on the command line."""

    @property
    def arithmetic(self) -> str:
        """Which arithmetic and which package run, in words."""

    @property
    def preprocess(self) -> PreprocessSpec:
        """Preprocessing contract of the model."""

    @property
    def outputs(self) -> OutputSpec:
        """Output contract of the model."""

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Network input (1, height, width, 3) from resized pixels, uint8 (height, width, 3)."""

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Raw outputs in contract order, each (1, h, w, c)."""

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float) -> Detections:
        """Detections in pixels of the network's input, best first."""


@dataclass(frozen=True, eq=False)
class Int8Model:
    """An int8 `.tflite` with its contracts."""

    path: Path
    data: bytes
    graph: Graph
    preprocess: PreprocessSpec
    outputs: OutputSpec
    output_positions: tuple[int, ...]  # contract order -> position in graph.outputs
    input_scale: float
    input_zero_point: int
    scales: tuple[float, ...]  # of the outputs, contract order
    zero_points: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Int8Runtime:
    """Runtime over an int8 file; follows the protocol `Runtime`."""

    name: str
    arithmetic: str
    model: Int8Model
    run: _Run
    measured: Callable[[bool], tuple[str, ...]] = lambda per_operator: ()  # see `details`

    @property
    def preprocess(self) -> PreprocessSpec:
        """Preprocessing contract of the file."""
        return self.model.preprocess

    @property
    def outputs(self) -> OutputSpec:
        """Output contract of the file."""
        return self.model.outputs

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Quantize pixels for the input tensor.

        Args:
            pixels: uint8 (height, width, 3), RGB, already at the input's size.
        Returns:
            int8 (1, height, width, 3).
        Raises:
            ShapeError: another size than the contract's.
        """
        expected = (self.preprocess.height, self.preprocess.width, 3)
        if pixels.shape != expected:
            raise ShapeError(
                f"{self.model.path}: input pixels: expected {expected}, found {pixels.shape}; resize first"
            )
        return quantize_input(pixels, self.preprocess, self.model.input_scale, self.model.input_zero_point)[None]

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network.

        Args:
            x: int8 (1, height, width, 3).
        Returns:
            int8 outputs in contract order, each (1, h, w, c).
        """
        raw = self.run(x)
        return tuple(raw[position] for position in self.model.output_positions)

    def details(self, per_operator: bool) -> tuple[str, ...]:
        """What the runtime measured besides time, lines for a report; `per_operator`: of every operator."""
        return self.measured(per_operator)

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float) -> Detections:
        """Decode int8 outputs; thresholds other than the score's come from the contract.

        Args:
            raw: what `invoke` returned.
            score_threshold: 0 <= t < 1.
        Returns:
            Detections in pixels of the network's input.
        """
        model = self.model
        return decode_int8(raw, model.scales, model.zero_points, model.outputs, score_threshold=score_threshold)


def open_runtime(path: Path, name: str = "sim") -> Int8Runtime:
    """Open an int8 `.tflite` in one of the int8 runtimes.

    Args:
        path: the file; must carry edgedet's metadata.
        name: `sim` (NumPy integer simulator, the chip's arithmetic), `ref` (TFLite's reference kernels), `xnnpack`
            (the interpreter's default kernels), `tflm` (TFLite Micro's reference kernels), `c99` (the generated C on
            this machine), `qemu:cortex-m4`, `-m7` or `-m55` (the same C on an emulated microcontroller).
    Returns:
        The runtime, ready to invoke.
    Raises:
        ConfigError: unknown name.
        ConversionError: the file is missing, damaged, not int8 or lacks metadata.
        ToolchainError: the interpreter's package is missing or rejects the file.
    """
    openers = {
        "sim": _open_simulator,
        "ref": _open_reference,
        "xnnpack": _open_default_kernels,
        "tflm": _open_tflm,
        "c99": _open_c99,
    }
    known = (*INT8_RUNTIMES, *COMPILED_RUNTIMES)
    if name not in known:
        raise ConfigError(f"runtime must be one of {', '.join(known)} for a .tflite; got {name!r}")
    model = load_int8_model(path)
    if name.startswith("qemu:"):
        return _open_qemu(model, name)
    arithmetic, run = openers[name](model)
    return Int8Runtime(name, arithmetic, model, run)


def load_int8_model(path: Path) -> Int8Model:
    """Read an int8 `.tflite`, its contracts and the quantization of its input and outputs.

    Args:
        path: the file.
    Returns:
        The model.
    Raises:
        ConversionError: missing or damaged file, not int8, no metadata, or contracts that don't fit the tensors.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConversionError(f"{path}: can't read the model ({error.strerror}); check the path") from error
    graph = parse_tflite(data, str(path))
    if len(graph.inputs) != 1:
        raise ConversionError(
            f"{path}: expected one input, found {len(graph.inputs)}; edgedet runs single-input models"
        )
    source = graph.tensors[graph.inputs[0]]
    input_scale, input_zero_point = _affine(source, path)  # before the contracts: a float file has a clearer error
    contracts = read_contracts(graph, str(path))
    positions = tuple(contracts.output_indices)
    affine = [_affine(graph.tensors[graph.outputs[position]], path) for position in positions]
    return Int8Model(
        path=path,
        data=data,
        graph=graph,
        preprocess=contracts.preprocess,
        outputs=contracts.outputs,
        output_positions=positions,
        input_scale=input_scale,
        input_zero_point=input_zero_point,
        scales=tuple(scale for scale, _ in affine),
        zero_points=tuple(zero_point for _, zero_point in affine),
    )


def _affine(tensor: Tensor, path: Path) -> tuple[float, int]:
    """(scale, zero point) of an int8 tensor."""
    if tensor.dtype != "int8" or tensor.quantization is None:
        raise ConversionError(
            f"{path}: tensor {tensor.name}: expected quantized int8, found {tensor.dtype}; this file is not an int8 "
            "model, make one with `edgedet quantize`"
        )
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])


def _open_simulator(model: Int8Model) -> tuple[str, _Run]:
    return (
        "int8, double rounding (TFLite reference kernels, TFLM, CMSIS-NN), edgedet's NumPy simulator",
        Simulator(model.graph).invoke,
    )


def _open_reference(model: Int8Model) -> tuple[str, _Run]:
    module, package = _interpreter_module()
    run = _open_interpreter(model, module, package, module.OpResolverType.BUILTIN_REF)
    return f"int8, double rounding, TFLite reference kernels, {package}", run


def _open_default_kernels(model: Int8Model) -> tuple[str, _Run]:
    module, package = _interpreter_module()
    run = _open_interpreter(model, module, package, module.OpResolverType.AUTO)
    return f"int8, default kernels with XNNPACK (rounds differently from the chip), {package}", run


def _interpreter_module() -> tuple[Any, str]:
    """The interpreter module and its name with version: ai-edge-litert, else its predecessor tflite-runtime."""
    for module, distribution in (("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime")):
        try:
            interpreter = importlib.import_module(f"{module}.interpreter")
        except ModuleNotFoundError as error:
            if error.name not in (module, f"{module}.interpreter"):
                raise ToolchainError(f"{distribution}: broken installation, {error}; install it again") from error
            continue
        if module == "tflite_runtime" and int(np.__version__.partition(".")[0]) >= 2:
            raise ToolchainError(
                f"tflite-runtime works with NumPy 1 only, found NumPy {np.__version__}: pip install ai-edge-litert, or "
                'pip install "numpy<2"'
            )
        return interpreter, f"{distribution} {importlib.metadata.version(distribution)}"
    raise missing_extra("ai_edge_litert (or tflite_runtime)", "runtime")


def _open_interpreter(model: Int8Model, module: Any, package: str, resolver: Any) -> _Run:
    """Interpreter over the file's bytes, one thread, outputs in the order of the file."""
    with _quiet_stderr() as spoken:
        try:
            interpreter = module.Interpreter(
                model_content=model.data, num_threads=1, experimental_op_resolver_type=resolver
            )
            interpreter.allocate_tensors()
        except Exception as error:  # the bindings raise RuntimeError, ValueError, and with a wrong NumPy others
            raise ToolchainError(_rejected(model, package, error, spoken())) from error
    input_index = interpreter.get_input_details()[0]["index"]
    output_indices = [detail["index"] for detail in interpreter.get_output_details()]

    def run(x: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(input_index, x)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in output_indices]

    return run


def _open_tflm(model: Int8Model) -> tuple[str, _Run]:
    try:
        tflm = importlib.import_module("tflite_micro")
    except ModuleNotFoundError as error:
        raise missing_extra("tflite_micro", "tflm") from error
    package = f"tflite-micro {importlib.metadata.version('tflite-micro')}"
    with _quiet_stderr() as spoken:
        try:
            interpreter = tflm.runtime.Interpreter.from_bytes(model.data, arena_size=_ample_arena_bytes(model))
        except Exception as error:  # RuntimeError or ValueError from the bindings
            raise ToolchainError(_rejected(model, package, error, spoken())) from error
    outputs = range(len(model.graph.outputs))

    def run(x: np.ndarray) -> list[np.ndarray]:
        interpreter.set_input(x, 0)
        interpreter.invoke()
        return [interpreter.get_output(index) for index in outputs]

    return f"int8, double rounding, TFLite Micro reference kernels, {package}", run


def _open_c99(model: Int8Model) -> tuple[str, _Run]:
    # Here, because the generator in deploy/ uses this module.
    from edgedet.evaluate.c99_runtime import HOST_FLAGS, HostModule

    module = HostModule(model.data, model.graph)
    return f"int8, double rounding, edgedet's generated C on the host, {module.compiler} {' '.join(HOST_FLAGS)}", module


def _open_qemu(model: Int8Model, name: str) -> Int8Runtime:
    from edgedet.evaluate.c99_runtime import QemuModule

    module = QemuModule(model.data, model.graph, name.removeprefix("qemu:"), model=model)
    board = module.firmware.board
    arithmetic = (
        f"int8, double rounding, edgedet's generated C on QEMU {board.machine} ({board.cpu}); instructions, not cycles"
    )
    return Int8Runtime(name, arithmetic, model, module, module.details)


def _ample_arena_bytes(model: Int8Model) -> int:
    """An arena that surely suffices: a too small one crashes the process in the constructor.

    Twice all activations without any reuse, twice the file for per-channel parameters and scratch, and 4 MiB.
    """
    activations = sum(
        int(np.prod(tensor.shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
        for tensor in model.graph.tensors
        if tensor.data is None
    )
    return 2 * activations + 2 * len(model.data) + (4 << 20)


def _rejected(model: Int8Model, package: str, error: Exception, spoken: str) -> str:
    reason = " ".join(f"{error} {spoken}".split())
    return f"{model.path}: {package} can't run this file: {reason}"


@contextmanager
def _quiet_stderr() -> Iterator[Callable[[], str]]:
    """Keep C++ libraries from writing to the terminal; gives a function that returns what they wrote so far.

    They write to file descriptor 2, past sys.stderr, hence the descriptor itself is turned aside.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:

        def spoken() -> str:
            sink.seek(0)
            return sink.read().decode("utf-8", errors="replace")

        os.dup2(sink.fileno(), 2)
        try:
            yield spoken
        finally:
            os.dup2(saved, 2)
            os.close(saved)
