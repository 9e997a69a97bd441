"""Pictures of docs/pictures: python bench/docs_pictures.py --data BCCD --runs FOLDER.

Fine-tunes the demo's checkpoint on the blood cells of BCCD for some epochs, quantizes it, draws detections of the int8
file on validation pictures, and photographs report.html in headless Chromium (Debian: chromium, chromium-driver; and
selenium of the extra `dev`). A folder of runs that is there already is used as it is.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import numpy as np
from PIL import Image
from report_pictures import chromium, save, screenshot

from edgedet.commands.main import main as edgedet
from edgedet.evaluate.evaluator import sha256_of
from edgedet.resources import resource_dir

REPO = Path(__file__).resolve().parents[1]
SHOWN = 3  # pictures beside each other
GAP_PX = 12
# Name, width, dark, heading at the top; else the page's beginning.
VIEWS = (
    ("light", 1400, False, ""),
    ("dark", 1400, True, "Worst pictures"),
    ("curves", 1400, False, "Precision, recall, confusions"),
    ("narrow", 400, True, ""),
)
THRESHOLD = "0.45"  # where the report of this run finds the best F1


def run(words: list[str]) -> None:
    """One command of edgedet."""
    print(f"$ edgedet {shlex.join(words)}", flush=True)
    if edgedet([*words, "-q"]) != 0:
        raise SystemExit(2)


def make_runs(data: Path, runs: Path, epochs: int) -> None:
    """The run folders: trained, quantized, with drawn detections."""
    start = resource_dir("models") / "rtmdet_pico_relu6_synth.pt"
    if not (runs / "bccd" / "best.pt").is_file():
        run(["train", "--from", str(start), "--data", str(data), "--imgsz", "160", "--epochs", str(epochs),
             "--seed", "0", "--out", str(runs / "bccd")])  # fmt: skip
    if not (runs / "bccd_int8" / "report.html").is_file():
        run(["quantize", str(runs / "bccd" / "best.pt"), "--data", str(data), "--effort", "fast", "--seed", "0",
             "--waterfall", "--waterfall-images", "40", "--out", str(runs / "bccd_int8")])  # fmt: skip
    pictures = sorted(map(str, (data / "valid").glob("*.jpg")))[:SHOWN]
    run(["predict", str(runs / "bccd_int8" / "model_int8.tflite"), *pictures,
         "--score-threshold", THRESHOLD, "--out", str(runs / "pictures")])  # fmt: skip


def beside_each_other(paths: list[Path]) -> Image.Image:
    """Pictures of one height in a row on white."""
    pictures = [Image.open(path).convert("RGB") for path in paths]
    height = min(picture.height for picture in pictures)
    pictures = [picture.resize((picture.width * height // picture.height, height)) for picture in pictures]
    row = [np.asarray(picture) for picture in pictures]
    gap = np.full((height, GAP_PX, 3), 255, np.uint8)
    spaced = [part for picture in row for part in (picture, gap)][:-1]
    return Image.fromarray(np.concatenate(spaced, axis=1))


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="BCCD as Roboflow exports it")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=REPO / "docs" / "pictures", help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    make_runs(args.data, args.runs, args.epochs)
    row = beside_each_other(sorted((args.runs / "pictures").glob("*.png")))
    save(row, args.out / "detections.jpg")
    with chromium("/usr/bin/chromium", "/usr/bin/chromedriver") as opened:
        for name, width_px, dark, at in VIEWS:
            picture = screenshot(opened, args.runs / "bccd_int8" / "report.html", width_px, dark, 1000, at=at)
            save(picture, args.out / f"report-{name}.jpg")
    print(f"model_int8.tflite: {sha256_of(args.runs / 'bccd_int8' / 'model_int8.tflite')[:16]}")


if __name__ == "__main__":
    main()
