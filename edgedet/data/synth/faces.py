"""One synthetic person: who it is, what is worn, and the finished cut-out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgedet.data.synth.canvas import Canvas, Colour, ellipse_points, to_colour, vary
from edgedet.data.synth.hair import STYLES, draw_back_hair, draw_glasses, draw_top, random_cloth, top_outlines
from edgedet.data.synth.head import HAIR_TONES, SKIN_TONES, Head, draw_beard, draw_face, draw_head
from edgedet.data.synth.wear import draw_hand, draw_mask, draw_scarf

# Small heads are drawn larger and reduced, so that their details blend as a lens would blend them.
_SMALLEST_DRAWN_PX = 64

# What a person without a well-worn mask has at the mouth, with its share.
_NO_MASK_KINDS = ("bare", "beard", "nose_out", "chin", "ear", "hand", "scarf")
_NO_MASK_SHARES = (0.42, 0.12, 0.14, 0.09, 0.03, 0.1, 0.1)


@dataclass(frozen=True, eq=False)
class Cutout:
    """A drawn person."""

    masked: bool
    pixels: np.ndarray  # uint8 (h, w, 4), premultiplied RGBA
    head: np.ndarray  # bool (h, w), skull with hair or hat and what is worn on it: the box
    mouth: np.ndarray  # bool (h, w), lower half of the face: must stay visible, or the class is a guess
    centre: tuple[int, int]  # px inside the cut-out, (x, y) of the skull's middle


def draw_person(rng: np.random.Generator, head_px: float) -> Cutout:
    """Draw one person.

    Args:
        rng: source of everything that varies.
        head_px: height of the skull, px.
    Returns:
        The cut-out.
    """
    enlarge = max(1, int(np.ceil(_SMALLEST_DRAWN_PX / head_px)))
    unit = head_px * enlarge / 2
    width, height = (int(np.ceil(side * head_px)) * enlarge for side in (2.3, 2.2))
    canvas = Canvas(width, height)
    head = _random_head(rng, unit, (width / 2, height * 0.44))
    masked = bool(rng.random() < 0.5)
    kind = "well" if masked else str(rng.choice(_NO_MASK_KINDS, p=_NO_MASK_SHARES))
    style = str(rng.choice(STYLES))
    cloth = random_cloth(rng)
    draw_back_hair(rng, canvas, head, style, cloth)
    _draw_body(rng, canvas, head)
    draw_head(rng, canvas, head)
    draw_face(rng, canvas, head)
    if kind == "beard" or (masked and rng.random() < 0.08):
        draw_beard(rng, canvas, head)
    outlines = top_outlines(rng, head, style)
    draw_top(rng, canvas, head, style, outlines, cloth)
    if rng.random() < 0.25:
        draw_glasses(rng, canvas, head)
    if kind in ("well", "nose_out", "chin", "ear"):
        draw_mask(rng, canvas, head, kind)
    if kind == "scarf":
        draw_scarf(rng, canvas, head, random_cloth(rng))
    if kind == "hand":
        draw_hand(rng, canvas, head)
    if rng.random() < 0.12:
        _draw_occluder(rng, canvas, head)
    contour = canvas.mask(head.outline())
    for outline in outlines:
        contour = np.maximum(contour, canvas.mask(outline))
    mouth = canvas.mask(head.on_skin(np.array([-1.2, 1.2, 1.2, -1.2]), np.array([0.2, 0.2, 0.9, 0.9])))
    return Cutout(
        masked=masked,
        pixels=_reduce(canvas.pixels, enlarge),
        head=_reduce(contour, enlarge) > 127,
        mouth=_reduce(mouth, enlarge) > 127,
        centre=(round(width / 2 / enlarge), round(height * 0.44 / enlarge)),
    )


def _random_head(rng: np.random.Generator, unit: float, centre: tuple[float, float]) -> Head:
    skin = vary(rng, SKIN_TONES[int(rng.integers(len(SKIN_TONES)))], 12)
    return Head(
        unit=unit,
        centre=centre,
        width=rng.uniform(0.64, 0.88),
        squareness=rng.uniform(1.9, 2.6),
        jaw=rng.uniform(0.0, 0.3),
        yaw=float(np.clip(rng.normal(0, 0.38), -0.95, 0.95)),
        pitch=rng.uniform(-0.14, 0.14),
        roll=float(np.clip(rng.normal(0, 0.2), -0.6, 0.6)),
        skin=skin,
        hair=vary(rng, HAIR_TONES[int(rng.integers(len(HAIR_TONES)))], 12),
    )


def _draw_body(rng: np.random.Generator, canvas: Canvas, head: Head) -> None:
    """Neck and shoulders, upright whatever the roll of the head."""
    unit, (x, y) = head.unit, head.place(0.0, 0.75)[0]
    neck = head.width * rng.uniform(0.45, 0.65)
    canvas.fill(
        np.array([x, y]) + unit * np.array([[-neck, -0.2], [neck, -0.2], [neck * 1.1, 0.8], [-neck * 1.1, 0.8]]),
        to_colour(np.array(head.skin) * 0.8),
    )
    broad, drop = rng.uniform(1.2, 1.9), rng.uniform(0.4, 0.6)
    shoulders = np.array(
        [
            [-neck, drop - 0.12],
            [neck, drop - 0.12],
            [broad, drop + 0.35],
            [broad * 1.1, 3.0],
            [-broad * 1.1, 3.0],
            [-broad, drop + 0.35],
        ]
    )
    cloth: Colour = random_cloth(rng)
    canvas.fill(np.array([x, y]) + unit * shoulders, cloth)
    if rng.random() < 0.5:
        canvas.line(
            np.array([x, y]) + unit * np.array([[0, drop], [rng.uniform(-0.2, 0.2), 2.5]]),
            to_colour(np.array(cloth) * 0.7),
            unit * 0.05,
        )


def _draw_occluder(rng: np.random.Generator, canvas: Canvas, head: Head) -> None:
    """A bar beside the head or something round before its upper part; the mouth stays visible."""
    colour = random_cloth(rng)
    side = float(rng.choice([-1.0, 1.0]))
    if rng.random() < 0.5:
        x = side * head.width * rng.uniform(0.6, 0.9)
        bar = np.array([[x, -1.5], [x + side * 0.6, -1.5], [x + side * 0.6, 1.7], [x, 1.7]])
        canvas.fill(head.place(bar[:, 0], bar[:, 1]), colour)
        return
    thing = ellipse_points((side * rng.uniform(0.2, 0.8), -0.9), (rng.uniform(0.3, 0.6), rng.uniform(0.2, 0.5)))
    canvas.fill(head.place(thing[:, 0], thing[:, 1]), colour)


def _reduce(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Average factor x factor blocks."""
    if factor == 1:
        return pixels
    size = (pixels.shape[1] // factor, pixels.shape[0] // factor)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
