"""Networks on Ethos-U by core and memory mode, and what choices of ours cost there: estimates of Vela, no measurements.

    .venv/bin/python bench/ethos_u_table.py
    .venv/bin/python bench/ethos_u_table.py --render

Writes docs/ethos_u.json and the tables between the marks of docs/ethos_u.md. The networks have random weights (seed 0)
and ranges measured on two random pictures; weights decide how well Vela packs them, and little else.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from quantization_section import markdown_table
from table import ROOT, TRAINED, commit_of

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.evaluate.evaluator import describe_machine
from edgedet.fileio import atomic_write_text
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.graph import Graph
from edgedet.npu.compiled import read_compiled
from edgedet.npu.cores import NPU_TARGETS, NpuOptions, npu_setup
from edgedet.npu.variants import (
    hard_swish_for_silu,
    one_channel_input,
    relu_for_silu,
    reversed_concatenations,
    same_for_pads,
    small_depthwise,
    without_activations,
)
from edgedet.npu.vela import compile_for_npu, vela_version

OUT, PAGE = ROOT / "docs" / "ethos_u.json", ROOT / "docs" / "ethos_u.md"
SIDE, CLASSES, SEED = 192, ("a", "b"), 0
GROVE = NpuOptions(preset="grove-vision-ai-v2")
DRAM = {"u65": "Ethos_U65_Mid_End", "u85": "Ethos_U85_SYS_DRAM_Mid"}
CHOICE_SETUPS = {"Grove Vision AI V2": ("ethos-u55-64", GROVE), "ethos-u55-256": ("ethos-u55-256", NpuOptions())}
CHOICES = {
    "SiLU: HARD_SWISH instead": hard_swish_for_silu,
    "SiLU: ReLU instead": relu_for_silu,
    "explicit PAD: SAME instead": same_for_pads,
    "CONCATENATION: inputs in the opposite order": reversed_concatenations,
    "three channels of the input: one instead": one_channel_input,
    "depthwise 5x5: 3x3 instead": small_depthwise,
    "ReLU, ReLU6: none instead": lambda graph: without_activations(graph, {tensor.name for tensor in graph.tensors}),
}


def main() -> int:
    """Measure, or only render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(TRAINED))
    parser.add_argument("--render", action="store_true", help="only write the page from docs/ethos_u.json")
    args = parser.parse_args()
    if not args.render:
        content = {
            "commit": commit_of(ROOT), "machine": describe_machine(),
            "vela": vela_version(npu_setup("ethos-u55-64", GROVE)), "seed": SEED, "imgsz": SIDE,
            "command": "bench/ethos_u_table.py",
            "models": {name: measure(name) for name in args.models},
        }  # fmt: skip
        atomic_write_text(OUT, json.dumps(content, indent=1) + "\n")
    content = json.loads(OUT.read_text(encoding="utf-8"))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- tables -->\n")
    after = rest.partition("<!-- end of tables -->\n")[2]
    atomic_write_text(PAGE, f"{before}<!-- tables -->\n{render(content)}<!-- end of tables -->\n{after}")
    return 0


def network(name: str) -> Graph:
    """The int8 graph of a model file with random weights."""
    sys.path.insert(0, str(ROOT / "tests"))
    import numpy as np
    import torch
    from random_weights import random_detector, random_pictures

    from edgedet.quantize.api import quantize_model

    torch.set_num_threads(1)
    file = load_model_file(name)
    pictures = random_pictures(2, SIDE, SIDE, seed=1).transpose(0, 3, 1, 2).astype(np.float32) / 255
    model = random_detector(file.model, len(CLASSES), seed=SEED)
    images = [torch.from_numpy(pictures)]
    return quantize_model(model, file.preprocess.spec((SIDE, SIDE)), OutputSpec(CLASSES), images).graph


def measure(name: str) -> dict[str, Any]:
    """All rows of a model."""
    graph = network(name)
    rows = [row(graph, name, target, options) for target, options in setups()]
    print(f"{name}: {len(rows)} compilations", flush=True)
    choices: dict[str, Any] = {}
    for title, (target, options) in CHOICE_SETUPS.items():
        base = row(graph, name, target, options)
        changed = {what: change(graph) for what, change in CHOICES.items()}
        choices[title] = {"base": base} | {
            what: row(other, name, target, options)
            for what, other in changed.items()
            if (other.operators, other.tensors) != (graph.operators, graph.tensors)
        }
    return {"operators": len(graph.operators), "rows": rows, "choices": choices, "commands": commands(graph, name)}


def commands(graph: Graph, name: str) -> dict[str, Any]:
    """What stands in the compiled file, beside what TFLite would compute with."""
    import npu_commands  # of tests/

    compiled = compile_for_npu(serialize(graph), name, npu_setup("ethos-u55-64", NpuOptions("Sram_Only")))
    return asdict(npu_commands.compare(graph, parse_tflite(compiled.data, name)))


