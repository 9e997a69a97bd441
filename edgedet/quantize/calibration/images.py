"""The pictures of a calibration: which ones, how they become batches, and the manifest that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgedet.contracts import PreprocessSpec
from edgedet.data.check.whole import whole_splits
from edgedet.data.coco.split import CocoSplit, ImageRecord
from edgedet.data.pictures.preprocess import load_image, load_pixels, normalize
from edgedet.errors import DataError
from edgedet.escape import json_text

LEAST_IMAGES = 8  # ranges measured on fewer depend on which they are; taken only when asked for by number
BATCH = 16  # pictures at once: enough to keep the cores busy, little enough for 1 GB at 640x640


@dataclass(frozen=True)
class CalibrationImage:
    """One image file of a calibration."""

    file: str  # path as found in the data set
    sha256: str  # of the file's bytes


@dataclass(frozen=True)
class Manifest:
    """Everything that decided a calibration besides the checkpoint."""

    method: str
    seed: int
    split: str
    preprocess: PreprocessSpec
    images: tuple[CalibrationImage, ...]  # in the order of use
    options: dict[str, Any]  # of the method, JSON-able

    def to_json(self) -> str:
        """Indented JSON, the same for the same manifest."""
        content: dict[str, Any] = asdict(self)
        content["preprocess"] = self.preprocess.to_json()
        return json_text(content)


def draw_images(split: CocoSplit, count: int, seed: int) -> tuple[ImageRecord, ...]:
    """Draw images without repetition.

    Args:
        split: data set split.
        count: images wanted, at least 1; all are taken when there are fewer.
        seed: decides which.
    Returns:
        The records, in an order that does not depend on the order of the annotation file.
    Raises:
        DataError: count is not positive, or the split is empty.
    """
    if count < 1:
        raise DataError(f"calibration needs at least 1 image, got `calib_images` {count}")
    # The same file may stand in the annotations twice; it would only count double.
    records = sorted({record.path: record for record in split.images}.values(), key=lambda record: str(record.path))
    if not records:
        raise DataError(f"{split.ann_path}: split {split.name} has no images to calibrate on")
    order = np.random.default_rng(seed).permutation(len(records))[:count]
    return tuple(records[i] for i in order)


def draw_whole(split: CocoSplit, count: int, seed: int, skip_broken: bool) -> tuple[CocoSplit, tuple[ImageRecord, ...]]:
    """Draw images as `draw_images`, all of which can be decoded.

    Args:
        split: data set split.
        count: images wanted.
        seed: decides which.
        skip_broken: draw again without the broken ones; else they are an error.
    Returns:
        The split without those that were found broken, and the images.
    Raises:
        BrokenImagesError: images that were drawn can't be decoded; it names them.
        DataError: as `draw_images`.
    """
    while True:
        records = draw_images(split, count, seed)
        drawn = whole_splits((replace(split, images=records),), skip_broken)[0]
        if len(drawn.images) == len(records):
            return split, records
        kept = {record.path for record in drawn.images}
        split = split.without(
            dict(zip((r.path for r in records if r.path not in kept), drawn.broken[len(split.broken) :], strict=True))
        )


def image_batches(records: Sequence[ImageRecord], spec: PreprocessSpec, batch: int = BATCH) -> Iterator[Tensor]:
    """Load and normalize images, without augmentation, exactly as evaluation and firmware do.

    Args:
        records: images.
        spec: preprocessing contract.
        batch: images at once.
    Yields:
        float32 (N, C, height, width), N <= batch.
    Raises:
        DataError: an image can't be read.
    """
    for start in range(0, len(records), batch):
        pixels = [load_pixels(record.path, spec) for record in records[start : start + batch]]
        yield torch.from_numpy(normalize(np.stack(pixels), spec)).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class ImageFiles:
    """Image files as the images of a calibration; nothing is kept in memory."""

    records: tuple[ImageRecord, ...]
    spec: PreprocessSpec

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    def batches(self, start: int, stop: int) -> Iterator[Tensor]:
        """Images start..stop-1; see `image_batches`."""
        return image_batches(self.records[start:stop], self.spec)


def check_enough(records: Sequence[ImageRecord], asked: int, split: CocoSplit) -> None:
    """Refuse a handful of images that nobody asked for.

    Args:
        records: drawn.
        asked: how many were wanted.
        split: where they come from.
    Raises:
        DataError: the split has fewer than `LEAST_IMAGES`, and more were asked for.
    """
    if len(records) < min(asked, LEAST_IMAGES):
        raise DataError(
            f"{split.ann_path}: split {split.name} has {len(records)} images, too few to calibrate on (expected at "
            f"least {LEAST_IMAGES}); add images, or say `calib_images` {len(records)} if that is all there is"
        )


def check_not_constant(records: Sequence[ImageRecord]) -> None:
    """Look for one image that shows more than a single colour.

    Args:
        records: images; read up to the first that is good.
    Raises:
        DataError: there is none, or an image can't be read.
    """
    for record in records:
        pixels = load_image(record.path)
        if (pixels != pixels[0, 0]).any():
            return
    raise DataError(
        f"{records[0].path}: shows a single colour, as do all {len(records)} calibration images; no range can be "
        "measured on them: calibrate with pictures like those that the model will see"
    )


def make_manifest(
    records: Sequence[ImageRecord],
    split: CocoSplit,
    spec: PreprocessSpec,
    method: str,
    seed: int,
    options: dict[str, Any] | None = None,
) -> Manifest:
    """Describe a calibration, with the hash of every file.

    Args:
        records: images in the order of use.
        split: where they were drawn from.
        spec: preprocessing contract.
        method: calibration method.
        seed: of the draw.
        options: of the method, JSON-able.
    Raises:
        DataError: an image can't be read.
    """
    images = tuple(CalibrationImage(str(record.path), _sha256(record.path)) for record in records)
    return Manifest(method, seed, split.name, spec, images, options or {})


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check the data set") from error
