"""`edgedet waterfall`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.after_measuring import next_after_waterfall
from edgedet.commands.frame.early import announce_large
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command, refuse_checkpoint
from edgedet.evaluate.arguments import add_send_argument, show_warnings
from edgedet.options import SPLITS, add_data_arguments, data_paths, positive_int, refuse_other_splits, split_name
from edgedet.runtimes.names import INT8_CHOICES
from edgedet.terminal import show


def add_waterfall(commands: Commands) -> None:
    """Options of `edgedet waterfall`."""
    parser = add_command(
        commands,
        "waterfall",
        "measure AP of every form of a network on its way to the chip, and mark the step that loses it",
        (
            "waterfall runs/q/model_int8.tflite --against runs/bccd/best.pt --data bccd",
            "waterfall model_int8.tflite --against best.pt --data bccd --runtime serial:/dev/ttyACM0 --send image",
        ),
        _waterfall,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite of edgedet quantize")
    parser.add_argument("--against", type=Path, required=True, metavar="CKPT", help="checkpoint it was quantized from")
    parser.add_argument(
        "--original", type=Path, metavar="CKPT", help="checkpoint before its activations were substituted"
    )
    add_data_arguments(parser)
    parser.add_argument("--split", type=split_name, choices=SPLITS, default="valid", help="default: %(default)s")
    parser.add_argument("--images", type=positive_int, metavar="N", help="only the first N (default: all)")
    parser.add_argument(
        "--runtime",
        choices=INT8_CHOICES,
        metavar="RUNTIME",
        help="one more row: `on the device` with serial:PORT[@BAUD], or another runtime",
    )
    add_send_argument(parser)
    add_json_argument(parser)


def _waterfall(args: argparse.Namespace) -> int:
    from edgedet.diagnose.waterfall import WaterfallRequest, measure_waterfall
    from edgedet.escape import json_text
    from edgedet.progress import show_progress

    refuse_checkpoint(args.model)
    refuse_other_splits(args, args.split)
    announce_large("waterfall", data_paths(args))
    split = data_paths(args).load(args.split)
    show_warnings(split)
    request = WaterfallRequest(
        model=args.model,
        checkpoint=args.against,
        split=split,
        images=args.images,
        original=args.original,
        runtime=args.runtime,
        send=args.send,
    )
    with show_progress("waterfall") as progress:
        waterfall = measure_waterfall(request, progress)
    show(waterfall.text())
    give(args, json_text(waterfall.to_json()))
    next_after_waterfall(args, waterfall)
    return 0
