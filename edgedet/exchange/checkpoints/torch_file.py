"""Files of `torch.save` in their three forms (zip, the older plain stream, the oldest tar), read by `pickle_reader`.

The values of the pickle come first; a tensor's numbers are read when it is asked for, so an optimizer's state costs
nothing.

Source: the layouts that torch.serialization of PyTorch reads.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from edgedet.errors import CheckpointError
from edgedet.exchange.checkpoints.pickle_reader import (
    STORAGE_TYPES,
    Foreign,
    Name,
    PickleFormatError,
    PickleReader,
    StorageRef,
    TensorRef,
    checked_tensor,
)
from edgedet.net.checkpoint import read_torch_file, require_dense
from edgedet.typed import shown

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # first value of the plain stream
_ZIP = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<26sHH")  # of a member: its end are the lengths of name and extra field
_DTYPES = {name: getattr(torch, name) for name in set(STORAGE_TYPES.values())}
_STRUCTURE = 2**20  # bytes of a zip file's own records that its members may exceed the file by: none in torch's files


@dataclass(frozen=True, eq=False)
class TorchFile:
    """Content of a file of `torch.save`."""

    path: Path
    root: Any  # dict, list, tuple, str, numbers, None, Tensor, TensorRef, Foreign
    plain: bool  # torch's own `weights_only` loader took it: nothing foreign inside
    _read: Callable[[StorageRef], bytes]

    def tensor(self, value: Tensor | TensorRef) -> Tensor:
        """A tensor of `root`, contiguous.

        Raises:
            CheckpointError: its numbers are missing or cut off.
        """
        if isinstance(value, Tensor):
            return require_dense(value, "a weight", self.path).detach().contiguous()
        dtype = _DTYPES[value.storage.dtype]
        data = self._read(value.storage)
        needed = value.storage.count * dtype.itemsize
        if len(data) < needed:
            raise CheckpointError(
                f"{self.path}: storage {value.storage.key}: expected {needed} bytes, found {len(data)}; the "
                "file is damaged"
            )
        if not math.prod(value.size):
            return torch.empty(value.size, dtype=dtype)
        flat = torch.frombuffer(bytearray(data), dtype=dtype)
        return torch.as_strided(flat, value.size, value.stride, value.offset).contiguous().clone()


def open_torch_file(path: Path) -> TorchFile:
    """Read a file of `torch.save`, whoever wrote it; nothing that it holds is imported or called.

    Args:
        path: .pth, .pt or .ckpt.
    Returns:
        Its values. zip files that torch loads with `weights_only=True` are loaded so; of all others, objects of foreign
        classes become `Foreign` and tensors `TensorRef`.
    Raises:
        CheckpointError: missing, truncated, or no such file.
    """
    head = b""
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(4)
    if head != _ZIP:
        if not head:
            read_torch_file(path)  # says what is wrong
        return _open_stream(path)
    _require_stored(path)
    try:
        return TorchFile(path, read_torch_file(path), True, _no_storage)
    except CheckpointError:
        return _open_zip(path)  # foreign classes inside; when it is damaged, this says so


def _no_storage(storage: StorageRef) -> bytes:
    raise AssertionError(f"storage {storage.key} of a file without references")


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {reason} ({path.stat().st_size} bytes): expected a complete checkpoint of torch.save (.pth, .pt); "
        "copy it again"
    )


def _require_stored(path: Path) -> None:
    """Refuse compressed members, which torch does not write: a small file could grow without bound."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises whatever the bytes of the directory lead to
        raise _damaged(path, f"truncated, or not a readable zip file: {error}") from error
    total = sum(member.file_size for member in members)
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or total > path.stat().st_size + _STRUCTURE:
        raise CheckpointError(
            f"{path}: holds compressed members; expected a file of torch.save, which stores them plainly"
        )


def _persistent_storage(saved: Any) -> Any:
    """What a persistent id of the zip and stream forms stands for."""
    match saved:
        case ("storage", Name("torch" | "torch.storage", kind), str(key), _, int(count), *_) if kind in STORAGE_TYPES:
            return StorageRef(key, STORAGE_TYPES[kind], count)
        case ("module", made, *_):
            return made
    return Foreign(Name("pickle", "persistent id"), (saved,))


