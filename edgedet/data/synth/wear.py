"""Masks, well worn and badly worn, and the things that cover a mouth without being one."""

from __future__ import annotations

import numpy as np

from edgedet.data.synth.canvas import Canvas, Colour, ellipse_points, random_colour, to_colour, vary
from edgedet.data.synth.head import Head

MASK_SHAPES = ("surgical", "cloth", "cup", "bandana")
MASK_COLOURS: tuple[Colour, ...] = (
    (150, 196, 220),  # surgical blue
    (170, 214, 196),  # surgical green
    (240, 240, 238),  # white
    (30, 30, 34),  # black
    (236, 190, 200),  # pink
    (52, 70, 110),  # navy
)


def draw_mask(rng: np.random.Generator, canvas: Canvas, head: Head, worn: str) -> None:
    """Draw a mask.

    Args:
        rng: source of the variation.
        canvas: drawn on.
        head: wearer.
        worn: "well" (over nose and mouth), "nose_out" (mouth only), "chin", or "ear" (hangs from one ear).
    """
    shape = str(rng.choice(MASK_SHAPES[:3] if worn == "ear" else MASK_SHAPES))
    colour = _mask_colour(rng, head)
    if worn == "ear":
        side = 1.0 if head.yaw <= 0 else -1.0
        hang = ellipse_points((side * head.width * 1.05, 0.55), (0.2, 0.36), side * rng.uniform(-0.3, 0.3))
        outline = head.place(hang[:, 0], hang[:, 1])
        loop = head.place(side * head.width * np.array([1.0, 0.95]), np.array([0.0, 0.3]))
        canvas.line(loop, (225, 225, 225), head.unit * 0.025)
        _fill_mask(rng, canvas, head, outline, colour, shape)
        return
    top = {"well": rng.uniform(0.0, 0.16), "nose_out": rng.uniform(0.36, 0.44), "chin": rng.uniform(0.68, 0.8)}[worn]
    bottom = min(1.0, top + rng.uniform(0.75, 0.95)) + (0.12 if worn == "chin" else 0.0)
    reach = rng.uniform(0.95, 1.35)
    theta = np.linspace(-reach, reach, 15)
    bump = np.exp(-((theta / 0.3) ** 2))  # the bridge over the nose
    rise = {"surgical": 0.06, "cloth": 0.12, "cup": 0.2, "bandana": 0.05}[shape]
    upper = top + 0.16 * (np.abs(theta) / reach) ** 1.5 - rise * bump * (worn == "well")
    lift = 1.06 if shape == "cup" else 1.02
    if shape == "bandana" and worn != "chin":
        lower = head.place(np.array([0.5, 0.0, -0.5]) * head.width, np.array([1.0, rng.uniform(1.2, 1.6), 1.0]))
    else:
        round_ = 0.3 if shape in ("cup", "cloth") else 0.16
        lower_v = bottom + 0.02 - round_ * (np.abs(theta) / reach) ** 2
        lower = head.on_skin(theta[::-1], lower_v[::-1], lift)
        if worn == "chin":
            lower = lower + np.array([-np.sin(head.roll), np.cos(head.roll)]) * head.unit * 0.12
    if shape != "bandana":
        _draw_loops(canvas, head, reach, float(upper[0]), float(upper[0]) + 0.4)
    _fill_mask(rng, canvas, head, np.concatenate([head.on_skin(theta, upper, lift), lower]), colour, shape)
    if shape == "cup" and rng.random() < 0.5:
        valve = head.patch(rng.uniform(-0.3, 0.3), (top + bottom) / 2 + 0.1, (0.11, 0.1))
        canvas.fill(valve, to_colour(np.array(colour) * 0.75))


def _mask_colour(rng: np.random.Generator, head: Head) -> Colour:
    """Usual colours, any colour, and now and then one close to the skin."""
    draw = rng.random()
    if draw < 0.55:
        return vary(rng, MASK_COLOURS[int(rng.integers(len(MASK_COLOURS)))], 14)
    return vary(rng, head.skin, 22) if draw > 0.93 else random_colour(rng)


def _draw_loops(canvas: Canvas, head: Head, reach: float, upper: float, lower: float) -> None:
    for side in (-1, 1):
        ear = head.on_skin(side * 1.5, 0.05)
        for v in (upper, min(lower, 0.85)):
            canvas.line(np.concatenate([head.on_skin(side * reach, v), ear]), (222, 222, 220), head.unit * 0.025)


