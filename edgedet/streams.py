"""Standard output and error of a command: closed ones, full ones, ones with few characters, readers that went away."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO, cast


class LastingStream:
    """A stream whose disk may be full, or whose terminal may be gone: text is lost then, and not the work.

    Args:
        stream: of the process.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failed: OSError | None = None  # the first error, while something was written

    def write(self, text: str) -> int:
        """As of files; BrokenPipeError stays, because a reader that went away wants the command to end."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._keep(error)
            return len(text)

    def writelines(self, lines: list[str]) -> None:
        """As of files."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """As of files."""
        try:
            self._stream.flush()
        except OSError as error:
            self._keep(error)

    def _keep(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise error
        self.failed = self.failed or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare_streams() -> None:
    """Make stdout and stderr such that showing something never ends a command.

    - Characters that they have not are shown by their code: names of classes and files hold any, surrogates of
      undecodable bytes included; streams in cp1252, ASCII or a locale's encoding do not.
    - Where one is closed (`>&-`, some services), nothing is shown; its number must not go to a file that is opened
      next, into which libraries would then write their messages.
    - Where one can't be written (`LastingStream`), the work goes on.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout, sys.stderr = _prepared(sys.stdout, sys.__stdout__), _prepared(sys.stderr, sys.__stderr__)


def _prepared(stream: TextIO | None, original: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # until the process ends
    if isinstance(stream, io.TextIOWrapper):  # another class in notebooks and tests
        stream.reconfigure(errors="backslashreplace")
    return cast(TextIO, LastingStream(stream)) if stream is original else stream


def output_failure() -> OSError | None:
    """What kept results from standard output; None: they are there, as far as the system says."""
    sys.stdout.flush()
    return getattr(sys.stdout, "failed", None)


def drop_output() -> None:
    """Forget what is left for a reader that went away (`| head`) or a full disk: Python is silent at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
            lost = getattr(stream, "failed", None) is not None
        except BrokenPipeError:
            lost = True
        if lost:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, stream.fileno())
            os.close(silent)
