"""What costs cycles on an NPU: the network and variants of it, each compiled, and the differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgedet.errors import ConversionError
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model
from edgedet.lint.finding import Finding, Subject
from edgedet.npu.compiled import OnCpu, read_compiled
from edgedet.npu.cores import NpuSetup
from edgedet.npu.figures import NpuFigures
from edgedet.npu.variants import (
    hard_swish_for_silu,
    is_no_clamp,
    large_depthwise,
    one_channel_input,
    relu_for_silu,
    reversed_concatenations,
    same_for_pads,
    silu_gates,
    small_depthwise,
    without_activations,
)
from edgedet.npu.vela import compile_for_npu

_WORTH = 0.01  # share of the cycles from which a choice is named as costing something
_WAITING = 0.05  # share of the cycles that wait for memory


@dataclass(frozen=True, eq=False)
class NpuSubject:
    """A network, compiled."""

    subject: Subject
    data: bytes  # of the file
    setup: NpuSetup
    figures: NpuFigures
    on_cpu: tuple[OnCpu, ...]

    @property
    def graph(self) -> Graph:
        """Before Vela."""
        return self.subject.graph

    def variant(self, graph: Graph) -> NpuFigures:
        """Figures of the network with a choice made otherwise."""
        return compile_for_npu(serialize(graph), f"{self.subject.source}, changed", self.setup).figures

    def saved_by(self, graph: Graph) -> int:
        """Cycles that a choice made otherwise saves; negative: it costs more."""
        return self.figures.cycles - self.variant(graph).cycles

    def matters(self, cycles: int) -> bool:
        """Whether so many cycles are worth a word."""
        return cycles >= _WORTH * self.figures.cycles

    def busy(self, original: str) -> float:
        """Share of the MACs that a kind of operator, in Vela's word, keeps busy; 0..1."""
        layers = [layer for layer in self.figures.layers if layer.operation == original]
        cycles = sum(layer.cycles for layer in layers)
        return sum(layer.macs for layer in layers) / (cycles * self.setup.macs) if cycles else 0.0

    def share(self, cycles: int) -> str:
        """Cycles, and how much of all they are."""
        share = 100 * cycles / self.figures.cycles
        return f"{cycles:,} of {self.figures.cycles:,} cycles ({share:.1f} %) on {self.setup.target}"


def npu_findings(subject: Subject, data: bytes, setup: NpuSetup) -> list[Finding]:
    """Compile a file and the variants that its operators call for.

    Args:
        subject: an int8 `.tflite`.
        data: its bytes.
        setup: NPU and memory.
    Raises:
        ToolchainError, ConversionError: as of `compile_for_npu`.
    """
    compiled = compile_for_npu(data, subject.source, setup)
    model: Int8Model | None = None  # contracts do not matter to cycles
    npu = read_compiled(compiled.data, subject.graph, model, subject.source, compiled.figures.reasons)
    found = NpuSubject(subject, data, setup, compiled.figures, npu.on_cpu)
    return [finding for rule in NPU_RULES for finding in rule(found)]


def on_the_cpu(npu: NpuSubject) -> list[Finding]:
    """Operators that the NPU does not take."""
    if not npu.on_cpu:
        return []
    first = npu.on_cpu[0]
    return [
        Finding(
            "npu-cpu",
            "warning",
            tuple(f"{one.name} ({one.kind})" for one in npu.on_cpu),
            f"Vela leaves {len(npu.on_cpu)} of {len(npu.graph.operators)} operators to the processor, each a wait for "
            f"the NPU, and their time is in no estimate; {first.kind}: {first.reason or 'no reason given'}"[:400],
            "replace them by operators that the NPU has; the reason says which form it would take",
        )
    ]


def silu_on_npu(npu: NpuSubject) -> list[Finding]:
    """SiLU against ReLU and HARD_SWISH."""
    gates = silu_gates(npu.graph)
    if not gates:
        return []
    relu, swish = npu.variant(relu_for_silu(npu.graph)), npu.variant(hard_swish_for_silu(npu.graph))
    saved = npu.figures.cycles - relu.cycles
    if not npu.matters(saved):
        return []
    return [
        Finding(
            "npu-silu",
            "warning",
            tuple(npu.graph.tensors[index].name for index in gates),
            f"{len(gates)} SiLU cost {npu.share(saved)}: compiled with ReLU instead it takes {relu.cycles:,}, with "
            f"HARD_SWISH {swish.cycles:,}",
            "replace SiLU and fine-tune for some epochs",
            f"edgedet substitute {npu.subject.checkpoint} --activation relu6 --data DIR --out RUN",
        )
    ]


def activation_of_its_own(npu: NpuSubject) -> list[Finding]:
    """Clamps that are a pass over the tensor, and not part of the operator in front."""
    names = {x.name for x in npu.figures.layers if x.operation.startswith(("Relu", "Clamp")) and x.cycles}
    guilty = [o for o in npu.graph.operators if npu.subject.name(o) in names]
    if not guilty:
        return []
    changed = npu.variant(without_activations(npu.graph, names))
    saved = npu.figures.cycles - changed.cycles
    if not npu.matters(saved):
        return []
    same = all(is_no_clamp(npu.graph, operator) for operator in guilty)
    channels = sorted({npu.graph.tensors[o.outputs[0]].shape[-1] for o in guilty})
    return [
        Finding(
            "npu-activation",
            "info",
            npu.subject.names(guilty),
            f"Vela makes a pass of its own of these activations, where convolutions have {_words(channels)} channels, "
            f"for {npu.share(saved)}; without them SRAM goes from {npu.figures.sram_bytes:,} bytes to "
            f"{changed.sram_bytes:,}" + ("; with these scales they change no code" if same else ""),
            "8 or 16 channels there: behind such convolutions the activation costs nothing in the networks measured",
        )
    ]


