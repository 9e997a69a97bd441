"""How many instructions a network takes on a processor, and what that may be in time.

The instructions follow from the shapes: each class of steps has a cost per multiply-accumulate, per element written and
per call, fitted to what an emulator counted. Cycles per instruction come from a model of the processor's pipeline
(llvm-mca) that knows no waits for memory; nothing here was compared with a chip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgedet.codegen.program import Program
from edgedet.codegen.steps import Step, macs_of
from edgedet.graph.graph import ConvOptions, DepthwiseConvOptions, Graph
from edgedet.hardware.board import Board
from edgedet.hardware.measured import CoreCosts, Measured, measured

_SMALL_PART = 0.05  # of the multiply-accumulates
_PATH_WORDS = {"plain": "portable C", "dsp": "DSP instructions", "mve": "vector instructions (MVE)"}


@dataclass(frozen=True)
class Work:
    """What a step has to do."""

    name: str  # class of the step, as `hardware.measured.StepCost.name`
    kind: str
    macs: int
    outputs: int  # elements written


@dataclass(frozen=True)
class Time:
    """Estimate for one inference of the network alone, without camera, preprocessing and decoding."""

    instructions: float | None  # None: no basis, or an NPU's cycles
    error: float  # relative, of the instructions: the largest that was seen
    cycles: tuple[float, float] | None  # lowest, highest; None: no basis
    milliseconds: tuple[float, float] | None
    basis: str  # what the numbers rest on, or why there are none
    slow: bool = False  # weights or arena are in external memory, whose waits nobody knows

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        return asdict(self)

    def text(self) -> str:
        """One line."""
        if self.instructions is None and self.milliseconds is not None:
            return f"about {self.milliseconds[1]:,.1f} ms; {self.basis}"
        if self.instructions is None:
            return f"no estimate: {self.basis}"
        count = f"{self.instructions / 1e6:,.1f} M instructions (within {100 * self.error:.0f} %)"
        if self.milliseconds is None:
            return f"{count}, no milliseconds: {self.basis}"
        low, high = self.milliseconds
        span = f"more than {low:,.0f} ms" if self.slow else f"about {low:,.0f} to {high:,.0f} ms"
        return f"{span}; {count}; {self.basis}"

    def short(self) -> str:
        """For a table."""
        if self.milliseconds is None:
            return "-" if self.instructions is None else f"{self.instructions / 1e6:,.0f} M instr."
        low, high = (f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in self.milliseconds)
        if self.instructions is None:
            return f"{high} ms"
        return f"over {low} ms" if self.slow else f"{low} to {high} ms"


def works_of(program: Program) -> tuple[Work, ...]:
    """What the steps with code have to do."""
    return tuple(
        Work(step_class(program.graph, step), step.kind, macs_of(program.graph, step), _elements(program.graph, step))
        for step, calls in zip(program.steps, program.calls, strict=True)
        if calls
    )


def step_class(graph: Graph, step: Step) -> str:
    """Steps of one class have the same loops: kind, and the filter's sides and stride where there is a filter."""
    if isinstance(step.options, ConvOptions | DepthwiseConvOptions):
        _, height, width, _ = graph.tensors[step.inputs[1]].shape
        return f"{step.kind} {height}x{width} stride {step.options.stride[0]}"
    return step.kind


def instructions_of(works: Sequence[Work], core: CoreCosts) -> tuple[float, tuple[str, ...]]:
    """(instructions, classes of steps that were never measured and matter).

    A class that was not measured, as a filter of 10x8, counts as its kind does on average while it is a small part.
    """
    total, unknown = 0.0, []
    macs = sum(work.macs for work in works)
    for work in works:
        cost = core.step(work.name)
        if cost is None and work.macs <= _SMALL_PART * macs:
            cost = core.step(work.kind)
        if cost is None:
            unknown.append(work.name)
        else:
            total += cost.per_mac * work.macs + cost.per_output * work.outputs + cost.per_call
    return total, tuple(dict.fromkeys(unknown))


def estimate(
    works: Sequence[Work],
    board: Board,
    slow: Sequence[str] = (),
    foreign: bool = False,
    costs: Measured | None = None,
) -> Time:
    """Estimate one inference of the generated C on a board.

    Args:
        works: of `works_of`.
        board: its processor and clock.
        slow: names of external memories that hold weights or arena.
        foreign: no network of edgedet's, so that the error is that of other makers' networks.
        costs: measurements; None: those that travel with edgedet.
    Returns:
        The estimate, or why there is none.
    """
    costs = costs or measured()
    core = costs.core(board.core.name)
    if core is None or not core.steps:
        return Time(None, 0.0, None, None, f"nothing was measured on {board.core.name}")
    instructions, unknown = instructions_of(works, core)
    if unknown:
        return Time(None, 0.0, None, None, f"no step like {', '.join(unknown)} was measured on {core.name}")
    error = core.foreign_error if foreign else core.instructions_error
    rest = f"fitted to counts under QEMU with {_PATH_WORDS[board.core.path]}"
    if board.core.clock_mhz is None:
        return Time(instructions, error, None, None, f"{rest}; an emulator has no cycles")
    if not core.cycles_per_instruction:
        return Time(instructions, error, None, None, f"{rest}; no cycles of {core.name} are known")
    low, high = min(core.cycles_per_instruction), max(core.cycles_per_instruction)
    cycles = instructions * (1 - error) * low, instructions * (1 + error) * high
    milliseconds = cycles[0] / board.core.clock_mhz / 1e3, cycles[1] / board.core.clock_mhz / 1e3
    waits = "no waits for memory are in it"
    if slow:
        waits += f", and {', '.join(slow)} is external: it will take longer"
    basis = (
        f"{rest}, {low:.2f} to {high:.2f} cycles each (llvm-mca's model of the processor), {board.core.clock_mhz:g} "
        f"MHz; {waits}; never compared with a chip"
    )
    return Time(instructions, error, cycles, milliseconds, basis, bool(slow))


def _elements(graph: Graph, step: Step) -> int:
    return sum(math.prod(step.shape(graph, index)) for index in step.outputs)
