"""What speaks against one source of a split: numbers of boxes that mean something else, pixels that use few bits.

A single box or picture shows neither; all of a data set together do. So every annotation file is looked at as a whole,
before its boxes are clipped and before it is merged with others. What follows from it is decided in
`edgedet.data.check.content`.

Boxes: a box fits when it has area and lies inside its image, give or take 1 % of the sides. Where many don't, other
readings of the same four numbers are tried; one that makes nearly all of them fit is the likely meaning. Files that
two tools wrote hold two meanings: then the boxes that misfit are explained by one, and the others are right.

Pixels: `wide_pictures.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgedet.data.coco.wide_pictures import weak_pictures
from edgedet.data.formats.annotations import Annotations

FIT_TOLERANCE = 0.01  # of the image's sides; at least 1 px
UNIT_END = 1.05  # exporters of numbers in 0..1 round, and overhang a little
LEAST_BOXES = 3  # that misfit; fewer prove nothing
PERCENT_END = 101.0  # boxes in percent end by here
PERCENT_BOXES = 20  # fewer may all lie in a corner by chance
PERCENT_SIDE_PX = 300  # of the smallest image; in smaller ones 0..100 is an ordinary place
PERCENT_SPREAD = 12.0  # standard deviation of their centres in x and in y; a logo in a corner stays where it is
FITS_OTHERWISE = 0.98  # of the boxes: the other reading explains them
MIXED_PART = 0.05  # of the boxes that a second tool wrote; fewer do little harm, and may be slips of a hand
MIXED_BOXES = 5  # that misfit and are corners; a few large objects at a border look alike
MIXED_OVERHANG = 0.1  # of the image's side, their median; objects that a border cuts overhang by less
CORNER_PART = 0.6  # of both sides, where all boxes end although they spread: drawn on smaller pictures
CORNER_BOXES = 20  # fewer may be there by chance
CORNER_SPREAD = 0.15  # of what they reach, standard deviation of their centres; what stays in one place has less

Reading = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SourceFacts:
    """One annotation file or folder of a split."""

    where: str
    boxes: int  # as stated, before any was dropped
    misread: str = ""  # what speaks for another meaning of the boxes' numbers, with advice; empty: nothing
    dark: str = ""  # the same of 16-bit pictures


def stated_boxes(part: Annotations) -> tuple[np.ndarray, np.ndarray]:
    """Boxes as stated, and the sizes of their images: float64 (N, 4), xywh, and (N, 2), px."""
    size_of = {image.image_id: (image.width, image.height) for image in part.images}
    boxes = np.array([instance.bbox for instance in part.instances], np.float64).reshape(-1, 4)
    return boxes, np.array([size_of[instance.image_id] for instance in part.instances], np.float64).reshape(-1, 2)


def source_facts(part: Annotations) -> SourceFacts:
    """Look at the boxes and the 16-bit pictures of a source.

    Args:
        part: annotations of one file or folder, with the headers of its images.
    Returns:
        What speaks against them.
    """
    boxes, sizes = stated_boxes(part)
    return SourceFacts(part.where, len(boxes), misread_boxes(boxes, sizes), _weak_pictures(part))


def misread_boxes(boxes: np.ndarray, sizes: np.ndarray) -> str:
    """Say what the numbers of the boxes mean when they are no x, y, width, height in pixels.

    Args:
        boxes: float64 (N, 4), as stated.
        sizes: float64 (N, 2), width and height of each box's image, px.
    Returns:
        A sentence with advice; empty when the boxes are what they should be, or nothing explains them.
    """
    count = len(boxes)
    if not count:
        return ""
    # Images of a few pixels may have boxes of one.
    unit = (np.abs(boxes) <= UNIT_END).all(axis=1) & (sizes.min(axis=1) > 4)
    if 2 * unit.sum() > count:
        return (
            f"{unit.sum()} of {count} boxes lie in 0..1: their numbers look normalized by width and height; "
            "multiply them by the size of their image, so that they are pixels"
        )
    if _in_percent(boxes, sizes):
        return (
            f"all {count} boxes lie in 0..100 of images of at least {PERCENT_SIDE_PX} px, and spread over that range: "
            "their numbers look like percent of width and height; bring them to pixels"
        )
    with np.errstate(over="ignore", invalid="ignore"):  # numbers up to 1e308 come from files
        misfits = int((~_fits(boxes, sizes)).sum())
        for meaning, least_misfits, reading in _READINGS:
            enough = misfits >= max(LEAST_BOXES, least_misfits * count)
            if enough and _fits(reading(boxes, sizes), sizes).mean() >= FITS_OTHERWISE:
                return (
                    f"{misfits} of {count} boxes have no area or reach out of their image, but nearly "
                    f"all fit when {meaning}; export them as the format wants them, in COCO as x, y, width, height in "
                    "pixels"
                )
        return _mixed(boxes, sizes, unit) or _mostly_outside(boxes, sizes)


def _mixed(boxes: np.ndarray, sizes: np.ndarray, unit: np.ndarray) -> str:
    """What to say when a part of the boxes has another meaning than the rest; empty when it has not."""
    count = len(boxes)
    below_a_pixel = unit & ((boxes[:, 2:] > 0) & (boxes[:, 2:] < 1)).all(axis=1)  # no marks such as 0, 0, 1, 1
    if below_a_pixel.sum() >= max(LEAST_BOXES, MIXED_PART * count):
        return (
            f"{below_a_pixel.sum()} of {count} boxes lie in 0..1, the others do not: those look normalized by width "
            "and height, as if two tools had written the file; bring all of them to pixels"
        )
    over = ~_fits(boxes, sizes) & (boxes[:, 2:] > 0).all(axis=1)
    if over.sum() < max(MIXED_BOXES, MIXED_PART * count):
        return ""
    far = ((boxes[over, :2] + boxes[over, 2:]) / sizes[over] - 1.0).max(axis=1)
    as_corners = _fits(_corners(boxes[over], sizes[over]), sizes[over])
    if np.median(far) < MIXED_OVERHANG or as_corners.mean() < FITS_OTHERWISE:
        return ""
    return (
        f"{over.sum()} of {count} boxes reach far out of their image, and nearly all of these fit when their numbers "
        "are taken for corners (x1, y1, x2, y2), as if two tools had written the file; export all of them as x, y, "
        "width, height in pixels"
    )


def _mostly_outside(boxes: np.ndarray, sizes: np.ndarray) -> str:
    """What to say when most boxes, but not all, lie beside their images; empty when they do not."""
    count = len(boxes)
    lost = int(((boxes[:, :2] >= sizes) | (boxes[:, :2] + boxes[:, 2:] <= 0)).any(axis=1).sum())
    if not max(LEAST_BOXES, count // 2) < lost < count:
        return ""
    reach = float(((boxes[:, :2] + boxes[:, 2:]) / sizes).max())
    return (
        f"{lost} of {count} boxes lie wholly outside their images, up to {reach:.3g} times as far as these reach: were "
        "they drawn on pictures of another size, or before these were cut out? Export images and boxes together again, "
        "or remove the boxes that have no picture"
    )


def corner_example(boxes: np.ndarray, sizes: np.ndarray) -> str:
    """Say how far the boxes reach when all of them keep to the upper left and spread over it, as on smaller pictures.

    Args:
        boxes: float64 (N, 4), as stated.
        sizes: float64 (N, 2), width and height of each box's image, px.
    Returns:
        The part of the pictures that they reach; empty when they reach further, are few, or stay in one place.
    """
    if len(boxes) < CORNER_BOXES:
        return ""
    with np.errstate(over="ignore", invalid="ignore"):
        start, end = boxes[:, :2] / sizes, (boxes[:, :2] + boxes[:, 2:]) / sizes
        spread, reach = ((start + end) / 2).std(axis=0), end.max(axis=0)
        if start.min() < -FIT_TOLERANCE or reach.max() > CORNER_PART or (spread < CORNER_SPREAD * reach).any():
            return ""
    across, down = reach.tolist()
    return f"the left {100 * across:.0f} % and the upper {100 * down:.0f} % of their images"


def _in_percent(boxes: np.ndarray, sizes: np.ndarray) -> bool:
    """True when every box lies in the first hundred pixels of large images, all over them."""
    if len(boxes) < PERCENT_BOXES or sizes.min() < PERCENT_SIDE_PX:
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        ends = boxes[:, :2] + boxes[:, 2:]
        inside = boxes.min() >= -1.0 and ends.max() <= PERCENT_END
        return bool(inside and ((boxes[:, :2] + ends).std(axis=0) / 2 >= PERCENT_SPREAD).all())


def _fits(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Bool (N,): xywh boxes with area that lie inside their image."""
    slack = np.maximum(1.0, FIT_TOLERANCE * sizes)
    start, side = boxes[:, :2], boxes[:, 2:]
    inside: np.ndarray = ((side > 0) & (start >= -slack) & (start + side <= sizes + slack)).all(axis=1)
    return inside


