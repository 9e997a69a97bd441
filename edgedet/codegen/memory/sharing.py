"""Which tensors lie in the memory of another.

Reshapes, blocks of a split or sliced tensor, in-place steps, and inputs of a concatenation in its output.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from edgedet.codegen.memory.offsets import Lifetime, lower_bound
from edgedet.codegen.steps import Step
from edgedet.graph.graph import ConcatOptions, Graph
from edgedet.graph.moves import merged_axes, moved_views, source_position, start_of
from edgedet.graph.operator_table import Trait, kinds_with
from edgedet.graph.operators import OpContext
from edgedet.graph.tflite.dtypes import tensor_bytes

RESHAPES = kinds_with(Trait.RESHAPING)
MOVES = kinds_with(Trait.MOVING)
FLAT, SAME, CHANNELS = "flat", "same", "channels"  # how a tensor lies in its host, see `_Host`


@dataclass(frozen=True)
class Sharing:
    """What the kernels allow, by kind of step."""

    in_place: frozenset[str]  # the output may be any input of its shape
    pitched_read: frozenset[str]  # inputs may lie inside the pixels of a wider tensor
    pitched_write: frozenset[str]  # so may the output


@dataclass(frozen=True)
class _Host:
    """Place of a tensor in another."""

    tensor: int
    offset: int  # bytes
    mode: str  # FLAT: contiguous bytes; SAME: the same shape, written in place; CHANNELS: a part of every pixel


class Views:
    """Groups of tensors in one buffer each, while they are being decided."""

    def __init__(self, graph: Graph, steps: tuple[Step, ...]) -> None:
        self.graph, self.steps = graph, steps
        self.born: dict[int, int] = dict.fromkeys(graph.inputs, 0)
        self.dies: dict[int, int] = dict.fromkeys(graph.inputs, 0)
        self.writer: dict[int, Step] = {}
        self.readers: dict[int, list[Step]] = defaultdict(list)
        self.hosts: dict[int, _Host] = {}
        self.guests: dict[int, list[int]] = defaultdict(list)  # the other way round
        self.elided: frozenset[int] = frozenset()
        self.hosted_inputs: dict[int, tuple[int, ...]] = {}  # step of a concatenation -> inputs already in place
        for number, step in enumerate(steps):
            for index in step.inputs:
                if index in self.born:
                    self.dies[index] = number
                    self.readers[index].append(step)
            for index in step.outputs:
                self.born.setdefault(index, number)  # patches write one tensor in several steps
                self.dies[index] = number
                self.writer[index] = step
        self.dies.update((index, len(steps) - 1) for index in graph.outputs if index in self.born)

    def size_bytes(self, index: int) -> int:
        """Of one tensor."""
        return tensor_bytes(self.graph.tensors[index])

    def locate(self, index: int) -> tuple[int, int, int]:
        """(root tensor, offset in bytes from its start, pitch in elements)."""
        host = self.hosts.get(index)
        own = (self.graph.tensors[index].shape or (1,))[-1]
        if host is None:
            return index, 0, own
        root, offset, pitch = self.locate(host.tensor)
        return root, offset + host.offset, own if host.mode == FLAT else pitch

    def root(self, index: int) -> int:
        """Tensor whose buffer this one lies in."""
        while index in self.hosts:
            index = self.hosts[index].tensor
        return index

    def roots(self) -> list[int]:
        """Tensors with a buffer of their own, in order of birth."""
        return [index for index in self.born if index not in self.hosts]

    def members(self, root: int) -> tuple[int, ...]:
        """Tensors in the buffer of a root, itself first, in order of birth."""
        found = [root]
        for index in found:  # grows while it is read
            found += self.guests[index]
        return (root, *sorted(found[1:], key=lambda index: (self.born[index], index)))

    def put(self, index: int, host: _Host) -> None:
        """Let a tensor lie in another."""
        self.hosts[index] = host
        self.guests[host.tensor].append(index)

    def take_out(self, index: int) -> None:
        """Undo `put`."""
        self.guests[self.hosts.pop(index).tensor].remove(index)

    def dies_of(self, indices: tuple[int, ...]) -> int:
        """Last step that reads one of them."""
        return max(self.dies[index] for index in indices)

    def bound(self, scratch: tuple[int, ...]) -> int:
        """Largest sum of bytes alive at once with the groups as they are."""
        lifetimes = [Lifetime(size, number, number) for number, size in enumerate(scratch) if size]
        spans: dict[int, tuple[int, int]] = {}
        for index, born in self.born.items():
            root, dies = self.root(index), self.dies[index]
            first, last = spans.get(root, (born, dies))
            spans[root] = (min(first, born), max(last, dies))
        lifetimes += [Lifetime(self.size_bytes(root), *span) for root, span in spans.items()]
        return lower_bound(lifetimes)[0]


def share(graph: Graph, steps: tuple[Step, ...], sharing: Sharing, scratch: tuple[int, ...], concat: bool) -> Views:
    """Decide which tensors share memory.

    Args:
        graph, steps: the network.
        sharing: what the kernels allow.
        scratch: bytes of scratch per step.
        concat: also write into concatenations, one after the other as long as the bound of the arena does not grow.
    Returns:
        The groups.
    """
    views = Views(graph, steps)
    elided = set()
    for number, step in enumerate(steps):
        if step.kind in RESHAPES and _keep_reshape(views, step):
            views.put(step.outputs[0], _Host(step.inputs[0], 0, FLAT))
            elided.add(number)
        elif step.kind in sharing.in_place:
            _keep_in_place(views, number, step)
        elif step.kind in MOVES and _keep_parts(views, step, scratch):
            elided.add(number)
    if concat:
        for number, step in enumerate(steps):
            if step.kind == "CONCATENATION" and _write_into(views, number, step, sharing, scratch):
                elided.add(number)
    views.elided = frozenset(elided)
    return views


def _keep_reshape(views: Views, step: Step) -> bool:
    source, out = step.inputs[0], step.outputs[0]
    if source not in views.born:
        return False
    # The caller's input is read where the caller has it; an output must be in the arena.
    return not (out in views.graph.outputs and views.root(source) in views.graph.inputs)


def _keep_in_place(views: Views, number: int, step: Step) -> None:
    out = step.outputs[0]
    tensors = views.graph.tensors
    for index in step.inputs:
        if index not in views.born or tensors[index].shape != tensors[out].shape:
            continue
        members = views.members(views.root(index))
        kept = any(m in views.graph.inputs or m in views.graph.outputs for m in members)
        if not kept and views.dies_of(members) <= number:
            views.put(out, _Host(index, 0, SAME))
            return


def _keep_parts(views: Views, step: Step, scratch: tuple[int, ...]) -> bool:
    """Leave outputs that are one block of the input where they are; True when nothing is left to copy.

    The whole input then lives as long as any of them, so that this is undone if the bound of the arena grows.
    """
    source = step.inputs[source_position(step.kind)]
    if source not in views.born:
        return False
    tensor = views.graph.tensors[source]
    whole = np.empty(tensor.shape, tensor.dtype)  # never read: only addresses count
    moved = moved_views(OpContext(views.graph, step.operators[-1]), whole)
    before, hosted = views.bound(scratch), []
    for out, part in zip(step.outputs, moved or (), strict=moved is not None):
        sizes, strides = merged_axes(part.view)
        block = not sizes or (len(sizes) == 1 and strides[0] == whole.itemsize)
        # The caller's input is read where the caller has it; an output must be in the arena.
        kept = out in views.graph.outputs and views.root(source) in views.graph.inputs
        if block and not kept:
            hosted.append(out)
            views.put(out, _Host(source, start_of(part.view, whole), FLAT))
    if hosted and views.bound(scratch) > before:
        for out in hosted:
            views.take_out(out)
        return False
    return len(hosted) == len(step.outputs)


def _write_into(views: Views, number: int, step: Step, sharing: Sharing, scratch: tuple[int, ...]) -> bool:
    """Host what can be hosted of a concatenation's inputs; True when nothing is left to copy."""
    options, out = step.options, step.outputs[0]
    assert isinstance(options, ConcatOptions)
    shape = views.graph.tensors[out].shape
    axis = options.axis % len(shape)
    outer, inner = int(np.prod(shape[:axis])), int(np.prod(shape[axis + 1 :]))
    itemsize = np.dtype(views.graph.tensors[out].dtype).itemsize
    if (outer > 1 and inner > 1) or step.window(out) is not None:
        return False  # neither one block of bytes nor a part of every pixel; or a patch of a larger tensor
    mode = FLAT if outer == 1 else CHANNELS
    before = views.bound(scratch)
    hosted, roots, offset = [], [], 0
    for index in step.inputs:
        if (
            index in views.born
            and step.window(index) is None
            and _can_be_hosted(views, number, index, out, mode, sharing)
        ):
            hosted.append(index)
            roots.append(views.root(index))
            views.put(roots[-1], _Host(out, offset, mode))
        offset += views.graph.tensors[index].shape[axis] * inner * itemsize
    if not hosted or views.bound(scratch) > before:
        for root in roots:
            views.take_out(root)
        return False
    views.hosted_inputs[number] = tuple(hosted)
    # A tensor that stands twice among the inputs is in place once.
    return len(hosted) == len(step.inputs)


