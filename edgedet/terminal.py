"""What a terminal, a pipe or a file can take of what is printed."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

COLUMNS = 100  # that prose, tables and help fit into; paths and names may be longer
_GAP = re.compile(r"(?<=\S) {2,}")  # between columns of a table
_QUOTED = re.compile(r"`[^`]{1,90}`")
_LONG_WORD = re.compile(r"\S{46}")
_HARD_SPACE = "\N{NO-BREAK SPACE}"
_EVERY_S = 0.5  # `working` moves
# What steers a terminal, or turns the direction of what follows, instead of being shown.
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_QUIET: ContextVar[bool] = ContextVar("quiet", default=False)


def is_quiet() -> bool:
    """True where only results, warnings and errors are to be shown, no progress."""
    return _QUIET.get()


@contextmanager
def quietly(quiet: bool) -> Iterator[None]:
    """Show no progress inside, or show it."""
    token = _QUIET.set(quiet)
    try:
        yield
    finally:
        _QUIET.reset(token)


def announce(text: str) -> None:
    """A line on stderr about what goes on, unless it is to be quiet."""
    if not is_quiet():
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show a person at a terminal that a step goes on which has nothing to count: its name and the seconds so far.

    Args:
        text: what goes on, for example `quantize: loading torch`. Nothing of it is left on the screen.
    """
    if is_quiet() or not sys.stderr.isatty():
        yield
        return
    done, since = threading.Event(), time.monotonic()

    def show_seconds() -> None:
        while True:
            sys.stderr.write(f"\r{text}: {time.monotonic() - since:.0f} s")
            sys.stderr.flush()
            if done.wait(_EVERY_S):
                return

    shown = threading.Thread(target=show_seconds, daemon=True)
    shown.start()
    try:
        yield
    finally:
        done.set()
        shown.join()
        sys.stderr.write("\r" + " " * (len(text) + 9) + "\r")
        sys.stderr.flush()


def visible(text: str) -> str:
    """Text whose control characters are shown by their code, but for the ends of lines and tabs.

    Names of files and classes come from strangers; as they are they could move the cursor, or change what was shown.
    """
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def printable(text: str) -> str:
    """Text that can be written as UTF-8: half surrogates, as in names of undecodable bytes, become their code."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def show(text: str) -> None:
    """Print a result: lines on stdout, those that are too long wrapped.

    Args:
        text: lines; a newline at the end is added when it is missing.
    """
    lines = visible(text.removesuffix("\n")).split("\n")
    sys.stdout.write("".join(f"{line}\n" for long in lines for line in wrapped(long)))


def wrapped(line: str) -> list[str]:
    """A line as several of at most `COLUMNS`.

    A line with a long path or name stays as it is, and what stands in backticks stays whole: both are to be copied.
    What goes on stands below the last column of a table where that begins in the left two thirds, else four characters
    further in than the line.
    """
    if len(line) <= COLUMNS or _LONG_WORD.search(line):
        return [line]
    last = max((gap.end() for gap in _GAP.finditer(line)), default=COLUMNS)
    indent = last if last <= COLUMNS * 2 // 3 else len(line) - len(line.lstrip()) + 4
    whole = _QUOTED.sub(lambda found: found[0].replace(" ", _HARD_SPACE), line)
    lines = textwrap.wrap(
        whole, COLUMNS, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    return [part.replace(_HARD_SPACE, " ").rstrip() for part in lines]


@contextmanager
def quiet_stderr() -> Iterator[Callable[[], str]]:
    """Keep C++ libraries from writing to the terminal; gives a function that returns what they wrote so far.

    They write to file descriptor 2, past sys.stderr, hence the descriptor itself is turned aside.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:

        def spoken() -> str:
            sink.seek(0)
            return sink.read().decode("utf-8", errors="replace")

        os.dup2(sink.fileno(), 2)
        try:
            yield spoken
        finally:
            os.dup2(saved, 2)
            os.close(saved)
