"""From an image to its detections through any runtime: resize, prepare, invoke, decode. Nothing else does this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from edgedet.contracts import Detections
from edgedet.data.coco.split import ImageRecord
from edgedet.data.pictures.preprocess import Placement, load_image, resize_to_input
from edgedet.errors import ConversionError
from edgedet.progress import Stopwatch

if TYPE_CHECKING:  # the training loop evaluates without loading simulator and flatbuffer
    from edgedet.runtimes.device_figures import DeviceFigures, DeviceMs, OnePicture
    from edgedet.runtimes.protocol import Runtime


@runtime_checkable
class Keeping(Protocol):
    """A runtime so slow that an interrupted run should go on where it was."""

    def keeping(self) -> AbstractContextManager[None]:
        """While it lasts, results are kept in a file, and those of an interrupted run are taken from it."""


def keeping_results(runtime: Runtime) -> AbstractContextManager[None]:
    """`keeping` of a runtime that has it; of another, nothing."""
    return runtime.keeping() if isinstance(runtime, Keeping) else nullcontext()


@runtime_checkable
class OnDevice(Protocol):
    """A runtime on a board, which detects itself, and may prepare the pictures, too."""

    @property
    def takes_images(self) -> bool:
        """Whether the board prepares pictures itself: then `invoke_image` in place of `prepare` and `invoke`."""

    def invoke_image(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """Raw outputs of a picture, uint8 (H, W, 3), RGB, upright."""

    def require_room(self, width: int, height: int, what: str) -> None:
        """Raises DeviceError where a picture of this size can't be sent; `what` names it."""

    def last_picture(self) -> OnePicture:
        """What the board itself made of the picture that ran last."""

    def device_figures(self) -> DeviceFigures:
        """What was measured, of the pictures so far."""


def board_with_room(runtime: Runtime, records: Iterable[ImageRecord]) -> OnDevice | None:
    """The runtime where it is a board, whose memory takes all images: else that is told before the first slow one."""
    if not isinstance(runtime, OnDevice):
        return None
    for record in records:
        runtime.require_room(record.width, record.height, str(record.path))
    return runtime


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
    on_device: OnePicture | None = None  # what a board itself made of it; its detections in pixels of the upright image

    @property
    def in_image(self) -> Detections:
        """The same in pixels of the upright image."""
        return replace(self.in_input, boxes=self.placement.to_image(self.in_input.boxes))

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the upright image, px."""
        return self.placement.image_width, self.placement.image_height

    @property
    def device_ms(self) -> DeviceMs | None:
        """Ms on a board, by its clock; None where no board ran, or it has no clock."""
        return None if self.on_device is None else self.on_device.ms


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
    board = runtime if isinstance(runtime, OnDevice) else None
    if board is not None and board.takes_images:
        clock.preprocess += watch.seconds()
        raw = board.invoke_image(decoded)
    else:
        x = runtime.prepare(pixels)
        clock.preprocess += watch.seconds()
        raw = runtime.invoke(x)
    clock.invoke += watch.seconds()
    if any(output.dtype.kind == "f" and np.isnan(output).any() for output in raw):
        where = str(image) if isinstance(image, Path) else "a picture"
        raise ConversionError(
            f"{where}: the network's outputs hold NaN (no number), so what is found means nothing; its weights "
            "are damaged or training diverged: take an earlier checkpoint or the file that it was made of"
        )
    detections = runtime.decode(raw, score_threshold)
    clock.decode += watch.seconds()
    return Found(pixels, placement, detections, None if board is None else _on_device(board, placement))


def _on_device(board: OnDevice, placement: Placement) -> OnePicture:
    """What the board made of the last picture; where it got a tensor it knows nothing of the image."""
    last = board.last_picture()
    if last.found is None or board.takes_images:
        return last
    return replace(last, found=replace(last.found, boxes=placement.to_image(last.found.boxes)))


def detect_records(
    runtime: Runtime,
    records: Iterable[ImageRecord],
    score_threshold: float | None,
    labels: np.ndarray,
    clock: Clock | None = None,
    own: dict[int, Detections] | None = None,
) -> Iterator[tuple[ImageRecord, Detections]]:
    """Detect objects in the images of a data set, in its labels.

    Args:
        runtime: the model in one of its forms.
        records: images.
        score_threshold: inside [0, 1); None: the contract's, of each class.
        labels: label of the data set for each of the model's, from `match_classes`; detections of -1 are dropped.
        clock: where the seconds are added.
        own: where a board's own detections are added, by image id.
    Yields:
        Each image with its detections, in pixels of the image, best first.
    """
    for record in records:
        found = detect(runtime, record.path, score_threshold, clock)
        if own is not None and found.on_device is not None and found.on_device.found is not None:
            own[record.image_id] = _in_labels(found.on_device.found, labels)
        yield record, _in_labels(found.in_image, labels)


def _in_labels(found: Detections, labels: np.ndarray) -> Detections:
    known = labels[found.labels] >= 0
    return Detections(found.boxes[known], found.scores[known], labels[found.labels[known]])
