"""The page of all commands and their options, from the parsers of the command line."""

from __future__ import annotations

import argparse
import os

from edgedet.commands.frame.parser import leaves
from edgedet.commands.main import build_parser

_INTRODUCTION = """\
# Commands and options

Made from the parsers when this site is built; `edgedet COMMAND --help` says the same. What holds for every command, and
how a shell completes them: [commands.md](commands.md).
"""


def options_page() -> str:
    """Markdown with a section for each command: what it does, usage, options, examples."""
    os.environ["COLUMNS"] = "100"  # else the usage is as wide as the terminal of whoever builds
    return "\n".join([_INTRODUCTION, *(section(parser) for parser in leaves(build_parser()))])


def section(parser: argparse.ArgumentParser) -> str:
    """One command."""
    usage = parser.format_usage().removeprefix("usage: ")
    lines = [f"## {parser.prog}\n", f"{' '.join((parser.description or '').split())}\n", f"```text\n{usage}```\n"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help is not argparse.SUPPRESS]
        if actions:
            lines += [f"**{group.title}**\n", *(entry(parser, action) for action in actions), ""]
    lines.append(f"{examples(parser)}\n")
    return "\n".join(lines)


def entry(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """One option or argument."""
    formatter = parser._get_formatter()
    name = formatter._format_action_invocation(action)
    text = formatter._expand_help(action) if action.help else ""
    return f"- `{name}`: {text}"


def examples(parser: argparse.ArgumentParser) -> str:
    """The end of `--help`, whose command lines are shown as such."""
    title, _, rest = (parser.epilog or "").partition("\n")
    body = "\n".join(line.removeprefix("  ") for line in rest.splitlines())
    return f"{title}\n\n```text\n{body}\n```" if body else title
