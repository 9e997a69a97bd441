"""What quantization-aware training starts from."""

from __future__ import annotations

from torch.fx import GraphModule

from edgedet.net.checkpoint import Checkpoint
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.calibration.images import ImageFiles
from edgedet.quantize.fx.int16 import AUTO, groups_of, widen
from edgedet.quantize.fx.prepare import prepare_model
from edgedet.quantize.ptq.int16_choice import IMAGES as INT16_IMAGES
from edgedet.quantize.ptq.int16_choice import choose_int16
from edgedet.quantize.ptq.weights import quantize_weights


def calibrated_graph(checkpoint: Checkpoint, images: ImageFiles, int16: tuple[str, ...]) -> GraphModule:
    """The start of training: min-max ranges, some layers in int16."""
    prepared = prepare_model(checkpoint.build(), checkpoint.preprocess)
    calibrated = calibrate(prepared, images.batches(0, len(images)))
    names = groups_of(prepared, int16) if int16 != (AUTO,) else choose_int16(
        prepared, quantize_weights(calibrated), list(images.batches(0, min(len(images), INT16_IMAGES)))
    )  # fmt: skip
    return calibrate(widen(prepared, names), images.batches(0, len(images))) if names else calibrated
