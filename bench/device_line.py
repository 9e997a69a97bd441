"""AP through the serial protocol, against that of the generated C here: pseudo-terminal and emulated UART, tensors and
images, with faults and without.

    .venv/bin/python bench/device_line.py MODEL.tflite --data DIR --images 20 --qemu-images 4

Prints the table of docs/protocol.md. Needs gcc and make, for QEMU's rows arm-none-eabi-gcc and qemu-system-arm.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import sys
import tempfile
from pathlib import Path

from table import ROOT, commit_of

sys.path.insert(0, str(ROOT / "tests"))
from device_line import DeviceOnPty, build_device, build_device_for_qemu, open_device

from edgedet.data.coco.build import load_split
from edgedet.deploy.api import deploy
from edgedet.device.link import Patience
from edgedet.evaluate.evaluator import EvalReport, evaluate
from edgedet.runtimes.names import SENT
from edgedet.runtimes.open import open_runtime

PATIENCE = Patience(reply_s=0.3, attempts=40)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--qemu-images", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    split = load_split(options.data, "valid")
    print(f"`bench/device_line.py {options.model.name} --data {options.data.name} --images {options.images} "
          f"--qemu-images {options.qemu_images} --seed {options.seed}`, commit {commit_of(ROOT)}, "
          f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")  # fmt: skip
    print("| line | sent | frames damaged | images | AP, C on this computer | AP, device | AP of its own detections | "
          "requests | sent again | ms an image |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        out = deploy(options.model, "c99", Path(folder) / "module").out
        host, board = build_device(out), build_device_for_qemu(out, "cortex-m4")
        rows = (
            ("pseudo-terminal, C on this computer", host, options.images),
            ("emulated UART, Cortex-M4", board, options.qemu_images),
        )
        for label, command, images in rows:
            expected = evaluate(open_runtime(options.model, "c99"), split, max_images=images).ap
            for send, share in itertools.product(SENT, (0.0, 0.05)):
                with DeviceOnPty(command, options.seed, share) as device:
                    runtime = open_device(device, options.model, PATIENCE, send)
                    found = evaluate(runtime, split, max_images=images)
                    runtime.module.close()
                if found.ap != expected:
                    print(f"error: {label}: {found.ap} is not {expected}")
                    return 1
                print(_row(label, send, share, found, expected.ap), flush=True)
    return 0


def _row(label: str, send: str, share: float, found: EvalReport, expected: float) -> str:
    figures = found.device
    assert figures is not None
    assert figures.own_detections is not None
    assert figures.line_ms is not None
    cells = (
        label, send, f"{share:.0%}", found.images, repr(expected), repr(found.ap.ap), repr(figures.own_detections.ap),
        f"{figures.line.requests:,}", f"{figures.line.sent_again:,}", f"{figures.line_ms.mean:,.0f}",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
