"""`edgedet evaluate` and `edgedet predict`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.api.opening import open_model
from edgedet.commands.shared import Commands, add_command
from edgedet.errors import ConfigError
from edgedet.evaluate.arguments import add_evaluate_arguments, run_evaluate
from edgedet.fileio import require_out_folder
from edgedet.options import add_device_argument, threshold, with_flags
from edgedet.runtimes.names import RUNTIME_HELP, RUNTIMES


def add_evaluate(commands: Commands) -> None:
    """Options of `edgedet evaluate`."""
    parser = add_command(
        commands,
        "evaluate",
        "measure the COCO AP of an int8 .tflite or a checkpoint",
        (
            "evaluate runs/q/model_int8.tflite --data bccd",
            "evaluate runs/q/model_int8.tflite --data bccd --runtime tflm --images 20 --json report.json",
            "evaluate runs/bccd/best.pt --data bccd --device cpu",
            "evaluate runs/q/model_int8.tflite --data bccd --split train --operating-point precision=0.9",
            "evaluate runs/q/model_int8.tflite --val-ann b.json --val-images b",
            "evaluate --detections results.json --data bccd",
        ),
        _evaluate,
    )
    add_evaluate_arguments(parser)
    add_device_argument(parser, note=", for a checkpoint")


def _evaluate(args: argparse.Namespace) -> int:
    if args.detections is not None and args.device is not None:
        raise ConfigError(f"--device {args.device} runs a checkpoint, but --detections holds results; leave one out")
    report = run_evaluate(args, lambda path, runtime: open_model(path, runtime, args.device))
    print(with_flags(report.text(), args), end="")
    return 0


def add_predict(commands: Commands) -> None:
    """Options of `edgedet predict`."""
    parser = add_command(
        commands,
        "predict",
        "draw the boxes that a model finds in images",
        (
            "predict runs/q/model_int8.tflite photo.jpg --out pictures",
            "predict runs/bccd/best.pt bccd/valid/*.jpg --out pictures --score-threshold 0.4",
        ),
        _predict,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite, or a checkpoint (.pt)")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of pictures and detections.json")
    parser.add_argument("--runtime", choices=RUNTIMES, help=RUNTIME_HELP)
    parser.add_argument("--score-threshold", type=threshold, metavar="T", help="default: the model's")
    add_device_argument(parser, note=", for a checkpoint")


def _predict(args: argparse.Namespace) -> int:
    from edgedet.evaluate.predict import predict
    from edgedet.progress import show_progress

    require_out_folder(args.out, "--out")
    runtime = open_model(args.model, args.runtime, args.device)
    with show_progress("predict") as progress:
        predictions = predict(runtime, args.images, args.out, args.score_threshold, progress)
    for prediction in predictions:
        print(f"{prediction.image}: {len(prediction.detections)} objects -> {prediction.picture}")
    print(f"{args.out / 'detections.json'}: all detections ({runtime.name}: {runtime.arithmetic})")
    return 0
