"""`edgedet quantize`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.shared import Commands, add_command
from edgedet.evaluate.arguments import add_data_arguments, data_paths, positive_int, whole_number


def add_quantize(commands: Commands) -> None:
    """Options of `edgedet quantize`."""
    parser = add_command(
        commands,
        "quantize",
        "make an int8 .tflite from a checkpoint",
        (
            "quantize runs/bccd/best.pt --data bccd --out runs/q",
            "quantize runs/bccd/best.pt --data bccd --out runs/q --calib-images 205 --seed 7",
            "quantize runs/ab/best.pt --train-ann a.json --train-images a --out runs/q",
        ),
        _quantize,
    )
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint (.pt) of edgedet train")
    add_data_arguments(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="RUN", help="folder of model_int8.tflite and reports"
    )
    parser.add_argument(
        "--method", default="ptq", metavar="M", help="ptq: min-max calibration, per-channel weights (default: ptq)"
    )
    parser.add_argument(
        "--calib-images",
        type=positive_int,
        default=128,
        metavar="N",
        help="training images to calibrate on, drawn with the seed (default: %(default)s)",
    )
    parser.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")


def _quantize(args: argparse.Namespace) -> int:
    from edgedet.evaluate.progress import show_progress
    from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint

    request = QuantizeRequest(
        checkpoint=args.checkpoint,
        data=data_paths(args),
        out=args.out,
        method=args.method,
        calib_images=args.calib_images,
        seed=args.seed,
    )
    with show_progress("calibrate") as progress:
        report = quantize_checkpoint(request, progress)
    print(report.text(), end="")
    return 0
