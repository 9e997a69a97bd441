"""`edgedet deploy`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.shared import Commands, add_command


def add_deploy(commands: Commands) -> None:
    """Options of `edgedet deploy`."""
    parser = add_command(
        commands,
        "deploy",
        "write the sources that run an int8 .tflite on a chip",
        ("deploy runs/q/model_int8.tflite --target tflm --out firmware",),
        _deploy,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite with edgedet's metadata")
    parser.add_argument("--target", choices=("tflm",), default="tflm", help="tflm: TFLite Micro, C++ (default)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")


def _deploy(args: argparse.Namespace) -> int:
    from edgedet.deploy.api import deploy

    report = deploy(args.model, args.target, args.out)
    operators = ", ".join(f"{use.kind} {use.count}" for use in report.operators)
    print(f"target:    {report.target}")
    print(f"model:     {report.model_bytes:,} bytes")
    print(f"operators: {operators}")
    print(
        f"arena:     {report.arena.total_bytes:,} bytes (measured {report.arena.measured_bytes:,} + margin "
        f"{report.arena.margin_bytes:,} for scratch)"
    )
    for path in report.files:
        print(f"wrote      {path}")
    return 0