def _corners(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _corners_of_centres(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """YOLO's rows are read as centre and size; a row of corners is then half a side too far left and up."""
    return _corners(np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]], axis=1), sizes)


def _centres(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


def _other_corner(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[:, :2] + np.minimum(boxes[:, 2:], 0), np.abs(boxes[:, 2:])], axis=1)


def _thousandths(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes that keep together, wherever they are, are no thousandths of whole images."""
    if not ((2 * boxes[:, :2] + boxes[:, 2:]).std(axis=0) / 2 >= 10 * PERCENT_SPREAD).all():
        return np.full_like(boxes, np.nan)  # fits nowhere
    pixels: np.ndarray = boxes * np.tile(sizes, 2) / 1000.0
    return pixels


def _thousandth_corners(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return _thousandths(_corners(boxes, sizes), sizes)


def _y_first(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return boxes[:, [1, 0, 3, 2]]


# (what the numbers would be, part of the boxes that has to misfit as they are, the reading as xywh). Corners misfit
# often: every box beyond the middle reaches out. Centres misfit at the borders only.
_READINGS: tuple[tuple[str, float, Reading], ...] = (
    ("their numbers are taken for corners (x1, y1, x2, y2)", 0.3, _corners),
    (
        "their rows are taken for corners (x1, y1, x2, y2) and not for centre and size",
        0.3,
        _corners_of_centres,
    ),
    ("negative widths and heights are taken to go to the left and up", 0.3, _other_corner),
    ("y is taken to stand before x", 0.3, _y_first),
    ("x and y are taken for the centre", 0.05, _centres),
    # Last, because they make much fit. Networks that answer in text give such numbers.
    ("their numbers are taken for thousandths of width and height", 0.3, _thousandths),
    ("their numbers are taken for corners in thousandths of width and height", 0.3, _thousandth_corners),
)


def _weak_pictures(part: Annotations) -> str:
    """What the 16-bit pictures of a source use of their range."""
    return weak_pictures(
        [image.path for image in part.images if image.path in part.headers and part.headers[image.path].wide]
    )
