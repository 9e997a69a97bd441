r"""Where a COCO data set keeps the annotation file and the images of a split, by whoever exported it.

Rules:
- A split of its own: Roboflow's train/_annotations.coco.json, COCO's annotations/instances_train2017.json, CVAT's
  annotations/instances_Train.json (upper and lower case are the same).
- No splits: Label Studio's result.json, CVAT's annotations/instances_default.json, or _annotations.coco.json or
  annotations.json in the folder itself.
- Label Studio writes paths of its server (`images\1/ab-photo.jpg`, `../../media/upload/4/ab-photo.jpg`,
  `/data/local-files/?d=photos/a.jpg`): where the path itself is not below the folder, the file of this name in
  images/ is taken.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from edgedet.data.formats.annotations import Annotations
from edgedet.data.formats.coco import parse_coco
from edgedet.data.formats.source import ALIASES, Source, folders_of
from edgedet.errors import DataError

ROBOFLOW_FILE = "_annotations.coco.json"
LABEL_STUDIO_FILE = "result.json"
_WHOLE = (ROBOFLOW_FILE, LABEL_STUDIO_FILE, "annotations.json", "annotations/instances_default.json")


def find_coco(data: Path, split: str) -> Source | None:
    """Find a split of a COCO data set.

    Args:
        data: folder.
        split: train, valid or test.
    Returns:
        Where it is; None when this is no COCO data set, or it has no such split.
    Raises:
        DataError: more than one annotation file fits, or its images can't be told.
    """
    if not data.is_dir():
        return None
    found = _named(data, split)
    whole = not found and not any(_named(data, other) for other in ALIASES)
    if whole:
        found = [data / name for name in _WHOLE if (data / name).is_file()]
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(data)) for path in found)
        raise DataError(f"{data}: {len(found)} annotation files fit {split} ({names}); give the one to use explicitly")
    if not found:
        return None
    return Source("COCO", found[0], partial(_read, data, found[0]), whole)


def _named(data: Path, split: str) -> list[Path]:
    """Annotation files that are named after the split."""
    found = [path / ROBOFLOW_FILE for path in folders_of(data, split) if (path / ROBOFLOW_FILE).is_file()]
    pattern = re.compile(rf"instances_({'|'.join(ALIASES[split])})(\d{{4}})?\.json", re.IGNORECASE)
    folder = data / "annotations"
    if folder.is_dir():
        found += sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_file())
    return found


def _read(data: Path, ann: Path) -> Annotations:
    if ann.name == LABEL_STUDIO_FILE:
        return parse_coco(ann, data, partial(_label_studio_name, data))
    return parse_coco(ann, images_of(ann))


def images_of(ann: Path) -> Path:
    """The image folder that belongs to an annotation file; DataError when it can't be told."""
    if not ann.name.startswith("instances_"):
        return ann.parent
    name = ann.stem.removeprefix("instances_")
    root = ann.parent.parent
    candidates = [root / name, root / "images" / name]
    found = [path for path in candidates if path.is_dir()]
    if not found and (root / "images").is_dir():  # CVAT: the subset's folder, where it has one, is part of file_name
        return root / "images"
    if len(found) != 1:
        tried = " and ".join(str(path) for path in candidates)
        raise DataError(
            f"{ann}: expected its images in exactly one of {tried}; found {len(found)} of them; "
            "give the image folder explicitly"
        )
    return found[0]


def _label_studio_name(data: Path, name: str) -> str:
    """Path of an image below the data set's folder, for what Label Studio wrote."""
    path = unquote(name.partition("?d=")[2] or name).replace("\\", "/")
    parts = Path(path).parts
    if ".." not in parts and not Path(path).is_absolute() and (data / path).is_file():
        return path
    return f"images/{Path(path).name}"
