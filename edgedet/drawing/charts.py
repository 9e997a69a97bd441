"""Charts of a diagnosis. They take plain numbers, so that they depend on nothing that measured them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgedet.drawing.svg import BLUE, GREY, LIGHT, ORANGE, RED, Svg


@dataclass(frozen=True)
class Bar:
    """One bar of a waterfall."""

    label: str
    value: float
    change: str = ""  # printed beside the value
    guilty: bool = False
    aside: bool = False  # not part of the chain


@dataclass(frozen=True)
class LayerPoint:
    """One layer of a diagnosis."""

    name: str
    cumulative_db: float  # may be infinite
    alone_db: float
    sensitivity: float  # >= 0


def waterfall_chart(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars, one below the other.

    Args:
        title: above the bars.
        bars: from the first step to the last; values of 0..1 (COCO's -1, no ground truth, is drawn as 0).
    Returns:
        SVG.
    """
    row, left, right, top = 28, 230, 130, 44
    svg = Svg(820, top + row * len(bars) + 30)
    scale = (svg.width - left - right) / _round_up(max([bar.value for bar in bars] + [0.05]))
    svg.label(12, 26, title, size=15)
    bottom = top + row * len(bars)
    step = _round_up(max(bar.value for bar in bars)) / 5
    for tick in range(6) if step > 0 else ():
        x = left + tick * step * scale
        svg.line(x, top - 4, x, bottom)
        svg.label(x, bottom + 16, f"{tick * step:.2f}", "middle", 11, GREY)
    previous = None
    for number, bar in enumerate(bars):
        y, width = top + number * row, max(bar.value, 0.0) * scale
        fill = RED if bar.guilty else LIGHT if bar.aside else BLUE
        svg.label(left - 8, y + 17, bar.label, "end")
        svg.rect(left, y + 4, width, row - 8, fill, f"{bar.label}: {bar.value:.4f}")
        svg.label(left + width + 6, y + 17, f"{bar.value:.3f}  {bar.change}".rstrip(), fill=RED if bar.guilty else GREY)
        if previous is not None and not bar.aside:
            svg.line(left + previous, y - row + 4, left + previous, y + row - 4, GREY, "2 2")
        previous = previous if bar.aside else width
    return svg.text()


def layers_chart(title: str, layers: Sequence[LayerPoint]) -> str:
    """SQNR of every layer from input to output, and its sensitivity below.

    Args:
        title: above the chart.
        layers: in the order of the network.
    Returns:
        SVG.
    """
    step = max(5.0, min(14.0, 1400 / max(len(layers), 1)))
    left, top, upper, lower, gap = 60, 50, 260, 120, 40
    svg = Svg(left + step * len(layers) + 40, top + upper + gap + lower + 30)
    svg.label(12, 26, title, size=15)
    ceiling = 10 * math.ceil(max([_finite(p.alone_db) for p in layers] + [_finite(p.cumulative_db) for p in layers]
                                 + [10.0]) / 10)  # fmt: skip
    ceiling = min(ceiling, 80)

    def height(db: float) -> float:
        return top + upper * (1 - min(max(_finite(db), 0.0), ceiling) / ceiling)

    for db in range(0, ceiling + 1, 10):
        svg.line(left, height(db), svg.width - 20, height(db))
        svg.label(left - 6, height(db) + 4, f"{db} dB", "end", 11, GREY)
    at = [left + step * (number + 0.5) for number in range(len(layers))]
    svg.polyline([(x, height(p.cumulative_db)) for x, p in zip(at, layers, strict=True)], BLUE)
    base, worst = top + upper + gap + lower, max([p.sensitivity for p in layers] + [1e-30])
    for x, point in zip(at, layers, strict=True):
        words = (
            f"{point.name}: cumulative {point.cumulative_db:.1f} dB, alone {point.alone_db:.1f} dB, "
            f"sensitivity {point.sensitivity:.3g}"
        )
        svg.circle(x, height(point.alone_db), 2.2, ORANGE, words)
        svg.circle(x, height(point.cumulative_db), 2.2, BLUE, words)
        tall = lower * point.sensitivity / worst
        svg.rect(x - step * 0.4, base - tall, step * 0.8, tall, RED, words)
    svg.line(left, base, svg.width - 20, base, GREY)
    svg.label(left, top - 8, "SQNR: blue cumulative, orange the layer quantized alone", size=11, fill=GREY)
    named = "".join(f": {p.name}, {p.sensitivity:.3g}" for p in layers if p.sensitivity == worst)
    svg.label(left, base - lower - 12, f"sensitivity of the outputs, largest{named}", size=11, fill=GREY)
    svg.label(svg.width - 20, base + 18, "layers, from input to outputs", "end", 11, GREY)
    return svg.text()


def _finite(db: float) -> float:
    """A number to draw: exact layers lie at the top."""
    return db if math.isfinite(db) else 80.0


def _round_up(value: float) -> float:
    """Next multiple of 0.05."""
    return math.ceil(max(value, 1e-9) * 20) / 20
