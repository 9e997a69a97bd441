"""The cases that every build of the kernels must pass; not a test itself."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

cases = sys.modules["kernel_cases"]
Layout, Window, Requant = cases.Layout, cases.Window, cases.Requant


def typical(rng: np.random.Generator, channels: int, taps: int) -> np.ndarray:
    """Real multipliers that spread the outputs over the codes and beyond: some saturate."""
    return rng.uniform(0.3, 3.0, channels) * 60 / (73 * 104 * np.sqrt(taps))


def conv(rng: np.random.Generator, size: tuple, kernel: tuple, channels: int, **options) -> cases.Case:
    """A convolution with SAME padding; options: stride, gaps (in pixel, in row, out pixel, out row), limits, ..."""
    height, width, depth = size
    stride, gaps = options.pop("stride", (1, 1)), options.pop("gaps", (0, 0, 0, 0))
    low, high = options.pop("limits", (-128, 127))
    taps = kernel[0] * kernel[1] * (1 if options.get("depthwise") else depth)
    real = options.pop("real", None)
    rows, top = cases.same_pad(height, kernel[0], stride[0])
    columns, left = cases.same_pad(width, kernel[1], stride[1])
    requant = Requant(
        typical(rng, channels, taps) if real is None else np.broadcast_to(real, channels),
        options.pop("out_zero_point", int(rng.integers(-128, 128))),
        low,
        high,
    )
    zero_point = options.pop("zero_point", int(rng.integers(-128, 128)))
    kind = "depthwise" if options.get("depthwise") else "conv"
    return cases.conv_case(
        rng,
        f"{kind} {height}x{width}x{depth} {kernel[0]}x{kernel[1]}/{stride[0]} -> {channels}",
        Layout(height, width, depth, gaps[0], gaps[1]),
        Layout(rows, columns, channels, gaps[2], gaps[3]),
        Window(kernel, stride, (1, 1), (top, left)),
        requant,
        zero_point=zero_point,
        **options,
    )


def convolutions(rng: np.random.Generator) -> list:
    """CONV_2D: shapes, tails, layouts and requantizations."""
    shapes = [((5, 7, c), k, o) for c in (1, 3, 4, 7, 8, 16, 19, 32) for k in ((1, 1), (3, 3)) for o in (1, 4, 7)]
    shapes += [((9, 4, 8), (5, 3), 9), ((1, 1, 257), (1, 1), 6), ((1, 1, 40), (3, 3), 5), ((3, 3, 300), (3, 3), 11)]
    shapes += [((2, 3, 16), (1, 1), 13), ((13, 1, 6), (3, 3), 12), ((1, 11, 9), (3, 5), 16), ((4, 4, 2), (2, 2), 3)]
    found = [conv(rng, size, kernel, channels) for size, kernel, channels in shapes]
    for stride in ((2, 2), (1, 2), (3, 1)):
        found.append(conv(rng, (8, 9, 8), (3, 3), 8, stride=stride))
        found.append(conv(rng, (8, 9, 12), (1, 1), 5, stride=stride))
    found.append(conv(rng, (6, 5, 8), (3, 3), 8, gaps=(5, 3, 9, 2)))
    found.append(conv(rng, (6, 5, 16), (1, 1), 8, gaps=(16, 0, 8, 0)))
    found.append(conv(rng, (6, 6, 8), (3, 3), 8, limits=(-100, 51), out_zero_point=-100))  # ReLU6
    found.append(conv(rng, (6, 6, 8), (3, 3), 8, limits=(-128, 127), out_zero_point=-128))
    found.append(conv(rng, (6, 6, 8), (3, 3), 8, limits=(-7, 9), out_zero_point=0))
    found += special_requantizations(rng)
    found += special_windows(rng)
    return found


def special_requantizations(rng: np.random.Generator) -> list:
    """Multipliers and accumulators at the ends of their ranges."""
    found = []
    for real in (
        0.0,
        0.25,
        0.4999999999,
        0.5,
        0.75,
        1.0,
        1.7,
        40.0,
        2.0**-9,
        2.0**-20,
        2.0**-23,
        2.0**-24,
        2.0**-30,
        1e-12,
    ):
        for bias_reach in (0, 500, 2**29):
            found.append(conv(rng, (2, 5, 5), (1, 1), 9, real=real, bias_reach=bias_reach, out_zero_point=-3))
    # Multiples of a power of two: every other accumulator is a tie of the second rounding.
    for exponent in (1, 2, 3, 7):
        real = 2.0**-exponent
        for low in (-128, -5):
            limits = (low, 127)
            found.append(conv(rng, (4, 5, 1), (1, 1), 8, real=real, limits=limits, out_zero_point=-5, bias_reach=40))
            found.append(
                conv(rng, (4, 5, 1), (1, 1), 8, real=real, limits=limits, out_zero_point=-5, force_general=True)
            )
    for depthwise in (False, True):
        for depth in (1, 4, 19):
            for real in (2.0**-24, 2.0**-31, 0.3):
                ends = {"at_the_ends": True, "depthwise": depthwise, "real": real}
                found.append(conv(rng, (5, 7, depth), (1, 1), depth, **ends))
    return found


def unfilled_windows(rng: np.random.Generator) -> list:
    """Outputs of one to five pixels and thousands of taps: windows not filled yet must not be multiplied.

    With weights near 127 a sum of 600 products with 0x7F7F, which the scratch holds before, leaves int32.
    """
    found = []
    for size in ((1, 1, 2048), (1, 2, 1501), (1, 3, 1200), (1, 5, 900), (2, 2, 2048)):
        found.append(conv(rng, size, (1, 1), 5, smallest_weight=100, real=2.0**-18))
    found.append(conv(rng, (1, 2, 100), (3, 3), 4, smallest_weight=100, real=2.0**-18))
    found.append(conv(rng, (1, 1, 8), (31, 31), 8, smallest_weight=100, real=2.0**-18, depthwise=True))
    found.append(conv(rng, (1, 3, 5), (7, 7), 5, smallest_weight=100, real=2.0**-18, depthwise=True))
    return found


def special_windows(rng: np.random.Generator) -> list:
    """Dilation, explicit padding (a folded PAD), windows that lie outside the input altogether."""
    found = []
    for depthwise in (False, True):
        for depth in (3, 8, 16):
            real = typical(rng, depth, 9 if depthwise else 9 * depth)
            window = Window((3, 3), (1, 2), (2, 3), (2, 3))
            arguments = (Layout(7, 8, depth, 3), Layout(7, 5, depth, 1), window, Requant(real, 5))
            found.append(cases.conv_case(rng, f"dilated {depth}", *arguments, zero_point=17, depthwise=depthwise))
            window = Window((3, 3), (2, 2), (1, 1), (1, 1))
            arguments = (Layout(6, 6, depth), Layout(3, 3, depth), window, Requant(real, -9))
            found.append(cases.conv_case(rng, f"folded PAD {depth}", *arguments, zero_point=-7, depthwise=depthwise))
            window = Window((3, 3), (1, 1), (1, 1), (5, 5))
            arguments = (Layout(3, 2, depth), Layout(11, 12, depth), window, Requant(real, 99))
            found.append(cases.conv_case(rng, f"far outside {depth}", *arguments, zero_point=127, depthwise=depthwise))
    return found


def depthwise_convolutions(rng: np.random.Generator) -> list:
    """DEPTHWISE_CONV_2D: kernels, strides, channel counts, depth multipliers."""
    found = []
    for channels in (1, 2, 3, 4, 5, 8, 16, 19, 32, 36):
        for kernel in ((3, 3), (5, 5), (1, 1), (2, 4)):
            found.append(conv(rng, (6, 7, channels), kernel, channels, depthwise=True))
    for stride in ((2, 2), (1, 3), (2, 1)):
        found.append(conv(rng, (9, 8, 8), (5, 5), 8, stride=stride, depthwise=True))
        found.append(conv(rng, (9, 8, 20), (3, 3), 20, stride=stride, depthwise=True))
    for depth, channels in ((1, 8), (3, 6), (4, 16), (8, 8 * 5)):
        found.append(conv(rng, (4, 5, depth), (3, 3), channels, depthwise=True))
    # Around the kernels for which planes are gathered: at most 8 rows, or 64 taps.
    for kernel in ((8, 8), (8, 9), (9, 7), (9, 8), (64, 1), (65, 1)):
        found.append(conv(rng, (5, 6, 19), kernel, 19, depthwise=True))
    found.append(conv(rng, (49, 40, 1), (10, 8), 8, stride=(2, 2), depthwise=True))  # micro_speech
    found.append(conv(rng, (6, 5, 8), (5, 5), 8, gaps=(5, 3, 9, 2), depthwise=True))
    found.append(conv(rng, (6, 5, 16), (3, 3), 16, gaps=(16, 0, 8, 0), depthwise=True))
    found.append(conv(rng, (1, 1, 16), (5, 5), 16, depthwise=True))
    found.append(conv(rng, (20, 1, 4), (7, 7), 4, depthwise=True))
    found.append(conv(rng, (6, 6, 8), (5, 5), 8, limits=(-100, 51), out_zero_point=-100, depthwise=True))
    found.append(conv(rng, (6, 6, 8), (5, 5), 8, limits=(-128, 127), out_zero_point=-128, depthwise=True))
    for real in (0.0, 0.5, 1.7, 2.0**-23, 2.0**-30):
        found.append(conv(rng, (3, 5, 6), (3, 3), 6, real=real, out_zero_point=-3, depthwise=True))
        found.append(conv(rng, (3, 5, 8), (5, 5), 8, real=real, bias_reach=2**29, depthwise=True))
    for exponent in (1, 2, 3):
        found.append(conv(rng, (3, 9, 8), (1, 1), 8, real=2.0**-exponent, out_zero_point=0, depthwise=True))
    return found


def fully_connected(rng: np.random.Generator, rows: int, depth: int, channels: int, **options) -> cases.Case:
    """The 1x1 convolution over an image of one row that FULLY_CONNECTED is; options: of conv."""
    case = conv(rng, (1, rows, depth), (1, 1), channels, **options)
    name, integers = f"fully connected {rows}x{depth} -> {channels} {options}", (rows, depth, channels)
    return replace(case, name=name, operator="fully_connected", integers=integers + case.integers[18:22])


def fully_connected_layers(rng: np.random.Generator) -> list:
    """FULLY_CONNECTED: one and two rows, which need no scratch, and more; every tail of the loops over depth."""
    found = []
    for rows in (1, 2, 3, 4, 9):
        for depth in (1, 3, 4, 7, 8, 15, 16, 17, 33, 640):
            found.append(fully_connected(rng, rows, depth, 1 + depth % 5))
        for channels in (1, 2, 3, 4, 5, 8):
            relu = {"limits": (-128, 127), "out_zero_point": -128}
            found.append(fully_connected(rng, rows, 20, channels, **relu))
            found.append(fully_connected(rng, rows, 20, channels, limits=(-7, 90), out_zero_point=-7))
            found.append(fully_connected(rng, rows, 20, channels, force_general=True))
        for real in (0.0, 0.5, 1.7, 2.0**-23, 2.0**-24, 2.0**-30):
            found.append(fully_connected(rng, rows, 5, 7, real=real, bias_reach=2**29))
        for depth in (1, 4, 19, 40):
            found.append(fully_connected(rng, rows, depth, 6, real=2.0**-24, at_the_ends=True))
        found.append(fully_connected(rng, rows, 2048, 5, smallest_weight=100, real=2.0**-18))
    for rows, depth, channels in ((1, 1, 1), (1, 33, 5), (3, 128, 10), (9, 20, 4), (1, 3000, 5)):
        found.append(cases.fully_connected_case(rng, rows, depth, channels))
    return found


def elementwise(rng: np.random.Generator) -> list:
    """ADD, SUB, MUL, tables and QUANTIZE."""
    found = []
    params = ((0.05, -128), (0.03, -128), (0.06, -128)), ((0.02, 7), (0.5, -31), (0.4, 127)), ((1.0, 0),) * 3
    full = Layout(5, 7, 19)
    for three in params:
        for operator in ("add", "sub", "mul"):
            for other in (
                full,
                Layout(1, 1, 19),
                Layout(1, 1, 1),
                Layout(5, 7, 1),
                Layout(1, 7, 19),
                Layout(5, 7, 19, 4, 2),
            ):
                found.append(cases.elementwise_case(rng, operator, three, (full, other, full)))
            found.append(cases.elementwise_case(rng, operator, three, (Layout(1, 1, 19), full, Layout(5, 7, 19, 3, 5))))
            found.append(cases.elementwise_case(rng, operator, three, (full, full, full), activation="RELU6"))
            found.append(cases.elementwise_case(rng, operator, three, (full, full, full), in_place=True))
    for size in (1, 3, 4, 15, 16, 17, 33):
        flat = Layout(1, 1, size)
        found.append(cases.elementwise_case(rng, "add", params[0], (flat, flat, flat)))
    table = cases.codes(rng, 256)
    found.append(cases.lut_case(rng, full, full, table))
    found.append(cases.lut_case(rng, full, full, table, in_place=True))
    found.append(cases.lut_case(rng, Layout(3, 4, 5, 2, 1), Layout(3, 4, 5, 0, 7), table))
    for pair in (((0.1, 3), (0.05, -9)), ((0.1, 3), (0.9, -9)), ((2.0, -128), (0.001, 127)), ((1.0, 0), (1.0, 0))):
        found.append(cases.requantize_case(rng, Layout(4, 3, 9, 1, 1), *pair))
    return found


def poolings(rng: np.random.Generator) -> list:
    """MAX_POOL_2D, AVERAGE_POOL_2D and MEAN."""
    found = []
    for operator in ("max_pool", "average_pool"):
        for kernel, stride, pad in (((5, 5), (1, 1), (2, 2)), ((2, 2), (2, 2), (0, 0)), ((13, 13), (1, 1), (6, 6))):
            image = Layout(8, 6, 18, 2, 3)
            out = Layout(8 // stride[0], 6 // stride[1], 18, 1)
            window = Window(kernel, stride, (1, 1), pad)
            found.append(cases.pool_case(rng, operator, image, out, window))
            found.append(cases.pool_case(rng, operator, image, out, window, -20, 9))
        found.append(cases.pool_case(rng, operator, Layout(7, 7, 3), Layout(1, 1, 3), Window((7, 7))))
        found.append(
            cases.pool_case(rng, operator, Layout(7, 5, 1), Layout(4, 3, 1), Window((3, 3), (2, 2), (1, 1), (1, 1)))
        )
    for outer, count, inner in ((1, 49, 7), (6, 1, 1), (3, 17, 1), (1, 1000, 3)):
        for scales in ((0.1, 0.1), (0.5, 0.01), (0.01, 0.5)):
            found.append(cases.mean_case(rng, outer, count, inner, scales))
    return found


def movers(rng: np.random.Generator) -> list:
    """Operators that only move codes."""
    return [
        cases.resize_case(rng, Layout(3, 5, 7), Layout(6, 10, 7)),
        cases.resize_case(rng, Layout(3, 5, 7, 1, 2), Layout(4, 3, 7, 9, 5)),
        cases.pad_case(rng, Layout(3, 4, 5), Layout(5, 7, 5), (1, 2, 0), -128),
        cases.pad_case(rng, Layout(3, 4, 5, 1, 1), Layout(3, 4, 9, 2, 1), (0, 0, 3), 11),
        cases.copy_case(rng, Layout(3, 4, 5), Layout(3, 4, 5)),
        cases.copy_case(rng, Layout(3, 4, 5), Layout(3, 4, 5, 8, 3)),
        cases.copy_case(rng, Layout(3, 4, 5, 8, 3), Layout(3, 4, 5, 0, 3)),
        cases.transpose_case(rng, (4, 5, 6), (2, 0, 1)),
        cases.transpose_case(rng, (2, 3, 1, 4), (0, 3, 1, 2)),
        cases.transpose_case(rng, (2, 3, 2, 2, 3, 2), (5, 3, 1, 0, 2, 4)),
        cases.transpose_case(rng, (7,), (0,)),
        cases.concat_case(rng, 12, [3, 1, 8]),
        cases.concat_case(rng, 1, [5]),
        cases.gather_case(rng, 6, 5, 1, [4, 0, 0, 3, 1]),
        cases.gather_case(rng, 1, 7, 33, [6, 2, 3]),
    ]


def all_cases(seed: int) -> list:
    """Every case."""
    rng = np.random.default_rng(seed)
    parts = (convolutions, depthwise_convolutions, unfilled_windows, fully_connected_layers)
    parts += (elementwise, poolings, movers)
    return [case for part in parts for case in part(rng)]
