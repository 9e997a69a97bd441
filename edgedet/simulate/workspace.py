"""What a simulated operator is built from, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgedet.graph.operators import OpContext

Kernel = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], None]  # (inputs, outputs to write)


class Workspace:
    """Scratch memory that the operators of one simulator share; a slot's content lives until its next `take`."""

    def __init__(self) -> None:
        self._slots: dict[str, np.ndarray] = {}

    def take(self, slot: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """Uninitialized C-contiguous array on the slot's memory, which grows when needed."""
        size_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if slot not in self._slots or self._slots[slot].nbytes < size_bytes:
            self._slots[slot] = np.empty(size_bytes, np.uint8)
        return self._slots[slot][:size_bytes].view(dtype).reshape(shape)


@dataclass(frozen=True)
class KernelContext(OpContext):
    """One operator that becomes a kernel of the simulator."""

    workspace: Workspace = field(default_factory=Workspace)  # all kernels of one simulator share theirs
