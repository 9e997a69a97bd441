"""Where the pictures of a calibration come from: a bare folder, or the training split of a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgedet.contracts import OutputSpec
from edgedet.data.bare_images import load_folder
from edgedet.data.check.content import require_bright
from edgedet.data.coco.split import CocoSplit, common_classes
from edgedet.data.paths import DataPaths


def calibration_split(checkpoint: Path, outputs: OutputSpec, data: DataPaths, images: Path | None) -> CocoSplit:
    """The pictures to draw from.

    Args:
        checkpoint: for messages.
        outputs: contract of the model.
        data: data set, whose training split must share a class with the model: boxes are not used, but pictures of
            other objects give other ranges.
        images: folder of pictures, in its place.
    Raises:
        DataError: none are found, they use little of 16 bits, or the data set is of other objects.
    """
    if images is not None:
        split = load_folder(images, outputs.class_names, outputs.category_ids, data.skip_broken)
    else:
        split = replace(data, skip_broken=True).load("train")  # `draw_whole` names what is broken, all of it
    require_bright(split)
    if images is None:
        advice = "calibrate with the data that the checkpoint was trained on, or give a folder of pictures by `images`"
        common_classes(split, str(checkpoint), outputs.class_names, advice)
    return split
