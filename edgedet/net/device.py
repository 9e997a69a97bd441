"""The device on which a network computes: chosen by name, described, and the ways of tensors there and back.

Everything that knows about devices stands here; elsewhere tensors are made on the device of the tensors they meet.
Files hold tensors of the CPU, always.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from edgedet.errors import ConfigError

CPU = torch.device("cpu")
DEVICE_NAMES = "auto, cpu, cuda, cuda:N or mps"


def choose_device(name: str, local_rank: int = 0, local_count: int = 1) -> torch.device:
    """The device of this name, if this machine has it.

    Args:
        name: `auto` (a CUDA GPU where there is one, else the CPU; mps is taken only when it is asked for), `cpu`,
            `cuda` (the first GPU, or with several processes the one of this process), `cuda:N` or `mps`.
        local_rank: number of this process among those of the run on this machine.
        local_count: processes of the run on this machine.
    Returns:
        The device; of CUDA always with its index.
    Raises:
        ConfigError: unknown name, or a device that this machine or this torch does not have.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,4})?", name):
        raise ConfigError(f"`device` {name!r}: expected {DEVICE_NAMES}")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(
            "`device` mps: needs macOS on Apple silicon and a torch that was built for it, found neither; take cpu"
        )
    if not name.startswith("cuda"):
        return torch.device(name)
    _require_cuda(name)
    if name != "cuda" and local_count > 1:
        raise ConfigError(
            f"`device` {name}: {local_count} processes on this machine would share one GPU; expected cuda, which gives "
            "each process the GPU of its own number"
        )
    index = int(name.removeprefix("cuda:")) if name != "cuda" else local_rank
    count = torch.cuda.device_count()
    if index >= count:
        names = ", ".join(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count))
        wanted = f"`device` {name}" if local_count == 1 else f"`device` {name} for process {local_rank} of this machine"
        raise ConfigError(f"{wanted}: there is no GPU {index}; found {names}")
    return torch.device("cuda", index)


def _require_cuda(name: str) -> None:
    """Raises ConfigError, with the reason, when torch has no CUDA GPU."""
    if torch.cuda.is_available():
        return
    if torch.version.cuda is None:
        reason = f"torch {torch.__version__} was built without CUDA; install a build with CUDA (pytorch.org)"
    else:
        reason = "torch finds no CUDA GPU; look at nvidia-smi and CUDA_VISIBLE_DEVICES"
    raise ConfigError(f"`device` {name}: {reason}, or take cpu")


def describe_device(device: torch.device) -> str:
    """`cpu`, or `cuda:0 (name of the GPU)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def on_cpu(content: Any) -> Any:
    """The same nested dicts, lists and tuples with every tensor on the CPU; tensors that are there already stay.

    Args:
        content: for example the state of an optimizer.
    """
    if isinstance(content, Tensor):
        return content.detach().to(CPU)
    if isinstance(content, dict):
        return {key: on_cpu(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(on_cpu(value) for value in content)
    return content


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Let float32 on a GPU be float32 inside.

    By default cuDNN's convolutions round their inputs to the 11 bits of TF32, which are fewer than an int8 network
    needs to land on the same codes; what is to be faster says so by bfloat16.

    Args:
        device: that computes; nothing changes for others than CUDA.
    """
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.backends.cudnn.deterministic,
        allow_tf32=False,
    ):
        yield
