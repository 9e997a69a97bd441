"""Synthetic scenes: background, clutter, people, light and camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edgedet.data.synth.canvas import ellipse_points, random_colour, to_colour, vary
from edgedet.data.synth.faces import Cutout, draw_person
from edgedet.data.synth.head import SKIN_TONES
from edgedet.data.synth.wear import MASK_COLOURS

MAX_PEOPLE = 8
HEAD_PX = (12.0, 150.0)  # height of the skull in a picture 240 px high
_MIN_HEAD_VISIBLE = 0.45  # of the head's pixels
_MIN_MOUTH_VISIBLE = 0.6  # of the lower face's pixels; below, the class would be a guess
_TRIES = 4  # places tried for a person before it stays away


@dataclass(frozen=True, eq=False)
class Scene:
    """A finished picture."""

    pixels: np.ndarray  # uint8 (H, W, 3), RGB
    boxes: np.ndarray  # int64 (N, 4), xyxy px, of what is visible of each head
    masked: np.ndarray  # bool (N,)


@dataclass(frozen=True, eq=False)
class _Placed:
    """A person in the picture; the maps are cut to the picture."""

    cutout: Cutout
    left: int  # px, may be negative
    top: int


def draw_scene(rng: np.random.Generator, width: int, height: int) -> Scene:
    """Draw one picture with 1 to 8 people.

    Args:
        rng: source of everything that varies.
        width: px.
        height: px.
    Returns:
        The picture with the box and class of each head.
    """
    picture = _background(rng, width, height)
    _clutter(rng, picture)
    owner = np.full((height, width), -1, np.int16)  # which person a pixel belongs to
    people = _populate(rng, picture, owner)
    boxes, masked = [], []
    for index, person in enumerate(people):
        rows, columns = np.nonzero(_visible(person, person.cutout.head, owner, index))
        boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
        masked.append(person.cutout.masked)
    picture = _camera(rng, _light(rng, picture))
    return Scene(picture, np.array(boxes, np.int64).reshape(-1, 4), np.array(masked, bool))


def _populate(rng: np.random.Generator, picture: np.ndarray, owner: np.ndarray) -> list[_Placed]:
    """Draw people from far to near; a place that hides too much of somebody is not taken."""
    height, width = owner.shape
    low, high = (side * min(height, width * 0.75) / 240 for side in HEAD_PX)
    count = int(rng.integers(1, MAX_PEOPLE + 1))
    # Crowds are far away: with many people the largest head shrinks.
    largest = low + (high - low) * rng.uniform(0.3, 1.0) * (1 - 0.05 * (count - 1))
    # Uniform in the logarithm, with some weight on the near ones: half of the heads exceed 30 px.
    sizes = np.sort(low * (largest / low) ** (rng.random(count) ** 0.75))
    people: list[_Placed] = []
    for size in sizes:
        cutout = draw_person(rng, float(size))
        for attempt in range(_TRIES):
            x, y = rng.uniform(-0.02, 1.02) * width, rng.uniform(0.02, 1.02) * height
            if not people and attempt == _TRIES - 1:
                x, y = width / 2, height / 2  # nobody can be in the way: there is always one person
            placed = _Placed(cutout, round(x) - cutout.centre[0], round(y) - cutout.centre[1])
            if _try_place(placed, people, owner):
                _composite(placed, picture)
                break
    return people


def _window(person: _Placed, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The person's rectangle in the picture, and the same part of its cut-out; maybe empty."""
    height, width = person.cutout.head.shape
    top, bottom = max(person.top, 0), max(min(person.top + height, shape[0]), 0)
    left, right = max(person.left, 0), max(min(person.left + width, shape[1]), 0)
    inside = slice(top, max(top, bottom)), slice(left, max(left, right))
    own = (
        slice(inside[0].start - person.top, inside[0].stop - person.top),
        slice(inside[1].start - person.left, inside[1].stop - person.left),
    )
    return inside, own


def _visible(person: _Placed, part: np.ndarray, owner: np.ndarray, index: int) -> np.ndarray:
    """Map (bool, H x W) of the pixels of `part` of the cut-out that nothing hides."""
    seen = np.zeros(owner.shape, bool)
    inside, own = _window(person, owner.shape)
    seen[inside] = part[own] & (owner[inside] == index)
    return seen


def _try_place(person: _Placed, people: list[_Placed], owner: np.ndarray) -> bool:
    """Claim the person's pixels in `owner` and append it, unless somebody would be hidden too much."""
    inside, own = _window(person, owner.shape)
    covered = np.where(person.cutout.pixels[own][:, :, 3] > 127, len(people), owner[inside])
    before = owner[inside].copy()
    owner[inside] = covered
    people.append(person)
    for index, other in enumerate(people):
        window, cut = _window(other, owner.shape)
        mine = owner[window] == index
        for part, needed in ((other.cutout.head, _MIN_HEAD_VISIBLE), (other.cutout.mouth, _MIN_MOUTH_VISIBLE)):
            if (part[cut] & mine).sum() < max(1.0, needed * part.sum()):
                owner[inside] = before
                people.pop()
                return False
    return True


