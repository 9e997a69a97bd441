"""How many threads NumPy's matrix products and torch may use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def limit_blas_threads() -> None:
    """Let OpenBLAS use one thread, unless the user's environment says otherwise.

    The simulator's products are small: on two cores one thread needs 20 ms for an image, two need as long on an idle
    machine and 99 to 445 ms on a loaded one, because each waits for the other at the end of every product (measured
    with rtmdet_nano_ncadc_relu6 at 192x192). Call it before NumPy is imported, OpenBLAS looks once; torch on x86 has
    threads of its own and does not look at this.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def let_threads_sleep() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user's environment says otherwise.

    By default a thread of torch's that is done with its part spins until the others are, and where another program has
    their core, it spins for nothing, while the others wait for it (figures: docs/scale.md, bench/busy_machine.py). Call
    it before torch is imported, OpenMP looks once.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads inside, and as many as before behind it.

    Args:
        count: at least 1. Float sums are split by it: another number gives other last bits.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
