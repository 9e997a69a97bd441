"""Small ONNX files, made node by node; not a test itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


class OnnxMaker:
    """Adds nodes one after the other; every method returns the name of the new tensor."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> Any:
        from onnx import helper

        names = [f"y{len(self.nodes)}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, values: Any, dtype: str = "float32") -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def shape(self, *sides: int) -> str:
        return self.constant(sides, "int64")

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, **attributes: Any) -> str:
        group = attributes.get("group", 1)
        fan_in = inputs // group * kernel * kernel
        weight = self.rng.normal(0, fan_in**-0.5, (outputs, inputs // group, kernel, kernel))
        bias = self.rng.normal(0, 0.2, outputs)
        options = {"strides": [stride] * 2, "pads": [kernel // 2] * 4, **attributes}
        options = {key: value for key, value in options.items() if value is not None}
        return str(
            self.add("Conv", [x, self.constant(weight), self.constant(bias)], kernel_shape=[kernel] * 2, **options)
        )

    def model(self, outputs: list[str], shape: tuple[Any, ...] = (1, 3, 12, 16), opset: int = 17) -> Any:
        from onnx import TensorProto, helper

        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "g",
            [value("x", TensorProto.FLOAT, shape)],
            [helper.make_empty_tensor_value_info(o) for o in outputs],
            self.constants,
        )
        for output in graph.output:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)

    def save(self, path: Path, outputs: list[str], shape: tuple[Any, ...] = (1, 3, 12, 16), opset: int = 17) -> Path:
        path.write_bytes(self.model(outputs, shape, opset).SerializeToString())
        return path
