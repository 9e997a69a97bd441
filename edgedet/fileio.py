"""Writing single files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from edgedet.errors import ConfigError, OutputError
from edgedet.outputs.failures import naming_output
from edgedet.outputs.lock import is_held
from edgedet.outputs.swap import sync_file, sync_folder
from edgedet.outputs.workshop import remove_leftovers, workshop
from edgedet.typed import shown

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)  # may be made, or is told by who looks for it

PathLike: TypeAlias = str | os.PathLike[str]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well, remove it when it does not.

    What a killed process left of an earlier attempt is removed.

    Args:
        path: final path; its folder is created when absent.
    Yields:
        A path in the same folder (so that the rename is atomic), not existing yet.
    Raises:
        OutputError: it can't be written; what was there is still there.
    """
    kind = special_kind(path)
    if kind:
        raise OutputError(f"{path}: is {kind}, which would be replaced; expected a new name, or a file")
    with naming_output(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not is_held(path.parent):
            remove_leftovers(path)
        with workshop(path) as folder:
            temporary = folder / path.name
            yield temporary
            sync_file(temporary)
            os.replace(temporary, path)
            sync_folder(path.parent)


def special_kind(path: Path) -> str:
    """`a pipe`, `a socket` or `a device`; empty for files, folders and names that are free."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return next((name for test, name in _KINDS if test(mode)), "")


def read_bytes(path: Path) -> bytes:
    """The bytes of an input.

    Raises:
        OSError: it can't be read, or is a pipe, a socket or a device, which is not waited for; `strerror` says which.
    """
    if kind := special_kind(path):
        raise OSError(errno.EINVAL, f"is {kind}, expected a file", str(path))
    return path.read_bytes()


def require_out_file(path: Path, option: str) -> None:
    """Make sure, before long work, that a file can be written.

    Args:
        path: of the file, which may exist.
        option: that named it, for the message.
    Raises:
        ConfigError: it is a folder, pipe, socket or device, or its folder can be neither made nor written to.
    """
    if path.is_dir():
        raise ConfigError(f"{option} {path}: is a folder, expected the name of a file")
    if kind := special_kind(path):
        raise ConfigError(f"{option} {path}: is {kind}, which would be replaced; expected a new name, or a file")
    _require_writable(path.parent, f"{option} {path}")


def refuse_other_file(path: Path, option: str, kind: str, starts: tuple[bytes, ...]) -> None:
    """Check that no file of another kind would be replaced: `--json *.jpg` makes the first photo its argument.

    Args:
        path: of the file to write, which may exist.
        option: that named it, for the message.
        kind: what is written, for the message.
        starts: with what such a file begins, in lower case, blanks left out.
    Raises:
        ConfigError: there is a file that is not empty and begins otherwise.
    """
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(64).lstrip().lower()
        if start and not start.startswith(starts):
            raise ConfigError(f"{option} {path}: is another file, no {kind}, and would be replaced; give a new name")


def require_out_folder(path: Path, option: str) -> None:
    """Make sure, before long work, that files can be written into a folder, which is not made yet.

    Args:
        path: of the folder, which may exist.
        option: that named it, for the message.
    Raises:
        ConfigError: it is a file, or it can be neither made nor written to.
    """
    if os.path.lexists(path) and not path.is_dir():
        kind = special_kind(path) or ("a file" if path.exists() else "a link that leads nowhere")
        raise ConfigError(f"{option} {path}: is {kind}, expected a folder or a new name")
    if not os.path.basename(os.path.realpath(path)):
        raise ConfigError(f"{option} {path}: is the root of all files; give a folder in it")
    _require_writable(path, f"{option} {path}")


def _require_writable(folder: Path, what: str) -> None:
    """Try in the nearest folder that exists; permissions alone do not tell, for example in /proc."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise ConfigError(f"{what}: {nearest} is a file, expected a folder there; give another path")
    try:
        _try_to_write(nearest)
    except OSError as error:
        raise ConfigError(
            f"{what}: nothing can be written in {nearest} ({error.strerror}); give another path"
        ) from error


def _try_to_write(folder: Path) -> None:
    """Make a file without a name, of which nothing is left whatever happens; where there is no such thing, a folder."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except (OSError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno not in (
            errno.EOPNOTSUPP,
            errno.EISDIR,
            errno.EINVAL,
            errno.ENOENT,
        ):
            raise
        with tempfile.TemporaryDirectory(prefix=".edgedet.", dir=folder):
            pass


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file in the same folder."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` through a temporary file in the same folder."""
    atomic_write_bytes(path, _utf8(text))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to a file of a folder that nobody sees yet (`outputs.folder`)."""
    path.write_bytes(_utf8(text))


def _utf8(text: str) -> bytes:
    """Names of files may hold bytes that are no text (surrogates in Python); they are written as in JSON, \udce9."""
    return text.encode("utf-8", "backslashreplace")


def as_path(value: PathLike, argument: str) -> Path:
    """A path from a string or a path-like object; `~` is the user's folder.

    Args:
        value: what the caller gave.
        argument: its name, for the error.
    Returns:
        The path.
    Raises:
        ConfigError: neither a string nor path-like, no user of that name, or nothing that can be a path here.
    """
    try:
        path = Path(value).expanduser()
    except TypeError:
        raise ConfigError(f"`{argument}`: expected a path, as a string or Path, found {type(value).__name__}") from None
    except RuntimeError as error:  # ~nobody
        raise ConfigError(f"`{argument}` {shown(str(value))}: {error}; write the folder out") from None
    try:
        path.stat()
    except ValueError:
        raise ConfigError(f"`{argument}` {shown(str(value))}: expected a path, found a zero byte in it") from None
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise ConfigError(f"`{argument}` {shown(str(value))}: {error.strerror}; give another path") from None
    return path
