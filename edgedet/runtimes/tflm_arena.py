"""How large the tensor arena of TFLite Micro must be: measured on the host, plus what CMSIS-NN needs on top.

The measurement runs TFLite Micro itself (the `tflite_micro` wheel, reference kernels) in a process of its own and reads
its own report; a second run with exactly that many bytes confirms it. The host's structures hold 64-bit pointers, so
that the measured tail is never smaller than on a 32-bit chip.

CMSIS-NN's kernels ask for scratch memory that the reference kernels don't. Scratch of different operators never lives
at the same time, so that the largest one counts:

    CONV_2D             4 * ceil16(kernel_height * kernel_width * input_channels)
    DEPTHWISE_CONV_2D   max(4 * 124, 2 * channels) * kernel_height * kernel_width; with one input channel
                        4 * ceil16(kernel_height * kernel_width) + kernel_height * kernel_width * channels on top
    FULLY_CONNECTED     8 * output_channels + 4 * input_channels
    AVERAGE_POOL_2D     4 * channels
    TRANSPOSE_CONV      max(that of the convolution, 4 * output_channels * max(kernel_height, stride_height)
                        * ((input_width - 1) * stride_width + max(kernel_width, stride_height))) + bytes of the weights
    SVDF                4 * filters
    BATCH_MATMUL        4 * output_channels

bytes, each the maximum over CMSIS-NN's builds (plain C, DSP, MVE). For a convolution it is at least the two int16
columns of a patch of the DSP build (4 * channels * kernel area). To the largest come 16 bytes of bookkeeping for each
operator of these kinds, and what is kept for good: 4 * output_channels of each FULLY_CONNECTED (kernel sums), 4 *
filters of each SVDF, 8 * 8 * units of each UNIDIRECTIONAL_SEQUENCE_LSTM (biases of its gates).

While TFLM plans, its lists lie where the activations will be: 32 bytes a tensor and 40 more for each one that is
planned. In a network with many operators and small activations they decide the size of the arena, and TFLM's report
does not count them; then the smallest arena is searched for. Scratch buffers are planned too and lengthen the lists.

Source: CMSIS-NN 99f736a, Source/*/*get_buffer_sizes_s8.c; tflite-micro 90b983c, kernels/cmsis_nn,
micro_allocation_info.h, memory_planner/greedy_memory_planner.h.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.errors import ToolchainError, missing_extra
from edgedet.graph.graph import Graph, Operator, TransposeConvOptions
from edgedet.graph.tflite.dtypes import tensor_bytes

ALIGNMENT = 16  # bytes, of the arena and of every buffer in it (TFLM's MicroArenaBufferAlignment)
PROBE_TIMEOUT_S = 600
_MVE_BLOCK = 124  # CH_IN_BLOCK_MVE: channels that the MVE depthwise kernel handles at once
_BOOKKEEPING_BYTES = 16  # scratch handle (pointer) and the index in the operator's data, aligned
_LIST_BYTES = 32  # of AllocationInfo, for every tensor, on a 64-bit host (24 on a 32-bit chip)
_PLAN_BYTES = 40  # of GreedyMemoryPlanner's lists, for every planned tensor
_SCRATCH_LIST_BYTES = 96  # both of them and the request, for every scratch buffer
_LIST_SPARE_BYTES = 512  # heads and alignment of the lists
_REPORT = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_REFUSED = 3  # exit status of tflm_probe.py


@dataclass(frozen=True)
class ArenaReport:
    """Bytes of the tensor arena."""

    head_bytes: int  # activations and scratch buffers, planned by TFLM
    tail_bytes: int  # persistent structures
    measured_bytes: int  # smallest arena that TFLM takes on the host, a multiple of ALIGNMENT
    margin_bytes: int  # for CMSIS-NN's scratch
    total_bytes: int  # measured + margin, a multiple of ALIGNMENT


def require_tflite_micro() -> None:
    """Raises ToolchainError when the tflite_micro wheel is not installed."""
    if importlib.util.find_spec("tflite_micro") is None:
        raise missing_extra("tflite_micro", "tflm")


def cmsis_nn_margin(graph: Graph, room_bytes: int) -> int:
    """Bytes that CMSIS-NN's kernels may need beyond the reference kernels; the module's text has the formula.

    Args:
        graph: int8 graph.
        room_bytes: of the smallest arena for the reference kernels, less its tail: where activations and lists lie.
    Returns:
        Bytes, a multiple of ALIGNMENT; 0 when no operator needs scratch.
    """
    scratch = [size for size in (_scratch_bytes(graph, operator) for operator in graph.operators) if size]
    if not scratch:
        return sum(_kept_bytes(graph, operator) for operator in graph.operators)
    lists = _list_bytes(graph) + _SCRATCH_LIST_BYTES * len(scratch)
    kept = sum(_kept_bytes(graph, operator) for operator in graph.operators)
    return _aligned(max(*scratch, lists - room_bytes)) + _BOOKKEEPING_BYTES * len(scratch) + kept


def measure_arena(
    model: bytes, graph: Graph, inputs: Sequence[np.ndarray]
) -> tuple[ArenaReport, tuple[np.ndarray, ...]]:
    """Measure the smallest arena and run the model in exactly that.

    Args:
        model: bytes of the `.tflite`.
        graph: the same model.
        inputs: of the network, in the order of the file, run through it.
    Returns:
        The report, and the outputs that TFLM computed in the smallest arena, in the order of the file.
    Raises:
        ToolchainError: tflite_micro is missing, refuses the model, or its report is not understood.
    """
    require_tflite_micro()
    with tempfile.TemporaryDirectory(prefix="edgedet-arena-") as folder:
        work = Path(folder)
        (work / "model.tflite").write_bytes(model)
        np.savez(work / "inputs.npz", *inputs)
        outputs = len(graph.outputs)
        size = ample_bytes(graph, len(model))
        ample = _run_probe(work, size, size, outputs)
        if ample.returncode:
            raise ToolchainError(f"TFLite Micro refuses the model: {_last_words(ample)}")
        sizes = {name: int(size) for name, size in _REPORT.findall(ample.stderr)}
        if set(sizes) != {"total", "head", "tail"}:
            raise ToolchainError(
                f"tflite_micro's report was not understood: {_last_words(ample)}; use the version in constraints.txt"
            )
        reported = _aligned(sizes["total"])
        smallest = _run_probe(work, reported, reported + _aligned(_list_bytes(graph)), outputs)
        if smallest.returncode < 0:  # killed: an arena that is much too small is no error to TFLM, it crashes
            smallest = _search_apart(work, reported, reported + _aligned(_list_bytes(graph)), outputs)
        if smallest.returncode:
            raise ToolchainError(
                f"TFLite Micro reports {reported} bytes of arena but fails in them, and in {_list_bytes(graph)} "
                f"more: {_last_words(smallest)}; please report this model"
            )
        measured = int(smallest.stdout)
        with np.load(work / "outputs.npz") as arrays:
            results = tuple(arrays[f"arr_{index}"] for index in range(outputs))
    margin = _aligned(cmsis_nn_margin(graph, measured - sizes["tail"]))
    report = ArenaReport(sizes["head"], sizes["tail"], measured, margin, measured + margin)
    return report, results


def _list_bytes(graph: Graph) -> int:
    """Upper bound of what TFLM's lists take while it plans."""
    planned = sum(tensor.data is None for tensor in graph.tensors)
    return _LIST_BYTES * len(graph.tensors) + _PLAN_BYTES * planned + _LIST_SPARE_BYTES


