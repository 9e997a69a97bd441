"""Rules about operators: what TFLite Micro lacks, and what costs more memory or time than it need."""

from __future__ import annotations

import numpy as np

from edgedet.graph import graph as g
from edgedet.graph.tflite.opaque import compiled_for
from edgedet.graph.tflm_ops import RESOLVER_METHODS
from edgedet.lint.finding import Finding, Rule, Subject

LARGE_POOL = 5  # px; a chain of 5x5 maxima gives every larger odd window


def no_tflm_kernel(subject: Subject) -> list[Finding]:
    """Operators that TFLite Micro can't run."""
    missing = [op for op in subject.graph.operators if op.kind not in RESOLVER_METHODS and not compiled_for(op.kind)]
    if not missing:
        return []
    kinds = ", ".join(sorted({op.kind for op in missing}))
    return [
        Finding(
            "no-tflm-kernel",
            "error",
            tuple(f"{subject.name(op)} ({op.kind})" for op in missing),
            f"TFLite Micro has no kernel for {kinds}: AllocateTensors() fails on the chip",
            "replace the operator in the model, or move it behind the outputs",
        )
    ]


def tflm_kernel_limit(subject: Subject) -> list[Finding]:
    """Operators that TFLite Micro has, in a form that its kernel refuses."""
    tensors, found = subject.graph.tensors, []
    for op in subject.of_kind("GATHER", "TRANSPOSE", "STRIDED_SLICE"):
        axes = len(tensors[op.inputs[0]].shape)
        if op.kind == "GATHER" and tensors[op.inputs[1]].dtype != "int32":
            found.append((op, f"{tensors[op.inputs[1]].dtype} indices instead of int32"))
        elif axes > {"GATHER": axes, "TRANSPOSE": 5, "STRIDED_SLICE": 4}[op.kind]:
            found.append((op, f"{axes} axes"))
    if not found:
        return []
    reasons = ", ".join(sorted({f"{op.kind} with {reason}" for op, reason in found}))
    return [
        Finding(
            "tflm-kernel-limit",
            "error",
            subject.names([op for op, _ in found]),
            f"TFLite Micro's kernels refuse {reasons}: AllocateTensors() fails on the chip",
            "change the operator in the model, or deploy with target c99, whose kernels take it",
        )
    ]


def silu(subject: Subject) -> list[Finding]:
    """The activation x * sigmoid(x)."""
    guilty = []
    for op in subject.of_kind("MUL"):
        factors = {subject.origin(i) for i in op.inputs if i >= 0}
        gates = [gate for i in factors if (gate := subject.producers.get(i)) is not None and gate.kind == "LOGISTIC"]
        if any(subject.origin(gate.inputs[0]) in factors for gate in gates):
            guilty.append(op)
    guilty += subject.of_kind("SILU", "Swish")
    if not guilty:
        return []
    return [
        Finding(
            "silu",
            "warning",
            subject.names(guilty),
            f"{len(guilty)} SiLU become a LOGISTIC and a MUL each: two more operators and scales, a second copy of "
            "the tensor in the arena (547 kB instead of 380 kB measured), and ranges that int8 shows worse",
            "replace SiLU by ReLU6, ReLU or Hardswish and fine-tune for some epochs",
            f"edgedet substitute {subject.checkpoint} --activation relu6 --data DIR --out RUN",
        )
    ]


def channel_attention(subject: Subject) -> list[Finding]:
    """MEAN over the picture, whose result is multiplied with the picture again."""
    guilty = []
    for op in subject.of_kind("MEAN"):
        index = op.outputs[0]
        for _ in range(10):  # convolution, activation, QUANTIZE at the borders of int16, ...
            readers = subject.readers.get(index, [])
            if not readers:
                break
            product = next((r for r in readers if r.kind == "MUL"), None)
            if product is not None and len({t.shape for t in subject.activations(product)}) > 1:
                guilty.append(product)
                break
            if not readers[0].outputs:
                break
            index = readers[0].outputs[0]
    if not guilty:
        return []
    return [
        Finding(
            "channel-attention",
            "info",
            subject.names(guilty),
            "channel attention reads the whole map for a mean before it can multiply it: both copies stay in the "
            "arena, and one scale must show all gated channels",
            "drop it and fine-tune, when memory or accuracy suffers",
            f"edgedet substitute {subject.checkpoint} --activation relu6 --no-channel-attention --data DIR --out RUN",
        )
    ]


def symmetric_padding(subject: Subject) -> list[Finding]:
    """PAD in front of a strided convolution, as torch's symmetric padding needs it."""
    guilty = []
    for op in subject.of_kind("PAD", "PADV2"):
        for reader in subject.readers.get(op.outputs[0], []):
            options = reader.options
            if isinstance(options, g.ConvOptions | g.DepthwiseConvOptions) and max(options.stride) > 1:
                guilty.append(op)
                break
    if not guilty:
        return []
    return [
        Finding(
            "symmetric-padding",
            "warning",
            subject.names(guilty),
            "torch pads strided convolutions on all sides, TFLite's SAME on the right and bottom only, so each needs a "
            "PAD of its own: exact, but the padded copy of the largest maps lies in the arena (411 kB instead of "
            "260 kB measured)",
            "train with TFLite's padding from the start; a trained checkpoint keeps its PADs",
            "edgedet train MODEL --data DIR --out RUN --set model.padding=same",
        )
    ]