def setups() -> list[tuple[str, NpuOptions]]:
    """Every core with every memory mode that it has, and the board."""
    found = [("ethos-u55-64", GROVE)]
    for target in NPU_TARGETS:
        found += [(target, NpuOptions(mode)) for mode in ("Shared_Sram", "Sram_Only")]
        system = DRAM.get(target.split("-")[1])
        if system is not None:
            found.append((target, NpuOptions("Dedicated_Sram_384KB", system)))
    return [*found, ("ethos-u55-64", NpuOptions(optimise="size"))]


def row(graph: Graph, name: str, target: str, options: NpuOptions) -> dict[str, Any]:
    """One compilation."""
    setup = npu_setup(target, options)
    data = serialize(graph)
    compiled = compile_for_npu(data, name, setup)
    npu = read_compiled(compiled.data, graph, None, name, compiled.figures.reasons)
    return {
        "target": target, "system": setup.system_config, "mode": setup.memory_mode, "optimise": setup.optimise,
        "on_npu": npu.on_npu, "on_cpu": len(npu.on_cpu), "vela_operators": len(compiled.figures.layers),
        "resize_cycles": compiled.figures.cycles_of("ResizeNearestNeighbor"),
        "file_bytes": len(compiled.data), "cache_bytes": npu.cache_bytes, **compiled.figures.to_json(),
    }  # fmt: skip


def render(content: dict[str, Any]) -> str:
    """The tables as Markdown."""
    lines = [
        f"Made by `{content['command']}` at commit {content['commit']}, seed {content['seed']}, with Vela "
        f"{content['vela']}, on {content['machine']}. Input {content['imgsz']}x{content['imgsz']}, "
        f"{len(CLASSES)} classes, random weights. All figures are Vela's estimates; docs/ethos_u.json has all digits.\n"
    ]
    for name, model in content["models"].items():
        on_cpu = {row["on_cpu"] for row in model["rows"]}
        lines += [
            f"### {name}\n",
            f"{model['operators']} operators in the file, on the CPU: {' or '.join(str(n) for n in sorted(on_cpu))}.\n",
            _rows(model["rows"]),
        ]
    lines += ["### What is in the compiled files\n", _COMMANDS, _commands(content["models"])]
    lines += ["### What choices cost\n", "Cycles with one choice made otherwise, against the network as it is.\n"]
    for title in CHOICE_SETUPS:
        lines += [f"{title}:\n", _choices(content["models"], title)]
    return "\n".join(lines)


_COMMANDS = (
    "Read back from the commands for ethos-u55-64: operators of the file whose numbers stand in them as TFLite has "
    "them. Convolutions: bias, multiplier and shift of every channel, and all weights. LOGISTIC: all 256 codes of "
    "TFLite Micro. MUL, ADD: multipliers and shifts. Rounding 0 is TFLite's.\n"
)


def _commands(models: dict[str, Any]) -> str:
    body = []
    for name, model in models.items():
        c = model["commands"]
        pairs = (
            ("equal", "convolutions"),
            ("equal_tables", "tables"),
            ("equal_products", "products"),
            ("equal_sums", "sums"),
        )
        cells = [f"{c[same]} of {c[all_]}" if c[all_] else "-" for same, all_ in pairs]
        body.append([name, *cells, ", ".join(str(mode) for mode in c["rounding"])])
    return markdown_table(["network", "convolutions", "LOGISTIC", "MUL", "ADD", "rounding"], body)


def _rows(rows: list[dict[str, Any]]) -> str:
    header = ["NPU", "system", "memory", "clock, MHz", "cycles", "ms", "waits for memory", "SRAM", "DRAM", "file"]
    body = []
    for r in rows:
        waits = 100 * (r["cycles"] - r["npu_cycles"]) / r["cycles"]
        mode = r["mode"] + (", for size" if r["optimise"] == "size" else "")
        body.append(
            [
                r["target"].removeprefix("ethos-"), r["system"].removeprefix("Ethos_"), mode,
                f"{r['clock_hz'] / 1e6:g}", f"{r['cycles']:,}", f"{r['milliseconds']:.1f}", f"{waits:.0f} %",
                f"{r['sram_bytes']:,}",
                f"{r['dram_bytes']:,}", f"{r['file_bytes']:,}",
            ]
        )  # fmt: skip
    return markdown_table(header, body)


def _choices(models: dict[str, Any], title: str) -> str:
    body = []
    for what in CHOICES:
        cells = []
        for model in models.values():
            base, other = model["choices"][title]["base"], model["choices"][title].get(what)
            cells.append("-" if other is None else _change(base, other))
        body.append([what, *cells])
    bases = [model["choices"][title]["base"] for model in models.values()]
    shares = [f"{b['resize_cycles']:,} ({100 * b['resize_cycles'] / b['cycles']:.1f} %)" for b in bases]
    body.append(["what nearest resizing takes", *shares])
    return markdown_table(["choice", *models], body)


def _change(base: dict[str, Any], other: dict[str, Any]) -> str:
    cycles, sram = other["cycles"] - base["cycles"], other["sram_bytes"] - base["sram_bytes"]
    memory = "" if abs(sram) < 4096 else f", SRAM {sram:+,}"
    return f"{cycles:+,} ({100 * cycles / base['cycles']:+.1f} %){memory}"


if __name__ == "__main__":
    sys.exit(main())
