"""A hand-made detector and pictures that it finds things in, so that AP is neither 0 nor 1.

The pictures hold red, green and blue rectangles on dark noise. The network averages each 8x8 cell (then 2x2 cells,
twice) per colour, takes "my colour minus the others" as the logit of a class, and guesses the sides of a box from the
neighbours: three convolutions per level.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.graph.flatbuffer import write_tflite
from edgedet.graph.graph import ConvOptions, Graph, Operator, Quantization, Tensor
from edgedet.graph.metadata import contract_metadata

COLOURS = ("red", "green", "blue")
INPUT_SCALE, INPUT_ZERO_POINT = 1 / 255, -128
LEVEL_SCALE = 1 / 250  # of the colour averages


class GraphMaker:
    """Collects tensors and convolutions."""

    def __init__(self, height: int, width: int) -> None:
        self.tensors = [Tensor("image", (1, height, width, 3), "int8", affine(INPUT_SCALE, INPUT_ZERO_POINT))]
        self.operators: list[Operator] = []

    def add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def conv(
        self,
        source: int,
        name: str,
        weights: np.ndarray,
        bias: np.ndarray,
        scale: float,
        zero_point: int,
        stride: int = 1,
    ) -> int:
        """Quantize float OHWI weights per channel and add one CONV_2D, SAME padding."""
        given = self.tensors[source]
        assert given.quantization is not None
        outputs = len(weights)
        weight_scale = (np.abs(weights).reshape(outputs, -1).max(axis=1) / 127).astype(np.float32)
        q_weights = np.round(weights / weight_scale[:, None, None, None]).astype(np.int8)
        bias_scale = weight_scale * given.quantization.scale
        zeros = np.zeros(outputs, np.int64)
        indices = (
            source,
            self.add(Tensor(f"{name}/weights", weights.shape, "int8", Quantization(weight_scale, zeros), q_weights)),
            self.add(
                Tensor(
                    f"{name}/bias",
                    (outputs,),
                    "int32",
                    Quantization(bias_scale, zeros),
                    np.round(bias / bias_scale).astype(np.int32),
                )
            ),
        )
        shape = (1, given.shape[1] // stride, given.shape[2] // stride, outputs)
        result = self.add(Tensor(name, shape, "int8", affine(scale, zero_point)))
        self.operators.append(Operator("CONV_2D", indices, (result,), ConvOptions("SAME", (stride, stride))))
        return result


def affine(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


def write_toy_model(path: Path, width: int = 96, height: int = 64, classes: int = 3, metadata: bool = True) -> Path:
    """Write the detector; more than three classes repeat the colours."""
    maker = GraphMaker(height, width)
    spec = OutputSpec(tuple(COLOURS[i % 3] + "+" * (i // 3) for i in range(classes)))
    source, outputs = 0, {}
    for level, stride in enumerate(spec.strides):
        side = 2 if level else 8
        average = np.zeros((3, side, side, 3))
        average[range(3), :, :, range(3)] = 1 / side**2
        source = maker.conv(source, f"average_{stride}", average, np.zeros(3), LEVEL_SCALE, -128, stride=side)
        # A cell counts with half the weight of its eight neighbours together: the middle of a rectangle scores most.
        nearness = np.full((3, 3), 1 / 12)
        nearness[1, 1] = 1 / 3
        contrast = np.where(np.arange(classes)[:, None] % 3 == np.arange(3), 12.0, -5.0)
        weights = contrast[:, None, None, :] * nearness[None, :, :, None]
        bias = np.full(classes, -4.0 - 3.0 * level)
        outputs[f"cls_{stride}"] = maker.conv(source, f"cls_{stride}", weights, bias, 0.09, 31)
        # A bright neighbour on one side means that the rectangle reaches further there.
        shift = np.zeros((4, 3, 3, 3))
        for index, (row, column) in enumerate(((1, 0), (0, 1), (1, 2), (2, 1))):
            shift[index, row, column] = 0.9
            shift[index, 2 - row, 2 - column] = -0.5
        reach = np.array([0.6, 0.6, 1.6, 1.6])
        outputs[f"box_{stride}"] = maker.conv(source, f"box_{stride}", shift, reach, 0.021, -101)
    contracts = (contract_metadata(PreprocessSpec(width, height), spec),) if metadata else ()
    # Outputs in another order than the contract's: they are found by name.
    order = tuple(sorted(outputs.values(), reverse=True))
    write_tflite(Graph(tuple(maker.tensors), tuple(maker.operators), (0,), order, contracts), path)
    return path


def write_toy_data(folder: Path, images: int = 6) -> Path:
    """Write train and valid in Roboflow's layout; category ids are sparse and not in the order of the names."""
    for split, seed in (("train", 1), ("valid", 2)):
        rng = np.random.default_rng(seed)
        (folder / split).mkdir(parents=True)
        records, annotations = [], []
        for image_id in range(images):
            width, height = ((120, 80), (96, 64), (64, 90))[image_id % 3]
            pixels = rng.integers(0, 70, (height, width, 3), dtype=np.uint8)
            for _ in range(int(rng.integers(1, 5))):
                w, h = (int(v) for v in rng.integers(14, 32, 2))
                x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
                label = int(rng.integers(0, 3))
                pixels[y : y + h, x : x + w, label] = rng.integers(150, 256)
                box = {"bbox": [x, y, w, h], "area": w * h, "category_id": (7, 3, 9)[label], "iscrowd": 0}
                annotations.append({"id": len(annotations) + 1, "image_id": image_id + 40, **box})
            name = f"picture{image_id}.png"
            Image.fromarray(pixels).save(folder / split / name)
            records.append({"id": image_id + 40, "file_name": name, "width": width, "height": height})
        categories = [{"id": i, "name": name} for i, name in ((3, "green"), (7, "red"), (9, "blue"))]
        content = {"images": records, "annotations": annotations, "categories": categories}
        (folder / split / "_annotations.coco.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("toy_model") / "toy.tflite")


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_data(tmp_path_factory.mktemp("toy_data"))
