"""int8 models that TensorFlow made: simulator, generated C and emulated chips equal TFLite's reference kernels."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgedet.graph.flatbuffer import parse_tflite
from edgedet.runtimes.generated_c import HostModule, QemuModule
from edgedet.simulate.simulator import Simulator

pytestmark = [
    pytest.mark.onnx,
    pytest.mark.slow,
    pytest.mark.toolchain,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs the extra onnx2tf (TensorFlow)"),
]


def residual(keras: Any) -> Any:
    """A MobileNet-like block with an ADD, a concatenation and a dense end; 48x40 input, odd sizes inside."""
    layers = keras.layers
    image = keras.Input((48, 40, 3), batch_size=1)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(image)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(x)
    y = layers.Conv2D(8, 1, padding="same")(y)
    x = layers.Add()([x, y])
    z = layers.MaxPooling2D(2)(x)
    z = layers.Conv2D(12, 3, strides=2, padding="valid", activation="relu")(z)
    z = layers.Concatenate()([z, layers.Conv2D(5, 3, padding="same", activation="relu6")(z)])
    z = layers.GlobalAveragePooling2D(keepdims=True)(z)
    return keras.Model(image, layers.Dense(7)(layers.Flatten()(z)))


def heads(keras: Any) -> Any:
    """Two outputs, sigmoid and linear, as other makers' detectors have; explicit padding, average pool, multiply."""
    layers = keras.layers
    image = keras.Input((33, 57, 3), batch_size=1)
    x = layers.ZeroPadding2D(1)(image)
    x = layers.Conv2D(6, 3, strides=2, padding="valid", activation="relu")(x)
    gate = layers.Conv2D(6, 1, activation="sigmoid")(x)
    x = layers.Multiply()([x, gate])
    x = layers.AveragePooling2D(2)(x)
    scores = layers.Conv2D(4, 3, padding="same", activation="sigmoid")(x)
    boxes = layers.Conv2D(4, 3, padding="same")(x)
    return keras.Model(image, [scores, boxes])


def int8_file(make: Callable[[Any], Any]) -> bytes:
    """The network with seeded weights, quantized by TensorFlow's own converter."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    model = make(tf.keras)
    rng = np.random.default_rng(0)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    shape = model.inputs[0].shape
    converter.representative_dataset = lambda: ([rng.random(shape, np.float32)] for _ in range(8))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.mark.parametrize("make", [residual, heads])
def test_tensorflow_model_is_equal_everywhere(make: Callable[[Any], Any], require_tool: Callable[..., str]) -> None:
    for program in ("cc", "arm-none-eabi-gcc", "qemu-system-arm"):
        require_tool(program)
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    data = int8_file(make)
    graph = parse_tflite(data, make.__name__)
    reference = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    reference.allocate_tensors()
    runs = {
        "sim": Simulator(graph).invoke,
        "c99": HostModule(data, graph),
        "cortex-m4": QemuModule(data, graph, "cortex-m4"),
        "cortex-m55": QemuModule(data, graph, "cortex-m55"),
    }
    rng = np.random.default_rng(1)
    for _ in range(3):
        codes = rng.integers(-128, 128, graph.tensors[graph.inputs[0]].shape).astype(np.int8)
        reference.set_tensor(reference.get_input_details()[0]["index"], codes)
        reference.invoke()
        # LiteRT lists outputs in the order of the file, as the graph does.
        expected = [reference.get_tensor(detail["index"]) for detail in reference.get_output_details()]
        for name, run in runs.items():
            found = run(codes)
            assert len(found) == len(expected), name
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(np.asarray(a).reshape(b.shape), b, err_msg=name)
