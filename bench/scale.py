"""What grows with the number of images: data check, start of an epoch, calibration, memory; how soon a person sees that
a command works; how fast batches are drawn.

    python bench/scale.py --images 2000 20000 --out /tmp/scale

Draws COCO data sets of tiny pictures (every picture file is one of 64, linked), so that what is measured is the
bookkeeping and not the decoding. Every measurement is a process of its own. Prints Markdown for docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

REPO = Path(__file__).resolve().parents[1]
COCO_IMAGES = 118_287  # train2017
CLASSES = ("mask", "no_mask", "other")  # two are those of the checkpoint that is quantized
BOXES = 25  # an image: 500,000 in 20,000
PICTURES, SIDE_PX = 64, 64
DRAWN_STEPS, BATCH, INPUT_PX = 40, 32, 192


def make_data(root: Path, count: int) -> Path:
    """A data set in Roboflow's layout; the validation split has 64 images."""
    for split, images in (("train", count), ("valid", PICTURES)):
        folder = root / split
        if (folder / "_annotations.coco.json").is_file():
            continue
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        records, annotations = [], []
        for index in range(images):
            name = f"{index:06}.jpg"
            if index < PICTURES:
                pixels = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name, quality=80)
            else:
                os.link(folder / f"{index % PICTURES:06}.jpg", folder / name)
            records.append({"id": index + 1, "file_name": name, "width": SIDE_PX, "height": SIDE_PX})
            for x, y in rng.integers(0, 40, (BOXES, 2)).tolist():
                number = len(annotations) + 1
                box = {"id": number, "image_id": index + 1, "category_id": number % 3 + 1, "bbox": [x, y, 20, 20]}
                annotations.append(box | {"area": 400, "iscrowd": 0})
        categories = [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)]
        document = {"images": records, "annotations": annotations, "categories": categories}
        (folder / "_annotations.coco.json").write_text(json.dumps(document))
    return root


