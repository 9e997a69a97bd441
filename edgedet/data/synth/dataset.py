"""The synthetic "mask / no_mask" data set: drawn, labelled exactly, the same bytes for the same seed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgedet.data.formats.coco_layout import ROBOFLOW_FILE
from edgedet.errors import ConfigError, DataError, missing_extra
from edgedet.fileio import PathLike, as_path, read_bytes
from edgedet.outputs.folder import new_folder
from edgedet.outputs.lock import hold_output

CLASS_NAMES = ("mask", "no_mask")  # category ids 1 and 2
MANIFEST = "synth.json"
JPEG_QUALITY = 90
_FORMAT = 1  # raise when the drawing changes, so that an older folder is not taken for the same
_SMALLEST_SIDE_PX = 96


@dataclass(frozen=True)
class SynthSpec:
    """Everything that determines the bytes of the data set."""

    images: int  # both splits together
    seed: int
    width: int  # px
    height: int  # px
    valid_fraction: float  # of the images, 0..1

    def __post_init__(self) -> None:
        if self.images < 2:
            raise ConfigError(f"images must be at least 2 (one for each split), got {self.images}")
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {self.seed}")
        if min(self.width, self.height) < _SMALLEST_SIDE_PX:
            raise ConfigError(f"size must be at least {_SMALLEST_SIDE_PX} px each way, got {self.width}x{self.height}")
        if not 0.0 < self.valid_fraction < 1.0:
            raise ConfigError(f"valid_fraction must be inside (0, 1), got {self.valid_fraction}")

    @property
    def counts(self) -> dict[str, int]:
        """Images of each split, at least one each."""
        valid = min(max(round(self.images * self.valid_fraction), 1), self.images - 1)
        return {"train": self.images - valid, "valid": valid}


def make_synthetic(
    out: PathLike,
    *,
    images: int,
    seed: int,
    size: tuple[int, int] = (320, 240),
    valid_fraction: float = 0.2,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw the data set in Roboflow's layout: train/ and valid/, each with its _annotations.coco.json.

    The folder appears when it is complete. An image depends on seed, split and index only, not on how many are drawn.
    When `out` already holds the same data set, it is left alone.

    Args:
        out: folder to create.
        images: number of images of both splits together, >= 2.
        seed: >= 0; the same seed gives the same bytes (with the same versions of NumPy, OpenCV and Pillow).
        size: (width, height) px.
        valid_fraction: share of the images that goes to valid/.
        progress: called with (images done, images in all) after each image.
    Returns:
        out.
    Raises:
        ConfigError: an argument is out of range.
        DataError: `out` exists and is something else.
        ToolchainError: OpenCV is missing.
    """
    out = as_path(out, "out")
    spec = SynthSpec(images, seed, size[0], size[1], valid_fraction)
    with hold_output(out):
        if _is_finished(out, spec):
            if progress:
                progress(images, images)
            return out
        try:
            import cv2
        except ImportError as error:
            raise missing_extra("cv2", "train") from error
        threads = cv2.getNumThreads()
        with new_folder(out, MANIFEST) as building:
            # The pictures are too small for OpenCV's threads to pay.
            cv2.setNumThreads(1)
            try:
                _draw(building, spec, progress)
            finally:
                cv2.setNumThreads(threads)
    return out


def _draw(building: Path, spec: SynthSpec, progress: Callable[[int, int], None] | None) -> None:
    """Draw both splits, then write what the folder is."""
    done = 0
    for number, (split, count) in enumerate(spec.counts.items()):
        for index in _draw_split(building / split, spec, number, count):
            if progress:
                progress(done + index + 1, spec.images)
        done += count
    (building / MANIFEST).write_text(json.dumps(_manifest(spec), indent=1) + "\n", encoding="utf-8")


def _manifest(spec: SynthSpec) -> dict[str, Any]:
    return {"generator": "edgedet data synth", "format": _FORMAT, **asdict(spec)}


def _is_finished(out: Path, spec: SynthSpec) -> bool:
    """True: `out` holds this data set already; False: it is absent or an empty folder; DataError otherwise."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise DataError(f"{out}: exists and is no folder; choose another `out`")
    if not any(out.iterdir()):
        return False
    try:
        found = json.loads(read_bytes(out / MANIFEST))
    except (OSError, ValueError) as error:
        raise DataError(f"{out}: folder is not empty and no synthetic data set; choose another `out`") from error
    expected = _manifest(spec)
    if found != expected:
        raise DataError(
            f"{out}: holds another data set ({found}), wanted {expected}; remove it or choose another `out`"
        )
    for split, count in spec.counts.items():
        there = len(list((out / split).glob("*.jpg")))
        if there != count or not (out / split / ROBOFLOW_FILE).is_file():
            raise DataError(f"{out / split}: {there} of {count} images or the annotations are gone; remove {out}")
    return True


def _draw_split(folder: Path, spec: SynthSpec, number: int, count: int) -> Iterator[int]:
    """Draw one split and write its annotations; gives the index of each image when it is written."""
    from edgedet.data.synth.scene import draw_scene

    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        scene = draw_scene(np.random.default_rng([spec.seed, number, index]), spec.width, spec.height)
        name = f"{index:06d}.jpg"
        (folder / name).write_bytes(_encode(scene.pixels))
        images.append({"id": index + 1, "file_name": name, "width": spec.width, "height": spec.height})
        for (left, top, right, bottom), masked in zip(scene.boxes.tolist(), scene.masked.tolist(), strict=True):
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": 1 if masked else 2,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
        yield index
    categories = [{"id": i, "name": name, "supercategory": "head"} for i, name in enumerate(CLASS_NAMES, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / ROBOFLOW_FILE).write_text(json.dumps(document) + "\n", encoding="utf-8")


def _encode(pixels: np.ndarray) -> bytes:
    """JPEG bytes; Pillow writes neither time nor version into them."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
