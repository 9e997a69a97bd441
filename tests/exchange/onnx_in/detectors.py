"""Small detectors in the manner of YOLOX and YOLOv8, trained for some seconds so that their ranges are real."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet.contracts import PreprocessSpec
from edgedet.data.pictures.preprocess import load_pixels

WIDTH, HEIGHT = 96, 64
STRIDES = (8, 16)
BINS = 8
CLASSES = ("green", "red", "blue")


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU())


class Backbone(nn.Module):
    """Pictures -> features of strides 8 and 16, the second also seen by the first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(block(3, 8, 2), block(8, 16, 2), block(16, 24, 2))
        self.down = block(24, 32, 2)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.mix = block(64 + 24, 24)
        self.join = block(64, 32)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        high = self.stem(x)
        deep = self.down(high)
        deep = torch.cat((deep, self.pool(deep)), 1)
        up = functional.interpolate(deep, scale_factor=2, mode="nearest")
        return self.mix(torch.cat((high, up), 1)), self.join(deep)


class Yolox(nn.Module):
    """Box, objectness, classes; `decoded`: boxes in pixels, as Megvii's export with decode_in_inference."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.stems = nn.ModuleList(block(c, 24) for c in (24, 32))
        self.box, self.obj, self.cls = (
            nn.ModuleList(nn.Conv2d(24, depth, 1) for _ in STRIDES) for depth in (4, 1, len(CLASSES))
        )
        self.decoded = False

    def raw(self, x: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        features = [stem(f) for stem, f in zip(self.stems, self.backbone(x), strict=True)]
        return [(b(f), o(f), c(f)) for b, o, c, f in zip(self.box, self.obj, self.cls, features, strict=True)]

    def boxes(self, box: Tensor, level: int) -> Tensor:
        """(N, 4, h, w) -> centre and size in pixels."""
        cells = grid(box.shape[2:])
        return torch.cat(((box[:, :2] + cells) * STRIDES[level], box[:, 2:].exp() * STRIDES[level]), 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for level, (box, obj, cls) in enumerate(self.raw(x)):
            box = self.boxes(box, level) if self.decoded else box
            levels.append(torch.cat((box, obj.sigmoid(), cls.sigmoid()), 1).flatten(2))
        return torch.cat(levels, 2).permute(0, 2, 1)


class Yolov8(nn.Module):
    """Distributions of distances and classes, decoded in the graph to one tensor (N, 4 + classes, cells)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.box = nn.ModuleList(nn.Sequential(block(c, 24), nn.Conv2d(24, 4 * BINS, 1)) for c in (24, 32))
        self.cls = nn.ModuleList(nn.Sequential(block(c, 24), nn.Conv2d(24, len(CLASSES), 1)) for c in (24, 32))
        self.dfl = nn.Conv2d(BINS, 1, 1, bias=False).requires_grad_(False)
        self.dfl.weight.data[:] = torch.arange(BINS, dtype=torch.float32).view(1, BINS, 1, 1)

    def raw(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(b(f), c(f)) for b, c, f in zip(self.box, self.cls, self.backbone(x), strict=True)]

    def distances(self, box: Tensor) -> Tensor:
        """(N, 4 * bins, cells) -> (N, 4, cells), strides."""
        n, _, cells = box.shape
        result: Tensor = self.dfl(box.view(n, 4, BINS, cells).transpose(2, 1).softmax(1)).view(n, 4, cells)
        return result

    def forward(self, x: Tensor) -> Tensor:
        levels = self.raw(x)
        joint = torch.cat([torch.cat(level, 1).flatten(2) for level in levels], 2)
        box, cls = joint.split((4 * BINS, len(CLASSES)), 1)
        anchors = torch.cat([(grid(c.shape[2:]) + 0.5).flatten(2) for _, c in levels], 2)
        strides = torch.cat(
            [torch.full((1, c[0, 0].numel()), float(s)) for (_, c), s in zip(levels, STRIDES, strict=True)], 1
        )
        low, high = self.distances(box).chunk(2, 1)
        low, high = anchors - low, anchors + high
        return torch.cat((torch.cat(((low + high) / 2, high - low), 1) * strides, cls.sigmoid()), 1)


def grid(shape: Any) -> Tensor:
    """(1, 2, h, w): column and row of every cell."""
    rows, columns = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    return torch.stack((columns, rows)).float()[None]