def _scratch_bytes(graph: Graph, operator: Operator) -> int:
    """Largest scratch that any build of CMSIS-NN asks for; 0 for operators without scratch."""
    if operator.kind == "CONV_2D":
        _, height, width, channels = graph.tensors[operator.inputs[1]].shape
        return 4 * _aligned(height * width * channels)
    if operator.kind == "DEPTHWISE_CONV_2D":
        _, height, width, channels = graph.tensors[operator.inputs[1]].shape
        area = height * width
        as_conv = 4 * _aligned(area) + area * channels if graph.tensors[operator.inputs[0]].shape[3] == 1 else 0
        return max(4 * _MVE_BLOCK, 2 * channels) * area + as_conv
    if operator.kind == "FULLY_CONNECTED":
        out_channels, in_channels = graph.tensors[operator.inputs[1]].shape
        return 8 * out_channels + 4 * in_channels
    if operator.kind == "AVERAGE_POOL_2D":
        return 4 * graph.tensors[operator.inputs[0]].shape[3]
    if operator.kind == "TRANSPOSE_CONV":
        return _transpose_conv_bytes(graph, operator)
    if operator.kind == "SVDF":
        return 4 * graph.tensors[operator.inputs[1]].shape[0]
    if operator.kind == "BATCH_MATMUL":
        return 4 * graph.tensors[operator.outputs[0]].shape[-1]
    return 0


