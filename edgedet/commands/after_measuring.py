"""What comes after `evaluate`, `predict`, `inspect` and `waterfall`: the line `next:` by what they found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.commands.frame.next_step import (
    device_words,
    runs_on_device,
    show_labels_next,
    show_next,
    show_next_again,
    show_next_on_data,
    show_next_on_data_of,
)
from edgedet.errors import DeviceError
from edgedet.runtimes.names import CHECKPOINT_SUFFIXES, IMAGE

if TYPE_CHECKING:
    from edgedet.diagnose.waterfall import Waterfall
    from edgedet.evaluate.arguments import Evaluated
    from edgedet.runtimes.protocol import Runtime

_LOW_THRESHOLD = 0.05  # shows what a model is unsure of
# Guilty step of a waterfall -> options of a quantization that may mend it, the first of its remedies.
_MENDS = {
    "weights": ("--effort", "best"),
    "fake_quant": ("--calibration", "auto"),
    "integer": ("--method", "qat"),
}


def next_after_evaluate(args: argparse.Namespace, done: Evaluated) -> None:
    """By the AP: on the way to the chip, or what may be wrong with the model; on a board, what was not measured there.

    Args:
        args: parsed options, with a model.
        done: what was measured.
    """
    from edgedet.evaluate.figures.reading import finds_nothing

    nothing = finds_nothing(done.report.ap.ap) is not None
    if _is_checkpoint(args.model):
        if nothing:
            show_labels_next(args, args.split)
        else:
            show_next_on_data(args, "quantize", args.model)
    elif nothing:
        show_next("contract", args.model)
    elif not runs_on_device(args):
        show_next("deploy", args.model, "--target", _target(args.model))
    elif args.send != IMAGE and _has_room(done):
        words = ("evaluate", args.model, "--runtime", args.runtime, "--send", IMAGE)
        show_next_on_data(args, *words, split=args.split)


def next_after_predict(args: argparse.Namespace, runtime: Runtime, found: bool) -> None:
    """By whether there was anything to draw.

    Args:
        args: parsed options.
        runtime: that ran.
        found: whether any object was.
    """
    lowest = runtime.outputs.score_threshold if args.score_threshold is None else args.score_threshold
    if not found and lowest > _LOW_THRESHOLD and "-" not in args.images:
        show_next_again(args, ("--score-threshold",), "--score-threshold", str(_LOW_THRESHOLD))
    elif _is_checkpoint(args.model):
        if not show_next_on_data_of(args.model, "quantize", args.model):
            show_next("lint", args.model)
    elif not found:
        show_next("contract", args.model)
    elif not runs_on_device(args):
        show_next("deploy", args.model, "--target", _target(args.model))
    else:
        show_next_on_data_of(args.model, "evaluate", args.model, *device_words(args))


def next_after_inspect(args: argparse.Namespace) -> None:
    """Which of the layers' damage reaches AP."""
    words = ("waterfall", args.model, "--against", args.against, *device_words(args))
    show_next_on_data(args, *words, split=args.split)


def next_after_waterfall(args: argparse.Namespace, waterfall: Waterfall) -> None:
    """The first remedy of the guilty step; where none is guilty, the chip."""
    from edgedet.evaluate.figures.reading import finds_nothing

    if finds_nothing(waterfall.step("float").ap) is not None:
        show_labels_next(args, args.split)
    elif waterfall.guilty in _MENDS:
        show_next_on_data(args, "quantize", args.against, *_MENDS[waterfall.guilty])
    elif waterfall.guilty == "device" or (waterfall.guilty in ("", "xnnpack") and not runs_on_device(args)):
        show_next("deploy", args.model, "--target", _target(args.model))


def _is_checkpoint(model: Path) -> bool:
    return model.suffix.lower() in CHECKPOINT_SUFFIXES


def _target(model: Path) -> str:
    """Of a deployment: C has no int16 operators."""
    from edgedet.graph.flatbuffer import read_tflite

    return "tflm" if any(tensor.dtype == "int16" for tensor in read_tflite(model).tensors) else "c99"


def _has_room(done: Evaluated) -> bool:
    """Whether the board takes all pictures as they are."""
    from edgedet.runtimes.on_device import DeviceRuntime

    if not isinstance(done.runtime, DeviceRuntime):
        return False
    try:
        for record in done.split.images:
            done.runtime.device.require_room(record.width, record.height, str(record.path))
    except DeviceError:
        return False
    return True
