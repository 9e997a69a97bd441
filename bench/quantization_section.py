"""The part of docs/results.md about quantization, from what ptq_table.py, qat_table.py and waterfall_table.py measured.

Imported by results.py; not a program.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WATERFALL_KEYS = ("float", "folded", "weights", "activations", "fake_quant", "integer", "xnnpack")


def quantization_section(docs: Path, models: tuple[str, ...]) -> list[str]:
    """Lines of Markdown.

    Args:
        docs: folder of ptq.json, qat.json and waterfall.json.
        models: in this order.
    Raises:
        OSError: a table is missing.
    """
    ptq, qat, waterfall = (json.loads((docs / f"{name}.json").read_text())["models"] for name in _TABLES)
    return [
        "## Quantization: AP in the file, chip arithmetic\n",
        "From [PTQ](ptq.md), [QAT](qat.md) and the [AP waterfall](waterfall.md), which say with which commit, seed and "
        "checkpoint each row was made and hold the hashes of the files. In brackets: file - float. QAT: 5 epochs; "
        "printed: AP of the fake-quantized network at the end of training.\n",
        _marks(models, ptq, qat),
        "Of effort best, form by form (activations: with float weights, not in the chain):\n",
        _chain(models, waterfall),
    ]


_TABLES = ("ptq", "qat", "waterfall")


def _marks(models: tuple[str, ...], ptq: dict[str, Any], qat: dict[str, Any]) -> str:
    header = (
        "model", "float", "PTQ fast", "PTQ normal", "PTQ best", "QAT", "QAT file - printed", "QAT, distill",
        "distill file - printed", "normal, s", "best, s", "QAT, s",
    )  # fmt: skip
    body = []
    for model in models:
        rows, trained, base = ptq[model]["rows"], qat[model]["rows"], ptq[model]["float_ap"]
        cells = [f"{rows[name]['ap']:.4f} ({rows[name]['ap'] - base:+.4f})" for name in ("fast", "normal", "best")]
        for name in ("qat", "qat, distill"):
            result = trained[name]
            cells.append(f"{result['ap_file']:.4f} ({result['ap_file'] - result['ap_float']:+.4f})")
            cells.append(f"{result['ap_file'] - result['ap_qat']:+.4f}")
        seconds = (rows["normal"]["wall_s"], rows["best"]["wall_s"], trained["qat"]["wall_s"])
        body.append([model, f"{base:.4f}", *cells, *(f"{value:.0f}" for value in seconds)])
    return markdown_table(header, body)


def _chain(models: tuple[str, ...], waterfall: dict[str, Any]) -> str:
    body, labels = [], {}
    for model in models:
        result = waterfall[model]["rows"]["best"]
        steps = {step["key"]: step for step in result["steps"]}
        labels |= {key: step["label"] for key, step in steps.items()}
        cells = [f"{steps[key]['ap']:.4f}" if key in steps else "" for key in WATERFALL_KEYS]
        guilty = labels.get(result["guilty"], "none")
        body.append([model, *cells, f"{result['interaction']:+.4f}", guilty])
    return markdown_table(["model", *(labels.get(key, key) for key in WATERFALL_KEYS), "interaction", "guilty"], body)


def markdown_table(header: tuple[str, ...] | list[str], rows: list[list[str]]) -> str:
    """Markdown of a table, with its last line end."""
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"
