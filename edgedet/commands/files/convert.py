"""`edgedet convert`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from edgedet.commands.frame.next_step import show_next
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command, refuse_checkpoint
from edgedet.errors import ConfigError
from edgedet.fileio import require_out_file
from edgedet.terminal import show


def add_convert(commands: Commands) -> None:
    """Options of `edgedet convert`."""
    parser = add_command(
        commands,
        "convert",
        "show what a .tflite holds, and write it anew",
        (
            "convert model_int8.tflite",
            "convert model_int8.tflite --out rewritten.tflite",
            "convert model_uint8.tflite --int8 --out model_int8.tflite",
            "convert model_with_float_input.tflite --int8 --out model_int8.tflite",
        ),
        _convert,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=".tflite of any maker")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the graph to FILE")
    parser.add_argument(
        "--int8",
        action="store_true",
        help="with --out: int8 from end to end: a uint8 file becomes the int8 file that gives the same codes less 128, "
        "and float32, uint8 or int16 inputs and outputs the int8 tensors behind their QUANTIZE or DEQUANTIZE",
    )
    add_json_argument(parser)


def _convert(args: argparse.Namespace) -> int:
    from edgedet.graph.flatbuffer import read_tflite, write_tflite
    from edgedet.graph.prepare.load import to_int8
    from edgedet.graph.summary import summarize
    from edgedet.graph.tflite.flatbuffer_read import outside_bytes

    refuse_checkpoint(args.model)
    if args.out is not None:
        require_out_file(args.out, "--out")
    if args.int8 and args.out is None:
        raise ConfigError("--int8 writes a file; give its name with --out")
    graph = read_tflite(args.model)
    summary = summarize(graph)
    notes: tuple[str, ...] = ()
    show(summary.to_text())
    outside = outside_bytes(args.model.read_bytes())
    if outside:
        show(f"behind the flatbuffer  {outside:,} bytes of data, which TFLite Micro ignores; --out moves them inside")
    if args.int8:
        graph, notes = to_int8(graph, str(args.model))
        if not notes:
            raise ConfigError(f"{args.model} is int8 from end to end, so there is nothing for --int8 to convert")
        show("\n".join(notes))
    if args.out is not None:
        write_tflite(graph, args.out)
        show(f"wrote {args.out}")
    give(args, {**asdict(summary), "changed": list(notes), "out": None if args.out is None else str(args.out)})
    if args.out is not None:
        show_next("lint", args.out)
    return 0
