"""Read a pickle without running any of it: the instructions are followed here, on plain values only.

Python's unpickler imports and calls what a file names. This reader never does: `pickletools` only splits the bytes into
instructions, and what they would build is plain values, or an inert `Foreign` for an object of any class. Tensors are
left as `TensorRef`, so that nothing is read that nobody asks for.

Source: the instructions as Python's `pickletools` documents them.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from edgedet.typed import shown

_MARK = object()
# Literal classes of torch's storages -> name of the element type.
STORAGE_TYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
_VALUES = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    ]
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PickleFormatError(Exception):
    """The bytes are no pickle, or one that plain values can't be read from."""


@dataclass(frozen=True)
class Name:
    """A class or function that the file names; it is not imported."""

    module: str
    name: str


@dataclass(eq=False)
class Foreign:
    """Stands for an object of a class that was not made; what the file puts into it is kept."""

    name: Name
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class StorageRef:
    """Numbers that lie elsewhere in the file."""

    key: str
    dtype: str  # one of the values of STORAGE_TYPES
    count: int  # elements, as the pickle says


@dataclass(frozen=True)
class TensorRef:
    """A tensor that was not read yet."""

    storage: StorageRef
    offset: int  # elements
    size: tuple[int, ...]
    stride: tuple[int, ...]  # elements


