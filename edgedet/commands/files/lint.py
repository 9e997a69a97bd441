"""`edgedet lint`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.shared import Commands, add_command
from edgedet.escape import json_text
from edgedet.terminal import show


def add_lint(commands: Commands) -> None:
    """Options of `edgedet lint`."""
    parser = add_command(
        commands,
        "lint",
        "say what in a detector will hurt on the chip, why, and how to mend it",
        (
            "lint model_int8.tflite",
            "lint runs/bccd/best.pt",
            "lint exported.onnx --strict --json findings.json",
        ),
        _lint,
    )
    parser.add_argument("model", type=Path, metavar="FILE", help=".tflite of any maker, checkpoint (.pt), or .onnx")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when there is an error or a warning")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the findings to FILE")


def _lint(args: argparse.Namespace) -> int:
    from edgedet.fileio import atomic_write_text, require_out_file
    from edgedet.lint.api import lint

    if args.json is not None:
        require_out_file(args.json, "--json")
    report = lint(args.model)
    if args.json is not None:
        atomic_write_text(args.json, json_text(report.to_json()))
    show(report.text())
    return 1 if args.strict and report.count("error") + report.count("warning") else 0
