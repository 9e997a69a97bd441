"""Run a model on images and draw what it found."""

from __future__ import annotations

import colorsys
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgedet.contracts import Detections
from edgedet.data.preprocess import load_image
from edgedet.errors import ConfigError, ShapeError
from edgedet.evaluate.detect import detect
from edgedet.evaluate.own_decoder import Decoder, OwnDecoder
from edgedet.fileio import atomic_write_bytes, atomic_write_text

if TYPE_CHECKING:  # drawing alone needs no runtime
    from edgedet.progress import Progress
    from edgedet.runtimes.protocol import Runtime


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in one image, and where its picture is."""

    image: Path  # input
    picture: Path  # PNG with boxes
    width: int  # px, of the upright image
    height: int  # px
    detections: Detections  # in pixels of the upright image


def predict(
    runtime: Runtime,
    image_paths: Sequence[Path],
    out: Path,
    score_threshold: float | None = None,
    progress: Progress | None = None,
    decode: Decoder | None = None,
) -> list[Prediction]:
    """Detect objects in images; write `OUT/<name>.png` for each and `OUT/detections.json`.

    Nothing is written before every image went through. Images of the same name get `<name>_2.png` and so on; no picture
    replaces one of the inputs. Pictures of an earlier run are replaced.

    Args:
        runtime: the model in one of its forms.
        image_paths: at least one image file.
        out: folder, created when absent.
        score_threshold: inside [0, 1); None takes the model's.
        progress: called after each image.
        decode: of a head that edgedet does not know, as in `evaluate`; None: the contract's head.
    Returns:
        One prediction per image, in order.
    Raises:
        ConfigError: no images, or the threshold is out of range.
        DataError: an image is missing or damaged.
    """
    if not image_paths:
        raise ConfigError("predict: no images given; name at least one image file")
    if decode is not None:
        runtime = OwnDecoder(runtime, decode)
    threshold = runtime.outputs.score_threshold if score_threshold is None else score_threshold
    pictures = picture_paths(image_paths, out)
    predictions = []
    for done, (path, picture) in enumerate(zip(image_paths, pictures, strict=True), start=1):
        found = detect(runtime, path, threshold)
        width, height = found.placement.image_width, found.placement.image_height
        predictions.append(Prediction(path, picture, width, height, found.in_image))
        if progress is not None:
            progress(done, len(image_paths))
    names = runtime.outputs.class_names
    for prediction in predictions:  # decoded again rather than kept: memory does not grow with the number of images
        drawn = draw_detections(load_image(prediction.image), prediction.detections, names)
        buffer = io.BytesIO()
        Image.fromarray(drawn).save(buffer, format="PNG")
        atomic_write_bytes(prediction.picture, buffer.getvalue())
    atomic_write_text(out / "detections.json", _to_json(predictions, runtime, threshold))
    return predictions


def draw_detections(image: np.ndarray, detections: Detections, class_names: Sequence[str]) -> np.ndarray:
    """Draw boxes with class names and scores; each class has its own colour.

    Args:
        image: uint8 (H, W, 3), RGB; stays as it is.
        detections: in pixels of the image.
        class_names: one per label.
    Returns:
        uint8 (H, W, 3), a copy with boxes.
    Raises:
        ShapeError: the image is not uint8 (H, W, 3).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError(f"draw_detections: expected uint8 (H, W, 3), found {image.dtype} {image.shape}")
    canvas = Image.fromarray(image).copy()
    draw = ImageDraw.Draw(canvas)
    side = max(image.shape[:2])
    font = ImageFont.load_default(size=max(11, round(side / 45)))
    line_px = max(2, round(side / 300))
    # Worst first, so that the best detection and its label lie on top.
    for index in reversed(range(len(detections))):
        label = int(detections.labels[index])
        colour = class_colour(label)
        x1, y1, x2, y2 = (round(value) for value in detections.boxes[index].tolist())
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=line_px)
        text = f"{class_names[label]} {detections.scores[index]:.2f}"
        _draw_label(draw, font, text, (x1, y1), colour, canvas.size)
    return np.array(canvas)


def class_colour(label: int) -> tuple[int, int, int]:
    """RGB colour of a class: hues by the golden ratio, so that neighbouring labels differ most."""
    red, green, blue = colorsys.hsv_to_rgb((0.36 + label * 0.618033988749895) % 1.0, 0.85, (1.0, 0.75)[label // 8 % 2])
    return round(red * 255), round(green * 255), round(blue * 255)


def picture_paths(image_paths: Sequence[Path], out: Path) -> list[Path]:
    """A different PNG path in `out` for each image, none of them an input.

    Args:
        image_paths: inputs.
        out: folder of the pictures.
    Returns:
        One path per image, in order.
    """
    taken = {str(path.resolve()).lower() for path in image_paths}  # lower: some file systems ignore case
    pictures = []
    for path in image_paths:
        picture, number = out / f"{path.stem}.png", 1
        while str(picture.resolve()).lower() in taken:
            number += 1
            picture = out / f"{path.stem}_{number}.png"
        taken.add(str(picture.resolve()).lower())
        pictures.append(picture)
    return pictures


def _draw_label(
    draw: ImageDraw.ImageDraw,
    font: Any,
    text: str,
    corner: tuple[int, int],
    colour: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    """A filled plate above the box, or inside it where there is no room above; moved left at the right border."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = round(right - left) + 4, round(bottom - top) + 4
    x = max(0, min(corner[0], size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    # Rec. 601 luma decides between black and white letters.
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128
    draw.text((x + 2 - left, y + 2 - top), text, font=font, fill=(0, 0, 0) if bright else (255, 255, 255))


def _to_json(predictions: Sequence[Prediction], runtime: Runtime, threshold: float) -> str:
    names = runtime.outputs.class_names
    images = []
    for prediction in predictions:
        found = prediction.detections
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        images.append(
            {
                "image": str(prediction.image),
                "picture": prediction.picture.name,
                "width": prediction.width,
                "height": prediction.height,
                "detections": [
                    {"class": names[label], "label": label, "score": score, "box_xyxy_px": box}
                    for label, score, box in rows
                ],
            }
        )
    head = {"runtime": runtime.name, "arithmetic": runtime.arithmetic, "score_threshold": threshold}
    return json.dumps({**head, "class_names": list(names), "images": images}, indent=2) + "\n"
