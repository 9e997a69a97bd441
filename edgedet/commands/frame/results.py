"""`--json`: the results of a command for programs, in a file or alone on standard output."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from edgedet.escape import json_text
from edgedet.fileio import atomic_write_text, refuse_other_file, require_out_file

STDOUT = Path("-")
NOWHERE = Path(os.devnull)


def add_json_argument(parser: argparse._ActionsContainer, bare: bool = False) -> None:
    """Add `--json`.

    Args:
        parser: of the command, or a group in it.
        bare: `--json` alone means standard output (commands that list something); a file is `--json=FILE` then.
    """
    text = "write the results as JSON to FILE, or with - to standard output, where nothing else goes then"
    if bare:
        parser.add_argument("--json", type=Path, nargs="?", const=STDOUT, metavar="FILE", help=f"{text} (default: -)")
    else:
        parser.add_argument("--json", type=Path, metavar="FILE", help=text)


@contextmanager
def results_apart(args: argparse.Namespace) -> Iterator[None]:
    """Keep standard output for `give` when the JSON goes there; what is shown meanwhile goes to stderr.

    Args:
        args: parsed; gets `stdout`, where `give` writes.
    Raises:
        ConfigError: the file for the JSON can't be written.
    """
    args.stdout = sys.stdout
    path = getattr(args, "json", None)
    if path is None or path == NOWHERE:
        yield
    elif path == STDOUT:
        with redirect_stdout(io.StringIO() if args.quiet else sys.stderr):
            yield
    else:
        require_out_file(path, "--json")
        refuse_other_file(path, "--json", "JSON", (b"{", b"["))
        yield


def give(args: argparse.Namespace, value: Any) -> None:
    """Write the results as JSON, if that is asked for.

    Args:
        args: parsed.
        value: JSON-able, or text that is JSON already.
    """
    if args.json in (None, NOWHERE):
        return
    text = value if isinstance(value, str) else json_text(value)
    if args.json == STDOUT:
        args.stdout.write(text if text.endswith("\n") else f"{text}\n")
        args.stdout.flush()
    else:
        atomic_write_text(args.json, text)
