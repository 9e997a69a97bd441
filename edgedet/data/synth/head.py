"""The geometry of a synthetic head: a turned cylinder with a jaw, on which faces and masks are laid.

Units are half head heights: v = -1 is the top of the skull, +1 the chin. theta is the angle around the vertical axis
in radians, 0 at the nose, positive to the picture's right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgedet.data.synth.canvas import Canvas, Colour, ellipse_points, to_colour, vary

# Light to dark, sRGB, mixed by eye; jitter fills the gaps.
SKIN_TONES: tuple[Colour, ...] = (
    (246, 220, 200),
    (236, 195, 166),
    (222, 172, 136),
    (196, 142, 104),
    (164, 112, 78),
    (128, 84, 58),
    (96, 62, 44),
    (70, 46, 36),
)
HAIR_TONES: tuple[Colour, ...] = (
    (28, 24, 22),
    (56, 38, 28),
    (96, 62, 38),
    (150, 104, 60),
    (206, 170, 110),
    (160, 70, 40),
    (150, 150, 150),
    (220, 220, 215),
)


@dataclass(frozen=True)
class Head:
    """Shape, pose and place of one head on its canvas."""

    unit: float  # px per half head height
    centre: tuple[float, float]  # px, of the skull's middle
    width: float  # half width / half height, 0.6..0.9
    squareness: float  # exponent of the superellipse, 2: ellipse
    jaw: float  # 0..0.35, how much narrower the chin is
    yaw: float  # rad, positive: looks to the picture's right
    pitch: float  # features move down by this much, half heights
    roll: float  # rad
    skin: Colour
    hair: Colour

    def half_width(self, v: np.ndarray | float) -> np.ndarray:
        """Half width of the head at height v."""
        v = np.clip(v, -1.0, 1.0)
        result: np.ndarray = (
            self.width * (1 - np.abs(v) ** self.squareness) ** (1 / self.squareness) * (1 - self.jaw * np.maximum(v, 0))
        )
        return result

    def place(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """Points of the picture plane (units) -> float (N, 2) px, rolled."""
        x, y = np.broadcast_arrays(np.atleast_1d(x), np.atleast_1d(y))
        cos, sin = math.cos(self.roll) * self.unit, math.sin(self.roll) * self.unit
        points = np.empty((len(x), 2))
        points[:, 0] = x * cos - y * sin + self.centre[0]
        points[:, 1] = x * sin + y * cos + self.centre[1]
        return points

    def on_skin(self, theta: np.ndarray | float, v: np.ndarray | float, lift: float = 1.0) -> np.ndarray:
        """Points on the turned surface -> float (N, 2) px; lift > 1 stands off it; what is behind stops at the rim."""
        angle = np.clip(np.asarray(theta, float) + self.yaw, -np.pi / 2, np.pi / 2)
        v = np.asarray(v, float)
        return self.place(self.half_width(v) * np.sin(angle) * lift, v + self.pitch * np.cos(angle))

    def patch(self, theta: float, v: float, radii: tuple[float, float], angle: float = 0.0) -> np.ndarray:
        """Ellipse on the skin, foreshortened by the pose; radii in half heights."""
        across = max(0.15, float(np.cos(np.clip(theta + self.yaw, -np.pi / 2, np.pi / 2))))
        centre = self.on_skin(theta, v)[0]
        return ellipse_points(
            (centre[0], centre[1]), (radii[0] * across * self.unit, radii[1] * self.unit), self.roll + angle
        )

    def outline(self, grow: float = 1.0, low: float = 1.0) -> np.ndarray:
        """Contour of the head from v = -1 down to `low`, grown around its middle, float (N, 2) px."""
        turn = np.linspace(-np.pi / 2, np.pi / 2, 22)
        v = np.minimum(np.sin(turn), low)
        x = self.half_width(v)
        return self.place(np.concatenate([x, -x[::-1]]) * grow, np.concatenate([v, v[::-1]]) * grow)


def draw_head(rng: np.random.Generator, canvas: Canvas, head: Head) -> None:
    """Ears, skin and its shading."""
    for side in (-1, 1):
        # The ear on the side that the head turns away from comes into view.
        x = side * head.width * (0.98 if side * head.yaw <= 0 else 0.9)
        ear = head.place(x + ellipse_points((0, 0), (0.09, 0.17))[:, 0], ellipse_points((0, 0.02), (0.09, 0.17))[:, 1])
        canvas.fill(ear, vary(rng, to_colour(np.array(head.skin) * 0.9), 4))
    canvas.fill(head.outline(), head.skin)
    contour = canvas.mask(head.outline())
    dark, light = to_colour(np.array(head.skin) * 0.55), to_colour(np.array(head.skin) * 1.25)
    side = rng.choice([-1.0, 1.0])
    far = canvas.mask(
        head.place(
            ellipse_points((side * 0.75, 0.2), (0.5, 1.1))[:, 0], ellipse_points((side * 0.75, 0.2), (0.5, 1.1))[:, 1]
        ),
        head.unit * 0.2,
    )
    canvas.shade(np.minimum(far, contour), dark, rng.uniform(0.1, 0.6))
    glow = ellipse_points((-side * 0.3, -0.4), (0.35, 0.35))
    canvas.shade(
        np.minimum(canvas.mask(head.place(glow[:, 0], glow[:, 1]), head.unit * 0.15), contour),
        light,
        rng.uniform(0, 0.4),
    )


def draw_face(rng: np.random.Generator, canvas: Canvas, head: Head) -> None:
    """Eyes, brows, nose and mouth."""
    _draw_eyes(rng, canvas, head)
    line = to_colour(np.array(head.skin) * 0.68)
    nose_x = 0.1 + 0.05 * rng.random()
    tip = np.sin(head.yaw) * 0.14
    bridge = head.on_skin(np.array([0.0, 0.0]), np.array([-0.05, 0.22])) + np.array([[0, 0], [tip * head.unit, 0]])
    canvas.line(bridge, line, head.unit * 0.03)
    for theta in (-nose_x, nose_x):
        nostril = head.patch(theta, 0.27, (0.05, 0.03)) + np.array([tip * head.unit * 0.8, 0])
        canvas.fill(nostril, to_colour(np.array(head.skin) * 0.5))
    _draw_mouth(rng, canvas, head)


def _draw_eyes(rng: np.random.Generator, canvas: Canvas, head: Head) -> None:
    spread, height = rng.uniform(0.45, 0.62), rng.uniform(-0.18, -0.02)
    width, opening = rng.uniform(0.1, 0.16), rng.uniform(0.02, 0.085)
    iris = (rng.integers(20, 110), rng.integers(30, 110), rng.integers(20, 120))
    brow = to_colour(np.array(head.hair) * 0.8)
    for side in (-1, 1):
        theta = side * spread
        if abs(theta + head.yaw) > 1.35:
            continue
        canvas.fill(head.patch(theta, height, (width * 1.25, opening * 2.2)), to_colour(np.array(head.skin) * 0.86))
        if opening > 0.03:
            canvas.fill(head.patch(theta, height, (width, opening)), (238, 234, 230))
            gaze = rng.uniform(-0.06, 0.06)
            pupil = head.patch(theta + gaze, height, (opening * 0.95, opening * 0.95))
            canvas.fill(pupil, to_colour(np.array(iris)))
        else:
            canvas.line(head.patch(theta, height, (width, 0.02)), (50, 36, 30), head.unit * 0.02)
        arch = np.array([-0.22, 0.0, 0.22])
        lift = np.array([0.02, -0.04, 0.02]) + height - 0.17
        canvas.line(head.on_skin(theta + arch, lift), brow, head.unit * rng.uniform(0.03, 0.08))


def _draw_mouth(rng: np.random.Generator, canvas: Canvas, head: Head) -> None:
    lips = to_colour(np.array(head.skin) * 0.72 + np.array([rng.uniform(0, 60), 0, rng.uniform(0, 20)]))
    width, v = rng.uniform(0.22, 0.42), rng.uniform(0.5, 0.6)
    curve = rng.uniform(-0.05, 0.09)
    theta = np.linspace(-width, width, 9)
    bow = v + curve * (1 - (theta / width) ** 2) - curve / 2
    if rng.random() < 0.3:  # open, with teeth or tongue
        gap = rng.uniform(0.04, 0.16)
        canvas.fill(head.patch(0.0, v, (width * head.width, gap)), lips)
        canvas.fill(head.patch(0.0, v, (width * head.width * 0.85, gap * 0.75)), (70, 22, 24))
        if rng.random() < 0.6:
            canvas.fill(head.patch(0.0, v - gap * 0.35, (width * head.width * 0.7, gap * 0.3)), (236, 232, 222))
        return
    thick = np.sin(np.linspace(0, np.pi, 9)) * rng.uniform(0.03, 0.08)
    canvas.fill(
        np.concatenate([head.on_skin(theta, bow - thick), head.on_skin(theta[::-1], (bow + thick * 1.3)[::-1])]), lips
    )
    canvas.line(head.on_skin(theta, bow), to_colour(np.array(lips) * 0.5), head.unit * 0.02)


def draw_beard(rng: np.random.Generator, canvas: Canvas, head: Head) -> None:
    """A beard over chin and cheeks, the mouth mostly left free or grown over."""
    tone = vary(rng, head.hair, 18)
    top = rng.uniform(0.1, 0.45)
    theta = np.linspace(-1.4, 1.4, 15)
    upper = 0.38 + (top - 0.38) * np.abs(theta) / 1.4
    below = rng.uniform(0.98, 1.25)
    lower = head.place(np.linspace(0.55, -0.55, 9) * head.width * 1.1, below - 0.5 * np.linspace(-1, 1, 9) ** 2)
    area = canvas.mask(np.concatenate([head.on_skin(theta, upper), lower]), head.unit * 0.04)
    covered = canvas.copy()
    covered.fill(np.concatenate([head.on_skin(theta, upper), lower]), tone)
    canvas.paste(covered, area)
    if rng.random() < 0.6:  # lips show
        canvas.fill(head.patch(0.0, 0.56, (0.2, 0.05)), to_colour(np.array(head.skin) * 0.7 + np.array([30, 0, 5])))
