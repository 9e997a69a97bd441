"""The commands of a network compiled for Ethos-U55 or U65: what its convolutions compute with; not a test itself.

A stream of 32-bit words: bits 0..9 a code, bits 14..15 whether a second word follows, bits 16..31 a parameter. Names of
codes come from Vela's package. A scale entry has 80 bits: 40 of bias, 32 of multiplier, 6 of shift.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedet.graph.graph import Graph, Operator
from edgedet.numerics.integer import quantize_multiplier
from edgedet.numerics.tables import logistic_table

COMMAND_STREAM = 2  # driver action
SCALE_BYTES, TABLE_BYTES = 10, 256
ELEMENTWISE_MUL, ELEMENTWISE_ADD = 0, 1  # parameter of the command
ADD_LEFT_SHIFT = 20  # of TFLite's ADD for 8 bits
Scale = tuple[int, int, int]  # bias, multiplier, shift to the right
CONSTANTS_REGION = 0


@dataclass(frozen=True)
class Convolution:
    """One command of the NPU."""

    rounding: int  # of the output: 0 as TFLite, 1 truncate, 2 natural
    channels: tuple[Scale, ...]  # of each output channel
    weights: tuple[int, ...]  # codes that are not 0, sorted


@dataclass(frozen=True)
class Comparison:
    """Commands beside the convolutions of the file that they were compiled from."""

    commands: int  # that compute a convolution of the file, or a part of it
    other_commands: int  # of Vela's own making, for MEAN and the like
    convolutions: int  # of the file
    equal: int  # of these: biases, multipliers, shifts and weights are the file's, in every channel
    rounding: tuple[int, ...]  # modes that occur in `commands` and in products
    tables: int  # LOGISTIC operators of the file
    equal_tables: int  # whose table in the compiled file is TFLite Micro's, all 256 codes
    products: int  # MUL operators of two activations
    sums: int  # ADD operators
    equal_sums: int  # whose multipliers and shifts are TFLite's
    equal_products: int  # whose multiplier and shift are TFLite's, of a float32; TFLite Micro makes them of a float64


@dataclass(frozen=True)
class Commands:
    """What is compared of a stream."""

    convolutions: tuple[Convolution, ...]
    tables: frozenset[bytes]  # of 256 codes, the entry for code 0 first
    products: tuple[tuple[int, int, int], ...]  # (multiplier, shift, rounding) of each elementwise MUL
    sums: tuple[tuple[int, int, int, int, int], ...]  # of the operand with the smaller scale, of the output; rounding


def read_commands(commands: np.ndarray, constants: np.ndarray) -> Commands:
    """Read a compiled file whose constants are read in place.

    Args:
        commands: uint8, the tensor ethos_u_command_stream.
        constants: uint8, the tensor read_only.
    """
    from ethosu.vela.ethos_u55_regs.ethos_u55_regs import cmd0, cmd1

    one = {code.value: code.name for code in cmd0}
    two = {code.value: code.name for code in cmd1}
    state: dict[str, int] = {}
    convolutions, tables, products, sums = [], set(), [], []
    words = iter(_stream(commands.tobytes()))
    for word in words:
        code, parameter = word & 0x3FF, word >> 16
        if (word >> 14) & 3:
            state[two[code]] = next(words) | (parameter << 32)
            continue
        name = one[code]
        if name in ("NPU_OP_CONV", "NPU_OP_DEPTHWISE"):
            convolutions.append(_convolution(state, constants))
        elif name == "NPU_OP_DMA_START" and state["NPU_SET_DMA0_LEN"] == TABLE_BYTES:
            start = state["NPU_SET_DMA0_SRC"]
            tables.add(constants[start : start + TABLE_BYTES].tobytes())
        elif name == "NPU_OP_ELEMENTWISE" and parameter == ELEMENTWISE_MUL:
            products.append((*_scale(state["NPU_SET_OFM_SCALE"]), _rounding(state)))
        elif name == "NPU_OP_ELEMENTWISE" and parameter == ELEMENTWISE_ADD:
            ends = (*_scale(state["NPU_SET_OPA_SCALE"]), *_scale(state["NPU_SET_OFM_SCALE"]))
            sums.append((*ends, _rounding(state)))
        state[name] = parameter
    return Commands(tuple(convolutions), frozenset(tables), tuple(products), tuple(sums))


def _scale(payload: int) -> tuple[int, int]:
    """(multiplier, shift to the right)."""
    return payload & 0xFFFFFFFF, payload >> 32


def _rounding(state: dict[str, int]) -> int:
    return (state["NPU_SET_OFM_PRECISION"] >> 14) & 3


def _stream(data: bytes) -> list[int]:
    words = np.frombuffer(data, "<u4").tolist()
    assert data[:4] == b"COP1"
    position = 1
    while words[position] & 0xFF != COMMAND_STREAM:
        position += 3 if words[position] & 0xFF == 1 else 1  # its configuration has two words more
    return words[position + 1 :]


def _convolution(state: dict[str, int], constants: np.ndarray) -> Convolution:
    from ethosu import mlw_codec

    assert state["NPU_SET_SCALE_REGION"] == CONSTANTS_REGION
    base = state["NPU_SET_SCALE_BASE"]
    channels = []
    for channel in range(state["NPU_SET_OFM_DEPTH_M1"] + 1):
        entry = constants[base + SCALE_BYTES * channel :][:SCALE_BYTES].tobytes()
        bias = int.from_bytes(entry[:5], "little", signed=True)
        channels.append((bias, int.from_bytes(entry[5:9], "little"), entry[9] & 0x3F))
    start, length = state["NPU_SET_WEIGHT_BASE"], state["NPU_SET_WEIGHT_LENGTH"]
    codes = np.asarray(mlw_codec.decode(bytearray(constants[start : start + length].tobytes())))
    return Convolution(_rounding(state), tuple(channels), _sorted(codes))


def _sorted(codes: np.ndarray) -> tuple[int, ...]:
    """Without the zeros that Vela fills blocks with."""
    flat = codes.reshape(-1)
    return tuple(np.sort(flat[flat != 0]).tolist())


def compare(original: Graph, compiled: Graph) -> Comparison:
    """Look for every convolution of a file in the commands.

    Args:
        original: before Vela.
        compiled: with one operator of the NPU, memory mode Sram_Only.
    """
    tensors = {tensor.name: tensor.data for tensor in compiled.tensors}
    commands = read_commands(tensors["ethos_u_command_stream"], tensors["read_only"])
    found = commands.convolutions
    operators = [o for o in original.operators if o.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    wanted = [(_expected(original, operator), operator) for operator in operators]
    mine = [command for command in found if any(_inside(command.channels, scales) for scales, _ in wanted)]
    equal = 0
    for scales, operator in wanted:
        parts = {(c.channels, c.weights) for c in mine if _inside(c.channels, scales)}
        # Stripes repeat a command; slices of channels follow each other.
        channels = sorted(scale for part, _ in parts for scale in part)
        weights = sorted(code for _, part in parts for code in part)
        codes = original.tensors[operator.inputs[1]].data
        equal += channels == sorted(scales) and tuple(weights) == _sorted(codes)
    rounding = {command.rounding for command in mine}
    rounding |= {found[-1] for found in (*commands.products, *commands.sums)}
    sums = [_sum(original, o) for o in original.operators if o.kind == "ADD"]
    added = {found[:-1] for found in commands.sums}
    tables = [_logistic(original, o) for o in original.operators if o.kind == "LOGISTIC"]
    products = [_product(original, o) for o in original.operators if o.kind == "MUL"]
    scales = {(multiplier, shift) for multiplier, shift, _ in commands.products}
    return Comparison(
        len(mine), len(found) - len(mine), len(wanted), equal, tuple(sorted(rounding)), len(tables),
        sum(table in commands.tables for table in tables), len(products),
        len(sums), sum(scale in added for scale in sums), sum(scale in scales for scale in products),
    )  # fmt: skip


def _logistic(graph: Graph, operator: Operator) -> bytes:
    """The table in the NPU's order, code 0 first."""
    quantization = graph.tensors[operator.inputs[0]].quantization
    table = logistic_table((float(quantization.scale[0]), int(quantization.zero_point[0])))
    return np.roll(table, TABLE_BYTES // 2).astype(np.int8).tobytes()


def _product(graph: Graph, operator: Operator) -> tuple[int, int]:
    first, second = (np.float32(graph.tensors[index].quantization.scale[0]) for index in operator.inputs)
    target = np.float32(graph.tensors[operator.outputs[0]].quantization.scale[0])
    multiplier, shift = quantize_multiplier(float(first * second / target))
    return multiplier, 31 - shift


def _sum(graph: Graph, operator: Operator) -> tuple[int, int, int, int]:
    """The operand with the smaller scale is brought to twice the larger one; the other one needs no multiplier."""
    small, large = sorted(float(graph.tensors[index].quantization.scale[0]) for index in operator.inputs)
    target = float(graph.tensors[operator.outputs[0]].quantization.scale[0])
    first, first_shift = quantize_multiplier(small / (2 * large))
    last, last_shift = quantize_multiplier(2 * large / (2**ADD_LEFT_SHIFT * target))
    return first, 31 - first_shift - ADD_LEFT_SHIFT, last, 31 - last_shift


def _expected(graph: Graph, operator: Operator) -> tuple[Scale, ...]:
    """TFLite's own numbers: real multiplier in float64, then 31 bits and a shift."""
    source, weights, bias = (graph.tensors[index] for index in operator.inputs)
    target = graph.tensors[operator.outputs[0]]
    scales = np.broadcast_to(weights.quantization.scale.astype(np.float64), bias.data.shape)
    reals = np.float64(source.quantization.scale[0]) * scales / np.float64(target.quantization.scale[0])
    pairs = [quantize_multiplier(float(real)) for real in reals]
    return tuple((int(b), multiplier, 31 - shift) for b, (multiplier, shift) in zip(bias.data, pairs, strict=True))


def _inside(part: tuple[Scale, ...], whole: tuple[Scale, ...]) -> bool:
    return any(whole[i : i + len(part)] == part for i in range(len(whole) - len(part) + 1))
