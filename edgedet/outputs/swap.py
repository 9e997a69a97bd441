"""A finished folder takes the place of an earlier one: whoever looks finds the old one or the new one."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
from pathlib import Path

from edgedet.outputs.names import is_hidden_part, old_path

_MOUNTS = Path("/proc/self/mountinfo")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANT_EXCHANGE = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}
_CANT_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS, errno.EACCES}


def exchange(one: Path, other: Path) -> bool:
    """Exchange two existing files or folders of one file system in one step.

    Returns:
        False: this system or file system can't; nothing was changed.
    Raises:
        OSError: it could, but failed.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANT_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def names_below(folder: Path) -> frozenset[str]:
    """Everything in a folder and below it that is no folder, relative to it; empty when there is none."""
    found = (Path(place) / name for place, _, names in os.walk(folder) for name in names)
    return frozenset(str(path.relative_to(folder)) for path in found)


def put_in_place(fresh: Path, out: Path, known: frozenset[str]) -> None:
    """Give a folder its name; what was there is then at `fresh`, or removed.

    Files that somebody put there meanwhile, which are not among the known ones, come along. Where folders can't be
    exchanged, the old one waits under a hidden name for the moment between two renamings; after a kill there
    `find_old_state` brings it back.
    """
    if out.is_dir():
        shutil.copymode(out, fresh)
    if out.is_dir() and any(out.iterdir()):
        if exchange(fresh, out):
            _bring_along(fresh, out, known)
        else:
            old = old_path(out)
            os.rename(out, old)
            os.rename(fresh, out)
            _bring_along(old, out, known)
            shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(fresh, out)
    sync_folder(out.parent)


def _bring_along(old: Path, out: Path, known: frozenset[str]) -> None:
    for name in sorted(names_below(old) - known):
        if not is_hidden_part(Path(name).parts[0]) and not os.path.lexists(out / name):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.rename(old / name, out / name)


def find_old_state(out: Path) -> None:
    """Bring back an earlier folder whose successor did not get its name; one that has a successor goes."""
    old = old_path(out)
    if not old.is_dir():
        return
    if os.path.lexists(out):
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(old, out)


def can_swap(out: Path) -> bool:
    """Whether a folder can be replaced as a whole: nothing is mounted on or below it, and this process is not in it."""
    if not out.is_dir():
        return True
    here = Path(os.path.realpath(os.curdir))
    return not _has_mount(out) and out != here and out not in here.parents and os.access(out.parent, os.W_OK)


def _has_mount(folder: Path) -> bool:
    """What is mounted below a folder would move with it, and be emptied with the old one."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux: bind mounts of one device are not seen there
        return any(Path(place).is_mount() for place, _, _ in os.walk(folder))
    points = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in lines)
    return any(folder == Path(point) or folder in Path(point).parents for point in points)


def carry_over(old: Path, fresh: Path, without: frozenset[str] = frozenset()) -> None:
    """Add to a new folder what only the old one has, without copying where the file system links files.

    Args:
        old: folder; stays as it is.
        fresh: folder; what it has stays.
        without: names in `old` that are left behind.
    """
    with os.scandir(old) as entries:
        for entry in entries:
            if is_hidden_part(entry.name) or entry.name in without:
                continue
            target = fresh / entry.name
            if entry.is_dir(follow_symlinks=False):
                target.mkdir(exist_ok=True)
                shutil.copymode(entry.path, target)
                carry_over(Path(entry.path), target)
            elif not os.path.lexists(target):
                _link(entry.path, target)


def carry_file(old: Path, new: Path) -> None:
    """Put a file, a link as it is, or an empty folder, of an earlier folder into a new one that does not have it.

    Args:
        old: stays as it is; nothing happens where it is gone meanwhile.
        new: its folder is made.
    """
    if os.path.lexists(old) and not os.path.lexists(new):
        new.parent.mkdir(parents=True, exist_ok=True)
        if old.is_dir() and not old.is_symlink():
            new.mkdir()
        else:
            _link(str(old), new)


def _link(source: str, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _CANT_LINK:
            raise
        shutil.copy2(source, target, follow_symlinks=False)


def move_in(fresh: Path, out: Path, seal: str, known: frozenset[str] = frozenset()) -> None:
    """Move files into a folder that can't be replaced as a whole: the seal goes first and comes last.

    Whoever finds no seal knows that the rest is not whole.

    Args:
        fresh: what is moved.
        out: folder.
        seal: file in `fresh` that says what the others are.
        known: files of `out` that go with its old state, as they would if the whole folder were replaced.
    """
    files = sorted(path.relative_to(fresh) for path in fresh.rglob("*") if not path.is_dir() or path.is_symlink())
    if len(files) > 1 and Path(seal) in files:
        (out / seal).unlink(missing_ok=True)
    _remove_old(out, known - frozenset(map(str, files)))
    for name in sorted(files, key=lambda name: name == Path(seal)):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(fresh / name, out / name)
    sync_folder(out)


def _remove_old(out: Path, names: frozenset[str]) -> None:
    """Remove files below a folder, and the folders that are empty without them; hidden ones of edgedet stay."""
    for name in names:
        path = out / name
        if is_hidden_part(Path(name).parts[0]):
            continue
        path.unlink(missing_ok=True)
        for parent in path.relative_to(out).parents:
            if parent == Path() or any((out / parent).iterdir()):
                break
            (out / parent).rmdir()


def remove_except(out: Path, name: str, kept: frozenset[str]) -> None:
    """Remove a file of a folder, or everything below a folder of it, but not the files that were just made.

    Args:
        out: folder.
        name: in it; may be absent.
        kept: files relative to `out`.
    """
    path = out / name
    if path.is_dir() and not path.is_symlink():
        for below in names_below(path):
            if str(Path(name) / below) not in kept:
                (path / below).unlink(missing_ok=True)
    elif name not in kept:
        path.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Bring the content of a file to the disk, so that its renaming never comes there before it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Bring the names of a folder to the disk, where its file system can do that."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)
