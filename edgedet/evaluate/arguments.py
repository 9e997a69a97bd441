"""The options of `evaluate`, shared by `edgedet evaluate` and `python -m edgedet.evaluate`, and what they lead to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.errors import ConfigError
from edgedet.options import (
    SPLITS,
    add_data_arguments,
    add_nms_arguments,
    data_paths,
    nms_choice,
    positive_int,
    refuse_other_splits,
    split_name,
    threshold,
)
from edgedet.runtimes.names import RUNTIME_HELP, RUNTIMES, SEND_HELP, SENT
from edgedet.terminal import visible

if TYPE_CHECKING:  # `--help` should not wait for NumPy and pycocotools
    from edgedet.contracts import NmsChoice
    from edgedet.data.coco.split import CocoSplit
    from edgedet.data.paths import DataPaths
    from edgedet.evaluate.evaluator import EvalReport
    from edgedet.runtimes.protocol import Runtime

    OpenModel = Callable[[Path, str | None, NmsChoice, str | None], Runtime]  # path, runtime, limits, send

_WORTH_A_BAR = 1000  # images; fewer are checked in a second


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything that `evaluate` takes."""
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("model", type=Path, nargs="?", metavar="MODEL", help="int8 .tflite, or a checkpoint (.pt)")
    subject.add_argument(
        "--detections", type=Path, metavar="FILE", help="in place of a model: its detections, JSON of COCO results"
    )
    add_data_arguments(parser)
    parser.add_argument("--split", type=split_name, choices=SPLITS, default="valid", help="default: %(default)s")
    parser.add_argument("--runtime", choices=RUNTIMES, metavar="RUNTIME", help=RUNTIME_HELP)
    add_send_argument(parser)
    parser.add_argument("--images", type=positive_int, metavar="N", help="only the first N images of the split")
    parser.add_argument(
        "--score-threshold",
        type=threshold,
        metavar="T",
        help="of a model: detections below it are dropped (default: 0.001, for the whole precision-recall curve)",
    )
    add_nms_arguments(parser)
    parser.add_argument(
        "--per-operator",
        action="store_true",
        help="with qemu:...: instructions of every operator, not only of every kind",
    )
    parser.add_argument(
        "--operating-point",
        metavar="AIM",
        help="propose score thresholds for the best F1 (f1), or for precision=P or recall=R; of a model (default: f1)",
    )


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What was measured, and with what."""

    report: EvalReport
    split: CocoSplit  # as it was read, without broken images
    runtime: Runtime | None  # None: of results


def add_send_argument(parser: argparse.ArgumentParser) -> None:
    """Add what a device gets."""
    parser.add_argument("--send", choices=SENT, help=SEND_HELP)


def run_evaluate(args: argparse.Namespace, open_model: OpenModel) -> Evaluated:
    """Evaluate as the options say.

    Args:
        args: parsed options of `add_evaluate_arguments`.
        open_model: opens a model file in the runtime of this name, with these limits of decoding; `send` of a device.
    Returns:
        The report, to be printed or written, and what it is of.
    """
    refuse_idle_options(args)
    runtime = None if args.model is None else open_model(args.model, args.runtime, nms_choice(args), args.send)
    split = _whole(data_paths(args), args)
    show_warnings(split)
    report = _of_detections(args, split) if runtime is None else _of_model(args, split, runtime)
    return Evaluated(report, split, runtime)


def show_warnings(split: CocoSplit) -> None:
    """What was put right in a data set, on stderr."""
    for warning in split.warnings:
        sys.stderr.write(visible(f"warning: {split.name}: {warning.text}") + "\n")


def _whole(paths: DataPaths, args: argparse.Namespace) -> CocoSplit:
    """The split, all of whose images can be decoded; where no model runs, none is."""
    from edgedet.data.check.whole import whole_splits
    from edgedet.progress import show_progress

    split = replace(paths, skip_broken=True).load(args.split)
    most = args.images if args.detections is None else 0
    many = len(split.images[:most]) >= _WORTH_A_BAR
    with show_progress("checking images") if many else nullcontext() as progress:
        return whole_splits((split,), paths.skip_broken, progress, most)[0]


def refuse_idle_options(args: argparse.Namespace) -> None:
    """Raises ConfigError for an option that would have no effect in this mode."""
    of_models = ("runtime", "send", "per_operator", "score_threshold", "operating_point", "nms_iou", "max_detections",
                 "class_agnostic")  # fmt: skip
    values = {name: getattr(args, name) for name in of_models}
    idle = [
        f"`{name}`" for name, value in values.items() if value is not None and value is not False
    ]  # 0 is given, too
    if args.detections is not None and idle:
        raise ConfigError(f"{', '.join(idle)}: for a model, but `detections` holds results already; leave one out")
    runtime = args.runtime or "the default runtime"
    if args.per_operator and not runtime.startswith("qemu:"):
        raise ConfigError(f"`per_operator`: only `runtime` qemu:... counts instructions, found {runtime}; leave it out")
    refuse_other_splits(args, args.split)


def _of_detections(args: argparse.Namespace, split: CocoSplit) -> EvalReport:
    from edgedet.evaluate.coco_results import evaluate_results

    return evaluate_results(args.detections, split, max_images=args.images)


def _of_model(args: argparse.Namespace, split: CocoSplit, runtime: Runtime) -> EvalReport:
    from edgedet.evaluate.evaluator import COCO_SCORE_THRESHOLD, evaluate
    from edgedet.evaluate.figures.operating_point import Aim
    from edgedet.progress import show_progress

    with show_progress("evaluate") as progress:
        return evaluate(
            runtime,
            split,
            max_images=args.images,
            score_threshold=COCO_SCORE_THRESHOLD if args.score_threshold is None else args.score_threshold,
            progress=progress,
            model_path=args.model,
            per_operator=args.per_operator,
            aim=Aim.parse(args.operating_point or "f1"),
        )
