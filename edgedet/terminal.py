"""What a terminal, a pipe or a file can take of what is printed."""

from __future__ import annotations

import io
import os
import sys


def prepare_streams() -> None:
    """Show what stdout and stderr have no character for by its code; an encoding must not end a command.

    Names of classes and files hold any character, surrogates of undecodable bytes included; streams in cp1252, ASCII
    or a locale's encoding do not.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None without a console, another class in notebooks and tests
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Text that can be written as UTF-8: half surrogates, as in names of undecodable bytes, become their code."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def drop_output() -> None:
    """Forget what is left for a reader that went away (`| head`), so that Python does not complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, stream.fileno())
            os.close(silent)
