"""One process at a time writes an output; the next is refused with the name of the first."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import socket
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import ConfigError
from edgedet.outputs.failures import naming_output
from edgedet.outputs.names import lock_path
from edgedet.outputs.swap import find_old_state
from edgedet.outputs.workshop import remove_leftovers

_UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_BYTES = 4096  # of the lock file, that are read


@dataclass
class _Held:
    """A lock of this process."""

    thread: int
    depth: int  # of nested calls


_HELD: dict[str, _Held] = {}  # by real path


@contextmanager
def hold_output(path: Path, writes: bool = True) -> Iterator[None]:
    """Keep other processes from writing an output, and put right what a killed one left of it.

    The lock is the system's, on a hidden file beside the output (or, where none can be made, in the temporary folder):
    it ends with the process, however that ends. A function that holds an output may call another one that holds it,
    too. On a file system without locks there is none.

    Args:
        path: of the file or folder, which need not exist.
        writes: False: do nothing (of several processes of one run only the first writes).
    Raises:
        ConfigError: another process, which is named, or another thread writes there.
        OutputError: nothing can be written there.
    """
    if not writes:
        yield
        return
    real = os.path.realpath(path)
    if not os.path.basename(real):
        raise ConfigError(f"`out` {path}: is the root of all files; give a folder in it")
    mine = _Held(threading.get_ident(), 0)
    held = _HELD.setdefault(real, mine)  # one call: the system's lock is the process's, and no thread waits for it
    if held.thread != threading.get_ident():
        raise ConfigError(f"`out` {path}: another thread of this process is writing there; give another `out`")
    held.depth += 1
    try:
        if held is mine:
            with _locked(Path(real), path):
                yield
        else:
            yield
    finally:
        held.depth -= 1
        if held is mine:
            del _HELD[real]


@contextmanager
def _locked(real: Path, path: Path) -> Iterator[None]:
    """The system's lock on an output, by real path and as the user named it."""
    with naming_output(path):
        made = _make_parents(real)
        file, handle = _lock(real, path)
    try:
        with naming_output(path):
            find_old_state(real)
            remove_leftovers(real)
        yield
    finally:
        _unlock(file, handle)
        _remove_empty(made)


def is_held(path: Path) -> bool:
    """Whether this process holds an output, and so has removed what was left beside and inside it."""
    return os.path.realpath(path) in _HELD


def _lock(real: Path, path: Path) -> tuple[Path, int]:
    """The lock file and its handle, locked."""
    file = lock_path(real)
    if real.is_dir() and not os.access(real.parent, os.W_OK):  # not inside: it must look empty when it is
        file = lock_path(Path(tempfile.gettempdir()) / f"{os.getuid()}-{zlib.crc32(os.fsencode(real)):08x}")
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return file, handle
            owner = os.pread(handle, _BYTES, 0).decode("utf-8", "replace").strip()
            os.close(handle)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise ConfigError(
                f"`out` {path}: {owner or 'another process'} is writing there; wait until it has ended, or give "
                "another `out`"
            ) from error
        if _is_at(file, handle):
            break
        os.close(handle)  # its owner removed it between our two calls
    try:
        os.ftruncate(handle, 0)
        os.write(handle, _me().encode("utf-8", "replace"))
    except OSError:
        _unlock(file, handle)
        raise
    return file, handle


def _me() -> str:
    arguments = [os.path.basename(sys.argv[0] if sys.argv else ""), *sys.argv[1:]]
    if arguments[0] == "__main__.py":
        arguments[0] = "edgedet"
    return f"process {os.getpid()} on {socket.gethostname()} ({shlex.join(arguments)[: _BYTES // 8]})"


def _is_at(file: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(file))
    except FileNotFoundError:
        return False


def _unlock(file: Path, handle: int) -> None:
    """Remove the file while it is still locked: whoever opened it meanwhile sees that it is gone, and makes another."""
    try:
        if _is_at(file, handle):
            file.unlink()
    except OSError:
        pass  # it stays as an unlocked file, which the next run takes
    os.close(handle)


def _make_parents(real: Path) -> list[Path]:
    """Folders that did not exist, the deepest first."""
    missing = [folder for folder in real.parents if not folder.exists()]
    real.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Nothing was written: the folders made for it go, too."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return
