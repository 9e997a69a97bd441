"""A tiny data set of coloured rectangles, so that training runs take seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def tiny_coco(tmp_path: Path) -> Path:
    """Roboflow layout, 2 classes, 9 training and 4 validation images of 96x80 px."""
    root = tmp_path / "tiny"
    rng = np.random.default_rng(0)
    for split, count in (("train", 9), ("valid", 4)):
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for index in range(count):
            pixels = rng.integers(0, 60, (80, 96, 3), dtype=np.uint8)
            for _ in range(2):
                x, y = int(rng.integers(0, 60)), int(rng.integers(0, 44))
                width, height = (int(v) for v in rng.integers(16, 36, 2))
                label = int(rng.integers(2))
                pixels[y : y + height, x : x + width, label] = 220
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index,
                        "category_id": label + 1,
                        "bbox": [x, y, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                    }
                )
            name = f"{index}.png"
            Image.fromarray(pixels).save(root / split / name)
            images.append({"id": index, "file_name": name, "width": 96, "height": 80})
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(document))
    return root
