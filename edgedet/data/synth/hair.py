"""Hair, hats and glasses of a synthetic head."""

from __future__ import annotations

import numpy as np

from edgedet.data.synth.canvas import Canvas, Colour, ellipse_points, random_colour, to_colour, vary
from edgedet.data.synth.head import Head

STYLES = ("bald", "short", "fringe", "long", "bun", "afro", "beanie", "cap", "hood")


def draw_back_hair(rng: np.random.Generator, canvas: Canvas, head: Head, style: str, cloth: Colour) -> None:
    """What lies behind the head."""
    if style == "long":
        length = rng.uniform(0.9, 1.7)
        x = head.width * rng.uniform(1.1, 1.35)
        strand = head.place(
            np.array([-x * 0.9, -x, -x * 1.1, -x, x, x * 1.1, x, x * 0.9]),
            np.array([-0.5, 0.2, 0.8, length, length, 0.8, 0.2, -0.5]),
        )
        canvas.fill(strand, to_colour(np.array(head.hair) * 0.8))
    if style == "hood":
        hood = ellipse_points((0.0, 0.05), (head.width * 1.4, 1.35))
        canvas.fill(head.place(hood[:, 0], hood[:, 1]), cloth)
    if style == "bun":
        bun = ellipse_points((rng.uniform(-0.3, 0.3), -1.1), (0.32, 0.28))
        canvas.fill(head.place(bun[:, 0], bun[:, 1]), to_colour(np.array(head.hair) * 0.9))


def top_outlines(rng: np.random.Generator, head: Head, style: str) -> list[np.ndarray]:
    """Polygons (px) of hair or hat on top of the head, which belong to its box."""
    if style == "bald":
        return []
    grow = {"afro": rng.uniform(1.2, 1.45), "hood": 1.22, "beanie": 1.1, "cap": 1.07}.get(
        style, rng.uniform(1.03, 1.14)
    )
    line = rng.uniform(-0.62, -0.42)  # where the forehead begins
    side = {"beanie": line + 0.1, "cap": line, "hood": 0.6}.get(style, rng.uniform(-0.35, 0.1))
    turn = np.linspace(-np.pi / 2, np.arcsin(side), 14)
    v, x = np.sin(turn), head.half_width(np.sin(turn)) * grow
    outer = head.place(np.concatenate([-x[::-1], x]), np.concatenate([v[::-1] * grow, v * grow]))
    theta = np.linspace(1.5, -1.5, 13)
    sag = {"fringe": 0.16, "hood": -0.15}.get(style, 0.0)
    ragged = rng.uniform(-0.06, 0.06, 13) if style in ("fringe", "short", "afro") else np.zeros(13)
    inner_v = line + sag + (side - line) * (np.abs(theta) / 1.5) ** 3 + ragged
    return [np.concatenate([outer, head.on_skin(theta, inner_v)])]


def draw_top(
    rng: np.random.Generator, canvas: Canvas, head: Head, style: str, outlines: list[np.ndarray], cloth: Colour
) -> None:
    """Fill the outlines with hair or cloth."""
    is_hat = style in ("beanie", "cap", "hood")
    base = cloth if is_hat else head.hair
    for outline in outlines:
        canvas.fill(outline, base)
        painted = canvas.copy()
        tone = to_colour(np.array(base) * rng.uniform(0.7, 1.3) + 6)
        for _ in range(int(rng.integers(4, 12))):  # strands or folds
            start = rng.uniform(-head.width, head.width)
            strand = head.place(
                np.array([start * 0.6, start, start * 1.1]), np.array([-1.2, -0.7, rng.uniform(-0.5, 0.2)])
            )
            painted.line(strand, vary(rng, tone, 12), head.unit * rng.uniform(0.02, 0.08))
        canvas.paste(painted, canvas.mask(outline))
    if style == "cap":
        reach = np.clip(head.yaw, -0.8, 0.8)
        brim = ellipse_points((reach * 0.6, -0.5 + head.pitch), (head.width * 0.95, 0.13))
        canvas.fill(head.place(brim[:, 0], brim[:, 1]), to_colour(np.array(base) * 0.75))


def draw_glasses(rng: np.random.Generator, canvas: Canvas, head: Head) -> None:
    """Clear or dark glasses."""
    frame = to_colour(rng.uniform(10, 120, 3))
    radii = (rng.uniform(0.17, 0.25), rng.uniform(0.12, 0.2))
    dark = rng.random() < 0.4
    for side in (-1, 1):
        if abs(side * 0.52 + head.yaw) > 1.3:
            continue
        lens = head.patch(side * 0.52, -0.08, radii)
        if dark:
            canvas.fill(lens, vary(rng, (30, 30, 36), 20))
        canvas.line(lens, frame, head.unit * 0.04, closed=True)
        temple = head.on_skin(np.array([side * 0.75, side * 1.5]), np.array([-0.08, -0.05]))
        canvas.line(temple, frame, head.unit * 0.035)
    canvas.line(head.on_skin(np.array([-0.22, 0.22]), np.array([-0.1, -0.1])), frame, head.unit * 0.035)


def random_cloth(rng: np.random.Generator) -> Colour:
    """Colour of clothes, hats and scarves."""
    return random_colour(rng)
