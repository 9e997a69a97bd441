"""Options of operators that edgedet has no meaning for: carried from file to file field by field."""

from __future__ import annotations

from functools import cache
from typing import Any

import flatbuffers
import numpy as np
import tflite

from edgedet.graph.graph import OpaqueField, OpaqueOptions
from edgedet.graph.tflite.damage import Damage

_MAX_ENTRIES = 4096  # of a vector; flattened attributes of a composite operator are the longest
_TABLE_NAMES = {number: name for name, number in vars(tflite.BuiltinOptions).items() if isinstance(number, int)}
_TABLE_NAMES_2 = {number: name for name, number in vars(tflite.BuiltinOptions2).items() if isinstance(number, int)}

# Networks for an accelerator, in one custom operator each: name (or its start) -> what made it.
_COMPILED = {
    "ethos-u": "Vela for Arm Ethos-U",
    "edgetpu-custom-op": "the Edge TPU compiler for Google Coral",
    "XC_": "xformer for XMOS xcore",
    "vsi-npu": "the NBG compiler for VeriSilicon's NPU",
    "NeutronGraph": "the Neutron converter for NXP eIQ",
}


def custom_name(kind: str) -> str:
    """Name of a custom operator; empty for a built-in one."""
    return kind[len("CUSTOM (") : -1] if kind.startswith("CUSTOM (") else ""


def compiled_for(kind: str) -> str:
    """The compiler and accelerator that a custom operator is of, e.g. "Vela for Arm Ethos-U"; empty for others."""
    name = custom_name(kind)
    return next((maker for start, maker in _COMPILED.items() if name.startswith(start)), "")


def compiled_reason(kind: str) -> str:
    """Clause for errors: what to do with a file that an accelerator's compiler has changed; empty for others."""
    maker = compiled_for(kind)
    if not maker:
        return ""
    return (
        f"holds a part of the network compiled by {maker}, which only that accelerator runs; give the .tflite from "
        "before the compiler"
    )


def read_opaque(operator: tflite.Operator, custom: bytes, reason: str) -> OpaqueOptions:
    """Everything that an operator says beside its tensors.

    Args:
        operator: schema object.
        custom: its custom options, which may lie behind the flatbuffer.
        reason: why the operator is opaque.
    Raises:
        Damage, and what flatbuffers raises: the file is damaged.
    """
    number, number_2 = operator.BuiltinOptionsType(), operator.BuiltinOptions2Type()
    name = _TABLE_NAMES_2.get(number_2, "") if number_2 else _TABLE_NAMES.get(number, "")
    union = operator.BuiltinOptions2() if number_2 else operator.BuiltinOptions()
    fields: tuple[OpaqueField, ...] = ()
    unwritable = ""
    if (number or number_2) and not hasattr(tflite, name):
        name, unwritable = "", f"options table number {number_2 or number}, which is newer than edgedet"
    elif number or number_2:
        if union is None:
            raise Damage(f"an operator without its {name}")
        fields, unwritable = _read_table(name, union)
    return OpaqueOptions(
        reason,
        name if number or number_2 else "",
        fields,
        custom,
        _vector(operator, "Intermediates"),
        _vector(operator, "MutatingVariableInputs"),
        unwritable,
    )


def _vector(table: Any, name: str) -> tuple[Any, ...]:
    length = getattr(table, f"{name}Length")()
    if length > _MAX_ENTRIES:
        raise Damage(f"{name} of {length} entries, where at most {_MAX_ENTRIES} are sound")
    return tuple(getattr(table, f"{name}AsNumpy")().tolist()) if length else ()


@cache
def _field_names(table: str) -> tuple[str, ...]:
    """Accessors of a table's fields, in the order of their names."""
    start = f"{table}Add"
    return tuple(sorted(name.removeprefix(start) for name in vars(tflite) if name.startswith(start)))


def _read_table(name: str, union: Any) -> tuple[tuple[OpaqueField, ...], str]:
    """Fields of an options table, and what of it can't be carried."""
    table, empty = getattr(tflite, name)(), getattr(tflite, name)()
    table.Init(union.Bytes, union.Pos)
    blank = flatbuffers.Builder(16)
    getattr(tflite, f"{name}Start")(blank)
    blank.Finish(getattr(tflite, f"{name}End")(blank))
    empty.Init(blank.Output(), int.from_bytes(blank.Output()[:4], "little"))
    fields = []
    for field in _field_names(name):
        if hasattr(table, f"{field}Length"):
            if not getattr(table, f"{field}Length")():
                continue
            if not hasattr(table, f"{field}AsNumpy"):
                return (), f"{field} of its {name}"
            values = _vector(table, field)
            fields.append(OpaqueField(field, getattr(table, f"{field}AsNumpy")().dtype.name, values))
            continue
        value = getattr(table, field)()
        if value is None or value == getattr(empty, field)():
            continue
        if isinstance(value, bytes):
            fields.append(OpaqueField(field, "string", value))
        elif isinstance(value, int | float):
            fields.append(OpaqueField(field, "", value))
        else:
            return (), f"{field} of its {name}"
    return tuple(fields), ""


def write_opaque(builder: flatbuffers.Builder, options: OpaqueOptions) -> tuple[int, int]:
    """Write an options table again.

    Args:
        builder: flatbuffer under construction.
        options: with nothing unwritable.
    Returns:
        (number in the union, offset of the table); (0, 0) for an operator without one. The union is BuiltinOptions2
        when `is_second_union` says so.
    """
    name = options.table
    if not name:
        return 0, 0
    made = {}
    for field in options.fields:
        if field.dtype == "string":
            made[field.name] = builder.CreateString(field.value)
        elif field.dtype:
            made[field.name] = builder.CreateNumpyVector(np.array(field.value, field.dtype))
    getattr(tflite, f"{name}Start")(builder)
    for field in options.fields:
        getattr(tflite, f"{name}Add{field.name}")(builder, made.get(field.name, field.value))
    unions = tflite.BuiltinOptions2 if is_second_union(options) else tflite.BuiltinOptions
    return getattr(unions, name), getattr(tflite, f"{name}End")(builder)


def is_second_union(options: OpaqueOptions) -> bool:
    """Whether the options stand in the schema's BuiltinOptions2."""
    return options.table in _TABLE_NAMES_2.values()
