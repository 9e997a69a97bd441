"""`edgedet convert`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.shared import Commands, add_command, refuse_checkpoint
from edgedet.fileio import require_out_file


def add_convert(commands: Commands) -> None:
    """Options of `edgedet convert`."""
    parser = add_command(
        commands,
        "convert",
        "show what an int8 .tflite holds, and write it anew",
        ("convert model_int8.tflite", "convert model_int8.tflite --out rewritten.tflite"),
        _convert,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite of any maker")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the graph to FILE")


def _convert(args: argparse.Namespace) -> int:
    from edgedet.graph.flatbuffer import read_tflite, write_tflite
    from edgedet.graph.summary import summarize

    refuse_checkpoint(args.model)
    if args.out is not None:
        require_out_file(args.out, "--out")
    graph = read_tflite(args.model)
    print(summarize(graph).to_text())
    if args.out is not None:
        write_tflite(graph, args.out)
        print(f"wrote {args.out}")
    return 0
