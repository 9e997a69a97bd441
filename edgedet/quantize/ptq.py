"""Post-training quantization in full: equalization, ranges, weights, rounding, biases, each step on its own switch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgedet.errors import ConfigError
from edgedet.quantize.adaround import LayerRounding
from edgedet.quantize.bias_correction import correct_bias
from edgedet.quantize.calibrate import freeze, set_ranges
from edgedet.quantize.equalize import equalize
from edgedet.quantize.fold import fold_batch_norm
from edgedet.quantize.layer_walk import Visit, walk_layers
from edgedet.quantize.lower import lower_activations
from edgedet.quantize.prepare import prepare
from edgedet.quantize.qparams import AffineParams, input_params
from edgedet.quantize.range_choice import RangePlan, TensorRange, find_ranges
from edgedet.quantize.weights import WEIGHT_METHODS, quantize_weights
from edgedet.structs import PreprocessSpec


@dataclass(frozen=True)
class PtqOptions:
    """The steps of post-training quantization, each on its own switch."""

    ranges: RangePlan = RangePlan()  # activations
    weights: str = "minmax"  # or mse: clipped where the squared error is least
    equalize: bool = False  # cross-layer equalization, kept where it lowers the error of the network's outputs
    adaround: bool = False  # each weight up or down, whichever serves the layer's output
    bias_correction: bool = False  # give every channel the mean that it has in the float network
    seed: int = 0  # of the positions that adaround looks at

    def __post_init__(self) -> None:
        if self.weights not in WEIGHT_METHODS:
            raise ConfigError(f"--weights {self.weights!r}: expected one of {', '.join(WEIGHT_METHODS)}")


EFFORTS: dict[str, PtqOptions] = {
    "fast": PtqOptions(),
    "normal": PtqOptions(RangePlan("auto"), bias_correction=True),
    "best": PtqOptions(RangePlan("auto"), weights="mse", equalize=True, adaround=True, bias_correction=True),
}


@dataclass(frozen=True)
class Step:
    """One step and what it did to the outputs of the network."""

    name: str
    error: float  # `output_error` after the step
    kept: bool  # False: the step made the error larger and was undone


@dataclass(frozen=True, eq=False)
class PtqResult:
    """A quantized network and how it came about."""

    frozen: GraphModule  # fake-quantized, with integer codes
    ranges: tuple[TensorRange, ...]
    steps: tuple[Step, ...]  # none when nothing but ranges and weights was asked for