def _can_be_hosted(views: Views, number: int, index: int, out: int, mode: str, sharing: Sharing) -> bool:
    graph, root = views.graph, views.root(index)
    members, others = views.members(root), views.members(views.root(out))
    if root == views.root(out) or views.size_bytes(root) != views.size_bytes(index):
        return False
    if any(m in graph.inputs or m in graph.outputs for m in members):
        return False
    if any(views.born[m] > views.born[index] and views.hosts[m].mode == SAME for m in members if m in views.hosts):
        return False  # overwritten in place after it was computed
    written_later = any(views.born[m] > number and views.hosts[m].mode == SAME for m in others if m in views.hosts)
    if written_later and views.dies_of(members) > number:
        return False
    if mode == FLAT and views.locate(out)[2] == graph.tensors[out].shape[-1]:
        return True
    rigid = any(views.hosts[m].mode == FLAT for m in members if m in views.hosts)
    return mode == CHANNELS and not rigid and _all_pitched(views, members, sharing)


def _all_pitched(views: Views, members: tuple[int, ...], sharing: Sharing) -> bool:
    return all(
        _takes_pitch(views, views.writer[index], sharing.pitched_write)
        and all(_takes_pitch(views, step, sharing.pitched_read) for step in views.readers[index])
        for index in members
    )


def _takes_pitch(views: Views, step: Step, kinds: frozenset[str]) -> bool:
    """Whether a step may read or write a part of every pixel; a concatenation copies whole pixels along other axes."""
    if step.kind not in kinds:
        return False
    if isinstance(step.options, ConcatOptions):
        rank = len(views.graph.tensors[step.outputs[0]].shape)
        return step.options.axis % rank == rank - 1
    return True
