"""What every command is made with: its parser with examples, and the model that it opens."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edgedet.errors import ConfigError
from edgedet.runtimes.names import CHECKPOINT_SUFFIXES, choose_runtime

if TYPE_CHECKING:
    from edgedet.runtimes.protocol import Runtime

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
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  edgedet {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler, flags=lambda: _flags(parser))
    return parser


# Argument of the Python API -> destination of the option, where they differ.
_OTHER_NAMES = {"channel_attention": "no_channel_attention", "runtime": "check_runtime"}


def _flags(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Argument of the Python API -> option of a command."""
    flags = {a.dest: next((s for s in a.option_strings if s.startswith("--")), "") for a in parser._actions}
    flags |= {name: flags[dest] for name, dest in _OTHER_NAMES.items() if dest in flags and name not in flags}
    return {name: flag for name, flag in flags.items() if flag}


def with_flags(message: str, args: argparse.Namespace) -> str:
    """An error of the package in the words of the command line: `calib_images` in backticks becomes --calib-images.

    Args:
        message: names arguments of the Python API in backticks.
        args: parsed options; names that are no option of this command stay as they are.
    """
    flags: dict[str, str] = args.flags() if "flags" in args else {}
    return re.sub(r"`(\w+)`", lambda found: flags.get(found[1], found[0]), message)


def holds_run(folder: Path) -> bool:
    """True when a training run left there what its `--resume` goes on from."""
    return (folder / "last.pt").is_file()


def refuse_checkpoint(model: Path) -> None:
    """Raises ConfigError when a checkpoint was given to a command that takes an int8 file."""
    if model.suffix.lower() in CHECKPOINT_SUFFIXES:
        raise ConfigError(
            f"{model}: expected an int8 .tflite, found a checkpoint ({model.suffix}); make one with `edgedet quantize`"
        )


def open_model(path: Path, runtime: str | None) -> Runtime:
    """Open a `.tflite` or a checkpoint.

    Args:
        path: model file; its suffix decides.
        runtime: as `--runtime`; None takes the default of the kind of file.
    Returns:
        The runtime.
    Raises:
        EdgedetError: the file can't be run, or not by this runtime.
    """
    name = choose_runtime(path, runtime)
    if name == "torch":
        from edgedet.net.runtime import TorchRuntime

        return TorchRuntime.from_checkpoint(path)
    from edgedet.runtimes.open import open_runtime

    return open_runtime(path, name)