def examples(data: Path, preprocess: PreprocessSpec) -> tuple[Tensor, list[list[tuple[list[float], int]]]]:
    """Pictures of a split, normalized, and their boxes (cx, cy, w, h in pixels of the input) with labels."""
    content = json.loads((data / "train" / "_annotations.coco.json").read_text())
    names = {c["id"]: CLASSES.index(c["name"]) for c in content["categories"]}
    pictures, truth = [], []
    for image in content["images"]:
        pictures.append(load_pixels(data / "train" / image["file_name"], preprocess))
        factor = min(WIDTH / image["width"], HEIGHT / image["height"])
        boxes = [
            ([factor * (x + w / 2), factor * (y + h / 2), factor * w, factor * h], names[a["category_id"]])
            for a in content["annotations"]
            if a["image_id"] == image["id"]
            for x, y, w, h in [a["bbox"]]
        ]
        truth.append(boxes)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (preprocess.mean, preprocess.std))
    return (torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() - mean) / std, truth


def targets(truth: list[list[tuple[list[float], int]]]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each level (positive cells (N, h, w), labels (N, h, w), boxes (N, 4, h, w)): cells near a centre."""
    found = []
    for level, stride in enumerate(STRIDES):
        shape = (len(truth), HEIGHT // stride, WIDTH // stride)
        positive, label, box = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.long), torch.zeros(
            (shape[0], 4, *shape[1:])
        )  # fmt: skip
        for n, boxes in enumerate(truth):
            for values, which in boxes:
                if (max(values[2:]) >= 24) != (level == 1):
                    continue
                column, row = (min(int(values[i] / stride), shape[2 - i] - 1) for i in (0, 1))
                for r in range(max(row - 1, 0), min(row + 2, shape[1])):
                    for c in range(max(column - 1, 0), min(column + 2, shape[2])):
                        near = (
                            abs((c + 0.5) * stride - values[0]) < values[2] / 2
                            and abs((r + 0.5) * stride - values[1]) < values[3] / 2
                        )
                        if near or (r, c) == (row, column):
                            positive[n, r, c], label[n, r, c], box[n, :, r, c] = True, which, torch.tensor(values)
        found.append((positive, label, box))
    return found


def train(model: Yolox | Yolov8, data: Path, preprocess: PreprocessSpec, steps: int = 100) -> None:
    """Adam on half of the pictures at once."""
    pictures, truth = examples(data, preprocess)
    all_wanted = targets(truth)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, steps)
    model.train()
    for _ in range(steps):
        chosen = torch.from_numpy(rng.permutation(len(pictures))[: len(pictures) // 2])
        wanted = [tuple(part[chosen] for part in parts) for parts in all_wanted]
        loss = torch.zeros(())
        for level, (values, (positive, label, box)) in enumerate(zip(model.raw(pictures[chosen]), wanted, strict=True)):
            cells, stride = grid(positive.shape[1:]), STRIDES[level]
            cls = values[-1]
            hot = functional.one_hot(label, len(CLASSES)).permute(0, 3, 1, 2).float() * positive[:, None]
            if isinstance(model, Yolox):
                found = model.boxes(values[0], level)
                loss = loss + functional.binary_cross_entropy_with_logits(values[1][:, 0], positive.float()) * 10
            else:
                centre, size = box[:, :2] / stride, box[:, 2:] / stride
                sides = torch.cat((cells + 0.5 - centre + size / 2, centre + size / 2 - cells - 0.5), 1)
                got = model.distances(values[0].flatten(2)).view_as(sides)
                error = (got - sides.clamp(0, BINS - 1.01)).abs()
                found = box
                loss = loss + (error * positive[:, None]).sum() / positive.sum().clamp(min=1)
            scores = functional.binary_cross_entropy_with_logits(cls, hot, reduction="none")
            loss = loss + (scores.sum(1) * (positive if isinstance(model, Yolox) else 1)).sum() / positive.sum().clamp(
                min=1
            )
            loss = loss + ((found - box).abs() * positive[:, None]).sum() / positive.sum().clamp(min=1) / stride
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()


def export(model: nn.Module, path: Path, opset: int = 17) -> Path:
    """The file that torch.onnx.export makes."""
    buffer = io.BytesIO()
    # The exporter over TorchScript is called legacy, but it needs no further package.
    torch.onnx.export(model, (torch.zeros(1, 3, HEIGHT, WIDTH),), buffer, dynamo=False, opset_version=opset)
    path.write_bytes(buffer.getvalue())
    return path
