"""`edgedet settings`."""

from __future__ import annotations

import argparse
import sys

from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command
from edgedet.errors import ConfigError
from edgedet.terminal import show


def add_settings(commands: Commands) -> None:
    """Options of `edgedet settings`."""
    parser = add_command(
        commands,
        "settings",
        "show every key that --set changes: meaning, unit or range, and the models' values",
        ("settings", "settings rtmdet_pico_relu6", "settings mine.toml --json"),
        _settings,
    )
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="name of a shipped model, or path of a .toml: its values alone"
    )
    form = parser.add_mutually_exclusive_group()
    add_json_argument(form, bare=True)
    form.add_argument("--markdown", action="store_true", help="print docs/settings.md, always of all models")


def _settings(args: argparse.Namespace) -> int:
    from edgedet.settings import known_settings, settings_markdown, settings_text

    if args.markdown:
        if args.model is not None:
            raise ConfigError(f"--markdown is of all models, found {args.model}; leave it out")
        sys.stdout.write(settings_markdown())
        return 0
    settings = known_settings(() if args.model is None else (args.model,))
    show(settings_text(settings))
    give(args, [setting.to_json() for setting in settings])
    return 0
