"""`edgedet quantize`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.runs import run_name
from edgedet.commands.frame.early import (
    announce_large,
    check_checkpoint,
    check_choices,
    check_model_options,
    check_run,
    load_torch,
)
from edgedet.commands.frame.next_step import show_next, show_next_on_data
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import (
    Commands,
    add_command,
    add_out_argument,
    announce_out,
    choose_out,
    holds_run,
    show_out,
)
from edgedet.commands.quantize.onnx import (
    add_onnx_arguments,
    is_onnx,
    onnx_request,
    refuse_checkpoint_options,
    refuse_onnx_options,
)
from edgedet.commands.quantize.qat import add_qat_arguments, qat_request, refuse_qat_options
from edgedet.commands.quantize.substitute import (
    FOLDER,
    TUNE_EPOCHS,
    add_substitution_arguments,
    substitute_request,
    substitutes,
)
from edgedet.commands.quantize.waterfall import add_waterfall_arguments, check_waterfall
from edgedet.errors import ConfigError
from edgedet.options import (
    add_data_arguments,
    add_training_device_arguments,
    data_paths,
    positive_int,
    whole_number,
    with_flags,
)
from edgedet.terminal import announce, show

if TYPE_CHECKING:
    from edgedet.api.steps.thresholds import Fit
    from edgedet.data.coco.split import CocoSplit
    from edgedet.data.paths import DataPaths
    from edgedet.evaluate.figures.operating_point import Aim
    from edgedet.finetune.qat import QatRequest
    from edgedet.finetune.settings import Lessons
    from edgedet.quantize.api import QuantizeRequest

NAMES_FROM = 'names: "ranges" in report.json of an earlier run, or `edgedet inspect`'
METHODS = ("ptq", "qat")
# Attribute of the parsed options -> what it may be.
CHOICES = {
    "method": METHODS,
    "effort": ("fast", "normal", "best"),
    "calibration": ("minmax", "moving-average", "percentile", "mse", "kl", "auto"),
    "weights": ("minmax", "mse"),
}
QAT_STATE = "qat_last.pt"  # quantize.qat_state.STATE_FILE, which needs torch; a test compares them


def add_quantize(commands: Commands) -> None:
    """Options of `edgedet quantize`."""
    parser = add_command(
        commands,
        "quantize",
        "make an int8 .tflite from a checkpoint or an ONNX file",
        (
            "quantize runs/bccd/best.pt --data bccd",
            "quantize runs/bccd/best.pt --data bccd --out runs/q",
            "quantize runs/bccd/best.pt --data bccd --out runs/q --effort best --calib-images 205 --seed 7",
            "quantize best.pt --data bccd --out runs/q --calibration mse --calibration-for backbone.stem.0.conv=kl",
            "quantize best.pt --data bccd --out runs/q --int16 auto",
            "quantize runs/bccd/best.pt --data bccd --operating-point precision=0.9",
            "quantize runs/bccd/best.pt --images photos --out runs/q",
            "quantize runs/bccd/best.pt --data bccd --out runs/q --waterfall",
            "quantize runs/bccd/best.pt --method qat --epochs 5 --data bccd --out runs/qat",
            "quantize runs/relu/best.pt --recipe rtmdet_nano_relu_q --data bccd --out runs/relu_q",
            "quantize runs/bccd/best.pt --method qat --distill --images photos --out runs/distilled",
            "quantize runs/nano/best.pt --activation relu6 --no-channel-attention --data bccd --out runs/ncadc",
            "quantize runs/ab/best.pt --train-ann a.json --train-images a --out runs/q",
            "quantize yolov8n.onnx --data bccd --out runs/q",
            "quantize face.onnx --images photos --class-names face --imgsz 320x240 --out runs/face",
            "quantize own.onnx --images photos --mean 0 --std 255 --outputs cls_8=a,box_8=b --head rtmdet --out q",
        ),
        _quantize,
    )
    parser.set_defaults(can_resume=_can_resume)
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint (.pt) of edgedet train, or .onnx")
    add_data_arguments(parser)
    add_out_argument(parser, "folder of model_int8.tflite and reports", "MODEL_int8")
    parser.add_argument(
        "--method",
        metavar=_choices("method"),
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
    _add_result_arguments(parser)
    _add_run_arguments(parser)
    _add_step_arguments(parser)
    add_qat_arguments(parser)
    add_substitution_arguments(parser)
    add_waterfall_arguments(parser)
    add_onnx_arguments(parser)
    add_json_argument(parser)


def _choices(name: str) -> str:
    """As argparse shows `choices`, for options whose wrong values are refused in the words of the package."""
    return f"{{{','.join(CHOICES[name])}}}"


def _add_int16_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--int16",
        type=_layer_names,
        default=(),
        metavar="auto|LAYER,...",
        help="int16 instead of int8 results (16x8 operators) for these layers, or where int8 does most of the damage; "
        f"costs time and arena; targets: tflm; {NAMES_FROM}",
    )


def _add_result_arguments(parser: argparse.ArgumentParser) -> None:
    _add_int16_argument(parser)
    parser.add_argument(
        "--operating-point",
        metavar="AIM",
        help="fit a score threshold of each class on the labelled training split, for the best F1 (f1), precision=P or "
        "recall=R, and write them into the file's contract (default: one threshold, 0.25)",
    )


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """As those of `edgedet substitute`, but not every method trains."""
    trains = "only with --method qat, --activation or --no-channel-attention"
    parser.add_argument("--threads", type=positive_int, metavar="N", help=f"torch's; {trains} (default: all cores)")
    parser.add_argument("--resume", action="store_true", help=f"go on with an interrupted run in RUN; {trains}")
    add_training_device_arguments(parser, precision=False)


def _add_step_arguments(parser: argparse.ArgumentParser) -> None:
    steps = parser.add_argument_group("steps of ptq", "What --effort chooses; each option below it overrides one step.")
    steps.add_argument(
        "--effort",
        metavar=_choices("effort"),
        help="fast: min-max ranges; normal: auto ranges and bias correction; best: also clipped weights, adaptive "
        "rounding, and equalization where it helps (default: normal)",
    )
    steps.add_argument(
        "--calibration",
        metavar=_choices("calibration"),
        help="ranges of activations; auto: for each tensor, the calibrator with the lowest error of the layers that "
        "read it",
    )
    steps.add_argument(
        "--calibration-for",
        type=_layer_choice,
        action="append",
        default=[],
        metavar="LAYER=C",
        help="calibrator of one layer's result (and of all that share its scale); may be given several times; "
        f"{NAMES_FROM}",
    )
    steps.add_argument(
        "--percentile",
        type=float,
        metavar="P",
        help="of the values other than 0, that the percentile calibrator keeps, which auto tries, too (default: 99.99)",
    )
    steps.add_argument("--weights", metavar=_choices("weights"), help="scale per channel; mse: least squared error")
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
        raise argparse.ArgumentTypeError(f"{text!r}: expected LAYER=CALIBRATOR, for example backbone.stem.0.conv=mse")
    return layer, method


def _quantize(args: argparse.Namespace) -> int:
    args.method = args.method or ("qat" if args.recipe is not None else "ptq")
    check_choices(args, CHOICES)
    aim = _aim(args)
    choose_out(args, "quantize", run_name(args.checkpoint, "int8" if args.method == "ptq" else args.method))
    if is_onnx(args.checkpoint):
        return _quantize_onnx(args, aim)
    refuse_onnx_options(args)
    if args.method == "qat":
        _refuse_step_options(args)
    else:
        refuse_qat_options(args)
    substituted = substitutes(args)
    check_waterfall(args)
    check_model_options(args.recipe, (), None)
    if args.recipe is None:  # what is wrong with options is said first
        check_run(args, args.checkpoint, ())
    announce_out(args, "quantize")
    announce_large("quantize", data_paths(args))
    load_torch("quantize", "edgedet.chain")

    quantization: QatRequest | QuantizeRequest
    quantization = qat_request(args) if args.method == "qat" else _ptq_request(args)

    from edgedet.chain import REPORT_FILE, ChainEvents, ChainRequest, run_chain
    from edgedet.progress import show_progress
    from edgedet.training.parallel.processes import launched

    substitution = None
    if substituted:
        substitution = substitute_request(args, args.out / FOLDER, args.tune_epochs or TUNE_EPOCHS)
    request = ChainRequest(quantization, substitution, args.waterfall, args.waterfall_images)
    fit = _prepared(quantization.data, aim)
    speaking = ChainEvents(lambda text: show(with_flags(text, args)), _announce, show_progress)
    result = run_chain(request, speaking if launched().first else ChainEvents())
    if launched().first:
        _refit(quantization.checkpoint, fit, result.model)
        give(args, result.model.with_name(REPORT_FILE).read_text(encoding="utf-8"))
        valid = result.valid if fit is None else fit.valid
        show(_finish(args, quantization, result.model, valid, result.lessons))
        _show_next(args, result.model, result.ap)
    return 0


def _quantize_onnx(args: argparse.Namespace, aim: Aim | None) -> int:
    refuse_checkpoint_options(args)
    check_run(args, None, () if args.images is not None else ("train",))
    check_checkpoint(args.checkpoint, "expected an .onnx file", "file")

    announce_out(args, "quantize")
    request = onnx_request(args, _ptq_request(args))

    from edgedet.exchange.onnx_in.api import quantize_onnx
    from edgedet.progress import show_progress

    fit = _prepared(request.quantization.data, aim)
    with show_progress("calibrate") as progress:
        report = quantize_onnx(request, progress, _announce)
    show(report.text())
    _refit(request.quantization.checkpoint, fit, report.model)
    give(args, report.report.read_text(encoding="utf-8"))
    show(_finish(args, request.quantization, report.model, None if fit is None else fit.valid))
    _show_next(args, report.model)
    return 0


def _show_next(args: argparse.Namespace, model: Path, ap: float | None = None) -> None:
    """Measure on the validation split, then bring it to the chip; `ap`: where it was measured on the way."""
    from edgedet.evaluate.figures.reading import finds_nothing

    show_next_on_data(args, "evaluate", model)
    if ap is None or finds_nothing(ap) is None:
        show_next("deploy", model, "--target", "tflm" if args.int16 else "c99")
    show_out(args)


def _aim(args: argparse.Namespace) -> Aim | None:
    """What thresholds are fitted for, checked before any work; None: they are left alone."""
    if args.operating_point is None:
        return None
    from edgedet.api.steps.thresholds import require_labels
    from edgedet.evaluate.figures.operating_point import Aim

    require_labels(data_paths(args))
    return Aim.parse(args.operating_point)


def _prepared(data: DataPaths, aim: Aim | None) -> Fit | None:
    """The images that thresholds are fitted on: what is wrong with them is said before the work."""
    if aim is None:
        return None
    from edgedet.api.steps.thresholds import prepare_fit

    return prepare_fit(data, aim)


def _refit(checkpoint: Path, fit: Fit | None, model: Path) -> None:
    """Thresholds for `--operating-point`."""
    if fit is None:
        return
    from edgedet.api.steps.thresholds import refit_thresholds
    from edgedet.progress import show_progress

    show(refit_thresholds(model, checkpoint, fit, show_progress).text())


def _finish(
    args: argparse.Namespace,
    request: QatRequest | QuantizeRequest,
    model: Path,
    valid: CocoSplit | None,
    lessons: Lessons | None = None,
) -> str:
    """Make the page; a line that says where it is. `valid`: the validation split, where it has been read."""
    from edgedet.api.pages import finish_quantize, request_settings

    settings = request_settings(request)
    whole = None if request.data.skip_broken else valid  # the waterfall looks for broken ones in its own images only
    return finish_quantize(
        request.out, model, request.checkpoint, request.data, settings, args.command_line, args.device, whole, lessons
    )


def _can_resume(args: argparse.Namespace) -> bool:
    """True when an interrupted command left something that `--resume` goes on from."""
    if args.out is None:
        return False
    if args.method == "qat" and (args.out / QAT_STATE).is_file():
        return True
    return substitutes(args) and holds_run(args.out / FOLDER)


def _ptq_request(args: argparse.Namespace) -> QuantizeRequest:
    """What `--method ptq` is to do; the checkpoint may still be replaced by its substitution."""
    from edgedet.quantize.api import QuantizeRequest
    from edgedet.quantize.calibration.ranges import PERCENTILE

    request = QuantizeRequest(
        checkpoint=args.checkpoint,
        data=data_paths(args),
        out=args.out,
        method=args.method,
        images=args.images,
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
    )
    used = {request.options.ranges.method, *dict(args.calibration_for).values()}
    if args.percentile is not None and used.isdisjoint(("percentile", "auto")):
        raise ConfigError(
            f"--percentile {args.percentile:g}: only the calibrators percentile and auto use it, found "
            f"{', '.join(sorted(used))}; add --calibration percentile or --calibration-for LAYER=percentile"
        )
    return request


def _refuse_step_options(args: argparse.Namespace) -> None:
    """Raises ConfigError when a step of ptq was asked for together with qat, which has no use for it."""
    names = ("effort", "calibration", "percentile", "weights", "equalize", "adaround", "bias_correction")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) is not None]
    if args.calibration_for:
        given.append("--calibration-for")
    if given:
        raise ConfigError(f"{', '.join(given)}: only --method ptq takes this, found --method qat")


def _announce(step: str) -> None:
    announce(f"quantize: {step}")
