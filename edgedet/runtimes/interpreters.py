"""LiteRT, tflite-runtime and TFLite Micro as runtimes."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from edgedet.errors import ToolchainError, missing_extra
from edgedet.graph.model import Int8Model
from edgedet.runtimes.protocol import Run


def open_reference(model: Int8Model) -> tuple[str, Run]:
    """LiteRT (or tflite-runtime) with the reference kernels: its name with version, and a call."""
    module, package = _interpreter_module()
    run = _open_interpreter(model, module, package, module.OpResolverType.BUILTIN_REF)
    return f"int8, double rounding, TFLite reference kernels, {package}", run


def open_default_kernels(model: Int8Model) -> tuple[str, Run]:
    """LiteRT (or tflite-runtime) with the kernels that it takes by itself: its name with version, and a call."""
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


def _open_interpreter(model: Int8Model, module: Any, package: str, resolver: Any) -> Run:
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


def open_tflm(model: Int8Model) -> tuple[str, Run]:
    """TFLite Micro on this computer: its name with version, and a call."""
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
