"""Every way to run an int8 file gives the same bytes: simulator, TFLite's reference kernels, TFLite Micro, generated C.

.venv/bin/python bench/chip_parity.py MODEL.tflite ... --data ../shared/data/bccd [--images 10] [--ap-images 20]

Prints Markdown: the largest difference of any output from the simulator's, in LSB, over so many images of the valid
split; ms per image on this machine; and the COCO AP of each file over --ap-images images on the host and on QEMU's
Cortex-M55. Ends with an error when anything differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.preprocess import load_pixels
from edgedet.evaluate.evaluator import evaluate
from edgedet.runtimes.open import open_runtime

EXACT = ("ref", "tflm", "c99", "qemu:cortex-m4", "qemu:cortex-m7", "qemu:cortex-m55")
TIMED = ("sim", "ref", "xnnpack", "c99")
CHIP = "qemu:cortex-m55"


def largest_differences(path: Path, split: CocoSplit, images: int) -> dict[str, int]:
    """Runtime -> largest absolute difference from the simulator, LSB."""
    simulator = open_runtime(path, "sim")
    inputs = [simulator.prepare(load_pixels(record.path, simulator.preprocess)) for record in split.images[:images]]
    expected = [simulator.invoke(x) for x in inputs]
    result = {}
    for name in EXACT:
        runtime = open_runtime(path, name)
        pairs = [
            pair for x, outputs in zip(inputs, expected, strict=True)
            for pair in zip(outputs, runtime.invoke(x), strict=True)
        ]  # fmt: skip
        result[name] = max(int(np.abs(a.astype(np.int32) - b.astype(np.int32)).max()) for a, b in pairs)
    return result


def milliseconds(path: Path, split: CocoSplit) -> dict[str, float]:
    """Runtime -> median time of one inference on this machine, ms, of 20."""
    result = {}
    for name in TIMED:
        runtime = open_runtime(path, name)
        x = runtime.prepare(load_pixels(split.images[0].path, runtime.preprocess))
        runtime.invoke(x)
        times = []
        for _ in range(20):
            start = time.perf_counter()
            runtime.invoke(x)
            times.append(time.perf_counter() - start)
        result[name] = 1000 * float(np.median(times))
    return result


def main() -> int:
    """Measure all files; 1 when a runtime differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--ap-images", type=int, default=20)
    args = parser.parse_args()
    split = load_split(args.data, "valid")
    names = (*(f"sim - {name}" for name in EXACT), *(f"{name}, ms" for name in TIMED), "AP host", f"AP {CHIP}")
    print("| model | " + " | ".join(names) + " |")
    print("| --- " * (len(names) + 1) + "|")
    equal = True
    for path in args.models:
        differences, times = largest_differences(path, split, args.images), milliseconds(path, split)
        host, chip = (evaluate(open_runtime(path, n), split, max_images=args.ap_images) for n in ("c99", CHIP))
        equal &= not any(differences.values()) and host.ap.stats == chip.ap.stats
        cells = [str(v) for v in differences.values()] + [f"{v:.1f}" for v in times.values()]
        print("| " + " | ".join([path.stem, *cells, repr(host.ap.ap), repr(chip.ap.ap)]) + " |", flush=True)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
