"""Curves and histograms as SVG, from plain numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgedet.drawing.svg import BLUE, GREY, INK, LIGHT, ORANGE, RED, Svg

PALETTE = (BLUE, ORANGE, "#3c9a5f", RED, "#8457a8", "#2a9d9d", "#a8673a", GREY)
_VARIABLES = {INK: "ink", GREY: "grey", LIGHT: "light", BLUE: "blue", ORANGE: "orange", RED: "red"}
_SMALL_PX = 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 46, 40


@dataclass(frozen=True)
class Line:
    """One curve."""

    name: str
    points: tuple[tuple[float, float], ...]  # in the order of drawing


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> str:
    """Curves in one frame, with a legend; points that are not finite are left out.

    Args:
        title: above.
        lines: curves; at most eight colours.
        x_label: below.
        x_range: ends of the axis; None: those of the points.
        y_range: the same.
    Returns:
        SVG.
    """
    kept = [Line(one.name, tuple(p for p in one.points if all(map(math.isfinite, p)))) for one in lines]
    points = [point for one in kept for point in one.points]
    svg = Svg(480, 300)
    svg.label(8, 18, title, size=14)
    x0, x1 = x_range or _ends([x for x, _ in points])
    y0, y1 = y_range or _ends([y for _, y in points])
    wide, high = svg.width - _LEFT - _RIGHT, svg.height - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + wide * (x - x0) / (x1 - x0), _TOP + high * (1 - (y - y0) / (y1 - y0))

    for tick in _ticks(y0, y1):
        svg.line(_LEFT, place(x0, tick)[1], svg.width - _RIGHT, place(x0, tick)[1])
        svg.label(_LEFT - 6, place(x0, tick)[1] + 4, _number(tick, y1 - y0), "end", 11, GREY)
    whole = x_range is None and all(float(x).is_integer() for x, _ in points)
    for tick in _ticks(x0, x1, whole):
        svg.label(place(tick, y0)[0], svg.height - _BOTTOM + 16, _number(tick, x1 - x0), "middle", 11, GREY)
    svg.label(_LEFT + wide / 2, svg.height - 6, x_label, "middle", 11, GREY)
    legend = float(_LEFT)
    for number, one in enumerate(kept):
        colour = PALETTE[number % len(PALETTE)]
        svg.polyline([place(x, y) for x, y in one.points], colour)
        if len(one.points) <= 40:
            for x, y in one.points:
                svg.circle(*place(x, y), 2.2, colour, f"{one.name}: {y:.4g} at {x:.4g}")
        if legend < svg.width - 60:
            name = one.name if len(one.name) <= 24 else f"{one.name[:23]}…"
            svg.rect(legend, 28, 10, 10, colour, one.name)
            svg.label(legend + 14, 37, name, size=11)
            legend += 26 + 6.4 * len(name)
    return svg.text()


def histogram(title: str, labels: Sequence[str], groups: Sequence[tuple[str, Sequence[float]]], x_label: str) -> str:
    """Bars side by side.

    Args:
        title: above.
        labels: below each place.
        groups: name and a value for each label, at most eight groups.
        x_label: below all.
    Returns:
        SVG.
    """
    svg = Svg(480, 300)
    svg.label(8, 18, title, size=14)
    top = max([value for _, values in groups for value in values] + [1e-9])
    wide, high = svg.width - _LEFT - _RIGHT, svg.height - _TOP - _BOTTOM
    for tick in _ticks(0, top):
        y = _TOP + high * (1 - tick / top)
        svg.line(_LEFT, y, svg.width - _RIGHT, y)
        svg.label(_LEFT - 6, y + 4, _number(tick, top), "end", 11, GREY)
    cell = wide / max(1, len(labels))
    every = max(1, math.ceil(max([len(label) for label in labels] + [1]) * 6.5 / max(cell, 1)))
    for place, label in enumerate(labels):
        for number, (name, values) in enumerate(groups):
            bar, value = cell * 0.8 / len(groups), values[place]
            x = _LEFT + cell * (place + 0.1) + bar * number
            tall = high * value / top
            svg.rect(x, _TOP + high - tall, bar, tall, PALETTE[number % len(PALETTE)], f"{name}, {label}: {value:g}")
        if place % every == 0:
            svg.label(_LEFT + cell * (place + 0.5), svg.height - _BOTTOM + 16, label, "middle", 11, GREY)
    svg.label(_LEFT + wide / 2, svg.height - 6, x_label, "middle", 11, GREY)
    for number, (name, _) in enumerate(groups):
        svg.rect(_LEFT + 110 * number, 28, 10, 10, PALETTE[number % len(PALETTE)])
        svg.label(_LEFT + 110 * number + 14, 37, name, size=11)
    return svg.text()


def changes_chart(title: str, steps: Sequence[tuple[str, float, bool]]) -> str:
    """Values that lie close together, as points on an axis that shows their thousandths.

    Args:
        title: above.
        steps: label, value, and whether it is to be marked.
    Returns:
        SVG.
    """
    row, left, right, top = 26, 210, 70, 34
    svg = Svg(640, top + row * len(steps) + 28)
    svg.label(8, 18, title, size=14)
    low, high = min(value for _, value, _ in steps), max(value for _, value, _ in steps)
    unit = max(0.001, (high - low) / 8)
    start, end = math.floor((low - unit) * 1000) / 1000, math.ceil((high + unit) * 1000) / 1000
    wide, bottom = svg.width - left - right, top + row * len(steps)
    for tick in _ticks(start, end):
        x = left + wide * (tick - start) / (end - start)
        svg.line(x, top - 4, x, bottom)
        svg.label(x, bottom + 16, f"{tick:.3f}", "middle", 11, GREY)
    for number, (label, value, marked) in enumerate(steps):
        x, y = left + wide * (value - start) / (end - start), top + row * (number + 0.5)
        svg.label(left - 8, y + 4, label, "end")
        svg.circle(x, y, 5, RED if marked else BLUE, f"{label}: {value:.4f}")
        svg.label(x + 9, y + 4, f"{value:.4f}", size=11, fill=RED if marked else GREY)
    return svg.text()


def inline_svg(text: str) -> str:
    """An SVG file as a part of a page: as wide as there is room, in the page's colours, light or dark.

    Args:
        text: of `Svg.text`.
    """
    for colour, name in _VARIABLES.items():
        text = text.replace(f'"{colour}"', f'"var(--{name})"')
    text = re.sub(r'<rect width="[\d.]+" height="[\d.]+" fill="white"/>\n', "", text, count=1)
    return re.sub(r'^<svg ([^>]*?)width="([\d.]+)" height="[\d.]+"', _sized, text)


def _sized(head: re.Match[str]) -> str:
    """Small charts grow by a third where there is room."""
    width = float(head[2])
    return f'<svg {head[1]}style="max-width:{width * (4 / 3 if width <= _SMALL_PX else 1):.0f}px" role="img"'


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    if low == high:
        return low - 0.5, high + 0.5
    return (0.0 if 0 <= low < 0.5 * high else low), high


def _ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`; `whole`: no fractions, as of epochs."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float, span: float) -> str:
    digits = max(0, 1 - math.floor(math.log10(span))) if span < 20 else 0
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
