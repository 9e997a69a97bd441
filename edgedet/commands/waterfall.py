"""`edgedet quantize --waterfall`: what the option leads to, after any method of quantization."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.errors import ConfigError
from edgedet.options import data_paths, positive_int

if TYPE_CHECKING:
    from edgedet.data.coco import CocoSplit


def add_waterfall_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--waterfall` and its number of images."""
    group = parser.add_argument_group("waterfall")
    group.add_argument(
        "--waterfall",
        action="store_true",
        help="measure AP of float, folded, weights int8, activations int8, simulator, XNNPACK and TFLite Micro over "
        "the validation images, and mark the guilty step; also in report.json and waterfall.svg",
    )
    group.add_argument(
        "--waterfall-images", type=positive_int, metavar="N", help="only the first N validation images (default: all)"
    )


def waterfall_split(args: argparse.Namespace) -> CocoSplit | None:
    """The validation split when a waterfall is asked for; read before the long work, so that a wrong path fails.

    Raises:
        ConfigError: a number of images for a waterfall that nobody asked for.
    """
    if not args.waterfall:
        if args.waterfall_images is not None:
            raise ConfigError(f"--waterfall-images {args.waterfall_images}: only with --waterfall; add it")
        return None
    return data_paths(args).load("valid")


def run_waterfall(
    args: argparse.Namespace, split: CocoSplit | None, model: Path, checkpoint: Path, original: Path | None = None
) -> None:
    """Measure, print, draw, and complete the report, when `waterfall_split` gave a split.

    Args:
        args: parsed options of `add_waterfall_arguments`.
        split: validation images; None: do nothing.
        model: the int8 file; report.json lies beside it.
        checkpoint: that the file was quantized from.
        original: checkpoint before its activations were substituted.
    """
    if split is None:
        return
    from edgedet.diagnose.waterfall import WaterfallRequest, add_to_report, measure_waterfall
    from edgedet.fileio import atomic_write_text
    from edgedet.progress import show_progress
    from edgedet.report.charts import Bar, waterfall_chart

    with show_progress("waterfall") as progress:
        request = WaterfallRequest(model, checkpoint, split, args.waterfall_images, original)
        waterfall = measure_waterfall(request, progress)
    bars = [
        Bar(step.label, step.ap, f"{step.change:+.3f}" if step.after else "", step.key == waterfall.guilty, step.aside)
        for step in waterfall.steps
    ]
    picture = model.with_name("waterfall.svg")
    title = f"AP of {model.name}, {waterfall.images} images of {waterfall.split}"
    atomic_write_text(picture, waterfall_chart(title, bars))
    add_to_report(waterfall, model.with_name("report.json"))
    print(f"\n{waterfall.text()}picture:     {picture}")
