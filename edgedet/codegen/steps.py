"""From an int8 graph to the steps that generated C runs: fewer operators, the same bytes.

A step is one or more operators of the graph done at once:

- operators that no output depends on are dropped;
- a PAD that only convolutions read goes into their padding (it pads with the zero point, as they do);
- functions of one int8 code (LOGISTIC, QUANTIZE, ...; MUL or ADD with a constant number; x * LOGISTIC(x), which is
  SiLU; EXP between DEQUANTIZE and QUANTIZE; a chain of them) become one table of 256 codes, kind `TABLE`. A table is
  exact by construction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgedet.graph.graph import Graph, NoOptions, Operator, Options
from edgedet.graph.operator_table import Trait, kinds_with
from edgedet.graph.operators import OpContext, binary_table, is_byte_table, unary_table
from edgedet.graph.summary import operator_macs
from edgedet.numerics import affine

TABLE = "TABLE"
UNARY = kinds_with(Trait.UNARY)
BINARY = kinds_with(Trait.BINARY)
CONVOLUTIONS = kinds_with(Trait.CONVOLUTION)
# Float functions of one value that may stand between DEQUANTIZE and QUANTIZE.
FLOAT_UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {"EXP": affine.exp_float32}
PER_CODE = (TABLE, "QUANTIZE", "DEQUANTIZE", "LOGISTIC")  # kinds of steps that compute each code of one input by itself


@dataclass(frozen=True)
class Window:
    """Rows and columns of a tensor (1, H, W, C) that a step touches instead of the whole."""

    tensor: int
    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Step:
    """What one call of a kernel does."""

    operators: tuple[int, ...]  # numbers in the graph, in its order; the last one writes the outputs
    kind: str  # of the last operator, or TABLE
    inputs: tuple[int, ...]  # tensor indices as in the operator; -1: absent. A folded PAD is skipped
    outputs: tuple[int, ...]
    options: Options
    pad: tuple[int, int] = (0, 0)  # rows above and columns to the left, from a folded PAD
    table: np.ndarray | None = None  # int8 (256,), bytes of results, indexed by the byte of the code; TABLE only
    windows: tuple[Window, ...] = ()  # of a patch; tensors without one are touched whole
    explicit_pad: tuple[int, int] | None = None  # of a patch: all rows above and columns to the left

    def window(self, tensor: int) -> Window | None:
        """What the step touches of a tensor; None: everything."""
        for window in self.windows:
            if window.tensor == tensor:
                return window
        return None

    def shape(self, graph: Graph, tensor: int) -> tuple[int, ...]:
        """Shape of what the step touches of a tensor."""
        whole, window = graph.tensors[tensor].shape, self.window(tensor)
        return whole if window is None else (whole[0], window.height, window.width, whole[3])


def lower(graph: Graph) -> tuple[Step, ...]:
    """Steps of a graph.

    Args:
        graph: checked, and accepted by the `Simulator`, which knows what every operator may be.
    Returns:
        In execution order.
    """
    steps = [
        Step((number,), operator.kind, operator.inputs, operator.outputs, operator.options)
        for number, operator in needed_operators(graph)
    ]
    steps = _fold_pads(graph, steps)
    steps = [_as_table(graph, step) for step in steps]
    steps = fold_float_islands(graph, steps)
    return tuple(_fuse_tables(graph, steps))


def needed_operators(graph: Graph) -> list[tuple[int, Operator]]:
    """Operators that an output depends on, with their numbers in the graph, in its order."""
    wanted = set(graph.outputs)
    kept = []
    for number, operator in reversed(list(enumerate(graph.operators))):
        if wanted & set(operator.outputs):
            wanted |= set(operator.inputs)
            kept.append((number, operator))
    return kept[::-1]


def _fold_pads(graph: Graph, steps: list[Step]) -> list[Step]:
    pads: dict[int, Step] = {}  # padded tensor -> the PAD
    for step in steps:
        if step.kind in ("PAD", "PADV2") and _pads_plane_with_zero_point(graph, step):
            pads[step.outputs[0]] = step
    for step in steps:
        for position, index in enumerate(step.inputs):
            if index in pads and not (step.kind in CONVOLUTIONS and position == 0):
                del pads[index]
    for index in graph.outputs:
        pads.pop(index, None)
    folded = set(pads)
    result = []
    for step in steps:
        if step.outputs[0] in folded:
            continue
        pad = pads.get(step.inputs[0])
        if pad is not None:
            widths = graph.tensors[pad.inputs[1]].data
            assert widths is not None
            step = replace(
                step,
                operators=(*pad.operators, *step.operators),
                inputs=(pad.inputs[0], *step.inputs[1:]),
                pad=(int(widths[1, 0]), int(widths[2, 0])),
            )
        result.append(step)
    return result


def _pads_plane_with_zero_point(graph: Graph, step: Step) -> bool:
    widths, source = graph.tensors[step.inputs[1]].data, graph.tensors[step.inputs[0]]
    if widths is None or widths.shape != (4, 2) or widths[0].any() or widths[3].any() or source.data is not None:
        return False
    if step.kind == "PAD":
        return True
    value = graph.tensors[step.inputs[2]].data
    assert source.quantization is not None
    return value is not None and int(value.ravel()[0]) == int(source.quantization.zero_point[0])


def _as_table(graph: Graph, step: Step) -> Step:
    """A step that is a function of one code, as TABLE; others as they are."""
    ctx = OpContext(graph, step.operators[-1])
    if step.kind in UNARY and is_byte_table(ctx):
        return _table_step(step, step.inputs[0], unary_table(ctx))
    if step.kind in BINARY and graph.tensors[step.outputs[0]].dtype == "int8":
        for position, index in enumerate(step.inputs):
            data, other = graph.tensors[index].data, step.inputs[1 - position]
            # A constant of more axes than the other input would change the shape.
            if (
                data is not None
                and data.size == 1
                and graph.tensors[other].shape == graph.tensors[step.outputs[0]].shape
            ):
                table = binary_table(ctx)
                byte = int(data.ravel()[0]) & 0xFF
                return _table_step(step, other, table[byte] if position == 0 else table[:, byte])
    return step


def _table_step(step: Step, source: int, table: np.ndarray) -> Step:
    return replace(
        step, kind=TABLE, inputs=(source,), options=NoOptions(), table=np.ascontiguousarray(table).view(np.int8)
    )


def fold_float_islands(graph: Graph, steps: list[Step]) -> list[Step]:
    """DEQUANTIZE, float functions and QUANTIZE one after the other, from 8 bits to 8 bits: a table of 256."""
    readers = Counter(index for step in steps for index in set(step.inputs))
    readers.update(graph.outputs)
    writer = {index: step for step in steps for index in step.outputs}
    islands: dict[int, Step] = {}  # code tensor that the island writes -> its table
    gone: set[int] = set()  # float tensors in between
    for step in steps:
        chain = _float_chain(graph, step, writer, readers)
        if chain:
            table = _island_table(graph, chain)
            numbers = tuple(number for part in chain for number in part.operators)
            folded = replace(_table_step(step, chain[0].inputs[0], table), operators=numbers)
            islands[step.outputs[0]] = folded
            gone |= {part.outputs[0] for part in chain[:-1]}
    kept = [step for step in steps if not gone & set(step.outputs)]
    return [islands.get(step.outputs[0], step) for step in kept]


def _float_chain(graph: Graph, step: Step, writer: dict[int, Step], readers: Counter[int]) -> list[Step]:
    """Steps of the island that a QUANTIZE ends, in order; empty where it ends none."""
    if step.kind != "QUANTIZE" or np.dtype(graph.tensors[step.outputs[0]].dtype).itemsize != 1:
        return []
    chain = [step]
    while chain[0].kind != "DEQUANTIZE":
        before = writer.get(chain[0].inputs[0])
        if before is None or readers[chain[0].inputs[0]] != 1 or before.kind not in (*FLOAT_UNARY, "DEQUANTIZE"):
            return []
        chain.insert(0, before)
    return chain if np.dtype(graph.tensors[chain[0].inputs[0]].dtype).itemsize == 1 else []


def _island_table(graph: Graph, chain: list[Step]) -> np.ndarray:
    """Codes of the last step's output for every byte of the first one's input."""
    source, target = graph.tensors[chain[0].inputs[0]], graph.tensors[chain[-1].outputs[0]]
    first, last = (OpContext(graph, part.operators[-1]) for part in (chain[0], chain[-1]))
    codes = np.arange(256, dtype=np.uint8).view(source.dtype)
    values = affine.dequantize(codes, *first.any_params(source))
    for part in chain[1:-1]:
        values = FLOAT_UNARY[part.kind](values)
    return affine.quantize_border(values, *last.any_params(target), target.dtype)


def _fuse_tables(graph: Graph, steps: list[Step]) -> list[Step]:
    """Compose tables with the tables, sums and products that alone read them."""
    readers = Counter(index for step in steps for index in set(step.inputs))
    readers.update(graph.outputs)
    done: dict[int, Step] = {}  # written tensor -> step
    gone: set[int] = set()  # tensors that nothing reads any more
    for step in steps:
        fused = _fuse_one(graph, step, done, readers)
        if fused is not step:
            gone |= {index for index in step.inputs if index not in fused.inputs}
        for index in step.outputs:
            done[index] = fused
    # A step with several outputs stands several times in `done`; steps compare by identity.
    return [step for step in dict.fromkeys(done.values()) if not gone & set(step.outputs)]


def _fuse_one(graph: Graph, step: Step, done: dict[int, Step], readers: Counter[int]) -> Step:
    def private_table(index: int) -> Step | None:
        """The table step that writes a tensor which only `step` reads."""
        maker = done.get(index)
        return maker if maker is not None and maker.kind == TABLE and readers[index] == 1 else None

    if step.kind == TABLE:
        maker = private_table(step.inputs[0])
        if maker is None:
            return step
        assert maker.table is not None
        assert step.table is not None
        table = step.table[maker.table.view(np.uint8)]
        return replace(_table_step(step, maker.inputs[0], table), operators=(*maker.operators, *step.operators))
    if step.kind not in BINARY:
        return step
    ctx = OpContext(graph, step.operators[-1])
    bytes_ = np.arange(256)
    for position, index in enumerate(step.inputs):
        maker, other = private_table(index), step.inputs[1 - position]
        if maker is None or other != maker.inputs[0] or graph.tensors[other].shape != graph.tensors[index].shape:
            continue
        assert maker.table is not None
        mapped = maker.table.view(np.uint8)
        pair = (mapped, bytes_) if position == 0 else (bytes_, mapped)
        table = binary_table(ctx)[pair]
        return replace(_table_step(step, other, table), operators=(*maker.operators, *step.operators))
    return step


def macs_of(graph: Graph, step: Step) -> int:
    """Multiply-accumulates of a step's last operator; 0 for everything but weighted operators."""
    if not step.outputs:
        return 0
    operator = Operator(step.kind, step.inputs, step.outputs, step.options)
    return operator_macs(operator, graph, step.shape(graph, step.outputs[0]))
