"""Rules about the numbers of a quantized file: float islands, scales that must agree, zero points."""

from __future__ import annotations

import numpy as np

from edgedet.graph import graph as g
from edgedet.graph.operator_table import Trait, kinds_with
from edgedet.lint.finding import Finding, Rule, Subject

_BIAS_TOLERANCE = 1e-3  # relative; converters multiply the scales in float32 or float64
_LOGISTIC = g.Quantization(np.array([1 / 256], np.float32), np.array([-128], np.int64))


def float_islands(subject: Subject) -> list[Finding]:
    """Float tensors in an int8 file, or a float file."""
    if subject.format != "tflite":
        return []
    if not subject.is_int8:
        return [
            Finding(
                "float-model",
                "warning",
                (subject.source,),
                "no activation of this file is quantized: four times the memory, and microcontrollers without a fast "
                "FPU need ten times as long",
                "quantize the checkpoint that it came from",
                f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
            )
        ]
    borders = {*subject.graph.inputs, *subject.graph.outputs}
    inside: list[str] = []
    at_border: list[str] = []
    for index, tensor in enumerate(subject.graph.tensors):
        if tensor.dtype in ("float32", "float16") and tensor.data is None:
            (at_border if index in borders else inside).append(tensor.name)
    findings = []
    if inside:
        findings.append(
            Finding(
                "float-island",
                "error",
                tuple(inside),
                "between DEQUANTIZE and QUANTIZE the network computes in float: slow on the chip, four times the "
                "memory, and no kernel in CMSIS-NN or on Ethos-U",
                "quantize every operator; `edgedet quantize` writes no float operator",
                f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
            )
        )
    if at_border:
        findings.append(
            Finding(
                "float-border",
                "warning",
                tuple(at_border),
                "float inputs or outputs add a QUANTIZE or DEQUANTIZE over the largest tensors, and hide the codes "
                "that the decoder could compare as integers",
                "export with int8 inputs and outputs",
                f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
            )
        )
    return findings


def requantize(subject: Subject) -> list[Finding]:
    """QUANTIZE from int8 to int8."""
    if not subject.is_int8:
        return []
    guilty = [op for op in subject.of_kind("QUANTIZE") if subject.tensor(op.inputs[0]).dtype == "int8"]
    guilty = [op for op in guilty if subject.tensor(op.outputs[0]).dtype == "int8"]
    if not guilty:
        return []
    return [
        Finding(
            "requantize",
            "warning",
            subject.names(guilty),
            "a QUANTIZE between two int8 tensors rounds a second time and costs a pass over the tensor; converters put "
            "it in front of concatenations whose inputs were given different scales",
            "give linked concatenations one scale over the whole graph",
            f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
        )
    ]


def unequal_scales(subject: Subject) -> list[Finding]:
    """Operators that copy codes between different scales."""
    if not subject.is_int8:
        return []
    guilty = []
    for op in subject.of_kind(*kinds_with(Trait.COPYING)):
        tensors = [*subject.activations(op), *(subject.tensor(i) for i in op.outputs)]
        found = [(t.dtype, t.quantization) for t in tensors if t.dtype in ("int8", "int16")]
        if any(other != found[0] for other in found):
            guilty.append(op)
    if not guilty:
        return []
    return [
        Finding(
            "unequal-scales",
            "error",
            tuple(f"{subject.name(op)} ({op.kind})" for op in guilty),
            "these operators copy codes; where input and output have different scales, interpreters refuse the file "
            "at loading (13 concatenations of a SiLU network measured) or compute wrong values",
            "give all tensors that such operators link one scale, over the whole graph",
            f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
        )
    ]


def input_quantization(subject: Subject) -> list[Finding]:
    """Input whose codes are not pixel - 128."""
    if not subject.is_int8:
        return []
    findings = []
    inputs = [subject.tensor(i) for i in subject.graph.inputs]
    wide = tuple(f"{tensor.name} {tensor.dtype}" for tensor in inputs if tensor.dtype in ("uint8", "int16"))
    if wide:
        findings.append(
            Finding(
                "input-type",
                "warning",
                wide,
                "TFLite Micro's optimized kernels compute in int8: inputs of other types are converted first, or run "
                "in slow kernels",
                "export with an int8 input",
            )
        )
    for tensor in inputs:
        if tensor.dtype != "int8" or tensor.quantization is None or not subject.is_picture(tensor):
            continue
        zero_point = int(tensor.quantization.zero_point[0])
        if zero_point != -128:
            findings.append(
                Finding(
                    "input-zero-point",
                    "warning",
                    (f"{tensor.name}: zero point {zero_point}, scale {float(tensor.quantization.scale[0]):.6g}",),
                    "with another zero point than -128 an input code is not pixel - 128: the firmware multiplies and "
                    "rounds every pixel, or feeds wrong values when it assumes the usual",
                    "train with mean 0 and std 255 (normalization costs nothing, the first convolution learns it)",
                    "edgedet train MODEL --data DIR --out RUN --set 'preprocess.mean=[0,0,0]' "
                    "'preprocess.std=[255,255,255]'",
                )
            )
    return findings


