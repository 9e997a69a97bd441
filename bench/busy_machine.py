"""Training beside other programs: images/s and processor time with waiting threads that spin or sleep.

    python bench/busy_machine.py [--busy 2] [--seconds 8]

The other programs are `--busy` loops of Python; each measurement is a process of its own, because OpenMP reads its
settings once. Prints Markdown rows for docs/scale.md, with the load average that the machine had besides.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH, SIDE_PX = 8, 96
WORDS = {"": "spin (OpenMP's default)", "PASSIVE": "sleep (edgedet's commands)"}


def measure(data: Path, threads: int, seconds: float) -> None:
    """Train on one batch over and over; print images/s and ms of processor time for a step."""
    from edgedet.config import load_model_file
    from edgedet.contracts import OutputSpec
    from edgedet.data.coco.build import load_split
    from edgedet.training.trainer import Trainer

    file = load_model_file("rtmdet_nano_ncadc_relu6", (f"batch={BATCH}", f"threads={threads}"))
    split = load_split(data, "train")
    trainer = Trainer(file, file.preprocess.spec((SIDE_PX, SIDE_PX)), OutputSpec(split.class_names), split, seed=0)
    batch = next(trainer.batches(0))
    trainer.step(batch, 0, 1e-3)
    start, processor, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        trainer.step(batch, 1, 1e-3)  # raises when the loss is no number
        steps += 1
    took = time.perf_counter() - start
    print(f"{BATCH * steps / took:.1f} | {(time.process_time() - processor) / steps * 1000:.0f}")


def main() -> None:
    """Measure all combinations in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, default=2, help="loops beside it (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement (default: %(default)s)")
    parser.add_argument("--measure", nargs=2, metavar=("DATA", "THREADS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(Path(args.measure[0]), int(args.measure[1]), args.seconds)
        return
    from edgedet.data.synth.dataset import make_synthetic

    print(f"load average before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n")
    print("| busy loops | threads | waiting threads | images/s | ms of processor time for a step |\n|--|--|--|--|--|")
    with tempfile.TemporaryDirectory() as folder:
        make_synthetic(Path(folder), images=20, seed=0)
        for busy in dict.fromkeys((0, args.busy)):
            loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
            try:
                for threads in (1, 2):
                    for policy, words in WORDS.items():
                        environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS",)}
                        environment |= {"OMP_WAIT_POLICY": policy} if policy else {}
                        command = [sys.executable, __file__, "--seconds", str(args.seconds)]
                        command += ["--measure", folder, str(threads)]
                        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                        print(f"| {busy} | {threads} | {words} | {done.stdout.strip()} |", flush=True)
            finally:
                for loop in loops:
                    loop.kill()


if __name__ == "__main__":
    main()
