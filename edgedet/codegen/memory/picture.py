"""Picture of an arena plan: steps to the right, bytes upwards, one box per buffer. SVG."""

from __future__ import annotations

from edgedet.codegen.memory.plan import Buffer, Plan
from edgedet.drawing.svg import INK, Svg

_WIDTH, _HEIGHT = 1100, 560  # px, of the drawing area
_LEFT, _TOP, _BOTTOM = 90, 40, 60
_ON_BOX = "#1d2a33"  # dark on every colour of a box, also on a dark page
_COLORS = {"input": "#5b8def", "tensor": "#8fc1a9", "output": "#f2a65a", "scratch": "#c9c9c9"}
_FONT = 11  # px
_LABEL_WIDTH, _LABEL_HEIGHT = 60, 12  # px; smaller boxes carry no text


def plan_picture(plan: Plan, title: str) -> str:
    """Draw the lifetimes.

    Args:
        plan: to draw.
        title: above it.
    Returns:
        SVG text; names of tensors are tooltips.
    """
    svg = Svg(_LEFT + _WIDTH + 30, _TOP + _HEIGHT + _BOTTOM)
    x_unit, y_unit = _WIDTH / len(plan.kinds), _HEIGHT / plan.arena_bytes
    svg.label(_LEFT, 20, f"{title}; {plan.bound_bytes:,} bytes alive at step {plan.bound_step}", size=14)
    for buffer in sorted(plan.buffers, key=lambda b: (b.first, b.offset)):
        _box(svg, buffer, x_unit, y_unit)
    _axes(svg, plan, x_unit, y_unit)
    for number, (kind, color) in enumerate(_COLORS.items()):
        x, y = _LEFT + 110 * number, _TOP + _HEIGHT + 48
        svg.rect(x, y - 9, 12, 10, color)
        svg.label(x + 17, y, kind, size=_FONT)
    return svg.text()


def _box(svg: Svg, buffer: Buffer, x_unit: float, y_unit: float) -> None:
    x, width = _LEFT + buffer.first * x_unit, (buffer.last - buffer.first + 1) * x_unit
    height = buffer.size_bytes * y_unit
    y = _TOP + _HEIGHT - buffer.offset * y_unit - height
    tip = f"{buffer.name}: {buffer.size_bytes:,} bytes at {buffer.offset:,}, steps {buffer.first} to {buffer.last}"
    svg.rect(x, y, width, height, _COLORS[buffer.kind], tip, stroke="white")
    if width >= _LABEL_WIDTH and height >= _LABEL_HEIGHT:
        svg.label(x + 3, y + height / 2 + 4, f"{buffer.size_bytes:,}", size=_FONT, fill=_ON_BOX)


def _axes(svg: Svg, plan: Plan, x_unit: float, y_unit: float) -> None:
    bottom, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    svg.line(_LEFT, _TOP, _LEFT, bottom, INK)
    svg.line(_LEFT, bottom, right, bottom, INK)
    svg.label(_LEFT + _WIDTH / 2, bottom + 34, "step", "middle", _FONT)
    for tick in range(5):
        size = plan.arena_bytes * tick // 4
        svg.label(_LEFT - 6, bottom - size * y_unit + 4, f"{size:,}", "end", _FONT)
    for step in range(0, len(plan.kinds), max(1, len(plan.kinds) // 12)):
        svg.label(_LEFT + (step + 0.5) * x_unit, bottom + 15, str(step), "middle", _FONT)
