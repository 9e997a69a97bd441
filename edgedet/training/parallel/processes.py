"""Several processes that train one network, each with its part of every batch: as `torchrun` starts them.

What a step computes does not depend on their number, up to the order of float sums: the batch is that of the whole
step, BatchNorm statistics and the losses' divisors are those of the whole batch, and every sample is drawn from its own
seed. Rank 0 writes the files and speaks; the others compute the same and are silent.
"""

from __future__ import annotations

import atexit
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgedet.errors import ConfigError, EdgedetError
from edgedet.training.parallel.shared_norm import SharedBatchNorm2d

T = TypeVar("T")
# Between two collectives a process may be busy for long: rank 0 measures a file, a slow disk delivers images. A process
# that ends is noticed at once, because its connections close.
_TIMEOUT = timedelta(hours=1)
_PATIENCE = timedelta(seconds=3)  # in which rank 0 would report the error that this process has found, too
_FAILED = "edgedet/failed"  # key of rank 0's error, with the number of the run
_GROUPS = itertools.count()  # runs of this process, one after the other


@dataclass(frozen=True)
class Processes:
    """Which of the run's processes this one is."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # on this machine
    local_count: int = 1

    @property
    def first(self) -> bool:
        """True for the process that writes and speaks."""
        return self.rank == 0

    def share_of(self, batch: int) -> int:
        """Images of a batch that this process computes.

        Raises:
            ConfigError: the batch can't be divided evenly.
        """
        if batch % self.count:
            nearest = max(1, round(batch / self.count)) * self.count
            raise ConfigError(
                f"`batch` {batch}: expected a multiple of the {self.count} processes, which take equal parts of it; "
                f"for example {nearest}"
            )
        return batch // self.count

    def mine(self, records: Sequence[T]) -> Sequence[T]:
        """The part of a list that this process works on: every so many-th element."""
        return records[self.rank :: self.count]

    def gather(self, part: dict[Any, Any]) -> dict[Any, Any]:
        """The union of all processes' dicts, the same in all of them."""
        if self.count == 1:
            return part
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, part)
        return {key: value for other in parts for key, value in other.items()}

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes of a tensor that is no part of a gradient."""
        if self.count == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.count

    def divisor(self, total: Tensor) -> Tensor:
        """What a sum over this process's images is divided by: the sum of `total` over all processes, at least 1.

        Less by the number of processes, because gradients are then averaged over them.
        """
        if self.count == 1:
            return total.clamp(min=1.0)
        return (self.mean(total) * self.count).clamp(min=1.0) / self.count

    def wrap(self, model: nn.Module) -> nn.Module:
        """The network to call in training, whose gradients are the mean over the processes; parameters are the same.

        Call it again when `requires_grad` of a parameter has changed.
        """
        if self.count == 1:
            return model
        device = next(model.parameters()).device
        return nn.parallel.DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)

    def share_batch_norms(self, model: nn.Module) -> nn.Module:
        """The network with BatchNorms that take their statistics from the batches of all processes; parameters stay."""
        if self.count == 1:
            return model
        if next(model.parameters()).device.type == "cuda":
            result: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
            return result
        for path, module in list(model.named_modules()):
            if type(module) is nn.BatchNorm2d:
                model.set_submodule(path, SharedBatchNorm2d.like(module))
        return model

    def from_first(self, work: Callable[[], T]) -> T:
        """Let rank 0 do something, and give its result to all."""
        if self.count == 1:
            return work()
        box: list[Any] = [work() if self.first else None]
        dist.broadcast_object_list(box, src=0)
        result: T = box[0]
        return result


ALONE = Processes()


def launched() -> Processes:
    """Which process torchrun, or what sets the same variables, started here.

    Raises:
        ConfigError: the variables contradict each other.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return ALONE
    given = [os.environ.get(name, "") for name in names]
    if not all(value.isdecimal() for value in given):
        found = ", ".join(f"{name}={value or 'not set'}" for name, value in zip(names, given, strict=True))
        raise ConfigError(f"WORLD_SIZE asks for several processes, but {found}; start them with torchrun")
    rank, count, local_rank, local_count = (int(value) for value in given)
    return Processes(rank, count, local_rank, local_count)


@contextmanager
def process_group(processes: Processes, device: torch.device) -> Iterator[None]:
    """Connect the processes of a run; they have to come here all.

    They stay connected until the process ends: a second connection under the same torchrun finds the first one's
    addresses.

    Args:
        processes: from `launched`.
        device: of this process: NCCL for CUDA, gloo for the rest.
    Raises:
        EdgedetError: what goes wrong inside, by the process that found it first; another process is gone.
    """
    if processes.count == 1:
        yield
        return
    key = f"{_FAILED}/{next(_GROUPS)}"
    _connect(device)
    try:
        yield
        dist.barrier()
    except EdgedetError as error:
        atexit.unregister(dist.destroy_process_group)  # which may wait for processes that are gone
        _report(processes, error, key)
        raise
    except (dist.DistError, RuntimeError) as error:
        atexit.unregister(dist.destroy_process_group)
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        raise EdgedetError(
            f"process {processes.rank} of {processes.count} lost another one, which says itself why it ended; mend "
            "that, then go on with `resume`"
        ) from error


def _connect(device: torch.device) -> None:
    """Make the process group, unless the caller has one, or an earlier run of this process made it."""
    if dist.is_initialized():
        return
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_TIMEOUT)
    atexit.register(dist.destroy_process_group)


def _report(processes: Processes, error: EdgedetError, key: str) -> None:
    """Let one process speak when all have found the same error.

    Args:
        processes: of the run.
        error: found by this one.
        key: under which rank 0 says that it found one.

    Raises:
        SystemExit: rank 0 says it.
        EdgedetError: the error of a process other than rank 0, which it names.
    """
    store = dist.distributed_c10d._get_default_store()
    if processes.first:
        store.set(key, str(error))
        return
    try:
        store.wait([key], _PATIENCE)
    except (dist.DistError, RuntimeError):  # rank 0 is well
        raise type(error)(f"process {processes.rank} of {processes.count}: {error}") from error
    raise SystemExit(2) from error
