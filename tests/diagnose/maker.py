"""A small detector as checkpoint, int8 file and pictures with labels; not a test itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from random_weights import random_detector, random_pictures
from torch.fx import GraphModule

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.graph.flatbuffer import write_tflite
from edgedet.net.checkpoint import Checkpoint, save_checkpoint
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.fold import fold_batch_norm
from edgedet.quantize.fx.int16 import groups_of, widen
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.fx.prepare import freeze, prepare
from edgedet.quantize.fx.qparams import input_params
from edgedet.quantize.fx.to_graph import graph_from_fx

WIDTH, HEIGHT = 96, 64
CLASSES = ("red", "green")
CHECKPOINT, MODEL = "model.pt", "model_int8.tflite"


def write_detector(
    folder: Path,
    name: str = "rtmdet_pico_relu6",
    change: Callable[[GraphModule], GraphModule] | None = None,
    seed: int = 0,
    int16: tuple[str, ...] = (),
) -> None:
    """CHECKPOINT and MODEL; `change` alters the lowered float graph before it is quantized; `int16` names layers."""
    torch.set_num_threads(1)
    file = load_model_file(name)
    preprocess = PreprocessSpec(WIDTH, HEIGHT, mean=file.preprocess.mean, std=file.preprocess.std)
    outputs = OutputSpec(CLASSES)
    model = random_detector(file.model, len(CLASSES), seed, WIDTH, HEIGHT)
    save_checkpoint(Checkpoint(file.model, preprocess, outputs, model.state_dict(), {}), folder / CHECKPOINT)
    lowered = lower_activations(fold_batch_norm(model))
    prepared = prepare(change(lowered) if change else lowered, input_params(preprocess))
    prepared = widen(prepared, groups_of(prepared, int16))
    mean, std = (np.array(v, np.float32) for v in (preprocess.mean, preprocess.std))
    pixels = (random_pictures(8, WIDTH, HEIGHT, seed).astype(np.float32) - mean) / std
    batches = [torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)]
    write_tflite(graph_from_fx(freeze(calibrate(prepared, batches)), preprocess, outputs), folder / MODEL)


def write_split(folder: Path, images: int = 3) -> CocoSplit:
    """Random pictures, each with two boxes."""
    valid = folder / "valid"
    valid.mkdir(parents=True)
    pixels = random_pictures(images, WIDTH, HEIGHT, 5)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(valid / f"{number}.png")
    boxes = [(image, kind, 8 + 20 * kind, 10, 30, 24) for image in range(images) for kind in range(2)]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": WIDTH, "height": HEIGHT} for i in range(images)],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
        "annotations": [
            {"id": n, "image_id": i, "category_id": k + 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
            for n, (i, k, x, y, w, h) in enumerate(boxes, 1)
        ],
    }
    (valid / "_annotations.coco.json").write_text(json.dumps(content))
    return load_split(folder, "valid")
