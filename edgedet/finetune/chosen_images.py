"""Which images a fine-tuning learns from, and which judge it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgedet.contracts import OutputSpec
from edgedet.data.bare_images import load_folder
from edgedet.data.check.content import require_bright, require_judgeable, require_learnable
from edgedet.data.check.leak import with_leak
from edgedet.data.check.whole import whole_splits
from edgedet.data.coco.split import CocoSplit, require_same_classes
from edgedet.data.paths import DataPaths
from edgedet.evaluate.self_labels import self_labelled
from edgedet.finetune.settings import require_checkpoint_classes
from edgedet.net.checkpoint import Checkpoint
from edgedet.net.rtmdet import channels_last
from edgedet.net.runtime import TorchRuntime

SELF_LABELLED_IMAGES = 64  # for the AP against the float model's own detections, when there are no annotations


def choose_images(
    data: DataPaths, images: Path | None, distill: bool, checkpoint: Checkpoint
) -> tuple[CocoSplit, CocoSplit, str]:
    """Images to learn from, those to judge by, and what the AP of these is.

    Args:
        data: training and validation split; with `images`, only a validation split, or nothing.
        images: folder of images, in place of the training split.
        distill: learn from the float model's outputs, so that labels are not needed.
        checkpoint: the float model.
    Raises:
        DataError: nothing to learn from or to judge by, or the classes are not the model's.
    """
    train = _learned_from(data, images, checkpoint.outputs)
    if images is not None:
        require_bright(train)
    if images is not None and not data.folders and data.val_ann is None:
        (train,) = whole_splits((train,), data.skip_broken)
        float_runtime = TorchRuntime(channels_last(checkpoint.build()), checkpoint.preprocess, checkpoint.outputs)
        judge = self_labelled(float_runtime, train, SELF_LABELLED_IMAGES)
        text = f"AP against the float model's own detections in {len(judge.images)} training images"
        return train, judge, f"{text} (no annotations given)"
    judge = replace(data, skip_broken=True).load("valid")
    train, judge = whole_splits((train, judge), data.skip_broken)
    if images is None and distill:
        require_bright(train)
    elif images is None:
        require_checkpoint_classes(checkpoint, train)
        require_learnable(train, checkpoint.preprocess)
    require_judgeable(judge)
    if images is None:
        require_same_classes(train, judge)
    judge = with_leak(train, judge)
    return train, judge, f"COCO AP of {len(judge.images)} images of split {judge.name}, {judge.ann_path}"


def _learned_from(data: DataPaths, images: Path | None, outputs: OutputSpec) -> CocoSplit:
    """Images to learn from; those that can't be opened are in its `broken`."""
    if images is not None:
        return load_folder(images, outputs.class_names, outputs.category_ids, skip_broken=True)
    return replace(data, skip_broken=True).load("train")
