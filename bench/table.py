"""A table of measurements that take long: JSON that keeps its finished rows, and the Markdown made from it.

docs/<name>.json holds, for each model, the hash of its checkpoint, the seed and the rows; a row is kept as long as
these and its options are the same. Imported by ptq_table.py and qat_table.py; not a program.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgedet.config import available_models
from edgedet.evaluate.evaluator import sha256_of
from edgedet.fileio import atomic_write_text

ROOT = Path(__file__).resolve().parent.parent
# Models with trainings behind the tables of docs/; docs/results.md shows the size of all of them.
TRAINED = ("rtmdet_nano", "rtmdet_nano_ncadc_relu6", "rtmdet_nano_relu", "rtmdet_pico_relu6")


class Table:
    """Rows of all models; written after every new one."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        """Read what is there.

        Args:
            path: of the JSON.
            head: keys in front of the rows, for a file that gets a new one: machine, ...
        """
        self.path, self.head = path, head
        self.commit = commit_of(ROOT)  # of the code that this process has loaded
        self.models: dict[str, dict[str, Any]] = json.loads(path.read_text())["models"] if path.exists() else {}

    def model(self, name: str, checkpoint: Path, seed: int) -> dict[str, Any]:
        """What is known of a model; no rows where it was measured with another checkpoint or seed."""
        sha256 = sha256_of(checkpoint)
        known = self.models.get(name, {})
        if known.get("checkpoint") == sha256 and known.get("seed") == seed:
            return known
        return {"checkpoint": sha256, "seed": seed, "rows": {}}

    def add_row(
        self, name: str, known: dict[str, Any], row: str, options: dict[str, Any], measure: Callable[[], dict[str, Any]]
    ) -> None:
        """Measure a row and write the file, unless the row is there with the same options.

        Args:
            name: of the model.
            known: of `model`.
            row: its name.
            options: of the measurement.
            measure: gives the row's figures.
        """
        if known["rows"].get(row, {}).get("options") == options:
            return
        known["rows"][row] = {"options": options, "commit": self.commit, **measure()}
        self.models[name] = known
        atomic_write_text(self.path, json.dumps({**self.head, "models": self.models}, indent=1) + "\n")

    def write_markdown(self, render: Callable[[dict[str, Any]], str]) -> None:
        """Render the written JSON beside it."""
        atomic_write_text(self.path.with_suffix(".md"), render(json.loads(self.path.read_text())))


def made_by(name: str, content: dict[str, Any]) -> str:
    """Line at the head of docs/<name>.md.

    Args:
        name: of the table; bench/<name>_table.py makes it.
        content: of docs/<name>.json.
    """
    commits = sorted({row["commit"] for known in content["models"].values() for row in known["rows"].values()})
    return (
        f"Made by bench/{name}_table.py at commit {', '.join(commits)} on {content['machine']}. Don't edit by hand; "
        f"docs/{name}.json holds all digits."
    )


def timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """(what the call gives, wall_s and cpu_s; CPU seconds are those of all threads)."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def table_parser(description: str | None, rows: Sequence[str]) -> argparse.ArgumentParser:
    """Options that all tables have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/results"), help="default: %(default)s")
    parser.add_argument("--models", nargs="+", default=list(TRAINED), choices=available_models())
    parser.add_argument("--rows", nargs="+", default=list(rows), choices=list(rows))
    parser.add_argument("--seed", type=int, default=0)
    return parser


def commit_of(root: Path) -> str:
    """Commit of a working tree; says so when the package differs from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    dirty = git("status", "--porcelain", "--", "edgedet", "models", "bench")
    return git("rev-parse", "--short", "HEAD") + (" + uncommitted changes" if dirty else "")
