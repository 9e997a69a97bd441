"""A second device without the hardware: tensors that say they lie there, and the rule that devices don't mix.

A far tensor claims torch's device `meta` and keeps its values in a CPU tensor. As on a GPU, an operator with far and
CPU operands fails unless the CPU ones are scalars (0 dimensions), `numpy()` fails, and a tensor that is made without
a device is a CPU tensor. Values are those of the CPU, bit by bit, so whole runs can be compared with `==`.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

FAR = torch.device("meta")
_MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class FarTensor(Tensor):
    """Claims to lie on the far device."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> FarTensor:
        far: FarTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            near.size(),
            strides=near.stride(),
            storage_offset=near.storage_offset(),
            dtype=near.dtype,
            device=FAR,
        )
        far.near = near
        return far

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} outside `far_device`")


class _FarMode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        operands = [x for x in tree_iter((args, kwargs)) if isinstance(x, Tensor)]
        far = any(isinstance(x, FarTensor) for x in operands)
        if far and func not in _MOVES and any(x.dim() for x in operands if not isinstance(x, FarTensor)):
            raise RuntimeError(f"{func}: expected all tensors on one device, found some on {FAR} and some on cpu")
        if kwargs.get("device") is not None:
            far = torch.device(kwargs["device"]) == FAR
            kwargs["device"] = torch.device("cpu")
        near_args, near_kwargs = tree_map(lambda x: x.near if isinstance(x, FarTensor) else x, (args, kwargs))
        result = func(*near_args, **near_kwargs)
        if func is torch.ops.aten.copy_.default or (func._schema.name.endswith("_") and operands[:1] == [args[0]]):
            return args[0]
        return tree_map(lambda x: FarTensor(x) if far and isinstance(x, Tensor) else x, result)


@contextmanager
def far_device() -> Iterator[torch.device]:
    """Inside, tensors can be moved to the device that this gives; optimizers' fused code takes them as well."""
    supported = "_get_fused_kernels_supported_devices"
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), _FarMode():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")  # these do hold values
        # `Module.to` would swap the data below a far tensor, whose values stand beside it.
        patch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
        module = importlib.import_module("torch.optim.optimizer")
        known = getattr(module, supported)()
        patch.setattr(module, supported, lambda: [*known, FAR.type])
        yield FAR
