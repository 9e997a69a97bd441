from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from edgedet.config import load_model_file
from edgedet.contracts import PreprocessSpec
from edgedet.data.coco.build import load_split
from edgedet.errors import ConfigError, DataError, EdgedetError
from edgedet.training.loader import Batch, BatchLoader, epoch_order, steps_per_epoch
from edgedet.training.parallel.hardware import Hardware
from edgedet.training.parallel.processes import ALONE, Processes

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


def loader(data: Path, workers: int = 0, cache_bytes: int = 1 << 30, processes: Processes = ALONE) -> BatchLoader:
    split, hardware = load_split(data, "train"), Hardware(workers=workers, processes=processes)
    return BatchLoader(split, PreprocessSpec(96, 64), CONFIG, 3, hardware, cache_bytes)


def assert_equal(first: list[Batch], second: list[Batch]) -> None:
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets.boxes, other.targets.boxes)
        assert torch.equal(one.targets.labels, other.targets.labels)
        assert torch.equal(one.targets.valid, other.targets.valid)


def test_epoch_does_not_depend_on_earlier_epochs(tiny_coco: Path) -> None:
    used, fresh = loader(tiny_coco), loader(tiny_coco, cache_bytes=1)  # that keeps a single picture
    for _ in used.epoch(0, strong=True):
        pass
    first = list(used.epoch(1, strong=True))
    assert_equal(first, list(fresh.epoch(1, strong=True)))
    assert len(first) == 2
    assert first[0].images.shape == (4, 3, 64, 96)
    assert first[0].images.is_contiguous(memory_format=torch.channels_last)


def test_epoch_batches_are_the_same_for_any_number_of_workers(tiny_coco: Path) -> None:
    epochs = {}
    for workers in (0, 1, 2):
        batches = loader(tiny_coco, workers)
        epochs[workers] = [batch for epoch in range(3) for batch in batches.epoch(epoch, strong=epoch < 2)]
        batches.close()
    assert len(epochs[0]) == 6
    assert_equal(epochs[0], epochs[1])
    assert_equal(epochs[0], epochs[2])


def test_epoch_batches_of_two_processes_are_the_halves_of_one(tiny_coco: Path) -> None:
    whole = list(loader(tiny_coco).epoch(0, strong=True))
    halves = [list(loader(tiny_coco, processes=Processes(rank, 2)).epoch(0, strong=True)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *halves, strict=True):
        assert torch.equal(batch.images, torch.cat([part.images for part in parts]))
        boxes = [part.targets.boxes[part.targets.valid] for part in parts]
        assert torch.equal(batch.targets.boxes[batch.targets.valid], torch.cat(boxes))


def test_batch_that_processes_cannot_share_is_an_error(tiny_coco: Path) -> None:
    with pytest.raises(ConfigError, match=r"`batch` 4: expected a multiple of the 3 processes.*for example 3"):
        loader(tiny_coco, processes=Processes(0, 3))


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_error_in_the_worker_reaches_the_caller(tiny_coco: Path, workers: int) -> None:
    batches = loader(tiny_coco, workers)
    for path in (tiny_coco / "train").glob("*.png"):
        path.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"\.png") as caught:
        list(batches.epoch(0, strong=False))
    assert "Traceback" not in str(caught.value)
    batches.close()


def test_epoch_with_a_worker_that_was_killed_says_so(tiny_coco: Path) -> None:
    batches = loader(tiny_coco, workers=1)
    drawn = batches.epoch(0, strong=False)
    next(drawn)
    drawn.close()
    (child,) = multiprocessing.active_children()
    child.kill()
    child.join()
    with pytest.raises(EdgedetError, match=r"a process that draws batches ended.*`workers` 0"):
        list(batches.epoch(1, strong=False))
    batches.close()
    assert not multiprocessing.active_children()


def test_epoch_abandoned_leaves_no_thread(tiny_coco: Path) -> None:
    before = threading.active_count()
    batches = loader(tiny_coco).epoch(0, strong=True)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_epoch_abandoned_by_a_loader_with_workers_goes_on_with_the_next(tiny_coco: Path) -> None:
    batches = loader(tiny_coco, workers=2)
    drawn = batches.epoch(0, strong=True)
    next(drawn)
    drawn.close()
    assert_equal(list(batches.epoch(1, strong=True)), list(loader(tiny_coco).epoch(1, strong=True)))
    batches.close()
    assert not multiprocessing.active_children()
