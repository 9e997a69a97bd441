"""Make docs/training.md: AP by batch under the rule of edgedet/training/recipe.py, and of a run that ends by itself.

    OMP_NUM_THREADS=1 .venv/bin/python bench/training_table.py --data ../shared/data/bccd --runs runs/training

Finished trainings in --runs are kept, interrupted ones go on; --rows chooses; --trained-at REV measures trainings that
an earlier commit made, with the rule's settings given, and says so. docs/training.json holds all digits.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from table import ROOT, commit_of

from edgedet.config import load_model_file
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.evaluate.evaluator import describe_machine, evaluate
from edgedet.fileio import atomic_write_text
from edgedet.net.checkpoint import load_checkpoint
from edgedet.net.runtime import TorchRuntime
from edgedet.training.course import LEAST_RISE, MEASUREMENTS, MOST, PATIENCE, TAIL
from edgedet.training.loader import steps_per_epoch
from edgedet.training.loop import TrainRequest, train
from edgedet.training.recipe import LEAST_IMAGES, fit_recipe

MODEL = "rtmdet_pico_relu6"
# Row -> batch, seed, epochs (None: by the rule), what else is given.
ROWS: dict[str, tuple[int, int, Any, tuple[str, ...]]] = {
    "b8-s0": (8, 0, None, ()),
    "b16-s0": (16, 0, None, ()),
    "b32-s0": (32, 0, None, ()),
    "b64-s0": (64, 0, None, ()),
    "b8-s1": (8, 1, None, ()),
    "b64-without-rule": (64, 0, 100, ("train.lr=0.006", "train.ema_decay=0.998")),
    "auto": (8, 0, "auto", ()),
}


def main() -> int:
    """Train and measure, write docs/training.json after every row, then docs/training.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/training"), help="default: %(default)s")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--imgsz", type=int, default=128, help="px; default: %(default)s")
    parser.add_argument("--trained-at", metavar="REV", help="only measure the trainings in --runs, made at this commit")
    args = parser.parse_args()
    path = ROOT / "docs" / "training.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": {}}
    split, images = load_split(args.data, "valid"), len(load_split(args.data, "train").images)
    for row in args.rows:
        content["rows"][row] = _measure(row, args, images, split)
        content |= {
            "machine": describe_machine(),
            "measured_at": commit_of(ROOT),
            "imgsz": args.imgsz,
            "images": images,
            "valid": len(split.images),
        }
        content["rows"] = {name: content["rows"][name] for name in ROWS if name in content["rows"]}
        atomic_write_text(path, json.dumps(content, indent=1) + "\n")
    atomic_write_text(path.with_suffix(".md"), render(content))
    return 0


def _measure(row: str, args: argparse.Namespace, images: int, split: CocoSplit) -> dict[str, Any]:
    batch, seed, epochs, given = ROWS[row]
    interval = () if epochs == "auto" else ("train.eval_interval=20",)
    out, overrides = args.runs / row, ("train.threads=1", *interval, *given)
    last = out / "last.pt"
    made_before = args.trained_at is not None and last.exists()
    if not made_before and (epochs is not None or not _finished(last, batch, seed, images)):
        size = (args.imgsz, args.imgsz)
        train(
            TrainRequest(
                MODEL, DataPaths(args.data), out, size, epochs, batch, overrides, resume=last.exists(), seed=seed
            )
        )
    checkpoint = load_checkpoint(last)
    settings, history = checkpoint.info["identity"]["train"], checkpoint.info["history"]
    ap = evaluate(TorchRuntime.from_checkpoint(last), split).ap
    return {
        "commit": args.trained_at or commit_of(ROOT),
        "batch": batch,
        "seed": seed,
        "lr": settings["lr"],
        "epochs": len(history),
        "steps": len(history) * steps_per_epoch(images, batch),
        "ap": ap.ap,
        "per_class": {line.name: line.ap for line in ap.per_class},
        "measured": [(record["epoch"], record["ap"]) for record in history if record["ap"] is not None],
    }


