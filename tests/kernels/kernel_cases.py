"""Recorded calls of kernels and what they must return, computed slowly with NumPy; not a test itself.

A case is one call: parameters as integers in the order in which chip/run_cases.c takes them, arrays, and the expected
output with every byte that the kernel must leave alone (HOLE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgedet.codegen.channel_constants import channel_constants
from edgedet.numerics import integer, tables

# In the order of run_cases.c.
OPERATORS = (
    "conv",
    "depthwise_conv",
    "fully_connected",
    "add",
    "sub",
    "mul",
    "max_pool",
    "average_pool",
    "mean",
    "resize_nearest",
    "pad",
    "copy",
    "lut",
    "requantize",
    "transpose",
    "concat",
    "gather",
    "transpose_conv",
    "resize_bilinear",
    "minmax",
    "prelu",
    "reduce_minmax",
    "arg_minmax",
)
HOLE = 0x5A
TRANSPOSE_AXES = 6


@dataclass(frozen=True, eq=False)
class Case:
    """One call of a kernel."""

    name: str
    operator: str
    integers: tuple[int, ...]
    arrays: tuple[np.ndarray, ...]
    expected: np.ndarray  # int8 (bytes,)
    in_place: bool = False
    macs: int = 0

    def encode(self) -> bytes:
        """The case as words of cases.bin."""
        words = [OPERATORS.index(self.operator), self.expected.size, int(self.in_place), len(self.integers)]
        parts = [np.array([*words, *self.integers, len(self.arrays)], np.int32).tobytes()]
        for array in self.arrays:
            data = np.ascontiguousarray(array).tobytes()
            parts.append(np.int32(len(data)).tobytes() + data + bytes(-len(data) % 4))
        return b"".join(parts)


@dataclass(frozen=True)
class Layout:
    """How an image lies in its buffer: gaps are elements that do not belong to it."""

    height: int
    width: int
    channels: int
    pixel_gap: int = 0
    row_gap: int = 0

    @property
    def pixel_stride(self) -> int:
        return self.channels + self.pixel_gap

    @property
    def row_stride(self) -> int:
        return self.width * self.pixel_stride + self.row_gap

    @property
    def size(self) -> int:
        return (self.height - 1) * self.row_stride + (self.width - 1) * self.pixel_stride + self.channels

    @property
    def integers(self) -> tuple[int, ...]:
        return (self.height, self.width, self.channels, self.pixel_stride, self.row_stride)

    @property
    def steps(self) -> tuple[int, int, int]:
        return (self.row_stride, self.pixel_stride, 1)

    def scatter(self, image: np.ndarray) -> np.ndarray:
        """Buffer with the image in it; HOLE elsewhere."""
        buffer = np.full(self.size, HOLE, np.int8)
        y, x, c = np.ogrid[: self.height, : self.width, : self.channels]
        buffer[y * self.row_stride + x * self.pixel_stride + c] = image
        return buffer


def codes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random codes over the whole range."""
    return rng.integers(-128, 128, shape).astype(np.int8)


@dataclass(frozen=True)
class Requant:
    """Requantization of a weighted operator, before the kernel's constants are made."""

    real: np.ndarray  # float64 (channels,)
    zero_point: int = 0
    low: int = -128
    high: int = 127


@dataclass(frozen=True)
class Window:
    """Sliding window."""

    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)  # top, left

    @property
    def integers(self) -> tuple[int, ...]:
        return (*self.kernel, *self.stride, *self.dilation, *self.pad)


