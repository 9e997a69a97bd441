"""Make docs/waterfall.md: AP of every form of each network on its way to the chip, on real data.

    .venv/bin/python bench/waterfall_table.py --data ../shared/data/bccd --runs runs/results

Needs the trainings that bench/results.py leaves in --runs, and the files of effort `best` that bench/ptq_table.py
leaves there. Finished rows are kept, as long as checkpoint and file are the same; docs/waterfall.json holds all digits.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from table import ROOT, Table, made_by, table_parser

from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.diagnose.waterfall import WaterfallRequest, measure_waterfall
from edgedet.evaluate.evaluator import describe_machine, sha256_of

ROWS = ("best",)  # folders of bench/ptq_table.py


def main() -> int:
    """Measure, write docs/waterfall.json after every row, then docs/waterfall.md."""
    args = table_parser(__doc__, ROWS).parse_args()
    split = load_split(args.data, "valid")
    table = Table(ROOT / "docs" / "waterfall.json", {"machine": describe_machine(), "images": len(split.images)})
    for model in args.models:
        checkpoint = args.runs / model / "last.pt"
        known = table.model(model, checkpoint, args.seed)
        for row in args.rows:
            file = args.runs / model / "ptq" / row / "model_int8.tflite"
            options = {"sha256": sha256_of(file)}
            table.add_row(model, known, row, options, partial(_measure, file, checkpoint, split))
    table.write_markdown(render)
    return 0


def _measure(file: Path, checkpoint: Path, split: CocoSplit) -> dict[str, Any]:
    return measure_waterfall(WaterfallRequest(file, checkpoint, split)).to_json()


def render(content: dict[str, Any]) -> str:
    """docs/waterfall.md from docs/waterfall.json."""
    lines = [
        "# AP waterfall",
        "",
        made_by("waterfall", content),
        "",
        f"COCO AP over {content['images']} validation images of every form that a network takes on its way to the chip "
        "(`edgedet quantize ... --waterfall`). Weights and activations are measured one at a time as well: together "
        "they cost their sum plus the interaction.",
    ]
    for model, known in content["models"].items():
        for row, waterfall in known["rows"].items():
            lines += ["", f"## {model}, effort {row}", "", _head(known, waterfall), "", *_table(waterfall)]
    return "\n".join(lines) + "\n"


def _head(known: dict[str, Any], waterfall: dict[str, Any]) -> str:
    guilty = next((s["label"] for s in waterfall["steps"] if s["key"] == waterfall["guilty"]), "no step")
    return (
        f"Checkpoint `{known['checkpoint'][:16]}`, seed {known['seed']}, file `{waterfall['options']['sha256'][:16]}`. "
        f"Interaction {waterfall['interaction']:+.4f}. Guilty (more than {waterfall['guilty_drop']:g}): {guilty}."
    )


def _table(waterfall: dict[str, Any]) -> list[str]:
    labels = {step["key"]: step["label"] for step in waterfall["steps"]}
    lines = ["| form | images | AP | AP50 | change | against | note |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for step in waterfall["steps"]:
        change = f"{step['change']:+.4f}" if step["after"] else ""
        lines.append(
            f"| {step['label']} | {step['images']} | {step['ap']:.4f} | {step['ap50']:.4f} | {change} "
            f"| {labels.get(step['after'], '')} | {step['note']} |"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