def _finished(last: Path, batch: int, seed: int, images: int) -> bool:
    """Whether a planned training is there that had the settings of the rule, given by the rule or by hand."""
    if not last.exists():
        return False
    info = load_checkpoint(last).info
    fitted = asdict(fit_recipe(replace(load_model_file(MODEL).train, batch=batch), images))
    same = all(info["identity"]["train"][key] == fitted[key] for key in ("batch", "lr", "epochs"))
    return same and info["identity"]["seed"] == seed and len(info["history"]) == fitted["epochs"]


def render(content: dict[str, Any]) -> str:
    """docs/training.md from docs/training.json."""
    rows = content["rows"]
    classes = list(next(iter(rows.values()))["per_class"])
    header = ["batch", "seed", "rate", "epochs", "steps", "AP", *(f"AP {name}" for name in classes)]
    table = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    for name, row in rows.items():
        epochs = f"{row['epochs']}{_HOW.get(ROWS[name][2], ', given, and the rate, too')}"
        cells = [row["batch"], row["seed"], f"{row['lr']:g}", epochs, row["steps"], f"{row['ap']:.3f}"]
        cells += [f"{row['per_class'][name]:.3f}" for name in classes]
        table.append("| " + " | ".join(map(str, cells)) + " |")
    commits = ", ".join(sorted({row["commit"] for row in rows.values()}))
    size = f"{content['imgsz']}x{content['imgsz']}"
    made = (
        f"Trained at commit {commits}, measured at {content['measured_at']} by bench/training_table.py on "
        f"{content['machine']}, one thread. Where the two differ, the rule's rate and epochs were given by hand. Don't "
        "edit by hand; docs/training.json holds all digits."
    )
    return "\n".join(
        ("# Training: batch, rate and length", "", made, "", _TEXT, *_result(content, size), "", *table, "")
    )


_HOW = {None: "", "auto": ", by `auto`"}
_TEXT = f"""## The rule

A model file's `lr`, `ema_decay` and least length are for its `reference_batch`. Another batch (`--batch N`) has
k = sqrt(batch / reference_batch), and

- the learning rate is k times the model file's;
- the window of the averaged weights has 1/k as many steps;
- the run sees at least {LEAST_IMAGES:,} * k images, so a small data set gets more epochs than the model file's; a data
  set that reaches that in the model file's epochs keeps them;
- warm-up and fall of the rate are fractions of the run and follow.

What is given is obeyed as it stands: `--epochs`, `--set train.lr=...`, `--set train.ema_decay=...`. So
`--epochs 100 --batch 64` is a short run: it has an eighth of the steps of batch 8. Training says in one line what the
rule changed. A model file without `reference_batch` is used as it stands.

## `--epochs auto`

Warm-up, then the peak rate until AP on the validation images no longer rises, then a tail in which the rate falls and
pictures are whole (no mosaic). With E the epochs that the rule gives (or `--set train.epochs=E`): AP has stopped
rising when it did not rise by more than {LEAST_RISE} for {PATIENCE:g} E epochs and {MEASUREMENTS} measurements (every
`eval_interval` epochs); the tail takes {TAIL:g} E; the longest run takes {MOST} E. While AP is still 0, nothing is
decided before E epochs. The decision depends on the settings and the AP measured so far only, so an interrupted run
goes on exactly as it would have.
`--resume --epochs N` makes it a planned run of N epochs.

The validation images decide when to stop, so AP on them is a little optimistic, as with `best.pt`.

## AP by batch
"""


def _result(content: dict[str, Any], size: str) -> list[str]:
    """What the table says, in numbers that come from it."""
    planned = {name: row for name, row in content["rows"].items() if ROWS[name][2] is None}
    of_seed0 = [row["ap"] for row in planned.values() if row["seed"] == 0]
    text = (
        f"{MODEL} from scratch on the blood cells of bccd ({content['images']} training and {content['valid']} "
        f"validation images), {size}. AP of the averaged float weights on the validation split after the last epoch. "
        f"Seed 0: from {min(of_seed0):.3f} to {max(of_seed0):.3f} over the batches, a spread of "
        f"{max(of_seed0) - min(of_seed0):.3f}."
    )
    for batch in sorted({row["batch"] for row in planned.values()}):
        aps = [row["ap"] for row in planned.values() if row["batch"] == batch]
        if len(aps) > 1:
            text += f" Batch {batch} with another seed: {abs(aps[0] - aps[1]):.3f} apart."
    return [text]


if __name__ == "__main__":
    sys.exit(main())
