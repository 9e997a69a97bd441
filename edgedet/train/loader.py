"""Batches of augmented samples, drawn ahead by one worker thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgedet.config import TrainConfig
from edgedet.data.augment import ImageCache, Sample, augment
from edgedet.data.preprocess import normalize
from edgedet.train.assigner import Targets

_AHEAD = 4  # batches


@dataclass(frozen=True, eq=False)
class Batch:
    """Network input and targets."""

    images: Tensor  # float32 (B, C, H, W), normalized, channels-last in memory
    targets: Targets


def steps_per_epoch(images: int, batch: int) -> int:
    """Iterations of one epoch: the number nearest to images / batch, at least 1."""
    return max(1, round(images / batch))


def epoch_order(images: int, batch: int, seed: int, epoch: int) -> np.ndarray:
    """Indices of one epoch's samples, (steps * batch,); a permutation, cut or continued to whole batches."""
    count = steps_per_epoch(images, batch) * batch
    rng = np.random.default_rng((seed, epoch))
    rounds = -(-count // images)
    return np.concatenate([rng.permutation(images) for _ in range(rounds)])[:count]


def collate(samples: list[Sample], cache: ImageCache) -> Batch:
    """Stack samples; objects are padded to the largest number."""
    pixels = np.stack([s.pixels for s in samples])
    most = max(1, max(len(s.labels) for s in samples))
    boxes = np.zeros((len(samples), most, 4), np.float32)
    labels = np.zeros((len(samples), most), np.int64)
    valid = np.zeros((len(samples), most), bool)
    for row, sample in enumerate(samples):
        count = len(sample.labels)
        boxes[row, :count], labels[row, :count], valid[row, :count] = sample.boxes, sample.labels, True
    images = torch.from_numpy(normalize(pixels, cache.spec)).permute(0, 3, 1, 2)
    return Batch(images, Targets(torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(valid)))


def epoch_batches(cache: ImageCache, config: TrainConfig, seed: int, epoch: int, strong: bool) -> Iterator[Batch]:
    """Batches of one epoch, the same for the same seed and epoch whatever happened before.

    Args:
        cache: training pictures.
        config: training settings.
        seed: of the run.
        epoch: 0-based.
        strong: with mosaic and mixup.
    Yields:
        Batches in order.
    """
    order = epoch_order(len(cache), config.batch, seed, epoch)
    ready: queue.Queue[Batch | BaseException] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def draw(start: int) -> Batch:
        samples = [
            augment(cache, int(order[i]), config, strong, np.random.default_rng((seed, epoch, i)))
            for i in range(start, start + config.batch)
        ]
        return collate(samples, cache)

    def work() -> None:
        for start in range(0, len(order), config.batch):
            try:
                item: Batch | BaseException = draw(start)
            except BaseException as error:  # handed to the training thread, which raises it
                item = error
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if stop.is_set() or isinstance(item, BaseException):
                return

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        for _ in range(len(order) // config.batch):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        worker.join()