def _composite(person: _Placed, picture: np.ndarray) -> None:
    """Lay the premultiplied cut-out over the picture, in place."""
    inside, own = _window(person, picture.shape)
    pixels = person.cutout.pixels[own]
    rest = (255 - pixels[:, :, 3:].astype(np.uint16)) * picture[inside]
    picture[inside] = np.minimum(pixels[:, :, :3] + (rest + 127) // 255, 255)


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Smooth noise, a gradient, a room or a pattern."""
    corners = rng.uniform(0, 255, (2, 2, 3)).astype(np.float32)
    if rng.random() < 0.5:  # calm: the corners differ little
        corners = corners.mean(axis=(0, 1)) + (corners - corners.mean(axis=(0, 1))) * 0.25
    coarse = rng.uniform(-1, 1, (int(rng.integers(3, 18)), int(rng.integers(3, 24)), 3)).astype(np.float32)
    if rng.random() < 0.6:
        coarse[:] = coarse[:, :, :1]
    smooth = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    cloudy = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(smooth + cloudy * np.float32(rng.uniform(0, 45)), 0, 255).astype(np.uint8)
    kind = rng.random()
    if kind < 0.25:
        _room(rng, picture)
    elif kind < 0.5:
        _pattern(rng, picture)
    return picture


def _room(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Floor, windows and shelves."""
    height, width = picture.shape[:2]
    floor = int(height * rng.uniform(0.5, 0.9))
    cv2.rectangle(picture, (0, floor), (width, height), random_colour(rng), -1)
    for _ in range(int(rng.integers(1, 5))):
        x, y = int(rng.uniform(0, width)), int(rng.uniform(0, floor))
        across, down = int(rng.uniform(0.1, 0.35) * width), int(rng.uniform(0.1, 0.45) * height)
        pane = random_colour(rng)
        cv2.rectangle(picture, (x, y), (x + across, y + down), pane, -1)
        for line in range(int(rng.integers(0, 4))):
            level = y + down * (line + 1) // 4
            cv2.line(picture, (x, level), (x + across, level), to_colour(np.array(pane) * 0.6), 2, cv2.LINE_AA)
        cv2.rectangle(picture, (x, y), (x + across, y + down), to_colour(np.array(pane) * 0.5), 2)


def _pattern(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Stripes, tiles or bricks, half transparent."""
    height, width = picture.shape[:2]
    step = int(rng.integers(8, 48))
    layer = picture.copy()
    colour = random_colour(rng)
    thick = max(1, int(step * rng.uniform(0.05, 0.5)))
    for y in range(0, height, step):
        cv2.line(layer, (0, y), (width, y + int(rng.integers(-2, 3))), colour, thick, cv2.LINE_AA)
    if rng.random() < 0.6:
        for x in range(0, width, step * 2):
            cv2.line(layer, (x, 0), (x, height), colour, thick, cv2.LINE_AA)
    share = rng.uniform(0.2, 0.8)
    cv2.addWeighted(layer, share, picture, 1 - share, 0, dst=picture)


def _clutter(rng: np.random.Generator, picture: np.ndarray) -> None:
    """Things that are no heads; some nearly look like one."""
    height, width = picture.shape[:2]
    for _ in range(int(rng.integers(2, 14))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        size = float(np.exp(rng.uniform(np.log(6), np.log(70)))) * height / 240
        draw = rng.random()
        if draw < 0.3:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
            points = np.stack([x + size * np.cos(angles), y + size * np.sin(angles)], axis=1)
            _fill(picture, points, random_colour(rng))
        elif draw < 0.5:
            end = (int(x + rng.uniform(-2, 2) * size), int(y + rng.uniform(-2, 2) * size))
            cv2.line(picture, (int(x), int(y)), end, random_colour(rng), int(rng.integers(1, 7)), cv2.LINE_AA)
        elif draw < 0.6:
            text = "".join(chr(int(code)) for code in rng.integers(65, 91, int(rng.integers(2, 7))))
            cv2.putText(
                picture,
                text,
                (int(x), int(y)),
                cv2.FONT_HERSHEY_SIMPLEX,
                size / 30,
                random_colour(rng),
                1 + int(size / 25),
                cv2.LINE_AA,
            )
        elif draw < 0.8:
            _ball(rng, picture, x, y, size * 0.5)
        elif draw < 0.9:
            _sign(rng, picture, x, y, size * 0.4)
        else:
            _lost_mask(rng, picture, x, y, size * 0.4)


def _fill(picture: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> None:
    cv2.fillPoly(picture, [np.round(points * 16).astype(np.int32).reshape(-1, 1, 2)], colour, cv2.LINE_AA, 4)


def _ball(rng: np.random.Generator, picture: np.ndarray, x: float, y: float, size: float) -> None:
    """A ball, lamp or featureless head-shaped blob, sometimes in a skin colour."""
    skin = rng.random() < 0.5
    tone = vary(rng, SKIN_TONES[int(rng.integers(len(SKIN_TONES)))], 20) if skin else random_colour(rng)
    radii = (size * rng.uniform(0.65, 1.1), size)
    _fill(picture, ellipse_points((x, y), radii, rng.uniform(-0.5, 0.5)), tone)
    if rng.random() < 0.6:
        spot = ellipse_points((x - size * 0.25, y - size * 0.3), (size * 0.3, size * 0.25))
        _fill(picture, spot, to_colour(np.array(tone) * 1.25 + 10))
    if skin and rng.random() < 0.4:  # something like hair
        cap = ellipse_points((x, y - size * 0.55), (radii[0] * 0.95, size * 0.5))
        _fill(picture, cap, random_colour(rng))


def _sign(rng: np.random.Generator, picture: np.ndarray, x: float, y: float, size: float) -> None:
    """A drawn smiley, clock or socket: a disc with face-like marks."""
    disc, ink = random_colour(rng), random_colour(rng)
    _fill(picture, ellipse_points((x, y), (size, size)), disc)
    for side in (-1, 1):
        _fill(picture, ellipse_points((x + side * size * 0.35, y - size * 0.2), (size * 0.12, size * 0.15)), ink)
    if rng.random() < 0.6:
        centre = (int(x), int(y + size * 0.15))
        cv2.ellipse(
            picture,
            centre,
            (max(1, int(size * 0.5)), max(1, int(size * 0.4))),
            0,
            10,
            170,
            ink,
            max(1, int(size / 9)),
            cv2.LINE_AA,
        )


def _lost_mask(rng: np.random.Generator, picture: np.ndarray, x: float, y: float, size: float) -> None:
    """A mask that nobody wears."""
    colour = vary(rng, MASK_COLOURS[int(rng.integers(len(MASK_COLOURS)))], 14)
    turn = rng.uniform(0, 2 * np.pi)
    shape = np.array([[-1, -0.5], [1, -0.5], [0.9, 0.4], [0, 0.75], [-0.9, 0.4]]) * size
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    for side in (-1, 1):
        loop = ellipse_points((side * size, 0), (size * 0.35, size * 0.4)) @ rotation + (x, y)
        cv2.polylines(
            picture, [np.round(loop).astype(np.int32).reshape(-1, 1, 2)], True, (225, 225, 225), 1, cv2.LINE_AA
        )
    _fill(picture, shape @ rotation + (x, y), colour)


def _light(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Shadow, vignette, colour cast, exposure and gamma: float32 (H, W, 3), 0..255."""
    height, width = picture.shape[:2]
    gain = np.ones((height, width), np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    if rng.random() < 0.4:  # the edge of a shadow crosses the picture
        angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.7, 0.7)
        soft = rng.uniform(0.05, 0.6)
        ramp = x * np.float32(np.cos(angle) / soft) + y * np.float32(np.sin(angle) / soft) - np.float32(offset / soft)
        gain *= 1 - np.float32(rng.uniform(0.2, 0.6)) * np.clip(ramp + np.float32(0.5), 0, 1)
    if rng.random() < 0.4:
        gain *= 1 - np.float32(rng.uniform(0.1, 0.35)) * (x**2 + y**2)
    # One table per channel for cast, exposure and gamma.
    cast = 1 + rng.normal(0, 0.09, 3)
    levels = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.65, 1.6) * cast * rng.uniform(0.6, 1.15)
    contrast = rng.uniform(0.6, 1.1)
    table = (np.clip((levels - 0.45) * contrast + 0.45, 0, 1) * 255).astype(np.float32)
    lit = np.empty(picture.shape, np.float32)
    for channel in range(3):
        lit[:, :, channel] = table[:, channel][picture[:, :, channel]]
    lit *= gain[:, :, None]
    return lit


def _camera(rng: np.random.Generator, lit: np.ndarray) -> np.ndarray:
    """Lens or motion blur and sensor noise: uint8 (H, W, 3)."""
    draw = rng.random()
    if draw < 0.45:
        lit = np.asarray(cv2.GaussianBlur(lit, (0, 0), rng.uniform(0.4, 1.4)), np.float32)
    elif draw < 0.6:
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        end = (length - 1, int(rng.integers(0, length)))
        cv2.line(kernel, (0, length - 1 - end[1]), end, 1.0, 1)
        lit = np.asarray(cv2.filter2D(lit, -1, kernel / kernel.sum()), np.float32)
    noise = np.float32(rng.exponential(4.0))
    grain = rng.standard_normal(lit.shape, np.float32)
    grain *= min(noise, np.float32(16))
    grain += lit
    grain += np.float32(0.5)
    return np.clip(grain, 0, 255, out=grain).astype(np.uint8)
