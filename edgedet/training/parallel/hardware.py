"""On what a training run computes: device, precision, and who draws its batches."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from edgedet.errors import ConfigError, require_one_of
from edgedet.net.device import CPU, choose_device, describe_device
from edgedet.threads import usable_cores
from edgedet.training.parallel.processes import ALONE, Processes, launched

# Names of the flags that /proc/cpuinfo shows on x86 (AVX-512, AMX) and Arm.
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; without that, bf16 autocast is slower than float32.

    Args:
        cpuinfo: file in the format of Linux's /proc/cpuinfo; where there is none, the answer is False.
    """
    if not cpuinfo.is_file():
        return False
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo.read_text(errors="replace"), re.MULTILINE)
    return match is not None and not _BF16_FLAGS.isdisjoint(match.group(1).split())


PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# CUDA compute capabilities from which the tensor cores multiply a type.
_CUDA_BF16, _CUDA_FP16 = (8, 0), (7, 0)
_MOST_WORKERS = 8  # that `workers=None` takes for a GPU


@dataclass(frozen=True)
class Hardware:
    """On what a run computes. It is no part of what the run is: --resume may go on with another one."""

    device: torch.device = CPU
    precision: str = (
        "auto"  # one of PRECISIONS; auto: what the model file's train.bf16 allows and the device is fast at
    )
    workers: int = 0  # processes that draw batches; 0: a thread of this process
    processes: Processes = ALONE  # that train together

    def __post_init__(self) -> None:
        require_one_of("`precision`", self.precision, PRECISIONS)
        if self.workers < 0:
            raise ConfigError(f"`workers` must be 0 or more, got {self.workers}")

    def dtype(self, bf16: bool) -> torch.dtype:
        """Type of the forward pass; other than float32, the network runs under autocast.

        Args:
            bf16: what the model file says: bfloat16 where that is fast.
        """
        if self.precision != "auto":
            return _DTYPES[self.precision]
        if not bf16:
            return torch.float32
        if self.device.type == "cuda":
            capability = torch.cuda.get_device_capability(self.device)
            if capability >= _CUDA_BF16:
                return torch.bfloat16
            return torch.float16 if capability >= _CUDA_FP16 else torch.float32
        return torch.bfloat16 if self.device.type == "cpu" and has_bf16() else torch.float32


def choose_hardware(device: str = "auto", precision: str = "auto", workers: int | None = None) -> Hardware:
    """What a request asks for, checked against this machine.

    Args:
        device: see `edgedet.net.device.choose_device`.
        precision: one of `PRECISIONS`.
        workers: processes that draw batches; None: none for the CPU, whose cores are busy with the network, and up to 8
            for a GPU.
    Returns:
        The hardware.
    Raises:
        ConfigError: unknown names, or a device that is not there.
    """
    processes = launched()
    chosen = choose_device(device, processes.local_rank, processes.local_count)
    if workers is None:
        cores = usable_cores() // processes.local_count
        workers = 0 if chosen.type == "cpu" else max(1, min(_MOST_WORKERS, cores - 1))
    return Hardware(chosen, precision, workers, processes)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Autocast of a forward pass; without any effect for float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype)


def describe_hardware(hardware: Hardware, dtype: torch.dtype) -> str:
    """Device, precision and numbers of processes, for people; `dtype` is that of the forward pass."""
    precision = str(dtype).removeprefix("torch.")
    parts = [f"{precision}{'' if dtype == torch.float32 else ' autocast'} on {describe_device(hardware.device)}"]
    if hardware.processes.count > 1:
        parts.append(f"{hardware.processes.count} processes")
    if hardware.workers:
        parts.append(f"{hardware.workers} workers")
    return ", ".join(parts)
