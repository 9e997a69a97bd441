"""The options of `evaluate`, shared by `edgedet evaluate` and `python -m edgedet.evaluate`, and what they lead to."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.errors import ConfigError
from edgedet.fileio import atomic_write_text, require_out_file

if TYPE_CHECKING:  # `--help` should not wait for NumPy and pycocotools
    from edgedet.data.paths import DataPaths
    from edgedet.evaluate.evaluator import EvalReport
    from edgedet.evaluate.runtimes import Runtime

RUNTIMES = (
    *("sim", "ref", "xnnpack", "tflm", "c99", "qemu:cortex-m4", "qemu:cortex-m7", "qemu:cortex-m55"),
    "torch",
)
SPLITS = ("train", "valid", "test")
CHECKPOINT_SUFFIXES = (".pt", ".pth")

RUNTIME_HELP = (
    "sim: NumPy integer simulator, the chip's arithmetic; ref: TFLite's reference kernels; xnnpack: the "
    "interpreter's default kernels; tflm: TFLite Micro; c99: the generated C on this machine; qemu:...: the same C on "
    "an emulated microcontroller, with instruction counts; torch: float checkpoint "
    "(default: sim for a .tflite, torch for a .pt)"
)


def positive_int(text: str) -> int:
    """Type of an option that counts something."""
    value = int(text) if text.strip().isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def threshold(text: str) -> float:
    """Type of a score threshold, 0 <= t < 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"expected a number with 0 <= t < 1, got {text!r}")
    return value


def image_size(text: str) -> tuple[int, int]:
    """Type of `--imgsz`: 192, or 192x160 as width x height, px."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"expected a side such as 192, or WIDTHxHEIGHT such as 192x160; got {text!r}")
    return int(sides[0]), int(sides[-1])


def whole_number(text: str) -> int:
    """Type of a seed: what every generator takes, torch's included."""
    # The length first: Python refuses to read numbers of thousands of digits.
    if not text.strip().isdecimal() or len(text) > 20 or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2^63 - 1, got {text!r}")
    return int(text)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--data` and the explicit paths of both splits."""
    group = parser.add_argument_group("data set")
    group.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder in Roboflow's layout (train/_annotations.coco.json) or COCO's (annotations/instances_*.json)",
    )
    add_annotation_arguments(group)


def add_annotation_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the explicit paths of both splits."""
    for split, word in (("train", "training"), ("val", "validation")):
        parser.add_argument(f"--{split}-ann", type=Path, metavar="FILE", help=f"COCO JSON of the {word} split")
        parser.add_argument(f"--{split}-images", type=Path, metavar="DIR", help=f"images of the {word} split")


def data_paths(args: argparse.Namespace) -> DataPaths:
    """Data set that `--data` (or a positional `data`) and the explicit paths name."""
    from edgedet.data.paths import DataPaths

    return DataPaths(args.data, args.train_ann, args.train_images, args.val_ann, args.val_images)


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add everything that `evaluate` takes."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite, or a checkpoint (.pt)")
    add_data_arguments(parser)
    parser.add_argument("--split", choices=SPLITS, default="valid", help="default: %(default)s")
    parser.add_argument("--runtime", choices=RUNTIMES, help=RUNTIME_HELP)
    parser.add_argument("--images", type=positive_int, metavar="N", help="only the first N images of the split")
    parser.add_argument(
        "--score-threshold",
        type=threshold,
        default=0.001,
        metavar="T",
        help="detections below it are dropped (default: %(default)s, for the whole precision-recall curve)",
    )
    parser.add_argument(
        "--per-operator",
        action="store_true",
        help="with qemu:...: instructions of every operator, not only of every kind",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE")


def choose_runtime(model: Path, runtime: str | None) -> str:
    """Runtime for a model file.

    Args:
        model: `.tflite` or checkpoint; the suffix decides.
        runtime: what the user asked for; None takes the default of the kind of file.
    Returns:
        One of `RUNTIMES`.
    Raises:
        ConfigError: unknown kind of file, or a runtime that can't run it.
    """
    suffix = model.suffix.lower()
    if suffix not in (".tflite", *CHECKPOINT_SUFFIXES):
        raise ConfigError(f"{model}: expected a .tflite or a checkpoint (.pt), found {suffix or 'no suffix'}")
    is_checkpoint = suffix in CHECKPOINT_SUFFIXES
    name = runtime or ("torch" if is_checkpoint else "sim")
    if is_checkpoint and name != "torch":
        raise ConfigError(
            f"{model}: a checkpoint runs with --runtime torch, not {name}; "
            "make an int8 file with `edgedet quantize` first"
        )
    if not is_checkpoint and name == "torch":
        raise ConfigError(
            f"{model}: --runtime torch runs checkpoints; for a .tflite take sim, ref, xnnpack, tflm, c99 or qemu:..."
        )
    return name


def run_evaluate(args: argparse.Namespace, runtime: Runtime) -> EvalReport:
    """Evaluate as the options say; writes the JSON report when one is asked for.

    Args:
        args: parsed options of `add_evaluate_arguments`.
        runtime: the opened model.
    Returns:
        The report, to be printed.
    """
    from edgedet.evaluate.evaluator import evaluate
    from edgedet.evaluate.progress import show_progress

    if args.json is not None:
        require_out_file(args.json, "--json")
    split = data_paths(args).load(args.split)
    for warning in split.warnings:
        sys.stderr.write(f"warning: {split.name}: {warning.text}\n")
    with show_progress("evaluate") as progress:
        report = evaluate(
            runtime,
            split,
            max_images=args.images,
            score_threshold=args.score_threshold,
            progress=progress,
            model_path=args.model,
            per_operator=args.per_operator,
        )
    if args.json is not None:
        atomic_write_text(args.json, report.to_json())
    return report
