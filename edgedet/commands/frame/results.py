"""`--json`: the results of a command for programs, in a file or alone on standard output."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from edgedet.errors import ConfigError
from edgedet.escape import json_text
from edgedet.fileio import atomic_write_text, refuse_other_file, require_out_file

STDOUT = Path("-")
NOWHERE = Path(os.devnull)
_NEW = "give a new name"


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
        _refuse_inputs(args, path)
        yield


def _refuse_inputs(args: argparse.Namespace, path: Path) -> None:
    """Raises ConfigError when the results would replace something that the command reads, or any annotations."""
    if not path.is_file():
        return
    for name, value in vars(args).items():
        for given in value if isinstance(value, list | tuple) else (value,):
            if name == "json" or not isinstance(given, str | Path):
                continue
            if (name == "data" and _is_file_of(path, Path(given))) or (
                os.path.exists(given) and os.path.samefile(given, path)
            ):
                raise ConfigError(f"--json {path}: belongs to what the command reads, and would be replaced; {_NEW}")
    if _is_coco(path):
        raise ConfigError(f"--json {path}: is a COCO annotation file, and would be replaced; {_NEW}")


def _is_file_of(path: Path, folder: Path) -> bool:
    """Whether a file is a picture or labels in the folder of a data set: any but JSON that is no COCO document."""
    if not folder.is_dir() or folder.resolve() not in path.resolve().parents:
        return False
    return path.suffix.lower() != ".json" or _is_coco(path)


def _is_coco(path: Path) -> bool:
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and {"images", "annotations", "categories"} <= set(document)


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
