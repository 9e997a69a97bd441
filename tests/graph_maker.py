"""Random int8 graphs with realistic ranges, for tests and benchmarks; not a test itself.

Tests have no package (importlib mode): the files that use it load it by path.
"""

from __future__ import annotations

import numpy as np

from edgedet.graph import graph as g


def quantization(scale: float | np.ndarray, zero_point: int = 0, axis: int = 0) -> g.Quantization:
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    return g.Quantization(scales, np.full(scales.shape, zero_point, np.int64), axis)


class GraphMaker:
    """Adds operators one after the other; every method returns the index of the new tensor."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[g.Tensor] = []
        self.operators: list[g.Operator] = []
        self.inputs: list[int] = []

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "int8",
        quant: g.Quantization | None = None,
        data: np.ndarray | None = None,
        name: str = "",
    ) -> int:
        index = len(self.tensors)
        self.tensors.append(g.Tensor(name or f"t{index}", tuple(int(s) for s in shape), dtype, quant, data))
        return index

    def input(self, shape: tuple[int, ...], scale: float = 1 / 255, zero_point: int = -128, name: str = "") -> int:
        self.inputs.append(self.tensor(shape, "int8", quantization(scale, zero_point), name=name))
        return self.inputs[-1]

    def constant(self, values: object, dtype: str = "int32") -> int:
        data = np.asarray(values, dtype)
        return self.tensor(data.shape, dtype, None, data)

    def scale(self, index: int) -> float:
        quant = self.tensors[index].quantization
        assert quant is not None
        return float(quant.scale[0])

    def params(self, index: int) -> tuple[float, int]:
        quant = self.tensors[index].quantization
        assert quant is not None
        return float(quant.scale[0]), int(quant.zero_point[0])

    def add(
        self,
        kind: str,
        inputs: list[int],
        shape: tuple[int, ...],
        params: tuple[float, int],
        options: g.Options | None = None,
        name: str = "",
    ) -> int:
        out = self.tensor(shape, "int8", quantization(*params), name=name)
        self.operators.append(g.Operator(kind, tuple(inputs), (out,), options or g.NoOptions()))
        return out

    def same(self, kind: str, inputs: list[int], shape: tuple[int, ...], options: g.Options | None = None) -> int:
        """An operator whose output has the scale of its first int8 input."""
        source = next(i for i in inputs if self.tensors[i].dtype == "int8")
        return self.add(kind, inputs, shape, self.params(source), options)

    def conv(
        self,
        x: int,
        channels: int,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        padding: str = "SAME",
        dilation: tuple[int, int] = (1, 1),
        activation: str = "NONE",
        zero_point: int | None = None,
        per_channel: bool = True,
        bias: bool = True,
        depthwise: bool = False,
        spread: float = 0.35,
        name: str = "",
    ) -> int:
        """CONV_2D or DEPTHWISE_CONV_2D; `spread`: share of the output range that one standard deviation takes."""
        batch, height, width, depth = self.tensors[x].shape
        shape = (1, *kernel, channels) if depthwise else (channels, *kernel, depth)
        axis = 3 if depthwise else 0
        weights = np.clip(np.round(self.rng.normal(0, 40, shape)), -127, 127).astype(np.int8)
        fan_in = kernel[0] * kernel[1] * (1 if depthwise else depth)
        deviation = np.sqrt(fan_in) * 40 * 60  # of the sums, in codes
        typical = 2.0 / (deviation * self.scale(x))  # gives outputs a standard deviation of 2
        weight_scale = (typical * self.rng.uniform(0.5, 2.0, channels if per_channel else 1)).astype(np.float32)
        bias_scale = np.float32(self.scale(x)) * weight_scale
        codes = np.round(self.rng.normal(0, deviation / 3, channels)).astype(np.int32)
        inputs = [x, self.tensor(shape, "int8", quantization(weight_scale, 0, axis), weights)]
        if bias:
            inputs.append(self.tensor((channels,), "int32", quantization(bias_scale), codes))
        out_scale = float(np.float32(deviation * float(bias_scale.mean()) / (256 * spread)))
        if zero_point is None:
            zero_point = int(self.rng.integers(-40, 40)) if activation == "NONE" else -128
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        if padding == "SAME":
            sides = [-(-n // s) for n, s in zip((height, width), stride, strict=True)]
        else:
            sides = [(n - r) // s + 1 for n, r, s in zip((height, width), reach, stride, strict=True)]
        options: g.Options = g.ConvOptions(padding, stride, dilation, activation)
        if depthwise:
            options = g.DepthwiseConvOptions(padding, stride, dilation, activation, channels // depth)
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        return self.add(kind, inputs, (batch, *sides, channels), (out_scale, zero_point), options, name)

    def transpose_conv(
        self,
        x: int,
        channels: int,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (2, 2),
        padding: str = "SAME",
        activation: str = "NONE",
        per_channel: bool = True,
        bias: bool = True,
        spread: float = 0.35,
        sides: tuple[int, int] | None = None,
    ) -> int:
        """TRANSPOSE_CONV; `sides`: height and width of the output, other than those that fit exactly."""
        batch, height, width, depth = self.tensors[x].shape
        weights = np.clip(np.round(self.rng.normal(0, 40, (channels, *kernel, depth))), -127, 127).astype(np.int8)
        deviation = np.sqrt(max(1, kernel[0] * kernel[1] // (stride[0] * stride[1])) * depth) * 40 * 60
        weight_scale = self.rng.uniform(0.01, 0.04, channels if per_channel else 1).astype(np.float32)
        bias_scale = np.float32(self.scale(x)) * weight_scale
        if sides is None:
            full = [(n - 1) * s + k for n, s, k in zip((height, width), stride, kernel, strict=True)]
            sides = (height * stride[0], width * stride[1]) if padding == "SAME" else (full[0], full[1])
        shape = (batch, *sides, channels)
        inputs = [self.constant(shape), self.tensor(weights.shape, "int8", quantization(weight_scale), weights), x]
        if bias:
            codes = np.round(self.rng.normal(0, deviation / 3, channels)).astype(np.int32)
            inputs.append(self.tensor((channels,), "int32", quantization(bias_scale), codes))
        out_scale = float(np.float32(deviation * float(bias_scale.mean()) / (256 * spread)))
        zero_point = int(self.rng.integers(-40, 40)) if activation == "NONE" else -128
        options = g.TransposeConvOptions(padding, stride, activation)
        return self.add("TRANSPOSE_CONV", inputs, shape, (out_scale, zero_point), options)

    def pool(self, kind: str, x: int, size: int, stride: int, padding: str = "SAME", activation: str = "NONE") -> int:
        batch, height, width, depth = self.tensors[x].shape
        if padding == "SAME":
            sides = [-(-n // stride) for n in (height, width)]
        else:
            sides = [(n - size) // stride + 1 for n in (height, width)]
        options = g.PoolOptions((size, size), (stride, stride), padding, activation)
        return self.same(kind, [x], (batch, *sides, depth), options)

    def concat(self, xs: list[int]) -> int:
        shapes = [self.tensors[x].shape for x in xs]
        return self.same("CONCATENATION", xs, (*shapes[0][:3], sum(s[3] for s in shapes)), g.ConcatOptions(3))

    def alias_scale(self, index: int, source: int) -> int:
        """Give a tensor the scale and zero point of another, as a shared-scale group does."""
        old = self.tensors[index]
        self.tensors[index] = g.Tensor(old.name, old.shape, old.dtype, self.tensors[source].quantization, old.data)
        return index

    def graph(self, outputs: list[int], metadata: tuple[tuple[str, bytes], ...] = ()) -> g.Graph:
        return g.Graph(tuple(self.tensors), tuple(self.operators), tuple(self.inputs), tuple(outputs), metadata)

    def codes(self, graph: g.Graph) -> tuple[np.ndarray, ...]:
        """Random codes for every input."""
        return tuple(self.rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs)


def every_operator() -> g.Graph:
    """One of each operator that there is C for, two inputs, odd shapes."""
    m = GraphMaker(5)
    x, second = m.input((1, 12, 10, 6)), m.input((1, 12, 10, 6), 0.02, 5)
    y = m.conv(x, 8, (3, 5), (1, 1), dilation=(2, 1), activation="RELU6", zero_point=-128)
    y = m.add("ADD", [y, m.conv(second, 8, (1, 1))], (1, 12, 10, 8), (0.05, 9), g.ElementwiseOptions("RELU"))
    y = m.conv(y, 16, (5, 3), (2, 1), depthwise=True)
    y = m.add("SUB", [y, m.conv(y, 16, (1, 1), per_channel=False)], (1, 6, 10, 16), (0.04, -9), g.ElementwiseOptions())
    y = m.add("HARD_SWISH", [y], (1, 6, 10, 16), (0.03, 1))
    y = m.same("PAD", [y, m.constant([[0, 0], [1, 0], [2, 1], [0, 0]])], (1, 7, 13, 16))
    y = m.pool("AVERAGE_POOL_2D", m.pool("MAX_POOL_2D", y, 3, 2), 2, 1, "VALID")
    y = m.same("RESIZE_NEAREST_NEIGHBOR", [y, m.constant([7, 9])], (1, 7, 9, 16), g.ResizeOptions())
    mean = m.add("MEAN", [y, m.constant([1, 2])], (1, 1, 1, 16), (0.02, 4), g.ReduceOptions(True))
    y = m.add("MUL", [y, mean], (1, 7, 9, 16), (0.03, 2), g.ElementwiseOptions())
    y = m.same("TRANSPOSE", [y, m.constant([0, 2, 1, 3])], (1, 9, 7, 16))
    y = m.same(
        "STRIDED_SLICE",
        [y, *(m.constant(v) for v in ([0, 8, 1, 0], [1, 0, 7, 16], [1, -2, 2, 1]))],
        (1, 4, 3, 16),
        g.StridedSliceOptions(),
    )
    y = m.same("DEPTH_TO_SPACE", [y], (1, 8, 6, 4), g.BlockSizeOptions(2))
    y = m.same("SPACE_TO_DEPTH", [y], (1, 4, 3, 16), g.BlockSizeOptions(2))
    y = m.same("SLICE", [y, m.constant([0, 1, 0, 3]), m.constant([1, 2, 3, 9])], (1, 2, 3, 9))
    flat = m.same("RESHAPE", [y, m.constant([1, 54])], (1, 54), g.ReshapeOptions((1, 54)))
    weights = m.tensor((7, 54), "int8", quantization(0.01), m.rng.integers(-99, 99, (7, 54)).astype(np.int8))
    dense = m.add("FULLY_CONNECTED", [flat, weights, -1], (1, 7), (0.4, 3), g.FullyConnectedOptions())
    packed = m.same("PACK", [dense, dense], (1, 2, 7), g.PackOptions(2, 1))
    joined = m.same("CONCATENATION", [packed, packed, packed], (1, 6, 7), g.ConcatOptions(1))
    return m.graph([joined, mean])


def rtmdet_like(size: int = 192, classes: int = 3, seed: int = 0) -> g.Graph:
    """A network of the shape of rtmdet_nano_ncadc_relu6: CSPNeXt, PAFPN, separate heads; random weights."""
    m = GraphMaker(seed)

    def conv(x: int, channels: int, kernel: int = 1, stride: int = 1, depthwise: bool = False) -> int:
        return m.conv(x, channels, (kernel, kernel), (stride, stride), activation="RELU6", depthwise=depthwise)

    def csp(x: int, channels: int, blocks: int, shortcut: bool) -> int:
        half = channels // 2
        main, short = conv(x, half), conv(x, half)
        for _ in range(blocks):
            y = conv(conv(conv(main, half, 3), half, 5, depthwise=True), half)
            if shortcut:
                params = (float(np.float32(m.scale(y) * 1.3)), -120)
                y = m.add("ADD", [main, y], m.tensors[y].shape, params, g.ElementwiseOptions())
            main = y
        return conv(m.concat([main, m.alias_scale(short, main)]), channels)

    def upsample(x: int) -> int:
        batch, height, width, depth = m.tensors[x].shape
        sizes = m.constant([2 * height, 2 * width])
        shape = (batch, 2 * height, 2 * width, depth)
        return m.same("RESIZE_NEAREST_NEIGHBOR", [x, sizes], shape, g.ResizeOptions())

    x = m.input((1, size, size, 3))
    x = conv(conv(conv(x, 8, 3, 2), 8, 3), 16, 3)
    levels = []
    for stage, (channels, blocks) in enumerate(((32, 1), (64, 2), (128, 2), (256, 1))):
        x = conv(x, channels, 3, 2)
        if stage == 3:
            y = conv(x, channels // 2)
            x = conv(m.concat([y, *(m.pool("MAX_POOL_2D", y, k, 1) for k in (5, 9, 13))]), channels)
        x = csp(x, channels, blocks, shortcut=stage < 3)
        levels.append(x)
    top, outs = levels[3], []
    reduced = []
    for level in (levels[2], levels[1]):
        lateral = conv(top, m.tensors[level].shape[3])
        reduced.append(lateral)
        up = upsample(lateral)
        top = csp(m.concat([up, m.alias_scale(level, up)]), m.tensors[level].shape[3], 1, shortcut=False)
    outs.append(top)
    for lateral in reversed(reduced):
        down = conv(top, m.tensors[top].shape[3], 3, 2)
        top = csp(m.concat([m.alias_scale(down, lateral), lateral]), 2 * m.tensors[top].shape[3], 1, shortcut=False)
        outs.append(top)
    results = []
    for x, stride in zip(outs, (8, 16, 32), strict=True):
        feature = conv(x, 64, 3)
        for kind, channels in (("cls", classes), ("box", 4)):
            y = conv(conv(feature, 64, 3), 64, 3)
            activation = "NONE" if kind == "cls" else "RELU"
            results.append(m.conv(y, channels, (1, 1), activation=activation, name=f"{kind}_{stride}"))
    return m.graph(results)
