"""What can't be written, as one line that names it: the only place where errors of the system are put into words."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from edgedet.errors import OutputError
from edgedet.outputs.names import is_hidden_part

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space, then repeat the command",
    errno.EDQUOT: "the quota is used up; free some space, then repeat the command",
    errno.EROFS: "it is mounted for reading only; write to another place",
    errno.EFBIG: "larger than files may be there (`ulimit -f`, or the file system)",
    errno.ENOENT: "its folder is gone; was it removed or renamed meanwhile?",
    errno.ENOTDIR: "its folder is gone; was it removed or renamed meanwhile?",
    errno.EACCES: "no permission; write to another place, or change the rights",
    errno.EPERM: "no permission; write to another place, or change the rights",
    errno.EIO: "the disk has errors; write to another one",
    errno.EMFILE: "this process has too many files open (`ulimit -n`)",
    errno.ENFILE: "this machine has too many files open",
    errno.ESTALE: "the server of this folder has lost it; mount it again",
}
_OF_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
# Libraries that write by themselves tell the reason in words only, if at all.
_WORDS = (
    (re.compile(r"no space left", re.I), errno.ENOSPC),
    (re.compile(r"quota exceeded", re.I), errno.EDQUOT),
    (re.compile(r"read-only file system", re.I), errno.EROFS),
    (re.compile(r"file too large", re.I), errno.EFBIG),
    (re.compile(r"PytorchStreamWriter|inline_container.*(pos|write)|file write failed|Parent directory .* does"), 0),
)


T = TypeVar("T")


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


class RememberingFile:
    """A binary file for libraries that swallow what went wrong; `error` keeps it.

    Args:
        file: open for writing.
    """

    def __init__(self, file: _Writable) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """As of files."""
        return self._keep(lambda: self._file.write(data))

    def flush(self) -> None:
        """As of files."""
        self._keep(self._file.flush)

    def _keep(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as error:
            self.error = self.error or error
            raise


@contextmanager
def naming_output(path: Path) -> Iterator[None]:
    """Turn what goes wrong while an output is written into one error that names it.

    Args:
        path: of the file or folder, as the user knows it; hidden parts of it are not shown.
    Raises:
        OutputError: an OSError about this output, or a library's error that hides one. Errors about other files, which
            are read meanwhile, stay as they are.
    """
    try:
        yield
    except OSError as error:
        if not _concerns(error, path):
            raise
        raise OutputError(_text(_shown(error, path), error)) from error
    except RuntimeError as error:
        for words, code in _WORDS:
            if words.search(str(error)):
                reason = OSError(code, os.strerror(code)) if code else None
                raise OutputError(_text(path, reason)) from error
        raise


def os_error_text(error: OSError) -> str:
    """What an OSError outside `naming_output` says, the file first."""
    name = error.filename2 or error.filename
    if name is None:
        if error.errno == errno.ENOENT and not _is_somewhere():
            return "the current folder is gone: it was removed or unmounted; change into another one, and repeat"
        if error.errno in _OF_WRITING:  # writing into an open file does not name it
            return f"a file of {tempfile.gettempdir()} or of the output {cant_be_written(error)}"
        return error.strerror or str(error) or type(error).__name__
    return f"{os.fsdecode(name) if isinstance(name, bytes) else name}: {error.strerror}"


def _text(path: Path, error: OSError | None) -> str:
    if error is None:
        return f"{path}: can't be written; is the disk full, or a limit of quota or file size reached?"
    return f"{path}: {cant_be_written(error)}"


def cant_be_written(error: OSError) -> str:
    """Reason and advice, to follow the name of what can't be written."""
    reason = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0, "write to another place, or mend what the system says")
    return f"can't be written ({reason}): {advice}"


def _is_somewhere() -> bool:
    """False when the current folder was removed."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _name(error: OSError) -> Path | None:
    name = error.filename2 or error.filename
    return Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None


def _concerns(error: OSError, path: Path) -> bool:
    """True when the error names no file, this output, something in it, or a hidden part of it."""
    name = _name(error)
    if name is None:
        return error.errno is not None  # those of libraries about the content of a file have no number
    at, out = Path(os.path.abspath(name)), Path(os.path.abspath(path))
    real = Path(os.path.realpath(path))
    return any(at == place or place in at.parents or at in place.parents for place in (out, real)) or any(
        is_hidden_part(part) for part in at.parts
    )


def _shown(error: OSError, path: Path) -> Path:
    """The file as the user will know it: inside the output, without what is hidden."""
    name = _name(error)
    if name is None or name == path:
        return path
    parts = name.parts
    hidden = [place for place, part in enumerate(parts) if is_hidden_part(part)]
    if not hidden:
        return name
    inside = parts[hidden[-1] + 2 :]  # .NAME.xxxxxxxx.edgedet/NAME/...
    return path.joinpath(*inside)
