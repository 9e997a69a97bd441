"""`edgedet ui`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command
from edgedet.terminal import show


def add_ui(commands: Commands) -> None:
    """Options of `edgedet ui`."""
    parser = add_command(
        commands,
        "ui",
        "show a run or deployment in the browser: its report, and its int8 network on your pictures, video and camera",
        ("ui runs/q", "ui runs/q/model_int8.tflite", "ui runs/q --port 8000 --no-browser"),
        _ui,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run or deployment, or an int8 .tflite")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="of this computer (default: any that is free)")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    add_json_argument(parser)


def _ui(args: argparse.Namespace) -> int:
    from edgedet.api.ui import ui

    def started(address: str) -> None:
        give(args, {"address": address, "run": str(args.run)})  # now: a program that waits for the end never gets it
        show(f"{address} until Ctrl-C")

    ui(args.run, port=args.port, browser=not args.no_browser, started=started)
    show("stopped")
    return 0