def _open_zip(path: Path) -> TorchFile:
    try:
        with zipfile.ZipFile(path) as archive:
            members, folder, root = _zip_values(path, archive)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile raises whatever the bytes of a member lead to
        raise _damaged(path, f"its pickle can't be read: {error}") from error

    def read(storage: StorageRef) -> bytes:
        member = members.get(f"{folder}data/{storage.key}")
        if member is None:
            raise _damaged(path, f"storage {storage.key} is missing")
        return _stored_bytes(path, member)

    return TorchFile(path, root, False, read)


def _zip_values(path: Path, archive: zipfile.ZipFile) -> tuple[dict[str, zipfile.ZipInfo], str, Any]:
    """(members by name, folder that they lie in, values of the pickle)."""
    members = {member.filename: member for member in archive.infolist()}
    names = members.keys()
    pickles = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(pickles) != 1 or any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(f"{path}: a TorchScript or other archive; expected a checkpoint of torch.save")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
        raise CheckpointError(f"{path}: big-endian numbers; save it on a little-endian machine")
    root = PickleReader(io.BytesIO(archive.read(pickles[0])), _persistent_storage).load()
    return members, folder, root


def _stored_bytes(path: Path, member: zipfile.ZipInfo) -> bytes:
    """A member's bytes, without reading the directory again, which holds hundreds of them."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER.size)
        lengths = _LOCAL_HEADER.unpack(header)[1:] if len(header) == _LOCAL_HEADER.size else (0, 0)
        file.seek(sum(lengths), io.SEEK_CUR)
        data = file.read(member.file_size)
    if zlib.crc32(data) != member.CRC:
        raise _damaged(path, f"{member.filename} has another checksum")
    return data


def _open_stream(path: Path) -> TorchFile:
    """The plain stream: three headers, the values, the storages' keys, then their numbers; or a tar of such parts."""
    if tarfile.is_tarfile(path):
        return _open_tar(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found: dict[str, StorageRef] = {}

        def persistent(saved: Any) -> Any:
            value = _persistent_storage(saved)
            if isinstance(value, StorageRef):
                found.setdefault(value.key, value)
            return value

        reader = PickleReader(cast(IO[bytes], content), persistent)  # reads like a file, never more than there is
        try:
            if reader.load() != _LEGACY_MAGIC:
                raise PickleFormatError("not the first number of a checkpoint")
            _, system = reader.load(), reader.load()
            root, keys = reader.load(), reader.load()
            if isinstance(system, dict) and system.get("little_endian") is False:
                raise PickleFormatError("big-endian numbers")
            places = _places(content, keys, found)
        except PickleFormatError as error:
            raise _damaged(path, f"not a readable checkpoint: {error}") from error

    def read(storage: StorageRef) -> bytes:
        start, length = places.get(storage.key, (0, 0))
        with path.open("rb") as file:
            file.seek(start)
            return file.read(length)

    return TorchFile(path, root, False, read)


def _places(content: mmap.mmap, keys: Any, found: dict[str, StorageRef]) -> dict[str, tuple[int, int]]:
    """Position and length, bytes, of each storage behind the pickles: its number of elements, then the numbers."""
    places: dict[str, tuple[int, int]] = {}
    position = content.tell()
    if not isinstance(keys, list):
        raise PickleFormatError("no list of storages")
    for key in keys:
        if not isinstance(key, str):
            raise PickleFormatError(f"a storage of the name {shown(key)}")
        if key not in found or position + 8 > len(content):
            raise PickleFormatError(f"storage {key} is missing: truncated")
        (count,) = struct.unpack_from("<q", content, position)
        length = count * _DTYPES[found[key].dtype].itemsize
        if not 0 <= length <= len(content) - position - 8:
            raise PickleFormatError(f"storage {key} of {count} elements is cut off: truncated")
        places[key] = (position + 8, length)
        position += 8 + length
    return places


def _open_tar(path: Path) -> TorchFile:
    """The oldest form: `storages` and `tensors` in order, and a `pickle` whose persistent ids are keys of tensors."""
    try:
        with tarfile.open(path, mode="r:") as archive:
            parts = {name: _member(archive, name) for name in ("storages", "tensors", "pickle")}
        storages, places = _tar_storages(parts["storages"])
        tensors = _tar_tensors(parts["tensors"], storages)
        root = PickleReader(io.BytesIO(parts["pickle"]), lambda saved: _tar_persistent(saved, tensors, storages)).load()
    except (PickleFormatError, tarfile.TarError, KeyError, struct.error, ValueError, TypeError) as error:
        raise _damaged(path, f"a tar file, but no checkpoint: {error}") from error

    def read(storage: StorageRef) -> bytes:
        start, length = places[storage.key]
        return parts["storages"][start : start + length]

    return TorchFile(path, root, False, read)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name) if archive.getmember(name).isreg() else None
    if file is None or archive.getmember(name).sparse is not None:
        raise KeyError(f"{name} is no plain file")
    return file.read()


