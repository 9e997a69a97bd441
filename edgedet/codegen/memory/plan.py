"""The arena plan: which tensors share memory, and where every buffer lies.

Tensors become views of buffers. A RESHAPE, and an elementwise step on a tensor that nothing reads afterwards, stay
where their input is; the inputs of a CONCATENATION are written into its output where every kernel that touches them can
keep the distance between pixels (`pitch`). Buffers and the scratch memory of the steps then get offsets such that no
two that live at once overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgedet.codegen.memory.offsets import ALIGNMENT, Lifetime, aligned, lower_bound, place
from edgedet.codegen.memory.sharing import Sharing, Views, share
from edgedet.codegen.steps import Step
from edgedet.graph.graph import Graph
from edgedet.notebook import Brief


@dataclass(frozen=True)
class Buffer:
    """A block of the arena."""

    name: str  # of the tensor that fills it, or scratch of a step
    kind: str  # input, output, tensor or scratch
    tensors: tuple[int, ...]  # that lie in it; empty for scratch
    size_bytes: int
    first: int  # step that writes it first
    last: int  # step that reads it last, included; the last step for an output
    offset: int  # bytes from the start of the arena, a multiple of ALIGNMENT

    @property
    def end(self) -> int:
        """Offset behind the last byte."""
        return self.offset + self.size_bytes


@dataclass(frozen=True)
class View:
    """Where a tensor is."""

    buffer: int  # position in Plan.buffers
    offset: int  # bytes from the start of the buffer
    pitch: int  # elements from a pixel (the last axis) to the next; the last side when the tensor is contiguous


@dataclass(frozen=True, repr=False)
class Plan(Brief):
    """A whole arena."""

    buffers: tuple[Buffer, ...]
    views: dict[int, View]  # tensor -> view, for every tensor that a step reads or writes and that is not a constant
    scratch: tuple[int, ...]  # per step: position of its buffer, -1 without scratch
    elided: frozenset[int]  # steps that need no code: everything is in its place already
    arena_bytes: int
    bound_bytes: int  # largest sum of buffers that live at once; no arena of these buffers is smaller
    bound_step: int  # where that is
    kinds: tuple[str, ...]  # kind of every step, for reports

    def address(self, tensor: int) -> int:
        """Bytes from the start of the arena to the tensor's first code."""
        view = self.views[tensor]
        return self.buffers[view.buffer].offset + view.offset

    def to_text(self) -> str:
        """A table of buffers in order of their first step, newline at the end."""
        lines = [
            f"arena   {self.arena_bytes:>9,} bytes, {ALIGNMENT}-byte aligned",
            f"bound   {self.bound_bytes:>9,} bytes alive at step {self.bound_step} ({self.kinds[self.bound_step]}); "
            f"the plan is {100.0 * (self.arena_bytes / self.bound_bytes - 1.0):.2f} % above",
            f"steps   {len(self.kinds):>9,}, {len(self.elided)} of them need no code",
            "",
            f"{'offset':>9} {'bytes':>9} {'first':>5} {'last':>5}  {'kind':<7} tensors",
        ]
        for buffer in sorted(self.buffers, key=lambda b: (b.first, b.offset)):
            shared = f" (+{len(buffer.tensors) - 1} in the same memory)" if len(buffer.tensors) > 1 else ""
            lines.append(
                f"{buffer.offset:>9} {buffer.size_bytes:>9} {buffer.first:>5} {buffer.last:>5}  {buffer.kind:<7} "
                f"{buffer.name}{shared}"
            )
        return "\n".join(lines) + "\n"


def make_plan(
    graph: Graph, steps: tuple[Step, ...], scratch_bytes: Callable[[Step], int], sharing: Sharing, seed: int = 0
) -> Plan:
    """Plan the arena of a network.

    Args:
        graph: whose tensors the steps name.
        steps: in execution order.
        scratch_bytes: of a step.
        sharing: what the kernels allow.
        seed: of the search for offsets.
    Returns:
        The smallest plan found; of two that are equal, the one with fewer copies.
    """
    scratch = tuple(scratch_bytes(step) for step in steps)
    without = _solve(graph, steps, scratch, share(graph, steps, sharing, scratch, concat=False), seed)
    joined = share(graph, steps, sharing, scratch, concat=True)
    if not joined.hosted_inputs:
        return without
    within = _solve(graph, steps, scratch, joined, seed)
    return within if within.arena_bytes <= without.arena_bytes else without


def _solve(graph: Graph, steps: tuple[Step, ...], scratch: tuple[int, ...], views: Views, seed: int) -> Plan:
    buffers: list[Buffer] = []
    position: dict[int, int] = {}
    for root in views.roots():
        members = views.members(root)
        kind = "tensor"
        if any(index in graph.outputs for index in members):
            kind = "output"
        elif any(index in graph.inputs for index in members):
            kind = "input"
        first = min(views.born[index] for index in members)
        last = max(views.dies[index] for index in members)
        position[root] = len(buffers)
        size = views.size_bytes(root)
        buffers.append(Buffer(graph.tensors[root].name, kind, members, size, first, last, 0))
    scratch_at = []
    for number, size in enumerate(scratch):
        scratch_at.append(len(buffers) if size else -1)
        if size:
            name = f"scratch of step {number} ({steps[number].kind})"
            buffers.append(Buffer(name, "scratch", (), size, number, number, 0))
    lifetimes = [Lifetime(buffer.size_bytes, buffer.first, buffer.last) for buffer in buffers]
    offsets, total = place(lifetimes, seed)
    bound, bound_step = lower_bound(lifetimes)
    placed = tuple(
        Buffer(b.name, b.kind, b.tensors, b.size_bytes, b.first, b.last, offset)
        for b, offset in zip(buffers, offsets, strict=True)
    )
    located = {index: views.locate(index) for index in views.born}
    return Plan(
        buffers=placed,
        views={index: View(position[root], offset, pitch) for index, (root, offset, pitch) in located.items()},
        scratch=tuple(scratch_at),
        elided=views.elided,
        arena_bytes=aligned(total),
        bound_bytes=bound,
        bound_step=bound_step,
        kinds=tuple(step.kind for step in steps),
    )
