"""Make docs/qat.md: AP and time of QAT, distillation and activation substitution, for each model, on real data.

    .venv/bin/python bench/qat_table.py --data ../shared/data/bccd --runs runs/results

Needs the trainings that bench/results.py leaves in --runs. Interrupted rows go on where they stopped; finished rows are
kept, as long as checkpoint and options are the same. Distillation gets the training images as a bare folder: its labels
are never read. docs/qat.json holds all digits.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from table import ROOT, Table, table_parser, timed

from edgedet.data.paths import DataPaths
from edgedet.evaluate.evaluator import describe_machine
from edgedet.finetune.qat import QatRequest, qat_checkpoint
from edgedet.finetune.resume import STATE_FILE
from edgedet.finetune.substitute import SubstituteRequest, substitute_checkpoint

# Row -> options of QatRequest.
QAT_ROWS: dict[str, dict[str, Any]] = {"qat": {}, "qat, distill": {"distill": True}}
# Model -> options of SubstituteRequest.
SUBSTITUTIONS: dict[str, dict[str, Any]] = {"rtmdet_nano": {"activation": "relu6", "channel_attention": False}}


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    data: Path
    runs: Path
    models: tuple[str, ...]
    rows: tuple[str, ...]
    seed: int
    threads: int
    runtime: str


def main() -> int:
    """Measure, write docs/qat.json after every row, then docs/qat.md."""
    settings = _settings()
    table = Table(ROOT / "docs" / "qat.json", {"machine": describe_machine(), "threads": settings.threads})
    for model in settings.models:
        checkpoint = settings.runs / model / "last.pt"
        known = table.model(model, checkpoint, settings.seed)
        for row in settings.rows:
            options = SUBSTITUTIONS.get(model) if row == "substitute" else QAT_ROWS[row]
            if options is not None:
                table.add_row(model, known, row, options, partial(_measure, checkpoint, row, options, settings))
    table.write_markdown(render)
    return 0


def _settings() -> Settings:
    parser = table_parser(__doc__, [*QAT_ROWS, "substitute"])
    parser.add_argument("--threads", type=int, default=0, help="torch's; 0: all cores")
    parser.add_argument("--runtime", default="ref", choices=("ref", "sim"), help="measures the file")
    args = parser.parse_args()
    return Settings(args.data, args.runs, tuple(args.models), tuple(args.rows), args.seed, args.threads, args.runtime)


def _measure(checkpoint: Path, row: str, options: dict[str, Any], settings: Settings) -> dict[str, Any]:
    measure = _substitute if row == "substitute" else _qat
    result, times = timed(partial(measure, checkpoint, row, options, settings))
    return {**times, **result}


def _qat(checkpoint: Path, row: str, options: dict[str, Any], settings: Settings) -> dict[str, Any]:
    out = settings.runs / checkpoint.parent.name / row.replace(", ", "_")
    resume = _unfinished(out, STATE_FILE, "report.json")
    request = QatRequest(
        checkpoint,
        DataPaths(settings.data),
        out,
        seed=settings.seed,
        threads=settings.threads,
        runtime=settings.runtime,
        resume=resume,
        images=settings.data / "train" if options.get("distill") else None,
        **options,
    )
    return qat_checkpoint(request).to_json() | {"resumed": resume}


def _substitute(checkpoint: Path, row: str, options: dict[str, Any], settings: Settings) -> dict[str, Any]:
    out = settings.runs / checkpoint.parent.name / row
    resume = _unfinished(out, "last.pt", "substitute.json")
    request = SubstituteRequest(
        checkpoint,
        DataPaths(settings.data),
        out,
        seed=settings.seed,
        threads=settings.threads,
        resume=resume,
        **options,
    )
    return substitute_checkpoint(request).to_json() | {"resumed": resume}


def _unfinished(out: Path, state: str, report: str) -> bool:
    """True when a run stopped in the middle; what a finished one left is removed, because it belongs to old options."""
    if (out / report).exists():
        shutil.rmtree(out)
    return (out / state).exists()


def render(content: dict[str, Any]) -> str:
    """docs/qat.md from docs/qat.json."""
    threads = content["threads"] or "all"
    lines = [
        "# Quantization-aware training, distillation, substitution",
        "",
        f"Made by bench/qat_table.py on {content['machine']}, threads: {threads}. Don't edit by hand; docs/qat.json "
        "holds all digits and the commit of every row.",
        "",
        "COCO AP of all validation images. Start: fake-quantized before training (min-max PTQ). Trained: the frozen "
        "fake-quantized network after the last epoch (none is picked). File: model_int8.tflite with the arithmetic "
        "named in docs/qat.json. qat learns from the labels, distill from the float network's outputs on bare images.",
        "",
        "| model | row | float | start | trained | file | file - float | file - trained | CPU s | wall s | sha256 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, known in content["models"].items():
        for row, r in known["rows"].items():
            if row == "substitute":
                continue
            lines.append(
                f"| {model} | {row} | {r['ap_float']:.4f} | {r['ap_start']:.4f} | {r['ap_qat']:.4f} "
                f"| {r['ap_file']:.4f} | {r['ap_file'] - r['ap_float']:+.4f} | {r['ap_file'] - r['ap_qat']:+.4f} "
                f"| {r['cpu_s']:.0f} | {r['wall_s']:.0f}{_resumed(r)} | `{r['sha256'][:16]}` |"
            )
    lines += ["", "## Substitution", ""]
    lines += [
        "| model | to | AP before | without tuning | tuned | epochs | operators | MACs | peak bytes | arena | CPU s |"
    ]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for model, known in content["models"].items():
        if "substitute" not in known["rows"]:
            continue
        r = known["rows"]["substitute"]
        pairs = [
            f"{_count(r['cost_before'], key):,} -> {_count(r['cost_after'], key):,}"
            for key in ("operators", "macs", "peak_activation_bytes", "arena_bytes")
        ]
        kept = "with" if r["channel_attention"] else "without"
        lines.append(
            f"| {model} | {r['activation']}, {kept} attention | {r['ap_before']:.4f} | {r['ap_substituted']:.4f} "
            f"| {r['ap_tuned']:.4f} | {r['epochs']} | {' | '.join(pairs)} | {r['cpu_s']:.0f}{_resumed(r)} |"
        )
    return "\n".join(lines) + "\n"


def _count(cost: dict[str, Any], key: str) -> int:
    value = cost[key]
    return sum(value.values()) if isinstance(value, dict) else int(value or 0)


def _resumed(row: dict[str, Any]) -> str:
    """Times of a resumed run are those of its last part."""
    return " (last part)" if row["resumed"] else ""


if __name__ == "__main__":
    sys.exit(main())
