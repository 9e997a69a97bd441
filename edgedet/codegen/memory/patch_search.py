"""A plan that fits a limit: the whole network at once, or with as little recomputation as possible patch by patch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgedet.codegen.memory.patches import Patching, apply_patching, cut_points
from edgedet.codegen.memory.plan import Plan, make_plan
from edgedet.codegen.memory.sharing import Sharing, share
from edgedet.codegen.steps import Step, macs_of
from edgedet.errors import ConfigError
from edgedet.graph.graph import Graph

# Rows and columns of the grid. Strips recompute only above and below, but a short wide patch saves less than a square.
_GRIDS = (*((rows, 1) for rows in range(2, 9)), *((rows, columns) for rows in range(2, 7) for columns in range(2, 7)))
_HOPELESS = 1.05  # times the limit: concatenations in place do not save as much
_Scratch = Callable[[Graph, Step], int]
_Around = Callable[[tuple[Step, ...]], tuple[Step, ...]]


@dataclass(frozen=True)
class PatchReport:
    """What running patch by patch costs and saves."""

    steps: int  # of the whole network that run patch by patch
    rows: int  # of the grid
    columns: int
    macs: int  # of the network, recomputation included
    macs_whole: int  # without patches
    arena_whole_bytes: int  # without patches

    @property
    def overhead(self) -> float:
        """Share of multiply-accumulates that are done more than once."""
        return self.macs / self.macs_whole - 1.0

    def text(self) -> str:
        """One line."""
        return (
            f"the first {self.steps} steps run in {self.rows} x {self.columns} patches: {100 * self.overhead:.2f} % "
            f"more MACs ({self.macs_whole:,} -> {self.macs:,}); in one go the arena needs {self.arena_whole_bytes:,} "
            "bytes"
        )


@dataclass(frozen=True, eq=False)
class _Candidate:
    patching: Patching
    graph: Graph
    steps: tuple[Step, ...]  # with what is around the network
    macs: int


def plan_within(
    ram_bytes: int | None,
    graph: Graph,
    steps: tuple[Step, ...],
    around: _Around,
    scratch: _Scratch,
    sharing: Sharing,
    seed: int,
) -> tuple[Graph, tuple[Step, ...], Plan, PatchReport | None]:
    """Plan a network inside a limit.

    Args:
        ram_bytes: largest arena; None: any.
        graph, steps: the network.
        around: adds the steps before and behind the network.
        scratch: bytes of a step, whose tensors are in the given graph.
        sharing: what the kernels allow.
        seed: of the planner's search.
    Returns:
        (graph and steps to run, their plan, what patches cost or None when none are needed).
    Raises:
        ConfigError: no plan fits; with the smallest arena that there is.
    """
    whole = around(steps)
    plan = make_plan(graph, whole, lambda step: scratch(graph, step), sharing, seed)
    if ram_bytes is None or plan.arena_bytes <= ram_bytes:
        return graph, whole, plan, None
    macs_whole = sum(macs_of(graph, step) for step in steps)
    candidates = sorted(_candidates(graph, steps, around), key=lambda item: item.macs)
    bounds = []
    for item in candidates:
        bounds.append(_bound(item, scratch, sharing))
        if bounds[-1] > ram_bytes * _HOPELESS:
            continue
        patched = _plan(item, scratch, sharing, seed)
        if patched.arena_bytes <= ram_bytes:
            p = item.patching
            report = PatchReport(p.steps, p.rows, p.columns, item.macs, macs_whole, plan.arena_bytes)
            return item.graph, item.steps, patched, report
    smallest = plan.arena_bytes
    if bounds and min(bounds) < smallest:
        smallest = min(smallest, _plan(candidates[bounds.index(min(bounds))], scratch, sharing, seed).arena_bytes)
    raise ConfigError(
        f"the limit is {ram_bytes:,} bytes of RAM, but the smallest arena for this model is {smallest:,} bytes, with "
        f"the first steps patch by patch where that helps (without: {plan.arena_bytes:,} bytes, of which "
        f"{plan.bound_bytes:,} are alive at once at step {plan.bound_step}, {plan.kinds[plan.bound_step]}). Take a "
        f"smaller input or a narrower model, or raise the limit{_float_ends(graph)}"
    )


def smallest_plan(
    graph: Graph, steps: tuple[Step, ...], scratch: _Scratch, sharing: Sharing, seed: int
) -> tuple[Plan, Patching | None]:
    """The smallest arena of a network alone, whatever it costs in time.

    Args:
        graph, steps, scratch, sharing, seed: as in `plan_within`.
    Returns:
        (the plan, how the first steps are cut; None: in one go).
    """
    plan = make_plan(graph, steps, lambda step: scratch(graph, step), sharing, seed)
    bounded = [(_bound(item, scratch, sharing), item) for item in _candidates(graph, steps, lambda steps: steps)]
    if not bounded:
        return plan, None
    _, item = min(bounded, key=lambda pair: pair[0])
    patched = _plan(item, scratch, sharing, seed)
    return (patched, item.patching) if patched.arena_bytes < plan.arena_bytes else (plan, None)


def _float_ends(graph: Graph) -> str:
    """What floats at the ends of the network cost, for the error; empty without."""
    tensors = [graph.tensors[index] for index in (*graph.inputs, *graph.outputs)]
    floats = [f"{t.name!r} {4 * math.prod(t.shape):,} bytes" for t in tensors if t.dtype == "float32"]
    if not floats:
        return ""
    return f". Its float32 inputs and outputs take {', '.join(floats)}; a file with int8 ends takes a quarter of that"


def _plan(item: _Candidate, scratch: _Scratch, sharing: Sharing, seed: int) -> Plan:
    return make_plan(item.graph, item.steps, lambda step: scratch(item.graph, step), sharing, seed)


def _bound(item: _Candidate, scratch: _Scratch, sharing: Sharing) -> int:
    """Bound of the arena without concatenations in place, which is quick to find and close."""
    sizes = tuple(scratch(item.graph, step) for step in item.steps)
    return share(item.graph, item.steps, sharing, sizes, concat=False).bound(sizes)


def _candidates(graph: Graph, steps: tuple[Step, ...], around: _Around) -> Iterator[_Candidate]:
    for count in cut_points(graph, steps):
        _, height, width, _ = graph.tensors[steps[count - 1].outputs[0]].shape
        for rows, columns in _GRIDS:
            if rows > height or columns > width:
                continue
            patching = Patching(count, rows, columns)
            patched, result = apply_patching(graph, steps, patching)
            macs = sum(macs_of(patched, step) for step in result)
            yield _Candidate(patching, patched, around(result), macs)