def weight_scales(subject: Subject) -> list[Finding]:
    """Weights with one scale for all channels, or with zero points."""
    if not subject.is_int8:
        return []
    coarse, offset = [], []
    for op in subject.of_kind("CONV_2D", "DEPTHWISE_CONV_2D"):
        weight = subject.tensor(op.inputs[1])
        quantization = weight.quantization
        if quantization is None or weight.dtype != "int8" or len(weight.shape) != 4:
            continue
        channels = weight.shape[0] if op.kind == "CONV_2D" else weight.shape[-1]
        if quantization.scale.size == 1 and channels > 1:
            coarse.append(op)
        if quantization.zero_point.any():
            offset.append(op)
    findings = []
    if coarse:
        findings.append(
            Finding(
                "per-tensor-weights",
                "warning",
                subject.names(coarse),
                "one scale for all output channels of a convolution: after BatchNorm folding channels differ by "
                "factors of 10 to 100, and the small ones keep a few codes; depthwise layers suffer most",
                "quantize weights per channel",
                f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
            )
        )
    if offset:
        findings.append(
            Finding(
                "asymmetric-weights",
                "error",
                subject.names(offset),
                "TFLite's int8 weights are symmetric: kernels ignore a zero point of weights and compute wrong values",
                "quantize weights symmetrically",
                f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
            )
        )
    return findings


def prescribed_scales(subject: Subject) -> list[Finding]:
    """Bias and LOGISTIC, whose scales TFLite prescribes."""
    if not subject.is_int8:
        return []
    findings = []
    biases = [op for op in subject.of_kind(*kinds_with(Trait.WEIGHTED)) if not _bias_fits(subject, op)]
    if biases:
        findings.append(
            Finding(
                "bias-scale",
                "error",
                subject.names(biases),
                "a bias is added to the accumulator, whose scale is input scale times weight scale; with another scale "
                "it is added wrongly",
                "convert again; do not edit scales of activations afterwards",
                f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
            )
        )
    sigmoids = [
        op
        for op in subject.of_kind("LOGISTIC")
        if subject.tensor(op.outputs[0]).dtype == "int8" and subject.tensor(op.outputs[0]).quantization != _LOGISTIC
    ]
    if sigmoids:
        findings.append(
            Finding(
                "logistic-scale",
                "error",
                subject.names(sigmoids),
                "TFLite prescribes scale 1/256 and zero point -128 for the result of an int8 LOGISTIC; with others "
                "the interpreter fails or the values are wrong",
                "convert again with that scale fixed",
                f"edgedet quantize {subject.checkpoint} --data DIR --out RUN",
            )
        )
    return findings


def bias_axis(subject: Subject) -> list[Finding]:
    """Biases whose scales lie along an axis that they have not."""
    guilty = []
    for op in subject.of_kind(*kinds_with(Trait.WEIGHTED)):
        bias = _weighted_tensors(subject, op)[2]
        if bias is not None and bias.quantization is not None and bias.quantization.axis >= max(len(bias.shape), 1):
            guilty.append(op)
    if not guilty:
        return []
    return [
        Finding(
            "bias-axis",
            "warning",
            subject.names(guilty),
            "the scales of the bias are said to lie along an axis that the bias has not (that of the weights): LiteRT "
            "refuses the file, TFLite Micro and edgedet never look at the axis and run it",
            "convert again with a newer converter, where LiteRT must run the file",
        )
    ]


def missing_contract(subject: Subject) -> list[Finding]:
    """No edgedet metadata."""
    if subject.has_contract or not subject.is_int8:
        return []
    return [
        Finding(
            "no-contract",
            "warning",
            (subject.source,),
            "the file does not say how a picture becomes its input and what its outputs mean: evaluate and predict "
            "refuse it, and firmware has to guess",
            "make the file with edgedet, or say what its outputs are with `edgedet contract`",
            f"edgedet contract {subject.source} --head HEAD --classes a,b,c --out WITH_CONTRACT",
        )
    ]


def _weighted_tensors(subject: Subject, op: g.Operator) -> tuple[g.Tensor, g.Tensor, g.Tensor | None]:
    """Input, weights and bias of an operator with weights."""
    places = (2, 1, 3) if op.kind == "TRANSPOSE_CONV" else (0, 1, 2)
    source, weights, bias = (op.inputs[i] if i < len(op.inputs) else -1 for i in places)
    return subject.tensor(source), subject.tensor(weights), None if bias < 0 else subject.tensor(bias)


def _bias_fits(subject: Subject, op: g.Operator) -> bool:
    source, weights, bias = _weighted_tensors(subject, op)
    if bias is None or bias.dtype != "int32" or (bias.data is not None and not bias.data.any()):
        return True  # a bias of zeros adds nothing, whatever its scale
    if source.quantization is None or weights.quantization is None or bias.quantization is None:
        return True
    expected = source.quantization.scale[0].astype(np.float64) * weights.quantization.scale
    found = bias.quantization.scale
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=_BIAS_TOLERANCE, atol=0))


SCALE_RULES: tuple[Rule, ...] = (
    float_islands,
    requantize,
    unequal_scales,
    input_quantization,
    weight_scales,
    prescribed_scales,
    bias_axis,
    missing_contract,
)
