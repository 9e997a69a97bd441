from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgedet.config import load_model_file
from edgedet.contracts import PreprocessSpec
from edgedet.data.augment import ImageCache
from edgedet.data.coco import load_split
from edgedet.errors import DataError
from edgedet.train.loader import epoch_batches, epoch_order, steps_per_epoch

CONFIG = load_model_file("rtmdet_pico_relu6", ("batch=4",)).train


@pytest.mark.parametrize(
    ("images", "batch", "steps"), [(205, 32, 6), (205, 16, 13), (3, 32, 1), (1, 1, 1), (64, 32, 2)]
)
def test_epoch_order_has_whole_batches_and_repeats_as_little_as_possible(images: int, batch: int, steps: int) -> None:
    assert steps_per_epoch(images, batch) == steps
    order = epoch_order(images, batch, seed=1, epoch=2)
    assert len(order) == steps * batch
    counts = np.bincount(order, minlength=images)
    assert counts.max() - counts.min() <= 1


def test_epoch_order_depends_on_seed_and_epoch_only() -> None:
    assert (epoch_order(50, 8, 1, 2) == epoch_order(50, 8, 1, 2)).all()
    assert (epoch_order(50, 8, 1, 2) != epoch_order(50, 8, 1, 3)).any()
    assert (epoch_order(50, 8, 1, 2) != epoch_order(50, 8, 2, 2)).any()


def test_epoch_batches_do_not_depend_on_earlier_epochs(tiny_coco: Path) -> None:
    split, spec = load_split(tiny_coco, "train"), PreprocessSpec(96, 64)
    used = ImageCache(split, spec, CONFIG.scale_max)
    for _ in epoch_batches(used, CONFIG, seed=3, epoch=0, strong=True):
        pass
    fresh = ImageCache(split, spec, CONFIG.scale_max, budget_bytes=1)  # keeps a single picture
    pairs = zip(
        epoch_batches(used, CONFIG, 3, 1, strong=True), epoch_batches(fresh, CONFIG, 3, 1, strong=True), strict=True
    )
    for first, second in pairs:
        assert first.images.shape == (4, 3, 64, 96)
        assert first.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.targets.boxes, second.targets.boxes)


def test_epoch_batches_error_in_the_worker_reaches_the_caller(tiny_coco: Path) -> None:
    split = load_split(tiny_coco, "train")
    for record in split.images:
        record.path.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"\.png"):
        list(epoch_batches(ImageCache(split, PreprocessSpec(96, 64), 1.0), CONFIG, 0, 0, strong=False))


def test_epoch_batches_abandoned_leaves_no_thread(tiny_coco: Path) -> None:
    import threading

    before = threading.active_count()
    batches = epoch_batches(ImageCache(load_split(tiny_coco, "train"), PreprocessSpec(96, 64), 1.0), CONFIG, 0, 0, True)
    next(batches)
    batches.close()
    assert threading.active_count() == before
