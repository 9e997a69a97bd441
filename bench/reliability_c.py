"""Write the section "Generated C" of docs/reliability.md: sanitizers, analyzers, threads, fuzzing.

    .venv/bin/python bench/reliability_c.py --seconds 60

Needs gcc, clang with its sanitizers and libFuzzer, and clang-tidy (.ci/run installs them). Without --seconds each
module with edgedet_run() is fuzzed for 10 s; all of it takes about 15 minutes on one core. Other sections of
the file stay as they are. Exit status 1: something was found.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from table import ROOT, commit_of

from edgedet.evaluate.evaluator import describe_machine
from edgedet.fileio import atomic_write_text

sys.path.insert(0, str(ROOT / "tests"))
import c_audit_tools as tools
from c_audit_modules import MODELS, make_module

TITLE = "## Generated C"
HEADER = ("tried", "inputs", "outcome")


def main() -> int:
    """Run everything, then replace the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10, help="of fuzzing each module with edgedet_run()")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer")
    args = parser.parse_args()
    missing = tools.missing_programs()
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; .ci/run installs them")
    with tempfile.TemporaryDirectory(prefix="edgedet-c-") as temporary:
        folder = Path(temporary)
        modules = {name: make_module(name, folder / str(number)) for number, name in enumerate(MODELS)}
        rows = [*_sanitized(modules, folder / "out"), *_analyzed(modules, folder / "out")]
        rows.append(_fuzzed(modules, folder / "out", args.seconds, args.seed))
    lines = [
        f"{TITLE}\n",
        f"`bench/reliability_c.py --seconds {args.seconds} --seed {args.seed}`, commit {commit_of(ROOT)}, "
        f"{describe_machine()}. One module for each kind of generated C: {', '.join(MODELS)}.\n",
        _table([HEADER, ("---",) * 3, *rows]),
        "What is left out of the analyzers' checks, and why, stands in `.clang-tidy`. A module trusts the constants "
        "that were generated with it; see [security.md](security.md).\n",
    ]
    _replace_section(ROOT / "docs" / "reliability.md", "\n".join(lines))
    return 0 if all(not row[2].startswith("found") for row in rows) else 1


def _table(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _said(outcomes: dict[str, tools.Outcome]) -> str:
    bad = [name for name, outcome in outcomes.items() if not outcome.good]
    for name in bad:
        print(f"{name}:\n{outcomes[name].text}", file=sys.stderr)
    return f"found something in {', '.join(bad)}" if bad else "nothing found"


def _each(modules: dict[str, Path], run: Callable[[Path], tools.Outcome]) -> dict[str, tools.Outcome]:
    return {name: run(module) for name, module in modules.items()}


def _sanitized(modules: dict[str, Path], out: Path) -> list[list[str]]:
    golden = f"self-test of {len(modules)} modules"
    rows = [
        [name, golden, _said(_each(modules, lambda module, name=name: tools.sanitize(module, name, out)))]
        for name in tools.SANITIZERS
    ]
    threads = _said(_each(modules, lambda module: tools.run_threads(module, out)))
    rows.append(["TSan (clang)", f"two threads with an arena each, {len(modules)} modules", threads])
    return rows


def _analyzed(modules: dict[str, Path], out: Path) -> list[list[str]]:
    kernels, include = tools.kernel_sources(), [f"-I{ROOT / 'kernels' / 'include'}"]
    rows = []
    for name, analyze in (("gcc -fanalyzer", tools.analyze_with_gcc), ("clang-tidy", tools.analyze_with_clang_tidy)):
        outcomes = {"kernels": analyze(kernels, include, out)}
        for title, module in modules.items():
            outcomes[title] = analyze(tools.module_sources(module), tools.include_options(module), out)
        tried = f"{len(kernels)} kernels, code of {len(modules)} modules"
        rows.append([name, tried, _said(outcomes)])
    return rows


def _fuzzed(modules: dict[str, Path], out: Path, seconds: int, seed: int) -> list[str]:
    runnable = {name: module for name, module in modules.items() if (module / "run.c").exists()}
    outcomes = _each(runnable, lambda module: tools.fuzz(module, out, seconds, seed))
    runs = sum(tools.executed_runs(outcome) for outcome in outcomes.values() if outcome.good)
    tried = (
        f"edgedet_run() of {len(runnable)} modules, {runs:,} calls: any sides, strides and formats, null and "
        "misaligned pointers, arenas that are too small"
    )
    return ["libFuzzer, ASan, UBSan", tried, _said(outcomes)]


def _replace_section(path: Path, text: str) -> None:
    """Replace the section of TITLE, or append it."""
    old = path.read_text(encoding="utf-8") if path.exists() else "# Reliability\n"
    pattern = re.compile(rf"^{re.escape(TITLE)}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    found = pattern.search(old)
    if found is None:
        new = f"{old.rstrip()}\n\n{text}"
    else:
        new = old[: found.start()] + text + ("\n" if found.end() < len(old) else "") + old[found.end() :]
    atomic_write_text(path, new)


if __name__ == "__main__":
    sys.exit(main())
