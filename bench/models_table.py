"""Every shipped model before it is trained: parameters, MACs, RAM and flash of the generated C, time to convert.

    .venv/bin/python bench/models_table.py
    .venv/bin/python bench/models_table.py --models rtmdet_s rtmdet_m

Writes docs/models.json; `bench/results.py --render` makes the section of docs/results.md from it. Sizes are those of
`edgedet models`, at each model's own input size. For the time, a network with drawn weights is folded, quantized with
made-up ranges and written (what `edgedet quantize` does besides looking at images), in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

from quantization_section import markdown_table
from table import ROOT, commit_of

from edgedet.catalog import CLASSES, model_sizes
from edgedet.config import available_models, load_model_file
from edgedet.contracts import OutputSpec
from edgedet.evaluate.evaluator import describe_machine
from edgedet.fileio import atomic_write_text

OUT = ROOT / "docs" / "models.json"
MEMORY = ROOT / "docs" / "ptq_memory.json"  # of ptq_memory.py


def main() -> int:
    """Measure the models that are asked for, keep the other rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(available_models()), choices=available_models())
    parser.add_argument("--convert", metavar="MODEL", help=argparse.SUPPRESS)  # of the process that is measured
    args = parser.parse_args()
    if args.convert is not None:
        print(json.dumps(convert_seconds(args.convert)))
        return 0
    rows: dict[str, Any] = json.loads(OUT.read_text(encoding="utf-8"))["rows"] if OUT.exists() else {}
    for name in args.models:
        sizes = model_sizes(name)
        command = [sys.executable, __file__, "--convert", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        kept = ("made_for", "width", "height", "parameters", "macs", "arena_bytes", "flash_bytes")
        found = sizes.to_json()
        rows[name] = {key: found[key] for key in kept} | {"seconds": json.loads(done.stdout)}
        print(name, json.dumps(rows[name]), flush=True)
    content = {"commit": commit_of(ROOT), "machine": describe_machine(), "classes": CLASSES, "rows": rows}
    atomic_write_text(OUT, json.dumps(content, indent=1) + "\n")
    return 0


def convert_seconds(name: str) -> dict[str, float]:
    """CPU seconds of this process, one thread, from a float network to the bytes of the file.

    Args:
        name: of the model.
    Returns:
        Step -> seconds: quantize (fold, prepare, scales, codes), convert (graph and file).
    """
    import torch

    from edgedet.graph.flatbuffer import serialize
    from edgedet.net.families import build_detector
    from edgedet.quantize.calibration.calibrate import set_ranges
    from edgedet.quantize.fx.fake_quant import FakeQuant
    from edgedet.quantize.fx.prepare import freeze, prepare_model
    from edgedet.quantize.fx.to_graph import graph_from_fx

    torch.set_num_threads(1)
    torch.manual_seed(0)
    file = load_model_file(name)
    preprocess = file.preprocess.spec()
    network = build_detector(file.model, CLASSES).eval()
    start = time.process_time()
    prepared = prepare_model(network, preprocess)
    names = [module.name for module in prepared.modules() if isinstance(module, FakeQuant) and not module.fixed]
    ranges = {group: (-1.0 - 0.01 * number, 2.0 + 0.01 * number) for number, group in enumerate(names)}
    frozen = freeze(set_ranges(prepared, ranges))
    quantized = time.process_time()
    serialize(graph_from_fx(frozen, preprocess, OutputSpec(tuple(f"class_{i}" for i in range(CLASSES)))))
    return {"quantize": quantized - start, "convert": time.process_time() - quantized}


def models_section() -> list[str]:
    """Section of docs/results.md; empty without docs/models.json."""
    if not OUT.exists():
        return []
    content = json.loads(OUT.read_text(encoding="utf-8"))
    rows = sorted(content["rows"].items(), key=lambda item: (item[1]["macs"], item[0]))
    header = ["model", "input", "parameters", "M MACs", "C99 arena", "flash", "quantize, s", "convert, s", "made for"]
    body = [
        [
            f"`{name}`", f"{row['width']}x{row['height']}", f"{row['parameters']:,}", f"{row['macs'] / 1e6:,.1f}",
            f"{row['arena_bytes']:,}", f"{row['flash_bytes']:,}",
            *(f"{row['seconds'][step]:.2f}" for step in ("quantize", "convert")), row["made_for"],
        ]
        for name, row in rows
    ]  # fmt: skip
    return [
        "## Models\n",
        f"Every shipped model before training, {content['classes']} classes, by `bench/models_table.py` at commit "
        f"{content['commit']} on {content['machine']}; `edgedet models` says the same of any size. C99 arena: RAM of "
        "the generated C, exact. Flash: its weights and other constants. Seconds: CPU time of one thread from a float "
        "network to the file, without looking at images.\n",
        markdown_table(header, body),
        *_memory(),
    ]


def _memory() -> list[str]:
    """What PTQ of large models takes."""
    if not MEMORY.exists():
        return []
    header = ["model", "input", "images", "effort", "peak memory, MB", "seconds", "commit"]
    body = [
        [
            f"`{row['model']}`", f"{row['imgsz']}x{row['imgsz']}", str(row["images"]), row["effort"],
            f"{row['peak_bytes'] / 1e6:,.0f}", f"{row['seconds']['all']:.0f}", row["commit"],
        ]
        for row in json.loads(MEMORY.read_text(encoding="utf-8"))
    ]  # fmt: skip
    return ["Post-training quantization of a large model, by `bench/ptq_memory.py`:\n", markdown_table(header, body)]


if __name__ == "__main__":
    sys.exit(main())