class PickleReader:
    """Reads one pickle after the other from a stream.

    Args:
        stream: seekable bytes; stands behind the pickle when `load` returns.
        persistent: gives the value of a persistent id; None: they become `Foreign`.
    """

    def __init__(self, stream: IO[bytes], persistent: Callable[[Any], Any] | None = None) -> None:
        self._stream = stream
        self._persistent = persistent or (lambda saved: Foreign(Name("pickle", "persistent id"), (saved,)))
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Value of the next pickle, of dict, list, tuple, str, bytes, numbers, None, TensorRef, StorageRef and Foreign.

        Raises:
            PickleFormatError: truncated or wrong.
        """
        self._stack, self._memo = [], {}
        try:
            for opcode, argument, _ in pickletools.genops(self._stream):
                if opcode.name == "STOP":
                    if (value := self._stack.pop()) is _MARK:
                        raise ValueError("ends with a mark")
                    return value
                self._follow(opcode.name, argument)
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
            raise PickleFormatError(f"{type(error).__name__}: {error}") from error
        raise PickleFormatError("ends before its STOP")

    def _follow(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        stack = self._stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(stack) < count:
                raise ValueError("a tuple of more than there is")
            stack[-count:] = [tuple(stack[-count:])]
        elif name in _INSTRUCTIONS:
            _INSTRUCTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"instruction {name} is not followed")

    def _since_mark(self) -> list[Any]:
        """Pop everything down to the last mark."""
        found: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            found.append(value)
        return found[::-1]

    def _mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def _pop(self, _: Any) -> None:
        self._stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _dup(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def _put(self, index: int) -> None:
        self._memo[int(index)] = self._stack[-1]

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[int(index)])

    def _list(self, _: Any) -> None:
        self._stack.append(self._since_mark())

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _dict(self, _: Any) -> None:
        values = self._since_mark()
        self._stack.append({})
        _set_items(self._stack[-1], values)

    def _append(self, _: Any) -> None:
        value = self._stack.pop()
        _extend(self._stack[-1], [value])

    def _appends(self, _: Any) -> None:
        values = self._since_mark()
        _extend(self._stack[-1], values)

    def _set_item(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        _set_items(self._stack[-1], [key, value])

    def _set_items(self, _: Any) -> None:
        values = self._since_mark()
        _set_items(self._stack[-1], values)

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(Name(module, name))

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):  # parts that share parts have no end as text
            raise TypeError("a class whose name is no text")
        self._stack.append(Name(module, name))

    def _reduce(self, _: Any) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        self._stack.append(_made(called, arguments if isinstance(arguments, tuple) else ()))

    def _newobj_ex(self, _: Any) -> None:
        self._stack.pop()  # keywords
        self._reduce(None)

    def _inst(self, argument: str) -> None:
        arguments = tuple(self._since_mark())
        self._global(argument)
        self._stack.append(_made(self._stack.pop(), arguments))

    def _obj(self, _: Any) -> None:
        called, *arguments = self._since_mark()
        self._stack.append(_made(called, tuple(arguments)))

    def _build(self, _: Any) -> None:
        state = self._stack.pop()
        if isinstance(self._stack[-1], Foreign):
            self._stack[-1].state = state

    def _persid(self, argument: str) -> None:
        self._stack.append(self._persistent(argument))

    def _binpersid(self, _: Any) -> None:
        self._stack.append(self._persistent(self._stack.pop()))


_INSTRUCTIONS: dict[str, Callable[[PickleReader, Any], None]] = {
    "MARK": PickleReader._mark,
    "POP": PickleReader._pop,
    "POP_MARK": PickleReader._pop_mark,
    "DUP": PickleReader._dup,
    "PUT": PickleReader._put,
    "BINPUT": PickleReader._put,
    "LONG_BINPUT": PickleReader._put,
    "MEMOIZE": PickleReader._memoize,
    "GET": PickleReader._get,
    "BINGET": PickleReader._get,
    "LONG_BINGET": PickleReader._get,
    "LIST": PickleReader._list,
    "TUPLE": PickleReader._tuple,
    "FROZENSET": PickleReader._list,
    "DICT": PickleReader._dict,
    "APPEND": PickleReader._append,
    "APPENDS": PickleReader._appends,
    "ADDITEMS": PickleReader._appends,
    "SETITEM": PickleReader._set_item,
    "SETITEMS": PickleReader._set_items,
    "GLOBAL": PickleReader._global,
    "STACK_GLOBAL": PickleReader._stack_global,
    "REDUCE": PickleReader._reduce,
    "NEWOBJ": PickleReader._reduce,
    "NEWOBJ_EX": PickleReader._newobj_ex,
    "INST": PickleReader._inst,
    "OBJ": PickleReader._obj,
    "BUILD": PickleReader._build,
    "PERSID": PickleReader._persid,
    "BINPERSID": PickleReader._binpersid,
}


def _set_items(target: Any, values: list[Any]) -> None:
    """Put keys and values in turn into a dict or a Foreign. Other keys than plain ones are dropped, with their values:
    to hash tuples of shared tuples can take for ever, and nobody looks for them.
    """
    items = target.items if isinstance(target, Foreign) else target
    if not isinstance(items, dict):
        raise TypeError(f"items set in a {type(target).__name__}")
    for key, value in zip(values[::2], values[1::2], strict=True):
        if isinstance(key, str | int | float | bytes | None):
            items[key] = value


def _extend(target: Any, values: list[Any]) -> None:
    elements = target.elements if isinstance(target, Foreign) else target
    if not isinstance(elements, list):
        raise TypeError(f"elements appended to a {type(target).__name__}")
    elements.extend(values)


def _made(called: Any, arguments: tuple[Any, ...]) -> Any:
    """What stands for the result of a call: a plain value for the few classes that are known, else a Foreign."""
    if not isinstance(called, Name):
        return Foreign(Name("", type(called).__name__), arguments)
    match called.module, called.name:
        case "torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor":
            return _tensor(arguments)
        case "torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state":
            return arguments[0]
        case "torch._tensor", "_rebuild_from_type_v2":
            return _made(arguments[0], arguments[2])
        case "collections", "OrderedDict":
            made: dict[Any, Any] = {}
            for pair in arguments[0] if arguments else ():
                _set_items(made, list(pair))
            return made
        case "collections", "defaultdict":
            return {}
        case "__builtin__" | "builtins", "set" | "frozenset" | "list":
            return list(arguments[0]) if arguments and isinstance(arguments[0], list | tuple) else []
        case _:
            return Foreign(called, arguments)


def _tensor(arguments: tuple[Any, ...]) -> TensorRef:
    storage, offset, size, stride = arguments[:4]
    return checked_tensor(storage, offset, size, stride)


def checked_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> TensorRef:
    """A reference to a tensor that lies inside its storage.

    Args:
        storage: StorageRef.
        offset: elements.
        size: sides.
        stride: elements, one for each side.
    Raises:
        ValueError, TypeError: anything else than that.
    """
    if not isinstance(storage, StorageRef):
        raise TypeError("a tensor without storage")
    if not isinstance(size, list | tuple) or not isinstance(stride, list | tuple):
        raise TypeError("a tensor whose size is no tuple")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
        raise ValueError(f"a tensor of size {shown(size)}, stride {shown(stride)}, offset {shown(offset)}")
    count = 1
    for side in size:
        count *= side
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if count and (last >= storage.count or count > storage.count):
        raise ValueError(f"a tensor of size {shown(size)} in a storage of {storage.count} elements")
    return TensorRef(storage, offset, tuple(size), tuple(stride))
