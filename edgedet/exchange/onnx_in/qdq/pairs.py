"""Networks that were quantized elsewhere: what their QuantizeLinear and DequantizeLinear say is taken over as it is.

onnxruntime computes such a file in float between the pairs; the int8 file computes in integers, with the same codes for
weights and biases and the same scales and zero points for tensors. uint8 tensors become int8, the same codes less 128.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.exchange.onnx_in.ops.builder import Operator
from edgedet.quantize.fx.qparams import AffineParams

PAIR = "QuantizePair"  # kind of the operator that stands for a QuantizeLinear and its DequantizeLinear
CODES = "codes"  # in the meta of a torch.fx node: the tuple of `FileCodes` that its result, quantized, is
_SHIFT = {np.dtype(np.int8): 0, np.dtype(np.uint8): 128}


@dataclass(frozen=True)
class FileCodes:
    """Result of a QuantizeLinear."""

    name: str
    dtype: np.dtype[Any]  # int8 or uint8

    @property
    def shift(self) -> int:
        """What the file's codes are above int8."""
        return _SHIFT[self.dtype]


@dataclass(frozen=True, eq=False)
class StoredCodes:
    """A constant of the file, as it is stored."""

    codes: np.ndarray  # int8 weights, int32 biases
    scale: np.ndarray  # float32 (1,), or one for each channel of axis 0
    zero_point: int  # of int8 codes


@dataclass(frozen=True, eq=False)
class QuantizedOperators:
    """The float operators of a QDQ network with a `QuantizePair` where it rounds."""

    operators: list[Operator]
    constants: dict[str, np.ndarray]  # float
    stored: dict[str, StoredCodes] = field(default_factory=dict)  # name of a constant -> what the file holds


def without_pairs(operators: Sequence[Operator], constants: Mapping[str, np.ndarray], path: Path) -> QuantizedOperators:
    """Take the pairs apart.

    Args:
        operators: of the graph, in order.
        constants: of the graph.
        path: of the file, for errors.
    Raises:
        ConversionError: a QuantizeLinear without a DequantizeLinear, or the other way round.
        UnsupportedOpError: types or granularities that int8 TFLite does not have.
    """
    floats = dict(constants)
    stored: dict[str, StoredCodes] = {}
    made: dict[str, Operator] = {op.outputs[0]: op for op in operators if op.kind == "QuantizeLinear"}
    renamed: dict[str, str] = {}
    result: list[Operator] = []
    done: set[str] = set()
    for op in operators:
        op = replace(op, inputs=tuple(renamed.get(name, name) for name in op.inputs))
        if op.kind == "QuantizeLinear":
            made[op.outputs[0]] = op
            continue
        if op.kind != "DequantizeLinear":
            result.append(op)
            continue
        if op.inputs[0] in constants:
            found = _stored(op, constants, path)
            stored[op.outputs[0]], floats[op.outputs[0]] = found, _real(found)
            continue
        quantize = made.get(op.inputs[0])
        if quantize is None:
            raise ConversionError(f"{path}: node {op.name!r}: DequantizeLinear of a tensor that nothing quantizes")
        params = _params(quantize, constants, path)
        if _params(op, constants, path) != params:
            raise ConversionError(
                f"{path}: node {op.name!r}: DequantizeLinear has another scale than node {quantize.name!r}, whose "
                "codes it reads; export the network again"
            )
        pair = f"{quantize.outputs[0]}/real"
        renamed[op.outputs[0]] = pair
        if pair not in done:
            done.add(pair)
            zero = constants.get(quantize.inputs[2]) if len(quantize.inputs) > 2 and quantize.inputs[2] else None
            codes = FileCodes(quantize.outputs[0], np.dtype(np.uint8) if zero is None else zero.dtype)
            attributes = {"params": params, CODES: codes}
            result.append(Operator(quantize.name, PAIR, quantize.inputs[:1], (pair,), attributes))
        result.append(Operator(op.name, "Identity", (pair,), op.outputs, {}))
    return QuantizedOperators(result, floats, stored)


def _params(op: Operator, constants: Mapping[str, np.ndarray], path: Path) -> AffineParams:
    """Scale and zero point of one tensor, as int8."""
    scale = constants.get(op.inputs[1])
    zero = constants.get(op.inputs[2]) if len(op.inputs) > 2 and op.inputs[2] else np.zeros(1, np.uint8)
    if scale is None or zero is None or scale.size != 1 or zero.dtype not in _SHIFT:
        raise UnsupportedOpError(
            f"{path}: node {op.name!r} ({op.kind}): expected one constant scale and an int8 or uint8 zero point, found "
            f"{'a computed scale' if scale is None else f'{scale.size} scales'}"
            + (f" and {zero.dtype}" if zero is not None else "")
            + "; quantize activations per tensor in 8 bits"
        )
    shift = _SHIFT[zero.dtype]
    return AffineParams(np.float32(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]) - shift)


def _stored(op: Operator, constants: Mapping[str, np.ndarray], path: Path) -> StoredCodes:
    codes, scale = constants[op.inputs[0]], constants.get(op.inputs[1])
    zero = constants.get(op.inputs[2]) if len(op.inputs) > 2 and op.inputs[2] else np.zeros(1, codes.dtype)
    axis = int(op.attributes.get("axis", 1))
    if scale is None or zero is None or (scale.size > 1 and axis % max(codes.ndim, 1) != 0):
        raise UnsupportedOpError(
            f"{path}: node {op.name!r}: expected weights with one scale, or one for each output channel (axis 0)"
        )
    if codes.dtype == np.int32:
        return StoredCodes(codes, scale.astype(np.float32).reshape(-1), 0)
    if codes.dtype not in _SHIFT or len(np.unique(zero)) != 1:
        raise UnsupportedOpError(
            f"{path}: node {op.name!r}: constants of {codes.dtype}, expected 8 bits, one zero point"
        )
    shift = _SHIFT[codes.dtype]
    shifted = (codes.astype(np.int16) - shift).astype(np.int8)
    return StoredCodes(shifted, scale.astype(np.float32).reshape(-1), int(zero.reshape(-1)[0]) - shift)


def _real(stored: StoredCodes) -> np.ndarray:
    """float32, as DequantizeLinear gives them."""
    scale = stored.scale if stored.scale.size == 1 else stored.scale.reshape(-1, *[1] * (stored.codes.ndim - 1))
    result: np.ndarray = (stored.codes.astype(np.float32) - np.float32(stored.zero_point)) * scale
    return result
