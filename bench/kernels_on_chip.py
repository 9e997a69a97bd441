"""Instructions of every operator of a model on emulated Cortex-M processors, as a table.

    PYTHONPATH=. python bench/kernels_on_chip.py MODEL.tflite [--targets cortex-m4 cortex-m55]

Each operator runs by itself, with the model's shapes and multipliers and random codes and weights; its output is
compared with NumPy's before its instructions count. QEMU counts instructions (-icount shift=0), not cycles.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.graph import (
    ConvOptions,
    DepthwiseConvOptions,
    ElementwiseOptions,
    FullyConnectedOptions,
    Graph,
    Operator,
    PoolOptions,
    Tensor,
)
from edgedet.graph.operator_table import Trait, kinds_with
from edgedet.graph.operators import window_padding
from edgedet.numerics.integer import activation_range

_spec = importlib.util.spec_from_file_location(
    "chip_run", Path(__file__).parents[1] / "tests" / "kernels" / "chip_run.py"
)
assert _spec is not None
assert _spec.loader is not None
chip_run = importlib.util.module_from_spec(_spec)
sys.modules["chip_run"] = chip_run
_spec.loader.exec_module(chip_run)
cases = chip_run.kernel_cases
FREE = kinds_with(Trait.RESHAPING)  # no instruction: the output is the input's memory


def _params(tensor: Tensor) -> tuple[float, int]:
    assert tensor.quantization is not None
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])


def _layout(tensor: Tensor) -> cases.Layout:
    sides = (1,) * (4 - len(tensor.shape)) + tensor.shape
    return cases.Layout(*sides[1:])


def _window(kernel: tuple[int, int], options: object, source: Tensor) -> cases.Window:
    assert isinstance(options, ConvOptions | DepthwiseConvOptions | PoolOptions)
    dilation = (1, 1) if isinstance(options, PoolOptions) else options.dilation
    pads = tuple(
        window_padding(
            source.shape[axis + 1],
            (kernel[axis] - 1) * dilation[axis] + 1,
            options.stride[axis],
            options.padding,
            "operator",
        )[1]
        for axis in (0, 1)
    )
    return cases.Window(kernel, options.stride, dilation, pads)


def _weighted(rng: np.random.Generator, graph: Graph, operator: Operator) -> cases.Case:
    source, weights, out = (graph.tensors[i] for i in (*operator.inputs[:2], operator.outputs[0]))
    assert isinstance(operator.options, ConvOptions | DepthwiseConvOptions)
    assert weights.quantization is not None
    depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    scale, zero_point = _params(out)
    real = _params(source)[0] * weights.quantization.scale.astype(np.float64) / scale
    limits = activation_range(operator.options.activation, scale, zero_point)
    window = _window((weights.shape[1], weights.shape[2]), operator.options, source)
    requant = cases.Requant(np.broadcast_to(real, out.shape[3]), zero_point, *limits)
    name = f"{weights.shape[1]}x{weights.shape[2]} {source.shape[1:]} -> {out.shape[1:]}"
    return cases.conv_case(
        rng, name, _layout(source), _layout(out), window, requant, zero_point=_params(source)[1], depthwise=depthwise
    )


def _case(rng: np.random.Generator, graph: Graph, operator: Operator) -> cases.Case:
    tensors = [graph.tensors[i] for i in operator.inputs if i >= 0]
    out = graph.tensors[operator.outputs[0]]
    match operator.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            return _weighted(rng, graph, operator)
        case "FULLY_CONNECTED":
            assert isinstance(operator.options, FullyConnectedOptions)
            return cases.fully_connected_case(rng, tensors[0].shape[0], tensors[1].shape[1], tensors[1].shape[0])
        case "ADD" | "SUB" | "MUL":
            assert isinstance(operator.options, ElementwiseOptions)
            three = tuple(_layout(t) for t in (*tensors[:2], out))
            params = [_params(t) for t in (*tensors[:2], out)]
            kind = operator.kind.lower()
            return cases.elementwise_case(rng, kind, params, three, activation=operator.options.activation)
        case "MAX_POOL_2D" | "AVERAGE_POOL_2D":
            assert isinstance(operator.options, PoolOptions)
            window = _window(operator.options.filter, operator.options, tensors[0])
            kind = "max_pool" if operator.kind.startswith("MAX") else "average_pool"
            return cases.pool_case(rng, kind, _layout(tensors[0]), _layout(out), window)
        case "RESIZE_NEAREST_NEIGHBOR":
            return cases.resize_case(rng, _layout(tensors[0]), _layout(out))
        case "CONCATENATION":
            pixels = out.shape[1] * out.shape[2]
            return cases.concat_case(rng, pixels, [t.shape[3] for t in tensors])
        case "LOGISTIC" | "TANH" | "HARD_SWISH" | "QUANTIZE" | "LEAKY_RELU" | "RELU" | "RELU6":
            return cases.lut_case(rng, _layout(out), _layout(out), cases.codes(rng, 256))
        case _:
            raise SystemExit(f"no case for {operator.kind}")


def _kind(case: cases.Case, operator: Operator) -> str:
    if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return f"{operator.kind} {case.name.split()[0]}"
    return operator.kind


def measure(graph: Graph, target: str, verbose: bool) -> str:
    """Table of one target: instructions by kind of operator."""
    rng = np.random.default_rng(0)
    operators = [operator for operator in graph.operators if operator.kind not in FREE]
    found = [_case(rng, graph, operator) for operator in operators]
    with tempfile.TemporaryDirectory() as folder:
        runner = chip_run.build_chip(Path(folder), target)
        results = runner.run(found, Path(folder))
    totals: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0])
    lines = []
    for case, operator, result in zip(found, operators, results, strict=True):
        if result.status or not np.array_equal(result.output, case.expected):
            raise SystemExit(f"{case.name}: status {result.status}, or an output that differs from NumPy's")
        instructions = result.ticks * chip_run.TARGETS[target].instructions_per_tick
        for key in (_kind(case, operator), "all"):
            totals[key][0] += 1
            totals[key][1] += case.macs
            totals[key][2] += instructions
        if verbose:
            per = instructions / (case.macs or case.expected.size)
            lines.append(f"    {operator.kind:<24} {case.name:<42} {instructions / 1e6:8.3f} M  {per:6.3f}")
    lines += [
        f"{target}",
        "",
        "| operator | count | M MACs | M instructions | per MAC |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind, (count, macs, instructions) in sorted(totals.items(), key=lambda item: item[1][2]):
        per = f"{instructions / macs:.3f}" if macs else ""
        lines.append(f"| {kind} | {int(count)} | {macs / 1e6:.2f} | {instructions / 1e6:.2f} | {per} |")
    return "\n".join(lines)


def main() -> int:
    """Measure a model's operators on some targets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--targets", nargs="+", default=["cortex-m4", "cortex-m55"], choices=chip_run.TARGETS)
    parser.add_argument("--verbose", action="store_true", help="a line per operator as well")
    arguments = parser.parse_args()
    graph = read_tflite(arguments.model)
    for target in arguments.targets:
        sys.stdout.write(measure(graph, target, arguments.verbose) + "\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
