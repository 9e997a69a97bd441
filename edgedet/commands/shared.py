"""What every command is made with: its parser with examples."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from edgedet.commands.parser import HelpFormatter, examples_text
from edgedet.commands.session import add_session_arguments
from edgedet.errors import ConfigError
from edgedet.options import flags_of
from edgedet.runtimes.names import CHECKPOINT_SUFFIXES
from edgedet.terminal import COLUMNS

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


def holds_run(folder: Path) -> bool:
    """True when a training run left there what its `--resume` goes on from."""
    return (folder / "last.pt").is_file()


def refuse_checkpoint(model: Path) -> None:
    """Raises ConfigError when a checkpoint was given to a command that takes an int8 file."""
    if model.suffix.lower() in CHECKPOINT_SUFFIXES:
        raise ConfigError(
            f"{model}: expected an int8 .tflite, found a checkpoint ({model.suffix}); make one with `edgedet quantize`"
        )
