"""Cases of the kernels that other makers' files brought: upsampling, two inputs, reductions; not a test itself."""

from __future__ import annotations

import sys

import numpy as np

from edgedet.numerics import integer, tables

cases = sys.modules["kernel_cases"]
Case, Layout, Window, Requant = cases.Case, cases.Layout, cases.Window, cases.Requant


def transpose_conv_case(
    rng: np.random.Generator, image: Layout, out: Layout, window: Window, requant: Requant, zero_point: int
) -> Case:
    """TRANSPOSE_CONV, added up as the operator is defined."""
    pixels = cases.codes(rng, image.height, image.width, image.channels)
    weights = rng.integers(-127, 128, (out.channels, *window.kernel, image.channels)).astype(np.int8)
    bias = rng.integers(-3000, 3001, out.channels).astype(np.int32)
    total = np.broadcast_to(bias.astype(np.int64), (out.height, out.width, out.channels)).copy()
    for y, x, ky, kx in np.ndindex(image.height, image.width, *window.kernel):
        place = (y * window.stride[0] - window.pad[0] + ky, x * window.stride[1] - window.pad[1] + kx)
        if 0 <= place[0] < out.height and 0 <= place[1] < out.width:
            total[place] += weights[:, ky, kx].astype(np.int64) @ (pixels[y, x].astype(np.int64) - zero_point)
    multiplier, shift = integer.quantize_multipliers(requant.real)
    result = integer.requantize(total, multiplier, shift, requant.zero_point, requant.low, requant.high)
    integers = (*image.integers, *out.integers, *window.integers)
    integers += (requant.zero_point, requant.low, requant.high, 0, zero_point)
    arrays = (image.scatter(pixels), weights, bias, multiplier.astype(np.int32), shift.astype(np.int8))
    name = f"transpose_conv {image.height}x{image.width} -> {out.height}x{out.width} {window.kernel}/{window.stride}"
    return Case(name, "transpose_conv", integers, arrays, out.scatter(result))


def bilinear_case(rng: np.random.Generator, image: Layout, out: Layout) -> Case:
    """RESIZE_BILINEAR between any rows and columns, with any shares."""
    pixels = cases.codes(rng, image.height, image.width, image.channels)
    tables_ = []
    for side, count in ((image.height, out.height), (image.width, out.width)):
        table = np.stack([*rng.integers(0, side, (2, count)), rng.integers(0, 1025, count)], axis=1)
        table[0, 2], table[-1, 2] = 1024, 512
        tables_.append(table.astype(np.int16))
    (top, bottom, below), (left, right, across) = (table.T.astype(np.int64) for table in tables_)
    rows = pixels[top] * (1024 - below)[:, None, None] + pixels[bottom] * below[:, None, None]
    sums = rows[:, left] * (1024 - across)[:, None] + rows[:, right] * across[:, None]
    result = np.sign(sums) * ((np.abs(sums) + 2**19) >> 20)
    name = f"bilinear {image.height}x{image.width} -> {out.height}x{out.width}"
    integers = (*image.integers, *out.integers)
    return Case(name, "resize_bilinear", integers, (image.scatter(pixels), *tables_), out.scatter(result))


def pair_case(
    rng: np.random.Generator, operator: str, layouts: tuple[Layout, Layout, Layout], in_place: bool = False
) -> Case:
    """MAXIMUM, MINIMUM or PRELU; an input of size 1 along an axis is repeated."""
    out = layouts[2]
    images = [cases.codes(rng, image.height, image.width, image.channels) for image in layouts[:2]]
    steps: list[int] = []
    for image in layouts[:2]:
        sides = zip((image.height, image.width, image.channels), (out.height, out.width, out.channels), strict=True)
        steps += [step if a > 1 or b == 1 else 0 for step, (a, b) in zip(image.steps, sides, strict=True)]
    integers = (out.height, out.width, out.channels, *steps, *out.steps)
    if operator == "prelu":
        params = ((0.05, 3), (0.01, -20), (0.04, -7))
        real = (params[0][0] / params[2][0], params[0][0] * params[1][0] / params[2][0])
        integers += tuple(number for ratio in real for number in integer.quantize_multiplier(ratio))
        integers += tuple(zero_point for _, zero_point in params)
        result = tables.prelu_table(*params)[images[0].view(np.uint8), images[1].view(np.uint8)]
    else:
        integers += (int(operator == "minimum"),)
        result = (np.minimum if operator == "minimum" else np.maximum)(*images)
    arrays = tuple(layout.scatter(image) for layout, image in zip(layouts[:2], images, strict=True))
    kernel = "prelu" if operator == "prelu" else "minmax"
    return Case(
        f"{operator} {out.height}x{out.width}x{out.channels}", kernel, integers, arrays, out.scatter(result), in_place
    )


