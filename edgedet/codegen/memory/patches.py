"""Patch by patch through the first, high-resolution steps: less RAM for some multiply-accumulates done twice.

The tensor behind the last of these steps is cut into a grid. For each patch of it the regions of all tensors before
that it depends on are computed, border included, and the steps run on them one after the other; only the network's
input and the cut tensor are ever whole. Every code is computed from the same codes as before, so that nothing changes
but the order; codes on the borders are computed in more than one patch.

Source: the idea is MCUNetV2's, arXiv:2110.15352.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgedet.codegen.steps import BINARY, PER_CODE, Step, Window
from edgedet.graph.graph import (
    ConcatOptions,
    ConvOptions,
    DepthwiseConvOptions,
    Graph,
    PoolOptions,
    Tensor,
)
from edgedet.graph.operator_table import Trait, kinds_with
from edgedet.graph.operators import window_padding

_SLIDING = kinds_with(Trait.SLIDING)


@dataclass(frozen=True)
class Region:
    """Half-open rows and columns of a tensor."""

    top: int
    left: int
    bottom: int
    right: int

    def joined(self, other: Region | None) -> Region:
        """Smallest region that covers both."""
        if other is None:
            return self
        return Region(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )


@dataclass(frozen=True)
class Patching:
    """How the first steps are cut."""

    steps: int  # of the whole network that run patch by patch
    rows: int  # of the grid
    columns: int


def cut_points(graph: Graph, steps: tuple[Step, ...]) -> list[int]:
    """Numbers of steps after which the network can be cut.

    Args:
        graph, steps: the network.
    Returns:
        n such that steps[:n] work on neighbourhoods of rows and columns only, and one tensor that they made is all
        that the rest of the network reads.
    """
    found: list[int] = []
    made = set(graph.inputs)
    for number, step in enumerate(steps[: local_steps(graph, steps)], start=1):
        made.add(step.outputs[0])
        later = {index for other in steps[number:] for index in other.inputs} | set(graph.outputs)
        if later & made == {step.outputs[0]} and number > 1:
            found.append(number)
    return found


def local_steps(graph: Graph, steps: tuple[Step, ...]) -> int:
    """How many of the first steps work on neighbourhoods of rows and columns only.

    Args:
        graph, steps: the network; one with several inputs has none.
    """
    if len(graph.inputs) != 1:
        return 0
    made = {graph.inputs[0]}
    for number, step in enumerate(steps):
        if not _is_local(graph, step, made):
            return number
        made.add(step.outputs[0])
    return len(steps)


def _is_local(graph: Graph, step: Step, made: set[int]) -> bool:
    """Whether a step's codes depend on a neighbourhood only, of tensors that the patches have."""
    out = graph.tensors[step.outputs[0]].shape
    if len(step.outputs) != 1 or len(out) != 4 or out[0] != 1:
        return False
    if step.kind in _SLIDING or step.kind in PER_CODE:
        return step.inputs[0] in made and _last_window_touches_input(graph, step)
    if step.kind in BINARY:
        return all(index in made and graph.tensors[index].shape == out for index in step.inputs)
    if step.kind == "CONCATENATION":
        assert isinstance(step.options, ConcatOptions)
        return step.options.axis % 4 == 3 and all(index in made for index in step.inputs)
    return False


def _last_window_touches_input(graph: Graph, step: Step) -> bool:
    """False for a folded PAD so wide that a window lies in it whole; a patch could not say so."""
    _, height, width, _ = graph.tensors[step.outputs[0]].shape
    if step.kind not in _SLIDING:
        return True
    begins = _begins(graph, step, Region(height - 1, width - 1, height, width))
    limits = graph.tensors[step.inputs[0]].shape[1:3]
    return all(begin < limit for begin, limit in zip(begins, limits, strict=True))


def apply_patching(graph: Graph, steps: tuple[Step, ...], patching: Patching) -> tuple[Graph, tuple[Step, ...]]:
    """Replace the first steps by their patches.

    Args:
        graph, steps: the network.
        patching: `steps` is one of `cut_points`.
    Returns:
        (the graph with the patches' tensors appended, all steps); tensors keep their indices.
    """
    head, tail = steps[: patching.steps], steps[patching.steps :]
    cut = head[-1].outputs[0]
    _, height, width, _ = graph.tensors[cut].shape
    tensors, result = list(graph.tensors), []
    for row in range(patching.rows):
        for column in range(patching.columns):
            target = Region(
                height * row // patching.rows,
                width * column // patching.columns,
                height * (row + 1) // patching.rows,
                width * (column + 1) // patching.columns,
            )
            result += _patch(graph, head, target, tensors, f"patch {row},{column}")
    return replace(graph, tensors=tuple(tensors)), (*result, *tail)


