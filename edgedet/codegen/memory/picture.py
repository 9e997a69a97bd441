"""Picture of an arena plan: steps to the right, bytes upwards, one box per buffer. SVG, written by hand."""

from __future__ import annotations

from html import escape

from edgedet.codegen.memory.plan import Buffer, Plan

_WIDTH, _HEIGHT = 1100, 560  # px, of the drawing area
_LEFT, _TOP, _BOTTOM = 90, 40, 60
_COLORS = {"input": "#5b8def", "tensor": "#8fc1a9", "output": "#f2a65a", "scratch": "#c9c9c9"}
_LABEL_WIDTH, _LABEL_HEIGHT = 60, 12  # px; smaller boxes carry no text


def plan_picture(plan: Plan, title: str) -> str:
    """Draw the lifetimes.

    Args:
        plan: to draw.
        title: above it.
    Returns:
        SVG text; names of tensors are tooltips.
    """
    steps = len(plan.kinds)
    x_unit, y_unit = _WIDTH / steps, _HEIGHT / plan.arena_bytes
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 30}" height="{_TOP + _HEIGHT + _BOTTOM}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}; {plan.bound_bytes:,} bytes alive at step '
        f"{plan.bound_step}</text>",
    ]
    for buffer in sorted(plan.buffers, key=lambda b: (b.first, b.offset)):
        parts += _box(buffer, x_unit, y_unit)
    parts += _axes(plan, x_unit, y_unit)
    parts += _legend()
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(buffer: Buffer, x_unit: float, y_unit: float) -> list[str]:
    x, width = _LEFT + buffer.first * x_unit, (buffer.last - buffer.first + 1) * x_unit
    height = buffer.size_bytes * y_unit
    y = _TOP + _HEIGHT - buffer.offset * y_unit - height
    tip = f"{buffer.name}: {buffer.size_bytes:,} bytes at {buffer.offset:,}, steps {buffer.first} to {buffer.last}"
    lines = [
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{_COLORS[buffer.kind]}" '
        f'stroke="white" stroke-width="0.5"><title>{escape(tip)}</title></rect>'
    ]
    if width >= _LABEL_WIDTH and height >= _LABEL_HEIGHT:
        lines.append(f'<text x="{x + 3:.2f}" y="{y + height / 2 + 4:.2f}">{buffer.size_bytes:,}</text>')
    return lines


def _axes(plan: Plan, x_unit: float, y_unit: float) -> list[str]:
    bottom, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    lines = [
        f'<path d="M{_LEFT} {_TOP} V{bottom} H{right}" fill="none" stroke="black"/>',
        f'<text x="{_LEFT + _WIDTH / 2}" y="{bottom + 34}" text-anchor="middle">step</text>',
    ]
    for tick in range(5):
        size = plan.arena_bytes * tick // 4
        y = bottom - size * y_unit
        lines.append(f'<text x="{_LEFT - 6}" y="{y + 4:.2f}" text-anchor="end">{size:,}</text>')
    every = max(1, len(plan.kinds) // 12)
    for step in range(0, len(plan.kinds), every):
        x = _LEFT + (step + 0.5) * x_unit
        lines.append(f'<text x="{x:.2f}" y="{bottom + 15}" text-anchor="middle">{step}</text>')
    return lines


def _legend() -> list[str]:
    lines, y = [], _TOP + _HEIGHT + 48
    for number, (kind, color) in enumerate(_COLORS.items()):
        x = _LEFT + 110 * number
        lines.append(f'<rect x="{x}" y="{y - 9}" width="12" height="10" fill="{color}"/>')
        lines.append(f'<text x="{x + 17}" y="{y}">{kind}</text>')
    return lines
