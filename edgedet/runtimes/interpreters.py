"""LiteRT, tflite-runtime and TFLite Micro as runtimes.

edgedet's arithmetic is TFLite Micro's. LiteRT's reference kernels (2.3.0) are a second witness that gives the same
bytes but for these operators; tests/runtimes/test_reference_differences.py holds an example of each:

- FULLY_CONNECTED with one scale for all weights rounds once there, twice in TFLite Micro and in tflite-runtime 2.14: up
  to 2 LSB on MLPerf's autoencoder;
- MUL makes its multiplier in float32 there, in float64 in TFLite Micro: 1 LSB, for 9 of 300 random triples of scales,
  in at most 20 of the 65,536 pairs of codes;
- LOGISTIC and TANH differ by 1 LSB in 20 and 5 of 3,840,000 codes (15,000 random scales each).

`edgedet quantize` chooses scales for which MUL and LOGISTIC agree (quantize/fx/settle_scales.py).
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

import numpy as np

from edgedet.errors import ToolchainError, missing_extra
from edgedet.graph.flatbuffer import bytes_inside
from edgedet.graph.graph import Graph
from edgedet.runtimes.protocol import Run
from edgedet.runtimes.tflm_arena import ample_bytes
from edgedet.terminal import quiet_stderr


def open_reference(source: str, data: bytes) -> tuple[str, Run]:
    """LiteRT (or tflite-runtime) with the reference kernels; the module's text says where they are not the chip's.

    Args:
        source: name of the file, for errors.
        data: its bytes; contracts are not needed.
    Returns:
        Its arithmetic with name and version, and a call.
    Raises:
        ToolchainError: the package is missing or refuses the file.
    """
    module, package = _interpreter_module()
    run = _open_interpreter(source, data, module, package, module.OpResolverType.BUILTIN_REF)
    single = " (single in FULLY_CONNECTED with one scale)" if module.__name__.startswith("ai_edge_litert") else ""
    return f"int8, double rounding{single}, TFLite reference kernels, {package}", run


def open_default_kernels(source: str, data: bytes) -> tuple[str, Run]:
    """LiteRT (or tflite-runtime) with the kernels that it takes by itself; as `open_reference`."""
    module, package = _interpreter_module()
    run = _open_interpreter(source, data, module, package, module.OpResolverType.AUTO)
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


def _open_interpreter(source: str, data: bytes, module: Any, package: str, resolver: Any) -> Run:
    """Interpreter over the file's bytes, one thread, inputs and outputs in the order of the file."""
    with quiet_stderr() as spoken:
        try:
            interpreter = module.Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=resolver)
            interpreter.allocate_tensors()
        except Exception as error:  # the bindings raise RuntimeError, ValueError, and with a wrong NumPy others
            raise ToolchainError(_rejected(source, package, error, spoken())) from error
    input_indices = [detail["index"] for detail in interpreter.get_input_details()]
    output_indices = [detail["index"] for detail in interpreter.get_output_details()]

    def run(*q_inputs: np.ndarray) -> list[np.ndarray]:
        for index, array in zip(input_indices, q_inputs, strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in output_indices]

    return run


def open_tflm(source: str, data: bytes, graph: Graph) -> tuple[str, Run]:
    """TFLite Micro on this computer; as `open_reference`, with the file's graph."""
    try:
        tflm = importlib.import_module("tflite_micro")
    except ModuleNotFoundError as error:
        raise missing_extra("tflite_micro", "tflm") from error
    package = f"tflite-micro {importlib.metadata.version('tflite-micro')}"
    data = bytes_inside(data, graph)  # TFLite Micro would take zeros for what lies behind the flatbuffer
    with quiet_stderr() as spoken:
        try:
            interpreter = tflm.runtime.Interpreter.from_bytes(data, arena_size=ample_bytes(graph, len(data)))
        except Exception as error:  # RuntimeError or ValueError from the bindings
            raise ToolchainError(_rejected(source, package, error, spoken())) from error
    outputs = range(len(graph.outputs))

    def run(*q_inputs: np.ndarray) -> list[np.ndarray]:
        for position, array in enumerate(q_inputs):
            interpreter.set_input(array, position)
        interpreter.invoke()
        return [interpreter.get_output(index) for index in outputs]

    return f"int8, double rounding, TFLite Micro reference kernels, {package}", run


def _rejected(source: str, package: str, error: Exception, spoken: str) -> str:
    reason = " ".join(f"{error} {spoken}".split())
    return f"{source}: {package} can't run this file: {reason}"
