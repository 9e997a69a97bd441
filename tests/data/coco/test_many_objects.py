"""A data set with more than 100 objects in an image, from training to AP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from edgedet.data.paths import DataPaths
from edgedet.evaluate.evaluator import evaluate
from edgedet.net.runtime import TorchRuntime
from edgedet.training.loop import TrainRequest, train


def test_train_on_more_than_100_objects_makes_a_contract_that_allows_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    boxes = [[x, y, 6, 6] for x in range(0, 96, 8) for y in range(0, 96, 8)]  # 144
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        images = [{"id": n, "file_name": f"{n}.png", "width": 96, "height": 96} for n in (1, 2)]
        for image in images:
            pixels = rng.integers(0, 255, (96, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / split / image["file_name"])
        annotations = [{"id": n, "image_id": 1, "category_id": 1, "bbox": box} for n, box in enumerate(boxes, 1)]
        document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "bean"}]}
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(document))
    data = DataPaths(tmp_path)
    request = TrainRequest("rtmdet_pico_relu6", data, tmp_path / "run", (96, 96), 1, 2, quiet=True)
    runtime = TorchRuntime.from_checkpoint(train(request).last)
    assert runtime.outputs.max_detections == 200
    report = evaluate(runtime, data.load("valid"))
    assert "area=   all | maxDets=200 ]" in report.text().splitlines()[0]
    assert report.max_detections == 200
