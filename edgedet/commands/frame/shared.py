"""What every command is made with: its parser with examples."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from edgedet.api.runs import file_of, refuse_other_run, reserved_run
from edgedet.commands.frame.parser import HelpFormatter, examples_text
from edgedet.commands.frame.session import add_session_arguments
from edgedet.errors import ConfigError
from edgedet.fileio import require_out_folder
from edgedet.options import flags_of
from edgedet.runtimes.names import CHECKPOINT_SUFFIXES
from edgedet.terminal import COLUMNS, announce, show

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(
    commands: Commands,
    name: str,
    summary: str,
    examples: Sequence[str],
    handler: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: where to add it.
        name: as the user types it.
        summary: one phrase in lower case without a full stop.
        examples: command lines without `edgedet`, shown by `--help`; a test parses them.
        handler: runs the parsed command and gives the exit code.
    Returns:
        The parser to add options to.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(summary[0].upper() + summary[1:] + ".", COLUMNS - 2),
        epilog="examples:\n" + examples_text(examples),
        formatter_class=HelpFormatter,
    )
    add_session_arguments(parser.add_argument_group("what is shown"), argparse.SUPPRESS)
    parser.set_defaults(handler=handler, flags=lambda: flags_of(parser))
    return parser


def add_out_argument(parser: argparse._ActionsContainer, text: str, name: str) -> None:
    """Add `--out` of a command that writes a run.

    Args:
        parser: of the command.
        text: what is written there.
        name: what its runs are called, for the help.
    """
    parser.add_argument("--out", type=Path, metavar="RUN", help=f"{text} (default: runs/{name}-1, -2 and so on)")


def choose_out(args: argparse.Namespace, kind: str, name: str) -> None:
    """Give a run its folder where the user gave none, and keep it from an earlier one.

    Args:
        args: parsed options of `add_out_argument`; `out` is set.
        kind: of the run, see `refuse_other_run`.
        name: of the folder, without its number.
    Raises:
        ConfigError: the folder holds another run, or one is to be resumed and it is not said which.
    """
    resume = bool(getattr(args, "resume", False))
    args.names_out = args.out is not None
    if args.names_out:
        require_out_folder(args.out, "--out")
        refuse_other_run(args.out, kind, resume)
    elif resume:
        raise ConfigError("`resume`: which run? give its folder as `out`")
    else:
        args.out = args.held.enter_context(reserved_run(name))


def take_file_of_run(args: argparse.Namespace) -> None:
    """Where the folder of a run was given as the model, put the file there that `edgedet.load` takes.

    Args:
        args: parsed options.
    Raises:
        ConfigError: the folder holds none.
    """
    for name in ("model", "checkpoint"):
        given = getattr(args, name, None)
        if isinstance(given, Path) and given.is_dir():
            setattr(args, name, file_of(given))


def announce_out(args: argparse.Namespace, kind: str) -> None:
    """The first line of a run for a person at a terminal: where it goes."""
    if sys.stderr.isatty():
        announce(f"{kind}: run {args.out}")


def show_out(args: argparse.Namespace) -> None:
    """The last line of a run: where it is."""
    show(f"run: {args.out}")


def holds_run(folder: Path | None) -> bool:
    """True when a training run left there what its `--resume` goes on from."""
    return folder is not None and (folder / "last.pt").is_file()


def refuse_checkpoint(model: Path) -> None:
    """Raises ConfigError when a checkpoint was given to a command that takes an int8 file."""
    if model.suffix.lower() in CHECKPOINT_SUFFIXES:
        raise ConfigError(
            f"{model}: expected an int8 .tflite, found a checkpoint ({model.suffix}); make one with `edgedet quantize`"
        )
