"""How much memory PTQ of a large model at a large input takes: rtmdet_s at 640x640, 32 images, less than 4 GB.

    .venv/bin/python bench/ptq_memory.py --data ../shared/data/bccd
    .venv/bin/python bench/ptq_memory.py --data ../shared/data/bccd --model rtmdet_m --imgsz 320 --effort best

Weights are drawn (their values don't matter for memory), BatchNorm statistics measured on pictures of the data set. The
quantization runs in a process of its own, and what it reports is that process's largest resident set. The result goes
into docs/ptq_memory.json, one row for each model, size, number of images and effort; `bench/results.py --render` shows
them in docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from table import ROOT, commit_of
from torch import nn

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.evaluate.evaluator import describe_machine
from edgedet.fileio import atomic_write_text
from edgedet.net.checkpoint import Checkpoint, save_checkpoint
from edgedet.net.families import build_detector
from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint
from edgedet.quantize.calibration.images import ImageFiles
from edgedet.quantize.ptq.pipeline import EFFORTS

OUT = ROOT / "docs" / "ptq_memory.json"
STATISTICS_IMAGES = 4


def main() -> int:
    """Make a checkpoint, quantize it in another process, add the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="rtmdet_s")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--effort", choices=EFFORTS, default="normal")
    parser.add_argument("--checkpoint", type=Path, help=argparse.SUPPRESS)  # of the process that is measured
    args = parser.parse_args()
    if args.checkpoint is not None:
        print(json.dumps(_measure(args)))
        return 0
    with tempfile.TemporaryDirectory(prefix="edgedet-memory-") as folder:
        checkpoint = Path(folder) / "model.pt"
        make_checkpoint(args.model, args.imgsz, DataPaths(args.data).load("train"), checkpoint)
        command = [sys.executable, __file__, *sys.argv[1:], "--checkpoint", str(checkpoint)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row = {**json.loads(done.stdout.splitlines()[-1]), "commit": commit_of(ROOT), "machine": describe_machine()}
    rows: list[dict[str, Any]] = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else []
    key = ("model", "imgsz", "images", "effort")
    rows = [other for other in rows if any(other[name] != row[name] for name in key)]
    atomic_write_text(OUT, json.dumps([*rows, row], indent=1) + "\n")
    print(json.dumps(row))
    return 0


def make_checkpoint(name: str, side: int, split: CocoSplit, path: Path, seed: int = 0) -> None:
    """A checkpoint with drawn weights, and BatchNorm statistics of some training images.

    Args:
        name: of the model.
        side: of the input, px.
        split: training images.
        path: to write.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    file = load_model_file(name)
    preprocess = file.preprocess.spec((side, side))
    outputs = OutputSpec(tuple(split.class_names), category_ids=tuple(split.category_ids))
    network = build_detector(file.model, len(outputs.class_names))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # the statistics of exactly this batch
        nn.init.normal_(norm.bias, 0.5, 0.2)
    images = ImageFiles(split.images[:STATISTICS_IMAGES], preprocess)
    with torch.no_grad():
        network.train()(torch.cat(list(images.batches(0, len(images)))))
    save_checkpoint(Checkpoint(file.model, preprocess, outputs, network.state_dict(), {}), path)


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    """Quantize in this process."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="edgedet-memory-") as folder:
        request = QuantizeRequest(
            args.checkpoint, DataPaths(args.data), Path(folder), calib_images=args.images, effort=args.effort
        )
        report = quantize_checkpoint(request, on_step=lambda step: print(step, file=sys.stderr, flush=True))
    return {
        "model": args.model,
        "imgsz": args.imgsz,
        "images": report.calib_images,
        "effort": args.effort,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds": {**dict(report.seconds), "all": time.perf_counter() - start},
    }


if __name__ == "__main__":
    sys.exit(main())