def reduce_case(rng: np.random.Generator, operator: str, sizes: tuple[int, int, int]) -> Case:
    """REDUCE_MAX, REDUCE_MIN, ARG_MAX, ARG_MIN; few different codes, so that some are equal."""
    x = rng.choice(np.array([-128, -127, 3, 126, 127], np.int8), sizes)
    function = {"reduce_max": np.max, "reduce_min": np.min, "arg_max": np.argmax, "arg_min": np.argmin}[operator]
    result = function(x, axis=1)
    if operator.startswith("arg"):
        result = result.astype(np.int32)
    kernel = f"{operator.split('_')[0]}_minmax"
    expected = np.ascontiguousarray(result).view(np.int8).ravel()
    return Case(f"{operator} {sizes}", kernel, (*sizes, int(operator.endswith("min"))), (x,), expected)


def all_cases(seed: int) -> list:
    """Every case."""
    rng = np.random.default_rng(seed)
    found = []
    for size, kernel, stride, pad, target in (
        ((4, 5, 6), (3, 3), (2, 2), (0, 0), (8, 10, 7)),
        ((4, 5, 19), (4, 3), (2, 3), (1, 0), (8, 15, 3)),
        ((1, 1, 32), (2, 2), (2, 2), (0, 0), (2, 2, 4)),
        ((3, 2, 1), (2, 1), (3, 3), (0, 0), (10, 7, 2)),
        ((5, 3, 4), (5, 5), (1, 1), (2, 2), (4, 3, 5)),
    ):
        real = rng.uniform(0.3, 3.0, target[2]) * 60 / (73 * 104 * np.sqrt(9 * size[2]))
        for gap in (0, 3):
            image, out = Layout(*size, gap, 2 * gap), Layout(*target, 2 * gap, gap)
            requant = Requant(real, int(rng.integers(-128, 128)), -100, 101)
            zero_point = int(rng.integers(-128, 128))
            found.append(transpose_conv_case(rng, image, out, Window(kernel, stride, (1, 1), pad), requant, zero_point))
    found.append(bilinear_case(rng, Layout(3, 5, 7), Layout(6, 10, 7)))
    found.append(bilinear_case(rng, Layout(3, 5, 7, 1, 2), Layout(4, 3, 7, 9, 5)))
    found.append(bilinear_case(rng, Layout(1, 1, 1), Layout(1, 1, 1)))
    full = Layout(5, 7, 19)
    for operator in ("maximum", "minimum", "prelu"):
        for other in (
            full,
            Layout(1, 1, 19),
            Layout(5, 1, 1),
            Layout(1, 7, 1),
            Layout(1, 1, 1),
            Layout(5, 7, 19, 4, 2),
        ):
            found.append(pair_case(rng, operator, (full, other, full)))
        found.append(pair_case(rng, operator, (Layout(1, 1, 19), full, Layout(5, 7, 19, 3, 5))))
        found.append(pair_case(rng, operator, (full, full, full), in_place=True))
    for sizes in ((1, 49, 7), (6, 1, 1), (3, 17, 1), (2, 5, 33), (1, 300, 2)):
        for operator in ("reduce_max", "reduce_min", "arg_max", "arg_min"):
            found.append(reduce_case(rng, operator, sizes))
    return found
