"""A tiny int8 detector with every trait that deploy has to carry: non-square input, four classes, shuffled outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.graph.flatbuffer import write_tflite
from edgedet.graph.graph import (
    ConvOptions,
    DepthwiseConvOptions,
    Graph,
    Operator,
    Options,
    PoolOptions,
    Quantization,
    Tensor,
)
from edgedet.graph.metadata import contract_metadata

PREPROCESS = PreprocessSpec(width=64, height=32)
OUTPUTS = OutputSpec(class_names=("mask", 'no "mask"', "Größe?", "d\\"), score_threshold=0.4)


def per_tensor(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


class GraphBuilder:
    """Appends operators with seeded random weights."""

    def __init__(self, preprocess: PreprocessSpec, input_scale: float, input_zero_point: int) -> None:
        self.rng = np.random.default_rng(7)
        shape = (1, preprocess.height, preprocess.width, preprocess.channels)
        self.tensors = [Tensor("images", shape, "int8", per_tensor(input_scale, input_zero_point))]
        self.operators: list[Operator] = []

    def add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def conv(self, source: int, channels: int, kernel: int, stride: int, name: str, depthwise: bool = False) -> int:
        _, height, width, in_channels = self.tensors[source].shape
        shape = (1, kernel, kernel, channels) if depthwise else (channels, kernel, kernel, in_channels)
        fan_in = kernel * kernel * (1 if depthwise else in_channels)
        weight_scale = self.rng.uniform(2.0, 4.0, channels).astype(np.float32) / np.float32(127 * fan_in**0.5)
        input_scale = self.tensors[source].quantization.scale
        weights = self.add(
            Tensor(
                f"{name}/weights",
                shape,
                "int8",
                Quantization(weight_scale, np.zeros(channels, np.int64), 3 if depthwise else 0),
                self.rng.integers(-127, 128, shape).astype(np.int8),
            )
        )
        bias = self.add(
            Tensor(
                f"{name}/bias",
                (channels,),
                "int32",
                Quantization(weight_scale * input_scale, np.zeros(channels, np.int64)),
                self.rng.integers(-500, 500, channels).astype(np.int32),
            )
        )
        out = self.add(
            Tensor(name, (1, -(-height // stride), -(-width // stride), channels), "int8", per_tensor(0.031, -7))
        )
        options: Options = ConvOptions(stride=(stride, stride))
        if depthwise:
            options = DepthwiseConvOptions(stride=(stride, stride))
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.operators.append(Operator(kind, (source, weights, bias), (out,), options))
        return out

    def max_pool(self, source: int, name: str) -> int:
        tensor = self.tensors[source]
        out = self.add(replace(tensor, name=name))
        self.operators.append(Operator("MAX_POOL_2D", (source,), (out,), PoolOptions((3, 3), (1, 1))))
        return out

    def logistic(self, source: int, name: str) -> int:
        out = self.add(replace(self.tensors[source], name=name, quantization=per_tensor(1 / 256, -128)))
        self.operators.append(Operator("LOGISTIC", (source,), (out,)))
        return out


def tiny_graph(
    preprocess: PreprocessSpec = PREPROCESS, input_scale: float = 1 / 255, input_zero_point: int = -128
) -> Graph:
    builder = GraphBuilder(preprocess, input_scale, input_zero_point)
    x = builder.conv(0, 8, 3, 2, "stem")
    x = builder.conv(x, 16, 3, 2, "stage1")
    heads = []
    for stride in (8, 16, 32):
        x = builder.conv(x, 16, 3, 2, f"stage_{stride}")
        x = builder.conv(x, 16, 5, 1, f"depthwise_{stride}", depthwise=True)
        if stride == 32:
            x = builder.logistic(builder.max_pool(x, "pool"), "squash")
        heads.append(builder.conv(x, len(OUTPUTS.class_names), 1, 1, f"cls_{stride}"))
        heads.append(builder.conv(x, 4, 1, 1, f"box_{stride}"))
    # Not the contract's order, and classes look like boxes: only the names tell them apart.
    outputs = tuple(heads[i] for i in (3, 0, 5, 2, 1, 4))
    metadata = (contract_metadata(preprocess, OUTPUTS),)
    return Graph(tuple(builder.tensors), tuple(builder.operators), (0,), outputs, metadata)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    write_tflite(tiny_graph(), path)
    return path


@pytest.fixture(scope="session")
def mean_std_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ImageNet-like normalization with an odd zero point: the pixel table is not pixel - 128."""
    preprocess = PreprocessSpec(
        width=32, height=64, resize="stretch", mean=(123.675, 116.28, 103.53), std=(58.4, 57.1, 57.4)
    )
    path = tmp_path_factory.mktemp("tiny") / "mean_std.tflite"
    write_tflite(tiny_graph(preprocess, 0.0187, -15), path)
    return path


@pytest.fixture(scope="session")
def grey_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One channel, normalized to -1..1."""
    preprocess = PreprocessSpec(width=64, height=32, channel_order="GRAY", mean=(127.5,), std=(120.0,))
    path = tmp_path_factory.mktemp("tiny") / "grey.tflite"
    write_tflite(tiny_graph(preprocess, 0.0085, -3), path)
    return path


@pytest.fixture(scope="session")
def bgr_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blue first, each channel normalized by itself."""
    preprocess = PreprocessSpec(64, 32, channel_order="BGR", mean=(103.53, 116.28, 123.675), std=(57.4, 57.1, 58.4))
    path = tmp_path_factory.mktemp("tiny") / "bgr.tflite"
    write_tflite(tiny_graph(preprocess, 0.0187, -15), path)
    return path


@pytest.fixture(scope="session")
def deep_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain of many operators on small maps, without contracts."""
    builder = GraphBuilder(PreprocessSpec(width=32, height=32), 1 / 255, -128)
    x = builder.conv(0, 4, 3, 4, "stem")
    for index in range(60):
        x = builder.conv(x, 4, 1, 1, f"conv_{index}")
    path = tmp_path_factory.mktemp("deep") / "deep.tflite"
    write_tflite(Graph(tuple(builder.tensors), tuple(builder.operators), (0,), (x,)), path)
    return path
