"""Rules about what a file holds beside a network that edgedet can run: foreign operators, types, state, layouts."""

from __future__ import annotations

from edgedet.graph.check import foreign_tensors, operator_where
from edgedet.graph.graph import OpaqueOptions
from edgedet.graph.prepare.fold_shapes import folded_operators
from edgedet.graph.tflite.opaque import compiled_for
from edgedet.lint.finding import Finding, Rule, Subject

_QUANTIZERS = ("QUANTIZE", "DEQUANTIZE")


def data_behind(subject: Subject) -> list[Finding]:
    """Constants behind the flatbuffer."""
    if not subject.outside_bytes:
        return []
    return [
        Finding(
            "data-behind-flatbuffer",
            "error",
            (f"{subject.outside_bytes:,} bytes",),
            "weights lie behind the flatbuffer (Buffer.offset), as ai-edge-quantizer writes them: TFLite Micro does "
            "not look there, takes the weights for empty and gives scores of 0, without any error",
            "write the file anew, then all data lie inside",
            f"edgedet convert {subject.source} --out FILE.tflite",
        )
    ]


def compiled(subject: Subject) -> list[Finding]:
    """Files that the compiler of an accelerator has changed."""
    found = [(n, op.kind) for n, op in enumerate(subject.graph.operators) if compiled_for(op.kind)]
    if not found:
        return []
    makers = ", ".join(sorted({compiled_for(kind) for _, kind in found}))
    return [
        Finding(
            "compiled-for-accelerator",
            "warning",
            tuple(f"operator {number} ({kind})" for number, kind in found),
            f"the network inside these operators was compiled by {makers}: only that accelerator runs it, and no tool "
            "can judge what it computes",
            "give edgedet the .tflite from before the compiler; run the compiler last",
        )
    ]


def unsupported_operators(subject: Subject) -> list[Finding]:
    """Operators that edgedet has no meaning for; arithmetic on shapes becomes constants before anything runs."""
    if subject.format != "tflite":
        return []
    folded = folded_operators(subject.graph)
    found = [
        f"{operator_where(subject.graph, number)} {op.options.reason.partition('; supported are')[0]}"
        for number, op in enumerate(subject.graph.operators)
        if isinstance(op.options, OpaqueOptions) and not compiled_for(op.kind) and number not in folded
    ]
    if not found:
        return []
    return [
        Finding(
            "unsupported-operator",
            "warning",
            tuple(found),
            "edgedet keeps these operators when it writes the file, but its simulator and its generated C have nothing "
            "for them: they refuse the file by name",
            "run the file in TFLite Micro where that has the kernel, or replace the operator in the model",
        )
    ]


def unsupported_tensors(subject: Subject) -> list[Finding]:
    """State, sparse data, types without arithmetic, sides of unknown length."""
    if subject.format != "tflite":
        return []
    found = [text.partition(";")[0] for text in foreign_tensors(subject.graph)]
    if not found:
        return []
    return [
        Finding(
            "unsupported-tensor",
            "warning",
            tuple(found),
            "edgedet shows these tensors, but does not compute with them: its simulator and its generated C refuse the "
            "file by name",
            "export a plain int8 model with fixed shapes; TFLite Micro itself runs variables, but no sparse tensors",
        )
    ]


def several_subgraphs(subject: Subject) -> list[Finding]:
    """Control flow, variables or signatures of their own."""
    others = subject.graph.others
    if not others:
        return []
    return [
        Finding(
            "several-subgraphs",
            "warning",
            tuple(
                f"subgraph {n} ({other.name!r}, {len(other.operators)} operators)" for n, other in enumerate(others, 1)
            ),
            "edgedet runs the first subgraph and nothing else: these are bodies of control flow, initialization of "
            "variables or other signatures, so that the simulator and the generated C refuse the file",
            "export the model with one signature, without control flow and variables",
        )
    ]


def uint8_kernels(subject: Subject) -> list[Finding]:
    """Networks in uint8, the quantization of before 2020."""
    if subject.format != "tflite":
        return []
    guilty = [
        op
        for op in subject.graph.operators
        if op.kind not in _QUANTIZERS and not isinstance(op.options, OpaqueOptions)
        if any(t.dtype == "uint8" for t in subject.activations(op))
    ]
    if not guilty:
        return []
    return [
        Finding(
            "uint8-kernels",
            "error",
            tuple(f"{subject.name(op)} ({op.kind})" for op in guilty),
            "the network computes in uint8, the quantization of before 2020, with one scale for all channels of a "
            "weight: TFLite Micro has no uint8 kernels any more and refuses the file",
            "quantize anew to int8, per channel; edgedet itself converts such a file where every operator allows it "
            "exactly (edgedet convert --int8 writes it)",
        )
    ]


def nchw_input(subject: Subject) -> list[Finding]:
    """Pictures in planes."""
    if subject.format != "tflite":
        return []
    guilty = [t for t in (subject.tensor(i) for i in subject.graph.inputs) if subject.is_nchw(t)]
    if not guilty:
        return []
    return [
        Finding(
            "nchw-input",
            "warning",
            tuple(f"{tensor.name} {tensor.shape}" for tensor in guilty),
            "the input has its channels in front (NCHW), so that the graph transposes the picture first: cameras and "
            "TFLite's kernels have them last, and the copy of the largest tensor costs memory and time",
            "export with an NHWC input",
        )
    ]


FILE_RULES: tuple[Rule, ...] = (
    data_behind,
    compiled,
    unsupported_operators,
    unsupported_tensors,
    several_subgraphs,
    uint8_kernels,
    nchw_input,
)
