"""Make docs/finetune.md: AP of training from scratch, and of fine-tuning from a checkpoint for a quarter of the epochs.

    .venv/bin/python bench/finetune_table.py --data ../shared/data/bccd --runs runs/finetune

Starts from the shipped checkpoint, which was trained on the drawn faces of `edgedet data synth`: other pictures, other
classes. Finished rows are kept, as long as checkpoint and options are the same. docs/finetune.json holds all digits.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from table import ROOT, Table, made_by, table_parser, timed

from edgedet.data.paths import DataPaths
from edgedet.evaluate.evaluator import describe_machine
from edgedet.training.loop import TrainRequest, train
from edgedet.training.warm_start import WarmStart

MODEL = "rtmdet_pico_relu6"
CHECKPOINT = ROOT / "models" / f"{MODEL}_synth.pt"
# Row -> what it trains: share of the epochs, and how it starts.
ROWS: dict[str, dict[str, Any]] = {
    "from scratch": {"share": 1, "start": None},
    "from scratch, a quarter": {"share": 4, "start": None},
    "from the checkpoint, a quarter": {"share": 4, "start": {}},
    "the same, stage2 frozen": {"share": 4, "start": {"freeze": "stage2"}},
    "the same, backbone rate x 0.1": {"share": 4, "start": {"backbone_lr_scale": 0.1}},
}


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    data: Path
    runs: Path
    rows: tuple[str, ...]
    seed: int
    epochs: int
    imgsz: int


def main() -> int:
    """Measure, write docs/finetune.json after every row, then docs/finetune.md."""
    parser = table_parser(__doc__, list(ROWS))
    parser.add_argument("--epochs", type=int, default=40, help="of the row from scratch; a multiple of 4")
    parser.add_argument("--imgsz", type=int, default=160, help="px")
    args = parser.parse_args()
    settings = Settings(args.data, args.runs, tuple(args.rows), args.seed, args.epochs, args.imgsz)
    table = Table(ROOT / "docs" / "finetune.json", {"machine": describe_machine()})
    known = table.model(MODEL, CHECKPOINT, settings.seed)
    for row in settings.rows:
        options = {**ROWS[row], "epochs": settings.epochs // ROWS[row]["share"], "imgsz": settings.imgsz}
        table.add_row(MODEL, known, row, options, partial(_measure, row, options, settings))
    table.write_markdown(render)
    return 0


def _measure(row: str, options: dict[str, Any], settings: Settings) -> dict[str, Any]:
    out = settings.runs / row.replace(", ", "_").replace(" ", "_")
    if out.exists():
        shutil.rmtree(out)
    request = TrainRequest(
        MODEL,
        DataPaths(settings.data),
        out,
        imgsz=(options["imgsz"], options["imgsz"]),
        epochs=options["epochs"],
        overrides=("train.threads=1",),
        seed=settings.seed,
        quiet=True,
        start=None if options["start"] is None else WarmStart(CHECKPOINT, **options["start"]),
    )
    result, times = timed(partial(train, request))
    return {**times, "ap": result.last_ap, "best_ap": result.best_ap, "loss": result.history[-1].loss}


def render(content: dict[str, Any]) -> str:
    """The Markdown of what docs/finetune.json holds."""
    known = content["models"][MODEL]
    lines = [
        "# Fine-tuning from a checkpoint",
        "",
        made_by("finetune", content),
        "",
        f"{MODEL} on the blood cells of bccd (205 training images, 3 classes), seed {known['seed']}. The checkpoint",
        "was trained on the drawn faces of `edgedet data synth`: other pictures, other classes. AP of the averaged",
        "float weights on the validation split after the last epoch, and the best of those measured on the way (every",
        "10 epochs).",
        "",
        "| start | epochs | input | AP | best AP |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in (name for name in ROWS if name in known["rows"]):
        row = known["rows"][name]
        options = row["options"]
        size = f"{options['imgsz']}x{options['imgsz']}"
        lines.append(f"| {name} | {options['epochs']} | {size} | {row['ap']:.3f} | {row['best_ap']:.3f} |")
    return "\n".join((*lines, ""))


if __name__ == "__main__":
    sys.exit(main())
