"""Files of other makers: which runtimes run them, whether these agree, and the arenas.

    .venv/bin/python bench/public_files_table.py                          # ../shared/data/tflite
    .venv/bin/python bench/public_files_table.py FOLDER [FOLDER ...] --images 8

    .venv/bin/python bench/public_files_table.py --smallest               # only the smallest arenas, anew

Writes docs/public_files.json; `bench/results.py --render` makes the section of docs/results.md from it. Without the
folders it says so and changes nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from quantization_section import markdown_table
from smallest_arena import smallest_arena
from table import ROOT, commit_of

from edgedet.deploy.api import deploy
from edgedet.errors import EdgedetError
from edgedet.evaluate.evaluator import describe_machine, sha256_of
from edgedet.fileio import atomic_write_text
from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.graph import Graph
from edgedet.graph.prepare.load import load_tflite
from edgedet.runtimes.parity import EXACT_RUNTIMES, compare_runtimes

DEFAULT_FOLDER = ROOT.parent / "shared" / "data" / "tflite"
OUT = ROOT / "docs" / "public_files.json"


def main() -> int:
    """Measure every file, then write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="*", type=Path, default=[DEFAULT_FOLDER], help="default: ../shared/data/tflite"
    )
    parser.add_argument("--images", type=int, default=4, help="random inputs for each file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smallest", action="store_true", help="search only the smallest arenas of C again")
    args = parser.parse_args()
    paths = sorted({path for folder in args.folders for path in folder.glob("*.tflite")}, key=lambda path: path.name)
    if not paths:
        print(f"no .tflite in {', '.join(map(str, args.folders))}; docs/public_files.json stays as it is")
        return 0
    if args.smallest:
        search_smallest(paths)
        return 0
    rows = []
    for path in paths:
        rows.append(measure(path, args.images, args.seed))
        print(json.dumps(rows[-1]), flush=True)
    content = {
        "commit": commit_of(ROOT),
        "commit_smallest": commit_of(ROOT),
        "machine": describe_machine(),
        "images": args.images,
        "seed": args.seed,
        "rows": rows,
    }
    atomic_write_text(OUT, json.dumps(content, indent=1) + "\n")
    return 0


def search_smallest(paths: list[Path]) -> None:
    """Fill in the smallest arenas of the files that docs/public_files.json has."""
    content = json.loads(OUT.read_text(encoding="utf-8"))
    by_hash = {sha256_of(path): path for path in paths}
    for row in content["rows"]:
        row |= {"arena_smallest": None, "why_not_less": ""}
        if row["arena_c99"] is not None and row["sha256"] in by_hash:
            row |= smallest_of(load_tflite(by_hash[row["sha256"]]).graph)
    content["commit_smallest"] = commit_of(ROOT)
    atomic_write_text(OUT, json.dumps(content, indent=1) + "\n")


def smallest_of(graph: Graph) -> dict[str, Any]:
    """Fields of a row."""
    smallest = smallest_arena(graph)
    return {"arena_smallest": smallest.arena_bytes, "why_not_less": smallest.why}


def measure(path: Path, images: int, seed: int) -> dict[str, Any]:
    """One row; what does not run is a row, too, with the reason."""
    row: dict[str, Any] = {"file": path.name, "sha256": sha256_of(path), "operators": {}, "refused": ""}
    row |= {"difference": {}, "why": {}, "arena_tflm": None, "arena_c99": None}
    row |= {"arena_tflm_total": None, "arena_smallest": None, "why_not_less": ""}
    try:
        kinds = Counter(operator.kind for operator in read_tflite(path).operators)
        row["operators"] = dict(kinds.most_common())
        loaded = load_tflite(path)
        parities = compare_runtimes(path.name, loaded.data, loaded.graph, images=images, seed=seed)
    except EdgedetError as error:
        return row | {"refused": str(error).removeprefix(f"{path}: ")}
    for parity in parities:
        row["difference"][parity.runtime] = parity.difference
        if parity.refusal:
            row["why"][parity.runtime] = parity.refusal
    for target in ("tflm", "c99"):
        try:
            with tempfile.TemporaryDirectory(prefix="edgedet-public-") as folder:
                report = deploy(path, target, Path(folder) / "out")
            row[f"arena_{target}"] = report.arena_bytes if report.arena is None else report.arena.measured_bytes
            if report.arena is not None:
                row["arena_tflm_total"] = report.arena.total_bytes
            else:
                row |= smallest_of(loaded.graph)
        except EdgedetError as error:
            row["why"][f"target {target}"] = str(error).replace(str(path), path.name)  # no path of this machine
    return row


def public_files_section(docs: Path) -> list[str]:
    """Lines of docs/results.md; none when docs/public_files.json is absent."""
    path = docs / OUT.name
    if not path.exists():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    arenas = ["arena tflm", "with margin", "arena c99", "smallest c99", "why not less"]
    header = ["file", "operators", *(f"sim - {name}" for name in EXACT_RUNTIMES), *arenas]
    return [
        "## Files of other makers\n",
        f"Made by bench/public_files_table.py at commit {content['commit']} on {content['machine']}, from public files "
        "of MLPerf Tiny, TFLite Micro, Seeed Studio, MIT, GigaDevice and Coral (hashes: docs/public_files.json). "
        "Largest difference of any output from the simulator's over "
        f"{content['images']} random inputs, LSB (float outputs: their unit); `-`: that runtime does not run the file. "
        "Arena, bytes: TFLite Micro's as measured, which its plain kernels need; that with the margin for CMSIS-NN's "
        "scratch, as `edgedet deploy --target tflm` prints; that of the generated C, whose scratch is in it; and the "
        "smallest that `edgedet deploy --target c99 --ram` finds patch by patch, with the reason where it is more than "
        f"70 % of it (searched at commit {content['commit_smallest']}).\n",
        markdown_table(header, [_cells(row) for row in content["rows"]]),
    ]


def _cells(row: dict[str, Any]) -> list[str]:
    operators = f"{sum(row['operators'].values())}: " + ", ".join(f"{k} {n}" for k, n in row["operators"].items())
    if row["refused"]:
        reason = row["refused"].partition(";")[0]  # what follows says what to do
        return [row["file"], operators, f"refused: {reason}", *("" for _ in range(len(EXACT_RUNTIMES) + 4))]
    differences = [row["difference"][name] for name in EXACT_RUNTIMES]
    arenas = [row["arena_tflm"], row["arena_tflm_total"], row["arena_c99"]]
    return [
        row["file"],
        operators,
        *("-" if value is None else f"{value:g}" for value in differences),
        *("-" if value is None else f"{value:,}" for value in arenas),
        "-" if row["arena_smallest"] is None else _smallest(row["arena_smallest"], row["arena_c99"]),
        row["why_not_less"],
    ]


def _smallest(smallest: int, whole: int) -> str:
    return f"{smallest:,} ({100 * smallest / whole:.0f} %)"


if __name__ == "__main__":
    sys.exit(main())
