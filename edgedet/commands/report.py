"""`edgedet report`."""

from __future__ import annotations

import argparse
from pathlib import Path

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
        ),
        _report,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, or of a deployment")
    parser.add_argument("--out", type=Path, metavar="FILE", help="HTML file of a comparison (default: comparison.html)")
    parser.add_argument("--open", action="store_true", help="show it in the browser")


def _report(args: argparse.Namespace) -> int:
    from edgedet.api.pages import report

    path = report(*args.runs, out=args.out)
    show(f"report: {path}")
    if args.open:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return 0
