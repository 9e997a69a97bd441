"""Write the table of stack bytes of docs/c-api.md.

    .venv/bin/python bench/c_audit_sheet.py

Needs arm-none-eabi-gcc. What stands around the table stays as it is.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from table import ROOT, commit_of

from edgedet.fileio import atomic_write_text

sys.path.insert(0, str(ROOT / "tests"))
from c_audit_tools import kernel_sources
from c_stack import CHIPS, Calls, calls_of

BEGIN, END = "<!-- stack: begin -->\n", "<!-- stack: end -->\n"


def table(calls: dict[str, Calls]) -> str:
    """Own and deepest stack of every public function, a column a chip."""
    names = sorted(path.stem for path in kernel_sources())
    rows = ["| function | " + " | ".join(f"{chip}: own, with callees" for chip in calls) + " |"]
    rows.append("| --- |" + " --- |" * len(calls))
    for name in names:
        cells = [f"{found.stack_bytes[name]}, {found.deepest_bytes(name)}" for found in calls.values()]
        rows.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Measure, then replace the table."""
    calls = {}
    for chip in CHIPS:
        with tempfile.TemporaryDirectory() as folder:
            calls[chip] = calls_of(kernel_sources(), chip, Path(folder))
    version = subprocess.run(["arm-none-eabi-gcc", "-dumpversion"], check=True, capture_output=True, text=True).stdout
    how = f"`bench/c_audit_sheet.py`, commit {commit_of(ROOT)}, GCC {version.strip()}, `-O2`, bytes.\n\n"
    path = ROOT / "docs" / "c-api.md"
    text = path.read_text(encoding="utf-8")
    section = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    atomic_write_text(path, section.sub(lambda _: BEGIN + how + table(calls) + END, text))


if __name__ == "__main__":
    main()