def _fill_mask(
    rng: np.random.Generator, canvas: Canvas, head: Head, outline: np.ndarray, colour: Colour, shape: str
) -> None:
    """Colour, pleats or print, a soft shadow at one side."""
    canvas.fill(outline, colour)
    painted = canvas.copy()
    accent = vary(rng, to_colour(np.array(colour) * rng.choice([0.75, 0.85, 1.15])), 8)
    pattern = str(
        rng.choice(["pleats", "plain"] if shape == "surgical" else ["plain", "stripes", "dots", "checks", "print"])
    )
    low, high = outline.min(axis=0), outline.max(axis=0)
    if pattern == "pleats":
        for v in rng.uniform(0.25, 0.85, 3):
            theta = np.linspace(-1.3, 1.3, 9)
            painted.line(head.on_skin(theta, v + 0.03 * np.cos(theta)), accent, head.unit * 0.035)
    if pattern in ("stripes", "checks"):
        second = random_colour(rng)
        for x in np.arange(low[0], high[0], head.unit * rng.uniform(0.1, 0.3)):
            painted.line(np.array([[x, low[1]], [x, high[1]]]), second, head.unit * 0.06)
        if pattern == "checks":
            for y in np.arange(low[1], high[1], head.unit * rng.uniform(0.1, 0.3)):
                painted.line(np.array([[low[0], y], [high[0], y]]), second, head.unit * 0.05)
    if pattern in ("dots", "print"):
        second = random_colour(rng)
        size = head.unit * (rng.uniform(0.03, 0.07) if pattern == "dots" else rng.uniform(0.12, 0.3))
        for centre in rng.uniform(low, high, (24 if pattern == "dots" else 2, 2)):
            painted.fill(ellipse_points((centre[0], centre[1]), (size, size * rng.uniform(0.5, 1.0))), second)
    edge = to_colour(np.array(colour) * 0.72)
    painted.line(outline, edge, head.unit * 0.025, closed=True)
    inside = canvas.mask(outline)
    shadow = head.place(*ellipse_points((rng.choice([-0.6, 0.6]), 0.7), (0.45, 0.6)).T)
    painted.shade(np.minimum(painted.mask(shadow, head.unit * 0.15), inside), (10, 10, 16), rng.uniform(0.05, 0.35))
    canvas.paste(painted, inside)


def draw_hand(rng: np.random.Generator, canvas: Canvas, head: Head) -> None:
    """A hand over the mouth."""
    side = float(rng.choice([-1.0, 1.0]))
    tone = vary(rng, to_colour(np.array(head.skin) * 0.93), 8)
    seam = to_colour(np.array(tone) * 0.7)
    palm = ellipse_points((side * 0.35, rng.uniform(0.6, 0.75)), (0.42, 0.3), side * -0.4)
    arm = np.array([[side * 0.3, 0.6], [side * 0.7, 0.7], [side * 1.3, 2.2], [side * 0.75, 2.3]])
    canvas.fill(head.place(arm[:, 0], arm[:, 1]), tone)
    canvas.fill(head.place(palm[:, 0], palm[:, 1]), tone)
    for finger in range(4):
        y = 0.42 + 0.13 * finger
        tip = ellipse_points((-side * (0.1 + 0.05 * (finger % 3)), y), (0.36, 0.075), side * 0.15)
        points = head.place(tip[:, 0], tip[:, 1])
        canvas.fill(points, tone)
        canvas.line(points, seam, head.unit * 0.02, closed=True)


def draw_scarf(rng: np.random.Generator, canvas: Canvas, head: Head, cloth: Colour) -> None:
    """A scarf up to the lips, wider than the face, the nose free."""
    top = rng.uniform(0.4, 0.55)
    x = np.linspace(-1, 1, 9) * head.width * rng.uniform(1.15, 1.5)
    upper = head.place(x, top + 0.16 * np.abs(np.linspace(-1, 1, 9)) ** 2 + rng.uniform(-0.04, 0.04, 9))
    lower = head.place(x[::-1] * 1.1, rng.uniform(1.25, 1.6) + rng.uniform(-0.06, 0.06, 9))
    outline = np.concatenate([upper, lower])
    canvas.fill(outline, cloth)
    painted = canvas.copy()
    for _ in range(int(rng.integers(3, 7))):  # folds
        v = rng.uniform(top + 0.1, 1.4)
        fold = head.place(x, v + rng.uniform(-0.12, 0.12) * np.linspace(-1, 1, 9) ** 2)
        painted.line(fold, vary(rng, to_colour(np.array(cloth) * 0.7), 10), head.unit * rng.uniform(0.03, 0.09))
    canvas.paste(painted, canvas.mask(outline))
