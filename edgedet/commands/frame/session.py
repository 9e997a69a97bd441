"""What is shown while a command runs: more, less, without colour, and kept in a file."""

from __future__ import annotations

import argparse
import io
import os
import platform
import re
import resource
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, TextIO, cast

from edgedet import __version__
from edgedet.commands.frame.results import results_apart
from edgedet.errors import ConfigError
from edgedet.fileio import require_out_file
from edgedet.outputs.failures import cant_be_written
from edgedet.streams import LastingStream
from edgedet.terminal import quietly

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_LOG_START = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
# Whatever computes or reads files; a report of an error needs their versions.
_NAMED = ("numpy", "pillow", "pycocotools", "torch", "opencv-python-headless", "ai-edge-litert", "tflite-micro", "onnx")


def add_session_arguments(parser: argparse._ActionsContainer, default: Any = None) -> None:
    """Add `-q`, `-v`, `--log-file` and `--no-color`.

    Args:
        parser: of `edgedet`, or of one command.
        default: argparse.SUPPRESS for a command, so that it keeps what stood before its name.
    """
    loud = parser.add_mutually_exclusive_group()
    switch = False if default is None else default
    loud.add_argument("-q", "--quiet", action="store_true", default=switch, help="no progress, only results and errors")
    loud.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=switch,
        help="also versions, time, memory, and where errors arose",
    )
    parser.add_argument(
        "--log-file", type=Path, default=default, metavar="FILE", help="append all that is shown to FILE, with the time"
    )
    parser.add_argument(
        "--no-color", action="store_true", default=switch, help="no colours; the variable NO_COLOR does the same"
    )


@contextmanager
def session(args: argparse.Namespace, argv: Sequence[str]) -> Iterator[None]:
    """Run a command as the options of `add_session_arguments` say.

    Args:
        args: parsed options.
        argv: the command line, for the log.
    Raises:
        ConfigError: nothing can be written to the log.
    """
    with ExitStack() as stack:
        stack.enter_context(quietly(args.quiet))
        if args.no_color:
            stack.enter_context(_without_colour())
        log = stack.enter_context(_logged(args.log_file)) if args.log_file is not None else None
        sinks = [*([sys.stderr] if args.verbose else []), *([log] if log is not None and not args.verbose else [])]
        stack.enter_context(_explained(sinks, argv))
        stack.enter_context(results_apart(args))
        yield


@contextmanager
def _without_colour() -> Iterator[None]:
    before = os.environ.get("NO_COLOR")
    os.environ["NO_COLOR"] = "1"  # rich and the programs that are started look here
    try:
        yield
    finally:
        if before is None:
            del os.environ["NO_COLOR"]
        else:
            os.environ["NO_COLOR"] = before


@contextmanager
def _explained(sinks: Sequence[TextIO], argv: Sequence[str]) -> Iterator[None]:
    """Say what runs, for how long, with how much memory, and where it failed."""

    def say(text: str) -> None:
        for sink in sinks:
            sink.write(f"{text}\n")

    if sinks:
        say(f"edgedet {__version__}, Python {platform.python_version()}, {platform.platform()}")
        say(", ".join(_versions()))
        say(f"in {Path.cwd()}: edgedet {shlex.join(argv)}")
    since = time.monotonic()
    try:
        yield
    except BaseException:
        say(traceback.format_exc().rstrip())
        raise
    finally:
        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10  # bytes there, KiB elsewhere
        memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        say(f"{time.monotonic() - since:.1f} s, at most {memory_mib:.0f} MiB of memory")


def _versions() -> list[str]:
    found = {item.metadata["Name"].lower(): item.version for item in distributions() if item.metadata["Name"]}
    return [f"{name} {found[name]}" for name in _NAMED if name in found]


@contextmanager
def _logged(path: Path) -> Iterator[TextIO]:
    """Copy stdout and stderr into a file; gives a stream that goes there alone."""
    if path != Path(os.devnull):
        require_out_file(path, "--log-file")
        _require_log(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"--log-file {path}: can't be written ({error.strerror}); give another path") from error
    with file:
        out, err = sys.stdout, sys.stderr
        copies = (_Lines(file), _Lines(file), _Lines(file))
        sys.stdout, sys.stderr = cast(TextIO, _Copied(out, copies[0])), cast(TextIO, _Copied(err, copies[1]))
        try:
            yield cast(TextIO, copies[2])
        finally:
            sys.stdout, sys.stderr = out, err
            for copy in copies:
                copy.finish()
            lost = next((copy.failed for copy in copies if copy.failed), None)
            if lost is not None:
                err.write(f"warning: --log-file {path}: parts are missing, it {cant_be_written(lost)}\n")


def _require_log(path: Path) -> None:
    """Raises ConfigError when a file is there that is no log: it may be the model that was meant by another option."""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len("1970-01-01 00:00:00 "))
        if start and not _LOG_START.fullmatch(start):
            raise ConfigError(f"--log-file {path}: is another file, no log of edgedet; give a new name")


class _Lines(io.TextIOBase):
    """Whole lines with the time in front, as a terminal leaves them: without colours and bars that were overwritten."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._open = LastingStream(file), ""

    @property
    def failed(self) -> OSError | None:
        """What kept something from the file."""
        return self._file.failed

    def write(self, text: str) -> int:
        *lines, self._open = (self._open + text).split("\n")
        for line in lines:
            shown = _ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip()
            if shown:
                self._file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {shown}\n")
        # What a bar has overwritten is dropped at once: a long run writes megabytes without the end of a line.
        kept = self._open.rstrip("\r")
        self._open = kept.rpartition("\r")[2] + self._open[len(kept) :][:1]
        self._file.flush()
        return len(text)

    def finish(self) -> None:
        """Write what is left without an end."""
        if self._open:
            self.write("\n")


class _Copied:
    """A stream that writes its text to a log as well; in all else it is the stream."""

    def __init__(self, stream: TextIO, log: _Lines) -> None:
        self._stream, self._log = stream, log

    def write(self, text: str) -> int:
        self._log.write(text)
        return self._stream.write(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
