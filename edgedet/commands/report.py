"""`edgedet report`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.frame.next_step import show_next
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command
from edgedet.terminal import show


def add_report(commands: Commands) -> None:
    """Options of `edgedet report`."""
    parser = add_command(
        commands,
        "report",
        "make the page of a run again, or one page that compares several runs and deployments",
        (
            "report runs/bccd",
            "report runs/bccd runs/pico runs/q --out comparison.html",
            "report runs/q_c99 --open",
            "report runs/bccd runs/pico --json comparison.json",
        ),
        _report,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or of a deployment")
    parser.add_argument("--out", type=Path, metavar="FILE", help="HTML file of a comparison (default: comparison.html)")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    add_json_argument(parser)


def _report(args: argparse.Namespace) -> int:
    from edgedet.api.report import make_report

    made = make_report(*args.runs, out=args.out)
    show(made.page.verdict)
    show(f"report: {made.path}")
    give(args, made.to_json())
    if len(args.runs) == 1:
        show_next("ui", *args.runs)
    elif not args.open:
        show_next("report", *args.runs, *(() if args.out is None else ("--out", args.out)), "--open")
    if args.open:
        import webbrowser

        webbrowser.open(made.path.resolve().as_uri())
    return 0
