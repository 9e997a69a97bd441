"""Pictures of a page: JPEG, small, boxes drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from edgedet.contracts import Detections
from edgedet.data.coco.split import ImageRecord
from edgedet.data.pictures.draw import class_colour, draw_boxes
from edgedet.data.pictures.preprocess import load_image
from edgedet.errors import DataError
from edgedet.page.blocks import Picture
from edgedet.page.judge import Judged, PictureErrors

_SIDE_PX, _QUALITY = 360, 78
_NAMED = 12  # boxes with their names; more names would hide the picture


def jpeg(pixels: np.ndarray) -> bytes:
    """uint8 (H, W, 3), RGB, as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=_QUALITY)
    return buffer.getvalue()


def worst_pictures(judged: Sequence[tuple[str, Judged]], count: int) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The pictures with most errors of the last model: ground truth, then each model's detections, side by side.

    Args:
        judged: name and judgement of each model, of the same images.
        count: how many pictures.
    Returns:
        Pictures, most missed and most false ones in turns, and sentences about those that can't be opened.
    """
    last = judged[-1][1]
    missed = sorted(last.errors, key=lambda e: (-e.missed, e.image_id))
    false = sorted(last.errors, key=lambda e: (-e.false - e.wrong_class, e.image_id))
    chosen: dict[int, PictureErrors] = {}
    for pair in zip(missed, false, strict=True):
        for one in pair:
            if len(chosen) < count and one.missed + one.false + one.wrong_class:
                chosen.setdefault(one.image_id, one)
    pictures, absent = [], []
    for errors in chosen.values():
        record = last.found.split.images[errors.image_id - 1]
        try:
            pixels = _side_by_side(record, judged)
        except (DataError, OSError) as error:
            absent.append(f"A picture of the worst ones is not shown: {error}")
            continue
        what = f"{errors.missed} missed, {errors.false} false, {errors.wrong_class} of another class"
        names = ", ".join(["ground truth", *(name for name, _ in judged)])
        pictures.append(Picture(jpeg(pixels), f"{record.path.name}: {what} ({judged[-1][0]}). Left to right: {names}."))
    return tuple(pictures), tuple(absent)


def _side_by_side(record: ImageRecord, judged: Sequence[tuple[str, Judged]]) -> np.ndarray:
    image = load_image(record.path)
    scale = min(1.0, _SIDE_PX / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
    names = judged[-1][1].found.split.class_names
    truth = [f"{names[label]}" for label in record.labels.tolist()]
    parts = [_drawn(small, record.boxes * scale, record.labels, truth)]
    for _, one in judged:
        found, strong = one.found.detections[record.image_id], one.found.strong(record.image_id)
        seen = Detections(found.boxes[strong], found.scores[strong], found.labels[strong])
        texts = [f"{names[c]} {s:.2f}" for c, s in zip(seen.labels.tolist(), seen.scores.tolist(), strict=True)]
        parts.append(_drawn(small, seen.boxes * scale, seen.labels, texts))
    gap = np.full((small.shape[0], 6, 3), 128, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=1)


def _drawn(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Boxes in the colours of their classes, with names where there are few."""
    if len(texts) <= _NAMED:
        return draw_boxes(image, boxes, labels, texts)
    canvas = Image.fromarray(image).copy()
    pen = ImageDraw.Draw(canvas)
    for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
        x1, y1, x2, y2 = box
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=class_colour(label), width=2)
    return np.array(canvas)
