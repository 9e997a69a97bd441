"""Instructions, flash and RAM of generated C on emulated Cortex-M, after a check that every output byte is right.

    .venv/bin/python bench/chip.py MODEL.tflite ... [--cpu cortex-m4 ...] [--data ../shared/data/bccd] [--images 2]
                                   [--json FILE] [--per-operator]

Inputs are images of the valid split where the file carries its contracts and --data is given, else drawn ones. The
table is Markdown. Instructions are QEMU's, not cycles; they repeat exactly.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgedet.data.coco.build import load_split
from edgedet.data.pictures.preprocess import load_pixels, quantize_input
from edgedet.deploy.golden import draw_pixels
from edgedet.deploy.targets.c99 import load_any
from edgedet.errors import ConversionError, EdgedetError
from edgedet.evaluate.evaluator import describe_machine
from edgedet.fileio import atomic_write_text
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model
from edgedet.runtimes.c_program import make_program
from edgedet.runtimes.generated_c import HostModule, QemuModule
from edgedet.runtimes.qemu import BOARDS
from edgedet.simulate.simulator import Simulator


@dataclass(frozen=True)
class Row:
    """One model on one processor."""

    model: str
    cpu: str
    images: int
    instructions: float  # of the network, mean of the images
    macs: int
    detect_instructions: float  # decode and NMS; 0 without contracts
    code_bytes: int  # of the firmware: code and start-up
    parameters_bytes: int  # of the steps, and tables of decoding
    weights_bytes: int
    arena_bytes: int
    bound_bytes: int  # of the arena
    details: tuple[str, ...]

    @property
    def per_mac(self) -> float:
        """Instructions per multiply-accumulate."""
        return self.instructions / self.macs


def inputs_of(graph: Graph, model: Int8Model | None, data: Path | None, images: int) -> list[list[np.ndarray]]:
    """Inputs of so many images."""
    if model is not None and data is not None:
        records = load_split(data, "valid").images[:images]
        pixels = [load_pixels(record.path, model.preprocess) for record in records]
        spec, scale, zero_point = model.preprocess, model.input_scale, model.input_zero_point
        return [[quantize_input(picture, spec, scale, zero_point)[None]] for picture in pixels]
    result = []
    for seed in range(images):
        arrays = []
        for index in graph.inputs:
            shape = graph.tensors[index].shape
            if len(shape) == 4 and shape[3] == 3:
                arrays.append((draw_pixels(shape[1], shape[2], seed).astype(np.int16) - 128).astype(np.int8)[None])
            else:
                arrays.append(np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8))
        result.append(arrays)
    return result


def check(name: str, found: list[np.ndarray], expected: tuple[np.ndarray, ...]) -> None:
    """Raises ConversionError when a byte differs."""
    for position, (a, b) in enumerate(zip(found, expected, strict=True)):
        if not np.array_equal(a, b):
            raise ConversionError(f"{name}: output {position}: {np.count_nonzero(a != b)} of {a.size} bytes differ")


def measure(path: Path, name: str, cpus: list[str], data: Path | None, images: int, per_operator: bool) -> list[Row]:
    """Check and measure one model on every processor."""
    loaded, model, _ = load_any(path)
    blob, graph = loaded.data, loaded.graph
    inputs = inputs_of(graph, model, data, images)
    simulator = Simulator(graph)
    expected = [simulator.invoke(*arrays) for arrays in inputs]
    host = HostModule(blob, graph)
    for arrays, answer in zip(inputs, expected, strict=True):
        check(f"{name} on the host", host(*arrays), answer)
    plan = make_program(graph, model).program.plan
    rows = []
    for cpu in cpus:
        module = QemuModule(blob, graph, cpu, model=model)
        for found, answer in zip(module.run_batch(inputs), expected, strict=True):
            check(f"{name} on {cpu}", found, answer)
        sizes = module.firmware.sizes
        rows.append(
            Row(
                model=name,
                cpu=cpu,
                images=len(inputs),
                instructions=module.instructions(),
                macs=module.macs,
                detect_instructions=module.detect_instructions(),
                code_bytes=sizes.code,
                parameters_bytes=sizes.parameters,
                weights_bytes=sizes.weights,
                arena_bytes=plan.arena_bytes,
                bound_bytes=plan.bound_bytes,
                details=module.details(per_operator),
            )
        )
    return rows


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = [
        "| model | processor | M instructions | per MAC | decode + NMS | flash: code | parameters | weights | arena "
        "(bound) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        share = f"{100 * row.detect_instructions / row.instructions:.2f} %" if row.detect_instructions else "-"
        lines.append(
            f"| {row.model} | {row.cpu} | {row.instructions / 1e6:.1f} | {row.per_mac:.3f} | {share} | "
            f"{row.code_bytes:,} | {row.parameters_bytes:,} | {row.weights_bytes:,} | {row.arena_bytes:,} "
            f"({row.bound_bytes:,}) |"
        )
    return "\n".join(lines)


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="[NAME=]MODEL", help="int8 .tflite, with a name for the table")
    parser.add_argument("--cpu", nargs="+", choices=list(BOARDS), default=["cortex-m4", "cortex-m55"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--per-operator", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows: list[Row] = []
    try:
        for text in args.models:
            name, _, path = text.rpartition("=")
            rows += measure(Path(path), name or Path(path).stem, args.cpu, args.data, args.images, args.per_operator)
            sys.stderr.write(f"{name or path}: equal in every byte\n")
    except EdgedetError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    print(table(rows))
    for row in rows:
        print(f"\n{row.model} on {row.cpu}:")
        print("\n".join(f"    {line}" for line in row.details))
    if args.json is not None:
        value = {"machine": describe_machine(), "rows": [{**asdict(row), "per_mac": row.per_mac} for row in rows]}
        atomic_write_text(args.json, json.dumps(value, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
