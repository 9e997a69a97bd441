"""`edgedet operators`."""

from __future__ import annotations

import argparse
import sys

from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command
from edgedet.errors import ConfigError
from edgedet.terminal import show


def add_operators(commands: Commands) -> None:
    """Options of `edgedet operators`."""
    parser = add_command(
        commands,
        "operators",
        "show which operators are read, simulated, generated as C and run by TFLite Micro, with their limits",
        ("operators", "operators CONV_2D SOFTMAX", "operators --json"),
        _operators,
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="TFLite's name of an operator (default: all)")
    form = parser.add_mutually_exclusive_group()
    add_json_argument(form, bare=True)
    form.add_argument("--markdown", action="store_true", help="print docs/operators.md, always whole")


def _operators(args: argparse.Namespace) -> int:
    from edgedet.graph.operator_text import markdown, select_operators, table_text

    if args.markdown and args.kinds:
        raise ConfigError(f"--markdown prints the whole table, found {', '.join(args.kinds)}; leave the names out")
    rows = select_operators(args.kinds)
    if args.markdown:
        sys.stdout.write(markdown())
    else:
        show(table_text(rows))
    give(args, [row.to_json() for row in rows])
    return 0
