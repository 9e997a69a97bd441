"""What a model found in pictures, and what was to be found, in one small file of a run folder."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.contracts import Detections, PreprocessSpec
from edgedet.data.bare_images import ground_truth_of
from edgedet.data.coco.split import CocoSplit, ImageRecord
from edgedet.errors import DataError
from edgedet.escape import json_text
from edgedet.fileio import atomic_write_bytes

_ARRAYS = ("truth", "truth_image", "truth_label", "truth_area", "crowd", "boxes", "image", "score", "label")


@dataclass(frozen=True, eq=False)
class Found:
    """Detections of one model in the first images of a split, with the ground truth."""

    split: CocoSplit  # these images; ids from 1 in their order
    detections: Mapping[int, Detections]  # by image id, px of the upright image
    images_of_split: int  # how many the whole split has
    thresholds: tuple[float, ...]  # of the model's contract, for each class of the split
    preprocess: PreprocessSpec
    max_detections: int

    def first(self, images: int) -> Found:
        """The same for fewer images."""
        split = _truth_split(self.split, self.split.images[:images])
        kept = {record.image_id: self.detections[record.image_id] for record in split.images}
        return replace(self, split=split, detections=kept)

    def strong(self, image_id: int) -> np.ndarray:
        """Bool (N,): which detections of an image reach the threshold of their class."""
        seen = self.detections[image_id]
        reached: np.ndarray = seen.scores >= np.array(self.thresholds, np.float64)[seen.labels]
        return reached

    @property
    def where(self) -> str:
        """Which images, in words."""
        count = len(self.split.images)
        if count == self.images_of_split:
            return f"all {count} images of {self.split.name}"
        return f"the first {count} of {self.images_of_split} images of {self.split.name}"


def renumbered(split: CocoSplit, records: Sequence[ImageRecord]) -> CocoSplit:
    """A split of some of the images, with ids from 1.

    Args:
        split: where they come from.
        records: the images.
    """
    return _truth_split(split, [replace(record, image_id=number) for number, record in enumerate(records, 1)])


def save_found(found: Found, path: Path) -> None:
    """Write a compressed .npz: float32 boxes, float32 scores, int32 labels, and names as JSON.

    Args:
        found: what to keep.
        path: file, replaced whole.
    """
    records = found.split.images
    seen = [found.detections[record.image_id] for record in records]
    meta = {
        "split": found.split.name,
        "annotations": str(found.split.ann_path),
        "class_names": found.split.class_names,
        "category_ids": found.split.category_ids,
        "paths": [os.path.abspath(record.path) for record in records],  # the page may be made again from elsewhere
        "sizes": [[record.width, record.height] for record in records],
        "images_of_split": found.images_of_split,
        "thresholds": found.thresholds,
        "preprocess": found.preprocess.to_json(),
        "max_detections": found.max_detections,
    }
    arrays = {
        "truth": _joined([r.boxes.reshape(-1, 4) for r in records], np.float32, (0, 4)),
        "truth_image": np.repeat(np.arange(len(records), dtype=np.int32), [len(r.labels) for r in records]),
        "truth_label": _joined([r.labels for r in records], np.int32),
        "truth_area": _joined([r.areas for r in records], np.float32),
        "crowd": _joined([r.crowd for r in records], np.bool_),
        "boxes": _joined([d.boxes.reshape(-1, 4) for d in seen], np.float32, (0, 4)),
        "image": np.repeat(np.arange(len(records), dtype=np.int32), [len(d) for d in seen]),
        "score": _joined([d.scores for d in seen], np.float32),
        "label": _joined([d.labels for d in seen], np.int32),
        "meta": np.frombuffer(json_text(meta, None).encode(), np.uint8),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    atomic_write_bytes(path, buffer.getvalue())


def load_found(path: Path) -> Found:
    """Read what `save_found` wrote.

    Raises:
        DataError: the file is damaged.
        OSError: it can't be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(bytes(file["meta"]))
            return _found(meta, {name: file[name] for name in _ARRAYS})
    except OSError:
        raise
    except Exception as error:  # zipfile and the reader of its arrays raise whatever the bytes lead to
        raise DataError(f"{path}: is damaged ({type(error).__name__}); remove it, or repeat the run") from error


def _found(meta: dict[str, Any], a: dict[str, np.ndarray]) -> Found:
    records, detections = [], {}
    for index, (name, (width, height)) in enumerate(zip(meta["paths"], meta["sizes"], strict=True)):
        mine, its = a["truth_image"] == index, a["image"] == index
        records.append(
            ImageRecord(
                index + 1,
                Path(name),
                int(width),
                int(height),
                a["truth"][mine],
                a["truth_label"][mine].astype(np.int64),
                a["crowd"][mine],
                a["truth_area"][mine],
            )
        )
        detections[index + 1] = Detections(a["boxes"][its], a["score"][its], a["label"][its].astype(np.int64))
    split = CocoSplit(
        meta["split"], Path(meta["annotations"]), (), tuple(meta["class_names"]), tuple(meta["category_ids"]), ()
    )
    spec = PreprocessSpec.from_json(meta["preprocess"])
    return Found(
        _truth_split(split, records),
        detections,
        int(meta["images_of_split"]),
        _thresholds(meta),
        spec,
        int(meta["max_detections"]),
    )


def _thresholds(meta: dict[str, Any]) -> tuple[float, ...]:
    """Of each class; folders of earlier versions have one for all."""
    if "thresholds" in meta:
        return tuple(float(value) for value in meta["thresholds"])
    return (float(meta["score_threshold"]),) * len(meta["class_names"])


def _truth_split(split: CocoSplit, records: Sequence[ImageRecord]) -> CocoSplit:
    images = tuple(records)
    return replace(split, images=images, _ground_truth=ground_truth_of(images, split.class_names, split.category_ids))


def _joined(parts: Sequence[np.ndarray], dtype: Any, empty: tuple[int, ...] = (0,)) -> np.ndarray:
    return np.concatenate([np.zeros(empty, dtype), *parts]).astype(dtype)
