"""The smallest arena that generated C has for a file, and what stands in the way of a smaller one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgedet.codegen.emit.compute import SHARING, scratch_bytes
from edgedet.codegen.memory.patch_search import smallest_plan
from edgedet.codegen.memory.patches import Patching, local_steps
from edgedet.codegen.memory.plan import Plan, make_plan
from edgedet.codegen.steps import Step, lower
from edgedet.graph.graph import Graph
from edgedet.graph.tflite.dtypes import tensor_bytes

ENOUGH = 0.7  # share of the arena of the whole network below which nothing needs an explanation


@dataclass(frozen=True)
class SmallestArena:
    """Bytes, and the reason where they are more than ENOUGH of the network's in one go."""

    arena_bytes: int
    why: str


def smallest_arena(graph: Graph) -> SmallestArena:
    """Search, and explain.

    Args:
        graph: that C can be generated for.
    """
    steps = lower(graph)
    whole = make_plan(graph, steps, lambda step: scratch_bytes(graph, step), SHARING, 0)
    plan, patching = smallest_plan(graph, steps, scratch_bytes, SHARING, 0)
    if plan.arena_bytes <= ENOUGH * whole.arena_bytes:
        return SmallestArena(plan.arena_bytes, "")
    return SmallestArena(plan.arena_bytes, _why(graph, steps, whole, plan, patching))


def _why(graph: Graph, steps: tuple[Step, ...], whole: Plan, plan: Plan, patching: Patching | None) -> str:
    floats = sum(4 * math.prod(graph.tensors[i].shape) for i in graph.inputs if graph.tensors[i].dtype == "float32")
    if floats > ENOUGH * whole.arena_bytes:
        return f"its float32 input alone takes {floats:,}, which the caller fills whole"
    if patching is not None:
        cut = tensor_bytes(graph.tensors[steps[patching.steps - 1].outputs[0]])
        equal = sum(_held(graph, step) == max(_held(graph, other) for other in steps) for step in steps)
        return (
            f"{equal} layers read and write {max(_held(graph, step) for step in steps):,} each, so that patches reach "
            f"over all of them: behind {patching.steps} steps {cut:,} stand whole, beside a patch with the neighbours "
            f"that every step adds, {plan.bound_bytes - cut:,} with the input"
        )
    number = whole.bound_step
    reason = f"step {number}, {whole.kinds[number]}, needs {whole.bound_bytes:,} at once"
    if _held(graph, steps[number]) > ENOUGH * whole.arena_bytes:
        reason += f", {_held(graph, steps[number]):,} of them what it reads and writes"
    local = local_steps(graph, steps)
    if local < len(steps) and local <= 1:
        return f"{reason}; no patches: step {local}, {steps[local].kind}, is not one of rows and columns alone"
    return f"{reason}; no patches: they need two such steps"


def _held(graph: Graph, step: Step) -> int:
    """Bytes of what a step reads and writes."""
    indices = {i for i in (*step.inputs, *step.outputs) if i >= 0 and graph.tensors[i].data is None}
    return sum(tensor_bytes(graph.tensors[i]) for i in indices)
