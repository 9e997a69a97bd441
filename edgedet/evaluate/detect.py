"""From an image to its detections through any runtime: resize, prepare, invoke, decode. Nothing else does this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgedet.contracts import Detections
from edgedet.data.coco.split import ImageRecord
from edgedet.data.pictures.preprocess import Placement, load_image, resize_to_input
from edgedet.progress import Stopwatch

if TYPE_CHECKING:  # the training loop evaluates without loading simulator and flatbuffer
    from edgedet.runtimes.protocol import Runtime


@dataclass
class Clock:
    """Seconds of the three parts, summed over images."""

    preprocess: float = 0.0  # decode the image file, resize, normalize or quantize
    invoke: float = 0.0  # the network
    decode: float = 0.0  # thresholds, boxes, NMS


@dataclass(frozen=True, eq=False)
class Found:
    """What a model found in one image."""

    pixels: np.ndarray  # uint8 (height, width, channels), the resized image before `prepare`
    placement: Placement  # where the image lies in them
    in_input: Detections  # in pixels of the network's input

    @property
    def in_image(self) -> Detections:
        """The same in pixels of the upright image."""
        return replace(self.in_input, boxes=self.placement.to_image(self.in_input.boxes))


def detect(
    runtime: Runtime, image: Path | np.ndarray, score_threshold: float | None, clock: Clock | None = None
) -> Found:
    """Detect objects in one image.

    Args:
        runtime: the model in one of its forms.
        image: file, or decoded: uint8 (H, W, 3), RGB, upright.
        score_threshold: inside [0, 1); None: the contract's, of each class.
        clock: where the seconds are added.
    Returns:
        Detections, best first.
    Raises:
        DataError: the file is missing or damaged.
    """
    clock, watch = clock or Clock(), Stopwatch()
    decoded = load_image(image) if isinstance(image, Path) else image
    pixels, placement = resize_to_input(decoded, runtime.preprocess)
    x = runtime.prepare(pixels)
    clock.preprocess += watch.seconds()
    raw = runtime.invoke(x)
    clock.invoke += watch.seconds()
    detections = runtime.decode(raw, score_threshold)
    clock.decode += watch.seconds()
    return Found(pixels, placement, detections)


def detect_records(
    runtime: Runtime,
    records: Iterable[ImageRecord],
    score_threshold: float | None,
    labels: np.ndarray,
    clock: Clock | None = None,
) -> Iterator[tuple[ImageRecord, Detections]]:
    """Detect objects in the images of a data set, in its labels.

    Args:
        runtime: the model in one of its forms.
        records: images.
        score_threshold: inside [0, 1); None: the contract's, of each class.
        labels: label of the data set for each of the model's, from `match_classes`; detections of -1 are dropped.
        clock: where the seconds are added.
    Yields:
        Each image with its detections, in pixels of the image, best first.
    """
    for record in records:
        found = detect(runtime, record.path, score_threshold, clock).in_image
        known = labels[found.labels] >= 0
        yield (
            record,
            Detections(found.boxes[known], found.scores[known], labels[found.labels[known]]),
        )
