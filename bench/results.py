"""Make docs/results.md: train, quantize, evaluate and pack models on a real data set.

    .venv/bin/python bench/results.py --data ../shared/data/bccd --runs runs/results

The part about quantization is read from what ptq_table.py, qat_table.py and waterfall_table.py (in this order) made of
the same trainings; the part about files of other makers from what public_files_table.py made, the part about all
shipped models from what models_table.py and ptq_memory.py made. --render makes the Markdown anew from the JSON files.
On a machine without trainings: results.py --train-only, the three tables, then results.py. Finished trainings and
evaluations in --runs are kept (interrupted trainings go on), so that the script can be stopped and started again. Every
number of docs/results.md comes from here; docs/results.json holds all digits.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from models_table import models_section
from public_files_table import public_files_section
from quantization_section import markdown_table, quantization_section
from table import ROOT, TRAINED, commit_of

from edgedet.config import available_models
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.preprocess import load_pixels
from edgedet.deploy.api import deploy
from edgedet.evaluate.evaluator import describe_machine, evaluate, sha256_of
from edgedet.fileio import atomic_write_text
from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.summary import summarize
from edgedet.net.checkpoint import load_checkpoint
from edgedet.net.runtime import TorchRuntime
from edgedet.runtimes.names import INT8_RUNTIMES
from edgedet.runtimes.open import open_runtime

FORBIDDEN = ("QUANTIZE", "DEQUANTIZE", "TRANSPOSE")
PARITY_IMAGES = 20


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    data: Path
    runs: Path
    models: tuple[str, ...]
    imgsz: int
    epochs: int
    seed: int
    jobs: int  # trainings at once, one thread each
    train_only: bool


def main() -> int:
    """Measure all models, then write docs/results.json and docs/results.md."""
    settings = _settings()
    if settings is None:
        content = json.loads((ROOT / "docs" / "results.json").read_text(encoding="utf-8"))
        atomic_write_text(ROOT / "docs" / "results.md", render(content))
        return 0
    with ThreadPoolExecutor(settings.jobs) as pool:
        list(pool.map(lambda model: _train(model, settings), settings.models))
    if settings.train_only:
        return 0
    split = load_split(settings.data, "valid")
    rows = [_measure(model, settings, split) for model in settings.models]
    content = {
        "command": f"python bench/results.py {shlex.join(sys.argv[1:])}",
        "commit": commit_of(ROOT),
        "machine": describe_machine(),
        "data": f"{settings.data.name}: {len(load_split(settings.data, 'train').images)} training, "
        f"{len(split.images)} validation images",
        "imgsz": settings.imgsz,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "rows": rows,
    }
    atomic_write_text(ROOT / "docs" / "results.json", json.dumps(content, indent=1) + "\n")
    atomic_write_text(ROOT / "docs" / "results.md", render(content))
    return 0


def _settings() -> Settings | None:
    """What to measure; None: only render what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/results"), help="default: %(default)s")
    parser.add_argument("--models", nargs="+", default=list(TRAINED), choices=available_models())
    parser.add_argument("--imgsz", type=int, default=192)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--train-only", action="store_true", help="leave the trainings for the other tables")
    parser.add_argument("--render", action="store_true", help="only write docs/results.md from docs/*.json")
    args = parser.parse_args()
    if args.render:
        return None
    if args.data is None:
        parser.error("the following arguments are required: --data (or --render)")
    return Settings(
        args.data, args.runs, tuple(args.models), args.imgsz, args.epochs, args.seed, args.jobs, args.train_only
    )


def train_command(model: str, settings: Settings) -> list[str]:
    """The training's command line, without the program."""
    return [
        "train", model, "--data", str(settings.data), "--imgsz", str(settings.imgsz), "--epochs", str(settings.epochs),
        "--out", str(settings.runs / model), "--seed", str(settings.seed), "--set", "train.threads=1",
    ]  # fmt: skip


def quantize_command(model: str, settings: Settings, out: Path) -> list[str]:
    """The quantization's command line, without the program."""
    checkpoint = settings.runs / model / "last.pt"
    return [
        "quantize",
        str(checkpoint),
        "--data",
        str(settings.data),
        "--out",
        str(out),
        "--seed",
        str(settings.seed),
        "--effort",
        "fast",
    ]