def large_windows(npu: NpuSubject) -> list[Finding]:
    """Depthwise convolutions, which use few of the MACs."""
    guilty = large_depthwise(npu.graph)
    if not guilty:
        return []
    saved = npu.saved_by(small_depthwise(npu.graph))
    if not npu.matters(saved):
        return []
    return [
        Finding(
            "npu-depthwise",
            "info",
            npu.subject.names(guilty),
            f"depthwise convolutions keep {100 * npu.busy('DepthwiseConv2D'):.0f} % of the MACs busy, others "
            f"{100 * npu.busy('Conv2D'):.0f} %: windows of 3x3 instead of these would save {npu.share(saved)}",
            "train with 3x3, when the cycles are worth what it costs in AP",
        )
    ]


def padding_on_npu(npu: NpuSubject) -> list[Finding]:
    """Whether explicit padding costs anything."""
    pads = npu.subject.of_kind("PAD")
    changed = same_for_pads(npu.graph)
    if not pads or changed.operators == npu.graph.operators:
        return []
    saved = npu.saved_by(changed)
    costs = npu.matters(saved)
    return [
        Finding(
            "npu-padding",
            "warning" if costs else "info",
            npu.subject.names(pads),
            f"{len(pads)} PADs cost {npu.share(saved)}, compared with TFLite's SAME padding",
            "train with SAME padding" if costs else "nothing to do on this NPU",
        )
    ]


def concatenation_on_npu(npu: NpuSubject) -> list[Finding]:
    """What copying costs, and whether another order of the inputs copies less."""
    operators = npu.subject.of_kind("CONCATENATION")
    if not operators:
        return []
    copied = npu.figures.cycles_of("Concat")
    turned = -npu.saved_by(reversed_concatenations(npu.graph))
    return [
        Finding(
            "npu-concatenation",
            "info",
            npu.subject.names(operators),
            f"{len(operators)} CONCATENATIONs copy for {npu.share(copied)}; with their inputs in the opposite order it "
            f"is {turned:+,} cycles",
            "nothing to do: an input that only the CONCATENATION reads is written in place",
        )
    ]


def resizing_on_npu(npu: NpuSubject) -> list[Finding]:
    """What enlarging costs; Vela makes a pass of its own of it."""
    operators = npu.subject.of_kind("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")
    cycles = sum(layer.cycles for layer in npu.figures.layers if layer.original.startswith("Resize"))
    if not operators or not npu.matters(cycles):
        return []
    return [
        Finding(
            "npu-resize",
            "info",
            npu.subject.names(operators),
            f"{len(operators)} resizings take {npu.share(cycles)}",
            "fewer channels where a map is enlarged",
        )
    ]


def coloured_input(npu: NpuSubject) -> list[Finding]:
    """Three channels of the input against one."""
    changed = one_channel_input(npu.graph)
    if changed.tensors == npu.graph.tensors:
        return []
    saved = npu.saved_by(changed)
    if not npu.matters(saved):
        return []
    return [
        Finding(
            "npu-input",
            "info",
            npu.subject.names(npu.graph.operators[:1]),
            f"three channels of the input instead of one cost {npu.share(saved)}",
            "a grey network, when colour does not matter to the task",
            "edgedet train MODEL --data DIR --out RUN --set preprocess.channels=1",
        )
    ]


def waits_for_memory(npu: NpuSubject) -> list[Finding]:
    """Weights that come more slowly than the MACs use them."""
    waiting = npu.figures.cycles - npu.figures.npu_cycles
    if waiting < _WAITING * npu.figures.cycles:
        return []
    return [
        Finding(
            "npu-memory",
            "warning",
            tuple(dict.fromkeys((npu.setup.system_config, npu.setup.memory_mode))),
            f"{npu.share(waiting)} wait for memory: reading {npu.figures.encoded_bytes:,} bytes of weights takes "
            f"{npu.figures.flash_cycles:,} cycles of the flash, most of them beside the arithmetic",
            "the model in SRAM where there is room (memory mode Sram_Only), a faster flash, or fewer weights",
        )
    ]


NPU_RULES: tuple[Callable[[NpuSubject], list[Finding]], ...] = (
    on_the_cpu, silu_on_npu, waits_for_memory, activation_of_its_own, large_windows, padding_on_npu,
    concatenation_on_npu, resizing_on_npu, coloured_input,
)  # fmt: skip


def _words(numbers: list[int]) -> str:
    return " and ".join(str(number) for number in numbers)


def require_int8(subject: Subject) -> None:
    """Raises ConversionError when a file is nothing that Vela could compile for the NPU."""
    if not subject.is_int8:
        raise ConversionError(f"{subject.source}: an NPU runs int8 only; make an int8 .tflite with `edgedet quantize`")
