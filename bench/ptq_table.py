"""Make docs/ptq.md: AP and time of post-training quantization, for each model and effort, on real data.

    .venv/bin/python bench/ptq_table.py --data ../shared/data/bccd --runs runs/results

Needs the trainings that bench/results.py leaves in --runs. Each row is quantized with the training images and evaluated
with the integer simulator on all validation images. Finished rows in --out are kept, as long as checkpoint and options
are the same; docs/ptq.json holds all digits.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from table import ROOT, Table, made_by, table_parser, timed

from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.evaluate.evaluator import describe_machine, evaluate
from edgedet.net.runtime import TorchRuntime
from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint
from edgedet.runtimes.open import open_runtime

# Row -> options of QuantizeRequest.
ROWS: dict[str, dict[str, Any]] = {
    "fast": {"effort": "fast"},
    "fast, moving-average": {"effort": "fast", "calibration": "moving-average"},
    "fast, percentile": {"effort": "fast", "calibration": "percentile"},
    "fast, mse": {"effort": "fast", "calibration": "mse"},
    "fast, kl": {"effort": "fast", "calibration": "kl"},
    "fast, auto": {"effort": "fast", "calibration": "auto"},
    "normal": {"effort": "normal"},
    "best": {"effort": "best"},
    "normal, int16 auto": {"effort": "normal", "int16": ["auto"]},
}


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    data: Path
    runs: Path
    models: tuple[str, ...]
    rows: tuple[str, ...]
    seed: int


def main() -> int:
    """Measure, write docs/ptq.json after every row, then docs/ptq.md."""
    settings = _settings()
    split = load_split(settings.data, "valid")
    table = Table(ROOT / "docs" / "ptq.json", {"machine": describe_machine(), "images": len(split.images)})
    for model in settings.models:
        checkpoint = settings.runs / model / "last.pt"
        known = table.model(model, checkpoint, settings.seed)
        if "float_ap" not in known:
            known["float_ap"] = evaluate(TorchRuntime.from_checkpoint(checkpoint), split).ap.stats[0]
        for row in settings.rows:
            table.add_row(model, known, row, ROWS[row], partial(_measure, checkpoint, row, settings, split))
    table.write_markdown(render)
    return 0


def _settings() -> Settings:
    args = table_parser(__doc__, list(ROWS)).parse_args()
    return Settings(args.data, args.runs, tuple(args.models), tuple(args.rows), args.seed)


def _measure(checkpoint: Path, row: str, settings: Settings, split: CocoSplit) -> dict[str, Any]:
    out = settings.runs / checkpoint.parent.name / "ptq" / row.replace(", ", "_")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in ROWS[row].items()}
    request = QuantizeRequest(checkpoint, DataPaths(settings.data), out, seed=settings.seed, **options)
    report, times = timed(partial(quantize_checkpoint, request))
    return {
        "ap": evaluate(open_runtime(report.model, "sim"), split).ap.stats[0],
        **times,
        "sha256": report.sha256,
        "int16": list(report.int16),
        "steps": [{"name": s.name, "error": s.error, "kept": s.kept} for s in report.steps],
    }


def render(content: dict[str, Any]) -> str:
    """docs/ptq.md from docs/ptq.json."""
    lines = [
        "# Post-training quantization",
        "",
        made_by("ptq", content),
        "",
        f"COCO AP over {content['images']} validation images, integer simulator (= TFLite's reference kernels). Error: "
        "of the network's outputs on calibration images that the steps did not learn from, squared, relative to their "
        "variance, after the last step that was kept. CPU seconds are those of all threads; wall seconds depend on "
        "what else the machine had to do.",
        "",
        "| model | effort | AP | AP - float | output error | CPU s | wall s | undone | int16 | sha256 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, known in content["models"].items():
        lines.append(f"| {model} | float | {known['float_ap']:.4f} | | | | | | | |")
        for row, result in known["rows"].items():
            steps = result["steps"]
            error = f"{100 * min(s['error'] for s in steps):.3f} %" if steps else ""
            undone = ", ".join(s["name"] for s in steps if not s["kept"])
            lines.append(
                f"| {model} | {row} | {result['ap']:.4f} | {result['ap'] - known['float_ap']:+.4f} | {error} "
                f"| {result['cpu_s']:.1f} | {result['wall_s']:.1f} | {undone} "
                f"| {', '.join(result['int16'])} | `{result['sha256'][:16]}` |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
