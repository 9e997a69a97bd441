"""Rules about int16 activations (16x8 operators)."""

from __future__ import annotations

import numpy as np

from edgedet.graph import graph as g
from edgedet.graph.operator_table import Trait, kinds_with
from edgedet.lint.finding import Finding, Rule, Subject

NO_INT16_KERNEL = kinds_with(Trait.NO_INT16)
_CONVOLUTIONS = kinds_with(Trait.CONVOLUTION)
_LOGISTIC = g.Quantization(np.array([1 / 32768], np.float32), np.array([0], np.int64))


def int16_layers(subject: Subject) -> list[Finding]:
    """Layers with int16 results."""
    wide = [op for op in _wide_operators(subject) if op.kind != "QUANTIZE"]
    if not wide:
        return []
    return [
        Finding(
            "int16-layers",
            "info",
            subject.names(wide),
            "int16 activations take twice the memory and more time; edgedet's generated C computes them in plain C, "
            "without a chip's vector instructions",
            "keep them only where int8 loses accuracy: quantize without them and compare in `edgedet inspect` and "
            "`--waterfall`",
            f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
        )
    ]


def int16_kernels(subject: Subject) -> list[Finding]:
    """Operators that no kernel computes in int16."""
    guilty = [op for op in _wide_operators(subject) if op.kind in NO_INT16_KERNEL]
    if not guilty:
        return []
    return [
        Finding(
            "int16-kernel",
            "error",
            tuple(f"{subject.name(op)} ({op.kind})" for op in guilty),
            "TFLite or TFLite Micro has no int16 kernel for these operators: the file does not load",
            "keep these operators int8, with a QUANTIZE in front",
            f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
        )
    ]


def int16_biases(subject: Subject) -> list[Finding]:
    """16x8 convolutions whose bias is not int64."""
    guilty = [
        op
        for op in _wide_operators(subject)
        if op.kind in _CONVOLUTIONS and len(op.inputs) > 2 and op.inputs[2] >= 0
        if subject.tensor(op.inputs[2]).dtype != "int64"
    ]  # fmt: skip
    if not guilty:
        return []
    return [
        Finding(
            "int16-bias",
            "error",
            subject.names(guilty),
            "with an int32 bias TFLite's and TFLite Micro's int16 convolutions compute different values, or refuse the "
            "file",
            "convert again with int64 biases",
            f"edgedet quantize {subject.checkpoint} --data DIR --out RUN --int16 LAYER",
        )
    ]


def int16_logistic(subject: Subject) -> list[Finding]:
    """int16 LOGISTIC with another scale than the prescribed one."""
    guilty = [
        op
        for op in _wide_operators(subject)
        if op.kind == "LOGISTIC" and subject.tensor(op.outputs[0]).quantization != _LOGISTIC
    ]
    if not guilty:
        return []
    return [
        Finding(
            "logistic-scale",
            "error",
            subject.names(guilty),
            "TFLite prescribes scale 1/32768 and zero point 0 for the result of an int16 LOGISTIC; with others the "
            "interpreter fails or the values are wrong",
            "convert again with that scale fixed",
            f"edgedet quantize {subject.checkpoint} --data DIR --out RUN --int16 LAYER",
        )
    ]


def _wide_operators(subject: Subject) -> list[g.Operator]:
    """Operators that read int16 activations."""
    if not subject.is_int8:
        return []
    return [op for op in subject.graph.operators if any(t.dtype == "int16" for t in subject.activations(op))]


INT16_RULES: tuple[Rule, ...] = (int16_layers, int16_kernels, int16_biases, int16_logistic)
