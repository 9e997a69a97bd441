"""Programs outside Python: found, run without a shell, and with errors that say what to install."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgedet.errors import ToolchainError

_TAIL_LINES = 8  # of a failing program's output, in the error


def require_program(names: Sequence[str], package: str) -> str:
    """Path of the first program that is installed.

    Args:
        names: to look for, the preferred one first.
        package: Debian packages that bring the first one.
    Returns:
        Absolute path.
    Raises:
        ToolchainError: none is installed; with the command that installs it.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise ToolchainError(f"{' or '.join(names)} is not installed, but this step needs it: apt install {package}")


def run_program(command: Sequence[str], folder: Path, timeout_s: float) -> str:
    """Run a program to its end.

    Args:
        command: program and arguments.
        folder: working directory.
        timeout_s: seconds until it is killed.
    Returns:
        What it wrote on both outputs.
    Raises:
        ToolchainError: it failed or took too long; with the end of its output.
    """
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"{name} did not finish within {timeout_s:.0f} s and was stopped") from error
    if done.returncode:
        tail = " / ".join(line for line in done.stdout.splitlines()[-_TAIL_LINES:] if line.strip())
        raise ToolchainError(f"{name} failed with exit status {done.returncode}: {tail or 'no message'}")
    return done.stdout