def _run(arguments: list[str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        subprocess.run([sys.executable, "-m", "edgedet", *arguments], stdout=file, stderr=file, check=True)


def _train(model: str, settings: Settings) -> None:
    last = settings.runs / model / "last.pt"
    arguments = train_command(model, settings)
    if last.exists():
        if load_checkpoint(last).info["epoch"] == settings.epochs:
            return
        arguments.append("--resume")
    _run(arguments, settings.runs / f"{model}.log")


def _measure(model: str, settings: Settings, split: CocoSplit) -> dict[str, Any]:
    folder = settings.runs / model
    info = load_checkpoint(folder / "last.pt").info
    first, second = folder / "int8", folder / "int8_again"
    for out in (first, second):
        _run(quantize_command(model, settings, out), settings.runs / f"{model}.log")
    path = first / "model_int8.tflite"
    graph = read_tflite(path)
    arena = deploy(path, "tflm", folder / "tflm").arena
    aps = {"float": _evaluate(TorchRuntime.from_checkpoint(folder / "last.pt"), split)}
    aps |= {name: _evaluate(open_runtime(path, name), split) for name in INT8_RUNTIMES}
    summary = summarize(graph)
    return {
        "model": model,
        "train": shlex.join(["edgedet", *train_command(model, settings)]),
        "quantize": shlex.join(["edgedet", *quantize_command(model, settings, first)]),
        "ap_best_epoch": max(r["ap"] for r in info["history"] if r["ap"] is not None),
        "images_per_second": float(np.median([r["images_per_second"] for r in info["history"]])),
        "parameters": sum(v.numel() for v in load_checkpoint(folder / "last.pt").build().parameters()),
        "macs": summary.macs,
        "ap": aps,
        "operators": summary.operators,
        "forbidden": [kind for kind in FORBIDDEN if kind in summary.operators],
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
        "byte_identical": path.read_bytes() == (second / path.name).read_bytes(),
        "arena_measured": arena.measured_bytes,
        "arena_total": arena.total_bytes,
        "largest_difference": parity(path, split, PARITY_IMAGES),
        "quantize_seconds": json.loads((first / "report.json").read_text())["seconds"],
    }


def _evaluate(runtime: Any, split: CocoSplit) -> dict[str, Any]:
    report = evaluate(runtime, split)
    timings = report.timings
    return {
        "arithmetic": report.arithmetic,
        "stats": report.ap.stats,
        "per_class": {row.name: row.ap for row in report.ap.per_class},
        "ms": {"preprocess": timings.preprocess_ms, "invoke": timings.invoke_ms, "decode": timings.decode_ms},
    }


def parity(path: Path, split: CocoSplit, images: int) -> dict[str, int]:
    """Largest difference, LSB, of any output between the simulator and each other exact runtime.

    Args:
        path: int8 model.
        split: where the images come from.
        images: how many, from the front.
    Returns:
        Runtime name -> largest absolute difference over all outputs and images.
    """
    simulator, others = open_runtime(path, "sim"), {name: open_runtime(path, name) for name in ("ref", "tflm")}
    largest = dict.fromkeys(others, 0)
    for record in split.images[:images]:
        x = simulator.prepare(load_pixels(record.path, simulator.preprocess))
        expected = simulator.invoke(x)
        for name, other in others.items():
            pairs = zip(expected, other.invoke(x), strict=True)
            difference = max(int(np.abs(a.astype(np.int32) - b.astype(np.int32)).max()) for a, b in pairs)
            largest[name] = max(largest[name], difference)
    return largest


def render(content: dict[str, Any]) -> str:
    """docs/results.md from docs/results.json."""
    rows, size = content["rows"], f"{content['imgsz']}x{content['imgsz']}"
    made = f"Made by `{content['command']}` at commit {content['commit']}, seed {content['seed']}"
    return "\n".join(
        (
            "# Results\n",
            f"{made}, on {content['machine']}. Don't edit by hand; docs/results.json holds all digits.\n",
            f"Data: {content['data']}, input {size}, from scratch, {content['epochs']} epochs. All figures are of "
            "the last epoch (no epoch is picked on the validation split; the best one stands beside it). int8: PTQ, "
            "min-max, 128 seeded training images. sim = edgedet's NumPy integer simulator, ref = TFLite's reference "
            "kernels, xnnpack = LiteRT's default kernels, tflm = TFLite Micro (reference kernels).\n",
            "Elsewhere: [instructions, flash and RAM of generated C on emulated chips](chip.md), "
            "[PTQ by calibrator and effort](ptq.md), [QAT](qat.md), [AP waterfall](waterfall.md), [speed](speed.md).\n",
            "## Accuracy: COCO AP / AP50 / AP75 on the validation split\n",
            _accuracy(rows),
            *quantization_section(ROOT / "docs", tuple(r["model"] for r in rows)),
            "## Exactness\n",
            f"Largest difference of any output from the simulator's over {PARITY_IMAGES} validation images, in LSB.\n",
            _exactness(rows),
            *public_files_section(ROOT / "docs"),
            *models_section(),
            "## Size and speed\n",
            "Arena: of `edgedet deploy --target tflm`, measured with the tflite_micro wheel, then with the margin for "
            "CMSIS-NN's scratch. ms per image: invoke only. Training speed: median over epochs, two trainings side by "
            "side, one thread each.\n",
            _size_and_speed(rows),
            "## Operators of the int8 models\n",
            markdown_table(["model", "operators"], [[r["model"], _operators(r["operators"])] for r in rows]),
            "## Commands\n",
            "```",
            *(f"{r['train']}\n{r['quantize']}" for r in rows),
            "```\n",
        )
    )


def _accuracy(rows: list[dict[str, Any]]) -> str:
    header = ["model", "float", "float, best epoch", *(f"int8 {name}" for name in INT8_RUNTIMES), "int8 ref - float"]
    body = []
    for row in rows:
        cells = [" / ".join(f"{v:.3f}" for v in row["ap"][name]["stats"][:3]) for name in ("float", *INT8_RUNTIMES)]
        change = row["ap"]["ref"]["stats"][0] - row["ap"]["float"]["stats"][0]
        body.append([row["model"], cells[0], f"{row['ap_best_epoch']:.3f}", *cells[1:], f"{change:+.4f}"])
    return markdown_table(header, body)


def _exactness(rows: list[dict[str, Any]]) -> str:
    header = [
        "model",
        "sim - ref",
        "sim - tflm",
        "two runs byte-identical",
        "QUANTIZE, DEQUANTIZE, TRANSPOSE",
        "sha256",
    ]
    body = [
        [
            r["model"], str(r["largest_difference"]["ref"]), str(r["largest_difference"]["tflm"]),
            "yes" if r["byte_identical"] else "NO", ", ".join(r["forbidden"]) or "none", f"`{r['sha256'][:16]}`",
        ]
        for r in rows
    ]  # fmt: skip
    return markdown_table(header, body)


def _size_and_speed(rows: list[dict[str, Any]]) -> str:
    names = ("float", *INT8_RUNTIMES)
    header = ["model", "parameters", "M MACs", "file, bytes", "arena", "arena + margin", *(f"{n}, ms" for n in names)]
    body = [
        [
            r["model"], f"{r['parameters']:,}", f"{r['macs'] / 1e6:.1f}", f"{r['bytes']:,}", f"{r['arena_measured']:,}",
            f"{r['arena_total']:,}", *(f"{r['ap'][n]['ms']['invoke']:.1f}" for n in names),
            f"{r['images_per_second']:.0f}", f"{sum(r['quantize_seconds'].values()):.1f}",
        ]
        for r in rows
    ]  # fmt: skip
    return markdown_table([*header, "training, images/s", "quantize, s"], body)


def _operators(counts: dict[str, int]) -> str:
    return f"{sum(counts.values())}: " + ", ".join(f"{kind} {count}" for kind, count in counts.items())


if __name__ == "__main__":
    start = time.monotonic()
    code = main()
    print(f"done in {time.monotonic() - start:.0f} s: docs/results.md")
    sys.exit(code)
