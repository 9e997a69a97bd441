"""`edgedet quantize --waterfall`: what the option leads to, after any method of quantization."""

from __future__ import annotations

import argparse

from edgedet.errors import ConfigError
from edgedet.options import positive_int


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


def check_waterfall(args: argparse.Namespace) -> None:
    """Raises ConfigError for a number of images of a waterfall that nobody asked for."""
    if args.waterfall_images is not None and not args.waterfall:
        raise ConfigError(f"--waterfall-images {args.waterfall_images}: only with --waterfall; add it")