def _transpose_conv_bytes(graph: Graph, operator: Operator) -> int:
    """Both of its buffers; a stride that edgedet can't read counts as the whole upscaling."""
    out_channels, height, width, channels = graph.tensors[operator.inputs[1]].shape
    _, in_height, in_width, _ = graph.tensors[operator.inputs[2]].shape
    _, out_height, out_width, _ = graph.tensors[operator.outputs[0]].shape
    stride_y, stride_x = -(-out_height // in_height), -(-out_width // in_width)
    if isinstance(operator.options, TransposeConvOptions):
        stride_y, stride_x = operator.options.stride
    columns = 4 * out_channels * max(height, stride_y) * ((in_width - 1) * stride_x + max(width, stride_y))
    return max(columns, 4 * _aligned(height * width * channels)) + out_channels * height * width * channels


def _kept_bytes(graph: Graph, operator: Operator) -> int:
    """What CMSIS-NN's kernels allocate for good beyond the reference kernels."""
    if operator.kind in ("FULLY_CONNECTED", "SVDF"):
        return _aligned(4 * graph.tensors[operator.inputs[1]].shape[0])
    if operator.kind == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        return 8 * _aligned(8 * graph.tensors[operator.inputs[2]].shape[0])
    return 0


def ample_bytes(graph: Graph, model_bytes: int) -> int:
    """An arena that surely suffices: a much too small one crashes the process in the constructor.

    Twice all activations without any reuse, twice the file for persistent data and scratch, and 4 MiB.
    """
    tensors = [tensor for subgraph in graph.subgraphs for tensor in subgraph.tensors if tensor.data is None]
    activations = sum(_aligned(tensor_bytes(tensor)) for tensor in tensors)
    return _aligned(2 * activations + 2 * model_bytes + (4 << 20))


def _run_probe(work: Path, low: int, high: int, outputs: int) -> subprocess.CompletedProcess[str]:
    """Find the smallest arena from `low` to `high` bytes, both multiples of ALIGNMENT; see tflm_probe.py."""
    script = Path(__file__).with_name("tflm_probe.py")
    files = ["model.tflite", str(low), str(high), "inputs.npz", "outputs.npz", str(outputs)]
    # -P: the script's folder stays out of sys.path, so that no module here shadows one that tflite_micro imports.
    command = [sys.executable, "-P", str(script), *files]
    try:
        return subprocess.run(
            command, cwd=work, capture_output=True, text=True, errors="replace", check=False, timeout=PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"TFLite Micro did not finish a few inferences in {PROBE_TIMEOUT_S} s") from error


def _search_apart(work: Path, refused: int, taken: int, outputs: int) -> subprocess.CompletedProcess[str]:
    """The search of tflm_probe.py with a process for each arena, all of which but the first may crash."""
    smallest = _run_probe(work, taken, taken, outputs)
    while smallest.returncode == 0 and taken - refused > ALIGNMENT:
        middle = refused + (taken - refused) // (2 * ALIGNMENT) * ALIGNMENT
        tried = _run_probe(work, middle, middle, outputs)
        if tried.returncode:
            refused = middle
        else:
            taken, smallest = middle, tried
    return smallest


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    how = "" if done.returncode in (0, _REFUSED) else f"(exit status {done.returncode}) "
    return how + (" / ".join(lines[-3:]) or "no message")


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
