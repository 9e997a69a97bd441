"""`edgedet quantize`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgedet.commands.qat import add_qat_arguments, add_run_arguments, refuse_qat_options, run_qat
from edgedet.commands.shared import Commands, add_command
from edgedet.commands.substitute import add_substitution_arguments, substituted_checkpoint
from edgedet.commands.waterfall import add_waterfall_arguments, run_waterfall, waterfall_split
from edgedet.errors import ConfigError
from edgedet.evaluate.arguments import add_data_arguments, data_paths, positive_int, whole_number


def add_quantize(commands: Commands) -> None:
    """Options of `edgedet quantize`."""
    parser = add_command(
        commands,
        "quantize",
        "make an int8 .tflite from a checkpoint",
        (
            "quantize runs/bccd/best.pt --data bccd --out runs/q",
            "quantize runs/bccd/best.pt --data bccd --out runs/q --effort best --calib-images 205 --seed 7",
            "quantize best.pt --data bccd --out runs/q --calibration mse --calibration-for neck.out_convs.0.conv=kl",
            "quantize best.pt --data bccd --out runs/q --int16 auto",
            "quantize runs/bccd/best.pt --data bccd --out runs/q --waterfall",
            "quantize runs/bccd/best.pt --method qat --epochs 5 --data bccd --out runs/qat",
            "quantize runs/bccd/best.pt --method qat --distill --images photos --out runs/distilled",
            "quantize runs/nano/best.pt --activation relu6 --no-channel-attention --data bccd --out runs/ncadc",
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
        "--method",
        default="ptq",
        metavar="M",
        help="ptq: post-training quantization; qat: train on with fake quantization (default: ptq)",
    )
    parser.add_argument(
        "--calib-images",
        type=positive_int,
        default=128,
        metavar="N",
        help="training images to calibrate on, drawn with the seed (default: %(default)s)",
    )
    parser.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")
    _add_int16_argument(parser)
    add_run_arguments(parser)
    _add_step_arguments(parser)
    add_qat_arguments(parser)
    add_substitution_arguments(parser)
    add_waterfall_arguments(parser)


def _add_int16_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--int16",
        type=_layer_names,
        default=(),
        metavar="auto|LAYER,...",
        help="int16 instead of int8 results (16x8 operators) for these layers, or where int8 does most of the damage; "
        "costs time and arena; targets: tflm",
    )


def _add_step_arguments(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_argument_group("steps of ptq", "What --effort chooses; each option below it overrides one step.")
    steps.add_argument(
        "--effort",
        metavar="E",
        help="fast: min-max ranges; normal: auto ranges and bias correction; best: also clipped weights, adaptive "
        "rounding, and equalization where it helps (default: normal)",
    )
    steps.add_argument(
        "--calibration",
        metavar="C",
        help="ranges of activations: minmax, moving-average, percentile, mse, kl, or auto: of these, for each tensor, "
        "the one with the lowest error of the layers that read it",
    )
    steps.add_argument(
        "--calibration-for",
        type=_layer_choice,
        action="append",
        default=[],
        metavar="LAYER=C",
        help="calibrator of one layer's result (and of all that share its scale); may be given several times",
    )
    steps.add_argument(
        "--percentile",
        type=float,
        metavar="P",
        help="of the values other than 0, that the percentile calibrator keeps (default: 99.99)",
    )
    steps.add_argument("--weights", metavar="W", help="scale per channel: minmax, or mse: least squared error")
    for name, text in (
        ("equalize", "cross-layer equalization, kept where it lowers the error of the outputs"),
        ("adaround", "round each weight up or down, whichever serves the layer's output"),
        ("bias-correction", "give every channel the mean that it has in the float network"),
    ):
        steps.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=text)


def _layer_names(text: str) -> tuple[str, ...]:
    """`auto`, or layer names with commas."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r}: expected auto, or layer names separated by commas")
    return names


def _layer_choice(text: str) -> tuple[str, str]:
    """`LAYER=CALIBRATOR`."""
    layer, separator, method = text.rpartition("=")
    if not separator or not layer or not method:
        raise argparse.ArgumentTypeError(f"{text!r}: expected LAYER=CALIBRATOR, for example neck.out_convs.0.conv=mse")
    return layer, method


def _quantize(args: argparse.Namespace) -> int:
    if args.method == "qat":
        _refuse_step_options(args)
    else:
        refuse_qat_options(args)
    split = waterfall_split(args)
    checkpoint = substituted_checkpoint(args)
    model = run_qat(args, checkpoint) if args.method == "qat" else _run_ptq(args, checkpoint)
    run_waterfall(args, split, model, checkpoint, None if checkpoint == args.checkpoint else args.checkpoint)
    return 0


def _run_ptq(args: argparse.Namespace, checkpoint: Path) -> Path:
    from edgedet.evaluate.progress import show_progress
    from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint
    from edgedet.quantize.ranges import PERCENTILE

    request = QuantizeRequest(
        checkpoint=checkpoint,
        data=data_paths(args),
        out=args.out,
        method=args.method,
        calib_images=args.calib_images,
        seed=args.seed,
        effort=args.effort or "normal",
        calibration=args.calibration,
        calibration_for=tuple(args.calibration_for),
        percentile=PERCENTILE if args.percentile is None else args.percentile,
        weights=args.weights,
        equalize=args.equalize,
        adaround=args.adaround,
        bias_correction=args.bias_correction,
        int16=args.int16,
        threads=args.threads or 1,
    )
    with show_progress("calibrate") as progress:
        report = quantize_checkpoint(request, progress, _announce)
    print(report.text(), end="")
    return report.model


def _refuse_step_options(args: argparse.Namespace) -> None:
    """Raises ConfigError when a step of ptq was asked for together with qat, which has no use for it."""
    names = ("effort", "calibration", "percentile", "weights", "equalize", "adaround", "bias_correction")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]
    if args.calibration_for:
        given.append("--calibration-for")
    if given:
        raise ConfigError(f"{', '.join(given)}: only --method ptq takes this, found --method qat")


def _announce(step: str) -> None:
    print(f"quantize: {step}", file=sys.stderr, flush=True)
