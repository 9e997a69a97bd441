"""Batches of augmented samples, drawn ahead by one thread or by worker processes.

Every sample draws from a generator of its own, seeded by run, epoch and place in the epoch. So a batch is the same
whoever draws it: the thread, any number of workers, or several processes that share its samples.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from edgedet.config import TrainConfig
from edgedet.contracts import PreprocessSpec
from edgedet.data.augment import ImageCache, Sample, augment
from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.preprocess import normalize
from edgedet.errors import EdgedetError
from edgedet.training.objective.assigner import Targets
from edgedet.training.parallel.hardware import Hardware

_AHEAD = 4  # batches
_AHEAD_OF_WORKER = 2  # batches that each worker draws ahead
CACHE_BYTES = 4 << 30  # decoded pictures of all processes on a machine together


@dataclass(frozen=True, eq=False)
class Batch:
    """Network input and targets."""

    images: Tensor  # float32 (B, C, H, W), normalized, channels-last in memory
    targets: Targets

    def to(self, device: torch.device) -> Batch:
        """The same on a device; from pinned memory the copies run beside what the device is doing."""
        return Batch(self.images.to(device, non_blocking=True), self.targets.to(device))

    def pin_memory(self) -> Batch:
        """The same in memory from which a GPU copies by itself; torch's DataLoader calls it."""
        return Batch(self.images.pin_memory(), self.targets.pin_memory())


@dataclass(frozen=True)
class _Job:
    """Which samples make a batch."""

    epoch: int
    strong: bool  # with mosaic and mixup
    places: range  # in the order of the epoch


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


class _Batches(Dataset["Batch | EdgedetError"]):
    """Draws the batch of a job; an error of the user's is handed over, because a worker would wrap it in its traceback.

    Args:
        cache: training pictures.
        config: training settings.
        seed: of the run.
    """

    def __init__(self, cache: ImageCache, config: TrainConfig, seed: int) -> None:
        self._cache, self._config, self._seed = cache, config, seed
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))  # epoch, indices

    def __getitem__(self, job: _Job) -> Batch | EdgedetError:
        if self._order[0] != job.epoch:
            self._order = job.epoch, epoch_order(len(self._cache), self._config.batch, self._seed, job.epoch)
        order = self._order[1]
        try:
            samples = [
                augment(
                    self._cache,
                    int(order[place]),
                    self._config,
                    job.strong,
                    np.random.default_rng((self._seed, job.epoch, place)),
                )
                for place in job.places
            ]
            return collate(samples, self._cache)
        except EdgedetError as error:
            return error


class _Jobs(Sampler[_Job]):
    """The jobs of one epoch after the other; workers live as long as the loader, and learn of an epoch by its jobs."""

    def __init__(self) -> None:
        self.jobs: list[_Job] = []

    def __iter__(self) -> Iterator[_Job]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)


class BatchLoader:
    """Batches of a run, epoch by epoch, the same for the same seed and epoch whatever happened before.

    Args:
        split: training split.
        preprocess: preprocessing contract.
        config: training settings; its batch is that of all processes together.
        seed: of the run.
        hardware: workers, processes and the device that the batches go to.
        cache_bytes: memory for decoded pictures of all workers and processes on this machine together.
    Raises:
        ConfigError: the batch can't be divided among the processes.
    """

    def __init__(
        self,
        split: CocoSplit,
        preprocess: PreprocessSpec,
        config: TrainConfig,
        seed: int,
        hardware: Hardware | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        hardware = hardware or Hardware()
        self._processes, self._batch = hardware.processes, config.batch
        self._part = hardware.processes.share_of(config.batch)
        self._images = len(split.images)
        caches = max(1, hardware.workers) * hardware.processes.local_count
        cache = ImageCache(split, preprocess, config.scale_max, cache_bytes // caches)
        self._batches = _Batches(cache, config, seed)
        self._pin = hardware.device.type == "cuda"
        self._jobs = _Jobs()
        self._workers: DataLoader[Any] | None = None
        if hardware.workers:
            self._workers = DataLoader(
                self._batches,
                batch_size=None,
                sampler=self._jobs,
                num_workers=hardware.workers,
                collate_fn=_as_it_is,
                pin_memory=self._pin,
                persistent_workers=True,
                prefetch_factor=_AHEAD_OF_WORKER,
            )

    def epoch(self, epoch: int, strong: bool) -> Iterator[Batch]:
        """Batches of one epoch, this process's part of each.

        Args:
            epoch: 0-based.
            strong: with mosaic and mixup.
        Yields:
            Batches in order.
        Raises:
            DataError: an image can't be read.
            EdgedetError: a worker ended.
        """
        first = self._processes.rank * self._part
        starts = range(first, steps_per_epoch(self._images, self._batch) * self._batch, self._batch)
        self._jobs.jobs = [_Job(epoch, strong, range(start, start + self._part)) for start in starts]
        drawn = self._from_thread() if self._workers is None else self._from_workers(self._workers)
        try:
            for item in drawn:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            drawn.close()

    def close(self) -> None:
        """End the workers; nothing can be drawn afterwards."""
        if self._workers is not None and self._workers._iterator is not None:
            self._workers._iterator._shutdown_workers()  # type: ignore[attr-defined]
        self._workers = None

    def _from_workers(self, workers: DataLoader[Any]) -> Generator[Batch | BaseException]:
        try:
            yield from workers
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise EdgedetError(
                f"a process that draws batches ended: {' '.join(str(error).split())}; give `workers` 0 or fewer, or "
                "more memory (in a container also for /dev/shm)"
            ) from error

    def _from_thread(self) -> Generator[Batch | BaseException]:
        return _draw_ahead(list(self._jobs.jobs), self._draw)

    def _draw(self, job: _Job) -> Batch | EdgedetError:
        item = self._batches[job]
        return item.pin_memory() if self._pin and isinstance(item, Batch) else item


def _as_it_is(item: Any) -> Any:
    """What a worker hands over."""
    return item


def _draw_ahead(jobs: list[_Job], draw: Callable[[_Job], Batch | EdgedetError]) -> Generator[Batch | BaseException]:
    """Results of `draw` for each job, by a thread that is a few jobs ahead."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def work() -> None:
        for job in jobs:
            try:
                item: Batch | BaseException = draw(job)
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
        for _ in jobs:
            yield ready.get()
    finally:
        stop.set()
        worker.join()
