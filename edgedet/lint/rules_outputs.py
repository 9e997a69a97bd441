"""Rules about what the network gives: classes and boxes, their scales, sigmoids, ambiguous shapes."""

from __future__ import annotations

import math

from edgedet.graph import graph as g
from edgedet.graph.operator_table import Trait, kinds_with
from edgedet.lint.finding import Finding, Rule, Subject

# Operators that carry values to an output without computing with them.
_CARRIERS = (
    *(*kinds_with(Trait.MOVING), *kinds_with(Trait.RESHAPING)),
    *("CONCATENATION", "PACK", "LOGISTIC", "DEQUANTIZE", "QUANTIZE"),
)
_BOX_CHANNELS = (4, 64)  # ltrb or xywh; 4 distributions of 16 bins (distribution focal loss)


def shared_output_scale(subject: Subject) -> list[Finding]:
    """Class scores and boxes in one tensor."""
    guilty = []
    for op in _tail(subject):
        if not isinstance(op.options, g.ConcatOptions):
            continue
        shapes = [tensor.shape for tensor in subject.activations(op)]
        if len({len(shape) for shape in shapes}) != 1 or not shapes[0]:
            continue
        sizes = [shape[op.options.axis % len(shape)] for shape in shapes]
        # Maps of several strides that are joined cell by cell have the same number of channels.
        if len(set(sizes)) > 1 and any(size in _BOX_CHANNELS for size in sizes) and _channel_axis(subject, op):
            guilty.append(op)
    if not guilty:
        return []
    return [
        Finding(
            "shared-output-scale",
            "error" if subject.is_int8 else "warning",
            subject.names(guilty),
            "classes and boxes are concatenated and so share one int8 scale: boxes reach tens or hundreds, scores only "
            "0..1 or a few logits, and a step that shows the boxes leaves a handful of codes to the scores",
            "give the network one output for the classes and one for the boxes, per stride; concatenate behind "
            "dequantization, in the decoder",
            _train_anew(subject),
        )
    ]


def sigmoid_at_output(subject: Subject) -> list[Finding]:
    """LOGISTIC at the end of the graph."""
    guilty = [op for op in _tail(subject) if op.kind == "LOGISTIC"]
    if not guilty:
        return []
    return [
        Finding(
            "sigmoid-at-output",
            "warning",
            subject.names(guilty),
            "a sigmoid in front of the output is prescribed the scale 1/256: scores below 0.002 become 0, and every "
            "cell pays for it, although most can be rejected by comparing the logit with a constant",
            "end the graph with the logits; a monotone function changes no order, and the decoder applies it to the "
            "few cells above the threshold",
            _train_anew(subject),
        )
    ]


def class_tensors(subject: Subject) -> list[Finding]:
    """Outputs whose shape does not say what they are, and one class."""
    outputs = [subject.tensor(i) for i in subject.graph.outputs]
    if len(outputs) < 2 or any(not tensor.shape for tensor in outputs):
        return []
    findings = []
    channels = [tensor.shape[-1] for tensor in outputs]
    if len(set(channels)) == 1 and channels[0] == 4:
        findings.append(
            Finding(
                "four-classes",
                "info",
                tuple(tensor.name for tensor in outputs),
                "with four classes, class and box tensors have the same shape; firmware that tells them apart by shape "
                "(SSCMA-Micro) takes one for the other",
                "find outputs by name, as edgedet's metadata and generated sources do, or add a class",
            )
        )
    single = tuple(tensor.name for tensor in outputs if tensor.shape[-1] == 1)
    if single and any(size in _BOX_CHANNELS for size in channels):
        findings.append(
            Finding(
                "one-class",
                "info",
                single,
                "with one class the class tensor has a last axis of 1: converters and firmware like to squeeze it, and "
                "a softmax over it is always 1",
                "keep the axis and a sigmoid per class; edgedet's decoder and kernels take it as it is",
            )
        )
    return findings


def _tail(subject: Subject) -> list[g.Operator]:
    """Operators between the last computation and the outputs, each once."""
    found: list[g.Operator] = []
    pending = list(subject.graph.outputs)
    while pending:
        op = subject.producers.get(pending.pop())
        if op is None or op.kind not in _CARRIERS or any(op is other for other in found):
            continue
        found.append(op)
        pending += [i for i in op.inputs if i >= 0]
    return found


def _channel_axis(subject: Subject, op: g.Operator) -> bool:
    """True when a concatenation joins channels: the last of four axes, or one that is shorter than the cells."""
    assert isinstance(op.options, g.ConcatOptions)
    shapes = [tensor.shape for tensor in subject.activations(op)]
    rank = len(shapes[0])
    axis = op.options.axis % rank
    if rank == 4:
        return axis == 3
    # (1, cells, channels) and (1, channels, cells) both occur.
    cells = math.prod(side for i, side in enumerate(shapes[0]) if i != axis)
    return cells > sum(shape[axis] for shape in shapes)


def _train_anew(subject: Subject) -> str:
    return "" if subject.format == "checkpoint" else "edgedet train rtmdet_nano_ncadc_relu6 --data DIR --out RUN"


OUTPUT_RULES: tuple[Rule, ...] = (shared_output_scale, sigmoid_at_output, class_tensors)
