"""Pictures of a page: JPEG, small, boxes drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from edgedet.data.coco.split import ImageRecord
from edgedet.data.pictures.draw import draw_coloured
from edgedet.data.pictures.preprocess import load_image
from edgedet.errors import DataError
from edgedet.page.blocks import Picture
from edgedet.page.judge import FALSE, OTHER, RIGHT, Judged, PictureErrors

_SIDE_PX, _QUALITY = 360, 78
_NAMED = 12  # boxes with their names; more names would hide the picture
_COLOURS = {RIGHT: (38, 166, 84), FALSE: (224, 36, 36), OTHER: (245, 140, 10)}  # RGB


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
    plain = ~record.crowd
    truth = [f"{names[label]}" for label in record.labels[plain].tolist()]
    found = [RIGHT if one else FALSE for one in judged[-1][1].errors[record.image_id - 1].objects]
    parts = [_drawn(small, record.boxes[plain] * scale, found, truth)]
    for _, one in judged:
        seen, strong = one.found.detections[record.image_id], one.found.strong(record.image_id)
        labels, scores = seen.labels[strong].tolist(), seen.scores[strong].tolist()
        texts = [f"{names[c]} {s:.2f}" for c, s in zip(labels, scores, strict=True)]
        parts.append(_drawn(small, seen.boxes[strong] * scale, one.errors[record.image_id - 1].said, texts))
    gap = np.full((small.shape[0], 6, 3), 128, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=1)


def _drawn(image: np.ndarray, boxes: np.ndarray, kinds: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Boxes in the colours of RIGHT, FALSE and OTHER, what is wrong on top and with its name where there are few."""
    order = sorted(range(len(kinds)), key=lambda index: kinds[index] == RIGHT)  # the first is drawn on top
    named = sum(kind != RIGHT for kind in kinds) <= _NAMED
    shown = [texts[index] if named and kinds[index] != RIGHT else "" for index in order]
    return draw_coloured(image, boxes[order], [_COLOURS[kinds[index]] for index in order], shown)