def same_pad(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """(output size, padding before) of TFLite's SAME."""
    out = -(-size // stride)
    return out, max((out - 1) * stride + kernel - size, 0) // 2


def patches(image: np.ndarray, window: Window, out: tuple[int, int], fill: int) -> np.ndarray:
    """int64 (out height, out width, kernel height, kernel width, channels); taps outside are `fill`."""
    height, width, channels = image.shape
    result = np.full((*out, *window.kernel, channels), fill, np.int64)
    for y, x, ky, kx in np.ndindex(*out, *window.kernel):
        iy = y * window.stride[0] - window.pad[0] + ky * window.dilation[0]
        ix = x * window.stride[1] - window.pad[1] + kx * window.dilation[1]
        if 0 <= iy < height and 0 <= ix < width:
            result[y, x, ky, kx] = image[iy, ix]
    return result


def wrapped(accumulator: np.ndarray) -> np.ndarray:
    """An accumulator that the kernel may hold: the reference must not leave int32 either."""
    assert accumulator.min() >= -(2**31)
    assert accumulator.max() < 2**31
    return accumulator


def biases_at_the_ends(pixels: np.ndarray, weights: np.ndarray, axis: int, zero_point: int) -> np.ndarray:
    """int32 biases: the smallest and the largest that int32 accumulators allow, in turns.

    The codes of `pixels` become the extreme ones, so that the end is reached where a window holds the right ones.
    """
    rows = np.moveaxis(weights.astype(np.int64), axis, 0).reshape(weights.shape[axis], -1)
    pixels[...] = np.where(pixels < 0, -128, 127)
    ends = [(rows * (code - zero_point)) for code in (-128, 127)]
    lowest, highest = np.minimum(*ends).sum(axis=1), np.maximum(*ends).sum(axis=1)
    return np.where(np.arange(len(rows)) % 2 == 0, -(2**31) - lowest, 2**31 - 1 - highest).astype(np.int32)


def conv_case(
    rng: np.random.Generator,
    name: str,
    image: Layout,
    out: Layout,
    window: Window,
    requant: Requant,
    *,
    zero_point: int = -128,
    bias_reach: int = 3000,
    depthwise: bool = False,
    force_general: bool = False,
    smallest_weight: int = -127,
    at_the_ends: bool = False,
) -> Case:
    """CONV_2D or DEPTHWISE_CONV_2D with random weights, the extreme ones among them.

    smallest_weight: of the random weights; the largest is 127. at_the_ends: biases with which the accumulators reach
    exactly the ends of int32; channel 0 is dead: weights 0, bias -2^31.
    """
    pixels = codes(rng, image.height, image.width, image.channels)
    shape = (1, *window.kernel, out.channels) if depthwise else (out.channels, *window.kernel, image.channels)
    weights = rng.integers(smallest_weight, 128, shape).astype(np.int8)
    bias = rng.integers(-bias_reach, bias_reach + 1, out.channels).astype(np.int32)
    axis = 3 if depthwise else 0
    if at_the_ends:
        weights[(0,) if axis == 0 else (..., 0)] = 0
        bias = biases_at_the_ends(pixels, weights, axis, zero_point)
    constants = channel_constants(weights, bias, axis, zero_point, requant.real, name)
    x = patches(pixels, window, (out.height, out.width), zero_point) - zero_point
    if depthwise:
        x = np.repeat(x, out.channels // image.channels, axis=-1)
        accumulator = (x * weights[0].astype(np.int64)).sum(axis=(2, 3)) + bias
    else:
        flat = x.reshape(out.height * out.width, -1) @ weights.reshape(out.channels, -1).astype(np.int64).T
        accumulator = flat.reshape(out.height, out.width, out.channels) + bias
    multiplier, shift = constants.multiplier.astype(np.int64), constants.shift.astype(np.int64)
    result = integer.requantize(wrapped(accumulator), multiplier, shift, requant.zero_point, requant.low, requant.high)
    flags = 0 if force_general else constants.flags
    integers = (*image.integers, *out.integers, *window.integers)
    integers += (requant.zero_point, requant.low, requant.high, flags, zero_point)
    arrays = (image.scatter(pixels), weights, constants.bias, constants.multiplier, constants.shift)
    taps = weights.size // out.channels
    return Case(
        name,
        "depthwise_conv" if depthwise else "conv",
        integers,
        arrays,
        out.scatter(result),
        macs=out.height * out.width * out.channels * taps,
    )


def fully_connected_case(rng: np.random.Generator, rows: int, depth: int, channels: int) -> Case:
    """FULLY_CONNECTED."""
    x, weights = codes(rng, rows, depth), rng.integers(-127, 128, (channels, depth)).astype(np.int8)
    bias = rng.integers(-9000, 9000, channels).astype(np.int32)
    zero_point, out_zero_point = int(rng.integers(-128, 128)), int(rng.integers(-128, 128))
    real = rng.uniform(0.5, 2.0, channels) / (5000 * np.sqrt(depth)) * 40
    constants = channel_constants(weights, bias, 0, zero_point, real, "fully connected")
    accumulator = (x.astype(np.int64) - zero_point) @ weights.T.astype(np.int64) + bias
    multiplier, shift = constants.multiplier.astype(np.int64), constants.shift.astype(np.int64)
    result = integer.requantize(accumulator, multiplier, shift, out_zero_point)
    integers = (rows, depth, channels, out_zero_point, -128, 127, constants.flags)
    arrays = (x, weights, constants.bias, constants.multiplier, constants.shift)
    return Case(
        f"fully_connected {rows}x{depth}->{channels}",
        "fully_connected",
        integers,
        arrays,
        result.ravel(),
        macs=rows * depth * channels,
    )


def elementwise_case(
    rng: np.random.Generator,
    operator: str,
    params: Sequence[tuple[float, int]],
    layouts: tuple[Layout, Layout, Layout],
    *,
    activation: str = "NONE",
    in_place: bool = False,
) -> Case:
    """ADD, SUB or MUL; an input of size 1 along an axis is broadcast. params: (scale, zero point) of in, in, out."""
    out = layouts[2]
    images = [codes(rng, image.height, image.width, image.channels) for image in layouts[:2]]
    if operator == "mul":
        table = tables.mul_table(params[0], params[1], params[2], activation)
        multiplier, shift = integer.quantize_multiplier(params[0][0] * params[1][0] / params[2][0])
        scaling = [multiplier, shift]
    else:
        sign = 1 if operator == "add" else -1
        table = tables.add_table(params[0], params[1], params[2], activation, sign)
        twice = 2.0 * max(params[0][0], params[1][0])
        reals = (params[0][0] / twice, params[1][0] / twice, twice / (2.0**20 * params[2][0]))
        scaling = [number for real in reals for number in integer.quantize_multiplier(real)]
    low, high = integer.activation_range(activation, *params[2])
    steps = [
        step if side > 1 or full == 1 else 0
        for image in layouts[:2]
        for step, side, full in zip(
            image.steps,
            (image.height, image.width, image.channels),
            (out.height, out.width, out.channels),
            strict=True,
        )
    ]
    result = table[images[0].view(np.uint8), images[1].view(np.uint8)]
    integers = (out.height, out.width, out.channels, *steps, *out.steps, *scaling)
    integers += (*(zero_point for _, zero_point in params), low, high)
    arrays = tuple(layout.scatter(image) for layout, image in zip(layouts[:2], images, strict=True))
    sizes = "x".join(str(side) for side in (out.height, out.width, out.channels))
    return Case(f"{operator} {sizes} {activation}", operator, integers, arrays, out.scatter(result), in_place)


def pool_case(
    rng: np.random.Generator,
    operator: str,
    image: Layout,
    out: Layout,
    window: Window,
    low: int = -128,
    high: int = 127,
) -> Case:
    """MAX_POOL_2D or AVERAGE_POOL_2D."""
    pixels = codes(rng, image.height, image.width, image.channels)
    outside = -1000
    x = patches(pixels, window, (out.height, out.width), outside)
    inside = x != outside
    if operator == "max_pool":
        result = x.max(axis=(2, 3))
    else:
        result = integer.rounded_average(np.where(inside, x, 0).sum(axis=(2, 3)), inside.sum(axis=(2, 3)))
    integers = (*image.integers, *out.integers, *window.integers, low, high)
    clipped = np.clip(result, low, high).astype(np.int8)
    name = f"{operator} {image.height}x{image.width}x{image.channels} {window.kernel}"
    return Case(name, operator, integers, (image.scatter(pixels),), out.scatter(clipped))


def mean_case(rng: np.random.Generator, outer: int, count: int, inner: int, scales: tuple[float, float]) -> Case:
    """MEAN."""
    x = codes(rng, outer, count, inner)
    zero_point, out_zero_point = int(rng.integers(-128, 128)), int(rng.integers(-128, 128))
    multiplier, shift = integer.mean_multiplier(scales[0] / scales[1], count)
    total = x.sum(axis=1, dtype=np.int64) - count * zero_point
    result = integer.requantize(total, multiplier, shift, out_zero_point)
    integers = (outer, count, inner, multiplier, shift, zero_point, out_zero_point)
    return Case(f"mean {outer}x{count}x{inner}", "mean", integers, (x,), result.ravel())


def resize_case(rng: np.random.Generator, image: Layout, out: Layout) -> Case:
    """RESIZE_NEAREST_NEIGHBOR."""
    pixels = codes(rng, image.height, image.width, image.channels)
    rows = (np.arange(out.height) * image.height // out.height).astype(np.int16)
    columns = (np.arange(out.width) * image.width // out.width).astype(np.int16)
    arrays = (image.scatter(pixels), rows, columns)
    expected = out.scatter(pixels[rows][:, columns])
    name = f"resize {image.height}x{image.width} -> {out.height}x{out.width}"
    return Case(name, "resize_nearest", (*image.integers, *out.integers), arrays, expected)


def pad_case(rng: np.random.Generator, image: Layout, out: Layout, place: tuple[int, int, int], fill: int) -> Case:
    """PAD; place: top, left, front."""
    pixels = codes(rng, image.height, image.width, image.channels)
    result = np.full((out.height, out.width, out.channels), fill, np.int8)
    top, left, front = place
    result[top : top + image.height, left : left + image.width, front : front + image.channels] = pixels
    integers = (*image.integers, *out.integers, *place, fill)
    return Case(f"pad {place}", "pad", integers, (image.scatter(pixels),), out.scatter(result))


def copy_case(rng: np.random.Generator, image: Layout, out: Layout) -> Case:
    """A copy between views."""
    pixels = codes(rng, image.height, image.width, image.channels)
    integers = (*image.integers, *out.integers)
    return Case("copy", "copy", integers, (image.scatter(pixels),), out.scatter(pixels))


def lut_case(rng: np.random.Generator, image: Layout, out: Layout, table: np.ndarray, in_place: bool = False) -> Case:
    """A table of 256 codes."""
    pixels = codes(rng, image.height, image.width, image.channels)
    expected = out.scatter(table[pixels.view(np.uint8)])
    integers = (*image.integers, *out.integers)
    return Case("lut", "lut", integers, (image.scatter(pixels), table), expected, in_place)


def requantize_case(rng: np.random.Generator, layout: Layout, source: tables.Params, target: tables.Params) -> Case:
    """QUANTIZE from int8 to int8, computed."""
    pixels = codes(rng, layout.height, layout.width, layout.channels)
    expected = layout.scatter(tables.requantize_table(source, target)[pixels.view(np.uint8)])
    multiplier, shift = integer.quantize_multiplier(source[0] / target[0])
    integers = (*layout.integers, *layout.integers, multiplier, shift, source[1], target[1])
    return Case(f"requantize {source} {target}", "requantize", integers, (layout.scatter(pixels),), expected)


def transpose_case(rng: np.random.Generator, shape: tuple[int, ...], order: tuple[int, ...]) -> Case:
    """TRANSPOSE."""
    x = codes(rng, *shape)
    steps = [stride // x.itemsize for stride in x.strides]
    blank = TRANSPOSE_AXES - len(shape)
    integers = (*[1] * blank, *(shape[axis] for axis in order), *[0] * blank, *(steps[axis] for axis in order))
    return Case(f"transpose {shape} {order}", "transpose", integers, (x,), x.transpose(order).ravel())


def concat_case(rng: np.random.Generator, outer: int, parts: Sequence[int]) -> Case:
    """CONCATENATION."""
    arrays = [codes(rng, outer, part) for part in parts]
    expected = np.concatenate(arrays, axis=1).ravel()
    return Case(f"concat {outer} {parts}", "concat", (outer,), (np.array(parts, np.int32), *arrays), expected)


def gather_case(rng: np.random.Generator, outer: int, in_count: int, inner: int, indices: Sequence[int]) -> Case:
    """GATHER along one axis."""
    x, table = codes(rng, outer, in_count, inner), np.array(indices, np.int32)
    expected = x[:, table].ravel()
    return Case(
        f"gather {outer}x{in_count}x{inner}", "gather", (outer, table.size, inner, in_count), (x, table), expected
    )


def with_integers(case: Case, name: str, changes: dict[int, int]) -> Case:
    """The case with some integers replaced; nothing may be written."""
    integers = list(case.integers)
    for position, value in changes.items():
        integers[position] = value
    return replace(case, name=name, integers=tuple(integers), expected=np.full_like(case.expected, HOLE))
