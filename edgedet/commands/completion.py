"""`edgedet completion`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from edgedet.commands.frame.results import STDOUT, add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command

SHELLS = ("bash", "zsh")
# Metavars of options whose values are names of shipped models, or files.
_MODEL_NAMES = ("MODEL",)
_MODEL_OPTIONS = ("--recipe", "--augmented")
_NAMED_MODEL_COMMANDS = ("train", "models")
# A shell function that offers the shipped models beside files.
_PREAMBLE = {
    "bash": '_edgedet_models() {{ compgen -W "{names}" -- "$1"; compgen -f -- "$1"; }}\n',
    "zsh": "_edgedet_models() {{ local -a names; names=({names}); compadd -a names; _files; }}\n",
}


def add_completion(commands: Commands) -> None:
    """Options of `edgedet completion`."""
    parser = add_command(
        commands,
        "completion",
        "print the script that lets a shell complete commands, options and names",
        (
            "completion bash > ~/.local/share/bash-completion/completions/edgedet",
            "completion zsh > ~/.zfunc/_edgedet",
        ),
        _completion,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash or zsh; docs/commands.md says where to")
    add_json_argument(parser)


def _completion(args: argparse.Namespace) -> int:
    from edgedet.commands.main import build_parser

    script = completion_script(build_parser(), args.shell)
    if args.json != STDOUT:
        print(script)
    give(args, {"shell": args.shell, "script": script})
    return 0


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell.

    Args:
        parser: of the whole program; what its options take is marked in it.
        shell: one of `SHELLS`.
    Returns:
        Text to be sourced by the shell.
    """
    import shtab

    from edgedet.config import available_models

    for name, command in _leaves(parser):
        for action in command._actions:
            kind = _kind(name, action)
            if kind == "models":
                action.complete = {"bash": "_edgedet_models", "zsh": "_edgedet_models"}  # type: ignore[attr-defined]
            elif kind:
                action.complete = shtab.DIRECTORY if kind == "folder" else shtab.FILE  # type: ignore[attr-defined]
    preamble = _PREAMBLE[shell].format(names=" ".join(available_models()))
    return str(shtab.complete(parser, shell=shell, preamble={shell: preamble}))  # type: ignore[arg-type]


def _leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, command in action.choices.items():
                yield from _leaves(command, word)


def _kind(command: str, action: argparse.Action) -> str:
    """What an option takes: models, folder, file, or nothing that a shell could know."""
    names_model = command in _NAMED_MODEL_COMMANDS and not action.option_strings
    if action.metavar in _MODEL_NAMES and (names_model or set(action.option_strings) & set(_MODEL_OPTIONS)):
        return "models"
    if action.type is Path:
        return "folder" if action.metavar in ("DIR", "RUN") else "file"
    return "file" if action.metavar == "SOURCE" else ""
