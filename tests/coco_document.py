"""A small COCO document, and a folder in Roboflow's layout around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from edgedet.data.coco.split import CocoSplit

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def write_image(path: Path, width: int = 40, height: int = 30, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    Image.new("RGB", (width, height), (90, 120, 60)).save(path, exif=exif)


def document() -> dict[str, Any]:
    return {
        "images": [
            {"id": 5, "file_name": "a.jpg", "width": 40, "height": 30},
            {"id": 9, "file_name": "b.jpg", "width": 40, "height": 30},
        ],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 7, "bbox": [1, 2, 10, 12.5], "area": 125, "iscrowd": 0},
            {"id": 2, "image_id": 5, "category_id": 3, "bbox": [5, 5, 20, 20], "area": 300, "iscrowd": 1},
        ],
        "categories": [dict(category) for category in CATEGORIES],
    }


def write_roboflow(root: Path, content: Any, split: str = "train") -> Path:
    write_image(root / split / "a.jpg")
    write_image(root / split / "b.jpg")
    text = content if isinstance(content, str) else json.dumps(content)
    (root / split / "_annotations.coco.json").write_text(text)
    return root


def codes(split: CocoSplit) -> dict[str, int]:
    return {warning.code: warning.count for warning in split.warnings}