def _patch(graph: Graph, head: tuple[Step, ...], target: Region, tensors: list[Tensor], name: str) -> list[Step]:
    """Steps of one patch; its tensors are appended."""
    source, cut = graph.inputs[0], head[-1].outputs[0]
    needs: dict[int, Region] = {cut: target}
    for step in reversed(head):
        for index in _activations(step):
            needs[index] = _read(graph, step, needs[step.outputs[0]])[0].joined(needs.get(index))
    stored = {index: region for index, region in needs.items() if index not in (source, cut)}
    for index in (source, cut):
        _, height, width, _ = graph.tensors[index].shape
        stored[index] = Region(0, 0, height, width)
    renamed = {source: source, cut: cut}
    for index, region in stored.items():
        if index not in renamed:
            whole = graph.tensors[index]
            shape = (1, region.bottom - region.top, region.right - region.left, whole.shape[3])
            renamed[index] = len(tensors)
            tensors.append(replace(whole, name=f"{whole.name} ({name})", shape=shape))
    return [_patch_step(graph, step, needs, stored, renamed) for step in head]


def _patch_step(
    graph: Graph, step: Step, needs: dict[int, Region], stored: dict[int, Region], renamed: dict[int, int]
) -> Step:
    out = step.outputs[0]
    read, pad = _read(graph, step, needs[out])
    windows = {renamed[out]: _window(renamed[out], needs[out], stored[out])}
    for index in _activations(step):
        windows[renamed[index]] = _window(renamed[index], read, stored[index])
    return replace(
        step,
        inputs=tuple(renamed.get(index, index) if index in _activations(step) else index for index in step.inputs),
        outputs=(renamed[out],),
        windows=tuple(window for window in windows.values() if window is not None),
        explicit_pad=pad,
    )


def _activations(step: Step) -> tuple[int, ...]:
    """Inputs that are computed; weights and biases are not."""
    return step.inputs[:1] if step.kind in _SLIDING or step.kind in PER_CODE else tuple(dict.fromkeys(step.inputs))


def _window(tensor: int, touched: Region, stored: Region) -> Window | None:
    if touched == stored:
        return None
    return Window(
        tensor,
        touched.top - stored.top,
        touched.left - stored.left,
        touched.bottom - touched.top,
        touched.right - touched.left,
    )


def _read(graph: Graph, step: Step, out: Region) -> tuple[Region, tuple[int, int] | None]:
    """(region of the input that a region of the output depends on, padding above and to the left that remains)."""
    if step.kind not in _SLIDING:
        return out, None
    begins, limits = _begins(graph, step, out), graph.tensors[step.inputs[0]].shape[1:3]
    options = step.options
    assert isinstance(options, ConvOptions | DepthwiseConvOptions | PoolOptions)
    starts, ends = [], []
    for axis, count in enumerate((out.bottom - out.top, out.right - out.left)):
        end = begins[axis] + (count - 1) * options.stride[axis] + _reach(graph, step)[axis]
        starts.append(min(max(begins[axis], 0), limits[axis] - 1))
        ends.append(min(max(end, starts[axis] + 1), limits[axis]))
    return Region(starts[0], starts[1], ends[0], ends[1]), (max(0, -begins[0]), max(0, -begins[1]))


def _begins(graph: Graph, step: Step, out: Region) -> tuple[int, int]:
    """Row and column of the first tap of a region of the output; negative in the padding."""
    options = step.options
    assert isinstance(options, ConvOptions | DepthwiseConvOptions | PoolOptions)
    # A folded PAD made the operator's own input larger than what the step reads.
    padded = graph.tensors[_own_input(graph, step)].shape[1:3]
    begins = []
    for axis, first in enumerate((out.top, out.left)):
        reach, stride = _reach(graph, step)[axis], options.stride[axis]
        _, before, _ = window_padding(padded[axis], reach, stride, options.padding, step.kind)
        begins.append(first * stride - before - step.pad[axis])
    return begins[0], begins[1]


def _reach(graph: Graph, step: Step) -> tuple[int, int]:
    """Rows and columns that a filter spans, dilation included."""
    options = step.options
    if isinstance(options, PoolOptions):
        return options.filter
    assert isinstance(options, ConvOptions | DepthwiseConvOptions)
    kernel = graph.tensors[step.inputs[1]].shape[1:3]
    return (kernel[0] - 1) * options.dilation[0] + 1, (kernel[1] - 1) * options.dilation[1] + 1


def _own_input(graph: Graph, step: Step) -> int:
    """First input of the step's last operator, as the file has it."""
    return graph.operators[step.operators[-1]].inputs[0]