def _tar_storages(data: bytes) -> tuple[dict[str, StorageRef], dict[str, tuple[int, int]]]:
    stream, storages, places = io.BytesIO(data), {}, {}
    reader = PickleReader(stream)
    for _ in range(_count(reader.load(), len(data))):
        key, _, kind = reader.load()
        if not isinstance(key, int | str) or not isinstance(kind, Name) or kind.name not in STORAGE_TYPES:
            raise PickleFormatError(f"storage {shown(key)} of type {shown(kind)}")
        (count,) = struct.unpack("<q", stream.read(8))
        dtype = STORAGE_TYPES[kind.name]
        length = count * _DTYPES[dtype].itemsize
        if not 0 <= length <= len(data) - stream.tell():
            raise PickleFormatError(f"storage {key} of {count} elements is cut off: truncated")
        storages[str(key)] = StorageRef(str(key), dtype, count)
        places[str(key)] = (stream.tell(), length)
        stream.seek(length, io.SEEK_CUR)
    for view, root, offset, count in reader.load():
        if not all(isinstance(part, int | str) for part in (view, root)):
            raise PickleFormatError(f"a view {shown(view)} of storage {shown(root)}")
        base, (start, length), item = (
            storages[str(root)],
            places[str(root)],
            _DTYPES[storages[str(root)].dtype].itemsize,
        )
        if not 0 <= offset * item <= (offset + count) * item <= length:
            raise PickleFormatError(f"storage {view} lies outside of {root}")
        storages[str(view)] = StorageRef(str(view), base.dtype, count)
        places[str(view)] = (start + offset * item, count * item)
    return storages, places


def _tar_tensors(data: bytes, storages: dict[str, StorageRef]) -> dict[str, Any]:
    stream, tensors = io.BytesIO(data), {}
    reader = PickleReader(stream)
    for _ in range(_count(reader.load(), len(data))):
        key, storage, _ = reader.load()
        if not isinstance(key, int | str) or not isinstance(storage, int | str):
            raise PickleFormatError(f"tensor {shown(key)} in storage {shown(storage)}")
        dimensions = struct.unpack("<i4x", stream.read(8))[0]
        numbers = struct.unpack(f"<{2 * _count(dimensions, 64) + 1}q", stream.read(16 * dimensions + 8))
        size, stride = numbers[:dimensions], numbers[dimensions:-1]
        tensors[str(key)] = checked_tensor(storages[str(storage)], numbers[-1], size, stride)
    return tensors


def _count(value: Any, limit: int) -> int:
    if type(value) is not int or not 0 <= value <= limit:
        raise PickleFormatError(f"a count of {shown(value)}")
    return value


def _tar_persistent(saved: Any, tensors: dict[str, Any], storages: dict[str, StorageRef]) -> Any:
    if isinstance(saved, tuple):
        return saved[0] if saved else None
    return tensors.get(str(saved), storages.get(str(saved))) if isinstance(saved, int | str) else None