def peak_mb() -> float:
    """Largest resident memory so far of this process and of each child that ended, MB."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def run_check(data: Path) -> dict[str, float]:
    """`edgedet data check`."""
    from edgedet.commands.main import main

    start = time.perf_counter()
    assert main(["data", "check", str(data)]) == 0
    return {"data check, s": time.perf_counter() - start, "data check, MB": peak_mb()}


def run_start(data: Path) -> dict[str, float]:
    """Reading the split, the first batch of an epoch, and batches after it."""
    from edgedet.config import load_model_file
    from edgedet.contracts import PreprocessSpec
    from edgedet.data.paths import DataPaths
    from edgedet.training.loader import BatchLoader
    from edgedet.training.parallel.hardware import Hardware

    empty, start = peak_mb(), time.perf_counter()
    split = DataPaths(data).load("train")
    loaded, read = peak_mb(), time.perf_counter() - start
    config = load_model_file("rtmdet_nano", (f"batch={BATCH}",)).train
    found = {"reading the split, s": read, "reading the split, MB": loaded - empty}
    for workers in (0, 2):
        loader = BatchLoader(split, PreprocessSpec(INPUT_PX, INPUT_PX), config, 0, Hardware(workers=workers))
        start = time.perf_counter()
        batches = loader.epoch(0, strong=True)
        next(batches)
        found[f"first batch, {workers} workers, s"] = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(DRAWN_STEPS):
            next(batches)
        found[f"drawing, {workers} workers, images/s"] = DRAWN_STEPS * BATCH / (time.perf_counter() - start)
        batches.close()
        loader.close()
    return found | {"training process with 0 or 2 workers, MB": peak_mb()}


def run_step(data: Path) -> dict[str, float]:
    """Training steps on one batch that is there, and on batches that are drawn beside it."""
    from edgedet.config import load_model_file
    from edgedet.contracts import OutputSpec
    from edgedet.data.paths import DataPaths
    from edgedet.training.trainer import Trainer

    split = DataPaths(data).load("train")
    file = load_model_file("rtmdet_nano_ncadc_relu6", (f"batch={BATCH}",))
    trainer = Trainer(file, file.preprocess.spec((INPUT_PX, INPUT_PX)), OutputSpec(split.class_names), split, 0)
    batches = trainer.batches(0)
    batch = next(batches)
    trainer.step(batch, 0, 1e-3)
    found = {}
    for words, drawn in (("one batch again", None), ("batches that are drawn", batches)):
        start = time.perf_counter()
        for number in range(4):
            trainer.step(batch if drawn is None else next(drawn), number, 1e-3)
        found[f"training on {words}, images/s"] = 4 * BATCH / (time.perf_counter() - start)
    batches.close()
    return found


def run_commands(data: Path) -> dict[str, float]:
    """Commands in a terminal: when the first line or bar appears, and when the work on pictures begins."""
    checkpoint = REPO / "models" / "rtmdet_pico_relu6_synth.pt"
    out = data.with_name(f"{data.name}_out")
    given = ["--data", str(data)]
    training = ["train", "rtmdet_pico_relu6", *given, "--out", str(out / "run"), "--epochs", "1", "--imgsz", "64"]
    ptq = ["quantize", str(checkpoint), *given, "--out", str(out / "q"), "--calib-images", "32"]
    found = {}
    for name, argv, begun in (
        ("data check", ["data", "check", str(data)], None),
        ("train", training, "epoch 1/1"),
        ("quantize", [*ptq, "--effort", "fast"], None),
    ):
        first, end, longest = _in_terminal(argv, begun)
        found[f"{name}: first sign after, s"] = first
        found[f"{name}: longest silence, s"] = longest
        found[f"{name}: {'until the first steps' if begun else 'in all'}, s"] = end
    return found


def _in_terminal(argv: list[str], until: str | None) -> tuple[float, float, float]:
    """Seconds until the first output, until the end or a text, and the longest time without output."""
    terminal, side = pty.openpty()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    start = last = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "edgedet", *argv], stdin=side, stdout=side, stderr=side, env=environment
    )
    os.close(side)
    first, longest, seen = 0.0, 0.0, b""
    while until is None or until.encode() not in seen:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        now = time.perf_counter()
        first = first or now - start
        longest, last, seen = max(longest, now - last), now, seen + piece
    process.kill() if until is not None else None
    code = process.wait()
    os.close(terminal)
    if (until is None and code) or (until is not None and until.encode() not in seen):
        raise SystemExit(f"{argv}: exit code {code}: {seen.decode(errors='replace')[-2000:]}")
    return first, time.perf_counter() - start, longest


PARTS = {"check": run_check, "commands": run_commands, "start": run_start, "step": run_step}


def main() -> None:
    """Measure every part at every size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--out", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(PARTS[args.part[0]](Path(args.part[1]))))
        return
    columns: list[dict[str, float]] = []
    for count in args.images:
        data = make_data(args.out / str(count), count)
        column: dict[str, float] = {}
        for part in PARTS if count == args.images[-1] else [part for part in PARTS if part != "step"]:
            command = [sys.executable, __file__, "--out", str(args.out), "--part", part, str(data)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            column |= json.loads(done.stdout.splitlines()[-1])
            sys.stderr.write(f"{count} images, {part}: {json.dumps(column)}\n")
        columns.append(column)
    print(f"load average: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n")
    print("| |" + "".join(f" {count:,} images |" for count in args.images) + f" {COCO_IMAGES:,}, extrapolated |")
    print("|--|" + "--|" * (len(args.images) + 1))
    for key, last in columns[-1].items():
        first = columns[0].get(key, last)
        # A start that does not depend on the number differs by chance only.
        slope = max(0.0, last - first) / (args.images[-1] - args.images[0]) if len(columns) > 1 else 0.0
        far = "" if key.endswith("images/s") else f"{last + slope * (COCO_IMAGES - args.images[-1]):,.1f}"
        cells = (f"{column[key]:,.1f}" if key in column else "" for column in columns)
        print(f"| {key} |" + "".join(f" {cell} |" for cell in cells) + f" {far} |", flush=True)


if __name__ == "__main__":
    main()
