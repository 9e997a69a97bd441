"""Random graphs with int16 activations; not a test itself."""

from __future__ import annotations

from dataclasses import replace

import graph_maker as maker
import numpy as np

from edgedet.graph import graph as g

SOFT = 0.05 / 128  # a scale for activations
GENERAL = {"pot_scale_int16": False}


class Int16Maker(maker.GraphMaker):  # type: ignore[misc]  # loaded by path
    """Operators on int16 tensors."""

    def wide_input(self, shape: tuple[int, ...], scale: float = SOFT) -> int:
        self.inputs.append(self.tensor(shape, "int16", maker.quantization(scale)))
        return self.inputs[-1]

    def wide(
        self, kind: str, inputs: list[int], shape: tuple[int, ...], scale: float, options: g.Options | None = None
    ) -> int:
        out = self.tensor(shape, "int16", maker.quantization(scale))
        self.operators.append(g.Operator(kind, tuple(inputs), (out,), options or g.NoOptions()))
        return out

    def cast(self, x: int, dtype: str, scale: float, zero_point: int = 0) -> int:
        out = self.tensor(self.tensors[x].shape, dtype, maker.quantization(scale, zero_point))
        self.operators.append(g.Operator("QUANTIZE", (x,), (out,)))
        return out

    def wide_conv(self, x: int, channels: int, bias_size: int = 0, bias_dtype: str = "int64", **options: object) -> int:
        """A convolution of the int8 maker, changed to int16 activations; `bias_size`: largest bias, 0 as it comes."""
        out = self.conv(x, channels, zero_point=0, **options)
        y = self.tensors[out]
        # Sums are 256 times larger than the int8 maker thinks.
        self.tensors[out] = replace(y, dtype="int16", quantization=maker.quantization(self.scale(out)))
        position = self.operators[-1].inputs[2]
        bias = self.tensors[position]
        codes = bias.data.astype(np.int64) * 256
        if bias_size:
            codes = self.rng.integers(-bias_size, bias_size, codes.shape)
        self.tensors[position] = replace(bias, dtype=bias_dtype, data=codes.astype(bias_dtype))
        return out

    def rescale_weights(self, number: int, multipliers: np.ndarray) -> None:
        """Choose weight scales so that a convolution has these real multipliers."""
        x, weights, bias = self.operators[number].inputs
        scale = multipliers * self.scale(self.operators[number].outputs[0]) / self.scale(x)
        for index, factor in ((weights, 1.0), (bias, self.scale(x))):
            old = self.tensors[index]
            axis = 3 if index == weights and self.operators[number].kind == "DEPTHWISE_CONV_2D" else 0
            self.tensors[index] = replace(old, quantization=maker.quantization(scale * factor, 0, axis))

    def wide_codes(self, graph: g.Graph) -> tuple[np.ndarray, ...]:
        """Random codes of all magnitudes, with the extremes among them."""
        return tuple(self._random(graph.tensors[i]) for i in graph.inputs)

    def _random(self, tensor: g.Tensor) -> np.ndarray:
        limits = np.iinfo(tensor.dtype)
        values = self.rng.integers(limits.min, limits.max + 1, tensor.shape)
        values >>= self.rng.integers(0, limits.bits, tensor.shape)
        flat = values.reshape(-1)
        flat[: min(4, flat.size)] = [limits.min, limits.max, 0, -1][: flat.size]
        return values.astype(tensor.dtype)


CONVS = {
    "3x3": {"kernel": (3, 3)},
    "1x1": {"kernel": (1, 1)},
    "1x1 stride 2": {"kernel": (1, 1), "stride": (2, 2)},
    "stride 2": {"kernel": (3, 3), "stride": (2, 2)},
    "valid": {"kernel": (3, 3), "padding": "VALID"},
    "valid stride 2": {"kernel": (3, 2), "stride": (2, 2), "padding": "VALID"},
    "dilated": {"kernel": (3, 3), "dilation": (2, 3)},
    "5x5 relu": {"kernel": (5, 5), "activation": "RELU"},
    "relu6": {"kernel": (3, 3), "activation": "RELU6"},
    "per tensor": {"kernel": (3, 3), "per_channel": False},
    "saturating": {"kernel": (3, 3), "spread": 400.0},
    "48-bit bias": {"kernel": (3, 3), "bias_size": 2**47 - 2**33},
    "33-bit bias": {"kernel": (3, 3), "bias_size": 2**33, "activation": "RELU"},
}