def large_pool(subject: Subject) -> list[Finding]:
    """Max pools of more than 5x5."""
    guilty = [
        op
        for op in subject.of_kind("MAX_POOL_2D")
        if isinstance(op.options, g.PoolOptions) and max(op.options.filter) > LARGE_POOL
    ]
    if not guilty:
        return []
    return [
        Finding(
            "large-pool",
            "warning",
            tuple(
                f"{subject.name(op)} ({op.options.filter[1]}x{op.options.filter[0]})"  # type: ignore[union-attr]
                for op in guilty
            ),
            "a reference kernel compares every pixel of the window: 13x13 costs 169 comparisons a value",
            "chain 5x5 pools with stride 1: two give 9x9, three 13x13, bit for bit; edgedet's networks do so",
        )
    ]


def transpose(subject: Subject) -> list[Finding]:
    """TRANSPOSE inside the graph."""
    guilty = [
        op
        for op in subject.of_kind("TRANSPOSE")
        if not subject.activations(op) or sum(side > 1 for side in subject.activations(op)[0].shape) > 1
    ]
    if not guilty:
        return []
    return [
        Finding(
            "transpose",
            "warning",
            subject.names(guilty),
            "a TRANSPOSE computes nothing: it needs a second copy of the tensor and reads memory against its order; "
            "Ethos-U and many accelerators send it back to the CPU",
            "convert NCHW to NHWC once, in weights and axes, as `edgedet quantize` does; keep outputs in (1, h, w, c)",
        )
    ]


def standalone_relu(subject: Subject) -> list[Finding]:
    """RELU and RELU6 that are not fused."""
    findings = []
    wrong, extra = [], []
    for op in subject.of_kind("RELU", "RELU6", "RELU_N1_TO_1"):
        source, target = subject.tensor(op.inputs[0]).quantization, subject.tensor(op.outputs[0]).quantization
        if subject.is_int8 and source is not None and source != target:
            wrong.append(op)
        elif subject.format != "onnx" or not _fusible(subject, op):
            extra.append(op)
    if wrong:
        findings.append(
            Finding(
                "standalone-relu",
                "error",
                subject.names(wrong),
                "an activation that is not fused, with another scale at its output than at its input: TFLite Micro's "
                "RELU6 copies codes and ignores the second scale, so the values are wrong on the chip only",
                "fuse the activation into the convolution in front of it; `edgedet quantize` always does",
                f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
            )
        )
    if extra:
        findings.append(
            Finding(
                "unfused-relu",
                "warning",
                subject.names(extra),
                "an activation that is not fused is one more pass over the tensor, and the tensor in front of it "
                "spends codes on values that are cut off",
                "let it directly follow a convolution or an addition whose result nothing else reads",
            )
        )
    return findings


def _fusible(subject: Subject, op: g.Operator) -> bool:
    """True when a converter will fuse this activation: it alone reads the result of a convolution or an addition."""
    before = subject.producers.get(op.inputs[0])
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "SUB", "MUL", "FULLY_CONNECTED")
    return before is not None and before.kind in kinds and len(subject.readers[op.inputs[0]]) == 1


def _has_pyramid(subject: Subject) -> bool:
    """Whether maps are made larger again, so that they meet earlier ones of the same size."""
    if subject.format == "onnx":
        return True
    return bool(subject.of_kind("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "TRANSPOSE_CONV"))


def input_size(subject: Subject) -> list[Finding]:
    """Batches and sides that a feature pyramid can't halve five times."""
    findings = []
    for tensor in (subject.tensor(i) for i in subject.graph.inputs):
        if len(tensor.shape) != 4:
            continue
        if tensor.shape[0] != 1:
            findings.append(
                Finding(
                    "batch",
                    "error",
                    (f"{tensor.name} {tensor.shape}",),
                    "a chip looks at one picture at a time; the batch is fixed in a TFLite file",
                    "export with a batch of 1",
                )
            )
        sides = tensor.shape[2:] if subject.is_nchw(tensor) else tensor.shape[1:3]
        if any(side < 32 or side % 32 for side in sides) and _has_pyramid(subject):
            findings.append(
                Finding(
                    "input-size",
                    "warning",
                    (f"{tensor.name} {tensor.shape}",),
                    "the deepest map has stride 32; with other sizes the upsampled map and the one it meets differ in "
                    "size, or cells hang over the edge",
                    f"take multiples of 32, for example {int(np.ceil(sides[0] / 32)) * 32}",
                    "edgedet train MODEL --data DIR --imgsz 192 --out RUN",
                )
            )
    return findings


OPERATOR_RULES: tuple[Rule, ...] = (
    no_tflm_kernel,
    tflm_kernel_limit,
    silu,
    channel_attention,
    symmetric_padding,
    large_pool,
    transpose,
    standalone_relu,
    input_size,
)