def all_convolutions() -> g.Graph:
    """Every kind of convolution, side by side."""
    m = Int16Maker(11)
    x = m.wide_input((2, 9, 11, 6))
    outputs = [m.wide_conv(x, 7, **options) for options in CONVS.values()]
    outputs += [m.wide_conv(x, 12, depthwise=True, **options) for options in CONVS.values()]
    outputs.append(m.wide_conv(x, 5, kernel=(1, 1), bias_size=2**40))
    deep = m.wide_input((1, 1, 2, 700))
    outputs.append(m.wide_conv(deep, 9, kernel=(1, 1), spread=0.01))
    long = m.wide_input((1, 19, 17, 2))
    outputs.append(m.wide_conv(long, 2, kernel=(19, 17), depthwise=True))
    return m.graph(outputs)


def all_operators() -> g.Graph:
    """int8 at both ends and, in between, every operator that the generated C has for int16, besides convolutions."""
    m = Int16Maker(5)
    x = m.input((1, 12, 10, 3), 0.05, -3)
    wide = m.cast(x, "int16", SOFT)
    shape, general = (1, 12, 10, 6), g.ElementwiseOptions(**GENERAL)
    a, b = m.wide_conv(wide, 6, kernel=(3, 3)), m.wide_conv(wide, 6, kernel=(1, 1), activation="RELU6")
    total = m.wide("ADD", [a, b], shape, 0.7 * m.scale(a) + m.scale(b), general)
    soft = m.wide("LOGISTIC", [total], shape, 1 / 32768)
    silu = m.wide("MUL", [total, soft], shape, 0.9 * m.scale(total), general)
    pooled = m.wide("MAX_POOL_2D", [silu], shape, m.scale(silu), g.PoolOptions((5, 5), (1, 1)))
    joined = m.wide("CONCATENATION", [silu, pooled], (1, 12, 10, 12), m.scale(silu), g.ConcatOptions(3))
    mixed = m.wide_conv(joined, 8, kernel=(1, 1))
    column = m.wide("MEAN", [mixed, m.constant([1, 2])], (1, 1, 1, 8), m.scale(mixed), g.ReduceOptions(True))
    scaled = m.wide("MUL", [mixed, column], (1, 12, 10, 8), m.scale(mixed) ** 2 * 3000, general)
    constant = m.tensor(
        (1, 1, 10, 1), "int16", maker.quantization(0.001), np.arange(-500, 500, 100, np.int16).reshape(1, 1, 10, 1)
    )
    moved = m.wide("SUB", [scaled, constant], (1, 12, 10, 8), 1.5 * m.scale(scaled) + 0.001, general)
    average = m.wide("AVERAGE_POOL_2D", [moved], (1, 6, 5, 8), m.scale(moved), g.PoolOptions((3, 3), (2, 2)))
    larger = m.wide(
        "RESIZE_NEAREST_NEIGHBOR", [average, m.constant([12, 10])], (1, 12, 10, 8), m.scale(moved), g.ResizeOptions()
    )
    rows = m.wide("CONCATENATION", [larger, moved], (1, 24, 10, 8), m.scale(moved), g.ConcatOptions(1))
    pads = m.constant([[0, 0], [1, 2], [0, 1], [2, 0]])
    padded = m.wide("PAD", [rows, pads], (1, 27, 11, 10), m.scale(moved))
    turned = m.wide("TRANSPOSE", [padded, m.constant([0, 3, 1, 2])], (1, 10, 27, 11), m.scale(moved))
    part = m.wide("SLICE", [turned, m.constant([0, 2, 3, 1]), m.constant([1, 8, 9, 7])], (1, 8, 9, 7), m.scale(moved))
    bounds = (m.constant([0, 1, 0, 0]), m.constant([1, 8, 9, 7]), m.constant([1, 2, 2, 3]))
    thin = m.wide("STRIDED_SLICE", [part, *bounds], (1, 4, 5, 3), m.scale(moved), g.StridedSliceOptions())
    steps = np.arange(-700, 800, 300, np.int16).reshape(1, 1, 5, 1)
    narrow = m.tensor((1, 1, 5, 1), "int16", maker.quantization(m.scale(moved)), steps)
    thin = m.wide("MAXIMUM", [narrow, thin], (1, 4, 5, 3), m.scale(moved))
    row = m.wide("SLICE", [thin, m.constant([0, 1, 0, 0]), m.constant([1, 1, 5, 3])], (1, 1, 5, 3), m.scale(moved))
    thin = m.wide("MINIMUM", [thin, row], (1, 4, 5, 3), m.scale(moved))
    flat = m.wide("RESHAPE", [thin, m.constant([1, 60])], (1, 60), m.scale(moved), g.ReshapeOptions((1, 60)))
    return m.graph([m.cast(mixed, "int8", 0.4, 7), flat, part, column])
