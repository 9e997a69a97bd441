"""Kills commands of edgedet, or lets the disk fail them, at every system call that changes a file.

    make faults                                      # every call; writes the section of docs/reliability.md
    python tests/faults/run.py --short --only deploy # a few calls of one command

After each fault: what is there is the state before or the state after; a run with epochs that goes on with --resume
ends as one that nothing interrupted, bit for bit; nothing hidden is left by the next run; an error is one line, exit
code 2.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
DOCUMENT = REPO / "docs" / "reliability.md"
HEADING = "## Fault injection"
LETTERS = {
    "w": "write",
    "c": "create",
    "r": "rename",
    "l": "link",
    "d": "mkdir",
    "u": "unlink",
    "f": "fsync",
    "t": "truncate",
}
WRITES, SHORT_WRITES = 12, 2  # of data, per command and kind of fault


@dataclass
class Row:
    """What was tried with one command."""

    name: str
    calls: str
    tried: Counter[str] = field(default_factory=Counter)  # by kind of fault
    failures: list[str] = field(default_factory=list)

    def text(self) -> str:
        """A row of the table."""
        counts = Counter(self.calls)
        calls = ", ".join(f"{counts[letter]} {name}" for letter, name in LETTERS.items() if counts[letter])
        kinds = " | ".join(str(self.tried[kind]) for kind in ("SIGKILL", "ENOSPC", "EIO"))
        return f"| `{self.name}` | {calls} | {kinds} | {len(self.failures)} |"


class Bench:
    """Tries all faults on one command after the other."""

    def __init__(self, library: Path, folder: Path, short: bool, at_most: int | None) -> None:
        from injector import FAIL_FROM_HERE, FAIL_ONCE, KILL, Injector
        from scenarios import Inputs, every_call

        self.work, self.saved = folder / "work", folder / "saved"
        self.work.mkdir()
        self.injector = Injector(library, self.work)
        (folder / "inputs").mkdir()
        self.inputs = Inputs(folder / "inputs")
        self.choose = every_call(SHORT_WRITES if short else WRITES)
        self.short, self.at_most = short, at_most
        self.faults = (
            ("SIGKILL", KILL, 0),
            ("ENOSPC", FAIL_FROM_HERE, errno.ENOSPC),
            ("EIO", FAIL_ONCE, errno.EIO),
        )

    def try_all(self, scenario) -> Row:
        """Count the calls of a command, then let something go wrong at each."""
        from scenarios import command, prepare
        from states import state_of

        shutil.rmtree(self.saved) if self.saved.is_dir() else self.saved.unlink(missing_ok=True)
        out = prepare(scenario, self.work, self.saved)
        if scenario.before:
            self._must(command(scenario.before, out))
            (shutil.copytree if out.is_dir() else shutil.copyfile)(out, self.saved)
        before = state_of(out) if out.exists() else {}
        calls = self._must(command(scenario.argv, out)).calls
        after = state_of(out)
        row = Row(scenario.name, calls)
        if before == after:
            row.failures.append("the command changes nothing: nothing can be seen")
        for kind, action, code in self.faults:
            for at in _spread(self._places(calls, kind, scenario.grows), self.at_most):
                out = prepare(scenario, self.work, self.saved)
                outcome = self.injector.run(command(scenario.argv, out), action, at, code)
                row.tried[kind] += 1
                where = f"{scenario.name}: {kind} at call {at} ({LETTERS[calls[at - 1]]})"
                row.failures += [f"{where}: {text}" for text in self._judge(scenario, out, outcome, before, after)]
        return row

    def _places(self, calls: str, kind: str, grows: bool) -> list[int]:
        places = self.choose(calls)
        if not self.short:
            return places[{"ENOSPC": 0, "EIO": 1}[kind] :: 3] if grows and kind != "SIGKILL" else places
        shift = {"SIGKILL": 0, "ENOSPC": 1, "EIO": 2}[kind]  # each call with one of the three
        return places[shift::3]

    def _judge(self, scenario, out: Path, outcome, before: dict, after: dict) -> list[str]:
        """What is wrong after a fault, and after the next run."""
        from scenarios import command
        from states import hidden_files, state_of

        found = state_of(out) if out.exists() else {}
        wrong = []
        if outcome.code == -9:
            pass
        elif outcome.code == 2:
            errors = [line for line in outcome.err.splitlines() if line.startswith("error:")]
            if len(errors) != 1 or str(self.work) not in errors[0] or "Traceback" in outcome.err:
                wrong.append(f"exit code 2 with {outcome.err[-600:]!r}")
            if any(name in errors[0] for name in (".edgedet/", ".edgedet:")):
                wrong.append(f"a hidden name in {errors[0]!r}")
            if hidden_files(self.work):
                wrong.append(f"left {hidden_files(self.work)} after an error")
        elif outcome.code != 0 or found != after:
            wrong.append(f"exit code {outcome.code}, {outcome.err[-600:]!r}")
        if not scenario.grows and found not in (before, after):
            wrong.append(f"between: {_difference(found, before, after)}")
        again = command(scenario.argv, out)
        if found == after and scenario.name in ("data convert", "export", "quantize (PTQ)"):  # which refuse what exists
            shutil.rmtree(out) if out.is_dir() else out.unlink()
        if scenario.grows:
            again.append("--resume")
        last = self.injector.run(again)
        if last.code:
            wrong.append(f"the next run: exit code {last.code}, {last.err[-600:]!r}")
        elif state_of(out) != after:
            wrong.append(f"the next run: {_difference(state_of(out), before, after)}")
        if hidden_files(self.work):
            wrong.append(f"the next run left {hidden_files(self.work)}")
        return wrong

    def _must(self, argv: list[str]):
        outcome = self.injector.run(argv)
        if outcome.code:
            raise SystemExit(f"{argv}: exit code {outcome.code}: {outcome.err}")
        return outcome


def _spread(places: list[int], at_most: int | None) -> list[int]:
    """So many of them, evenly from the first to the last; None: all."""
    if at_most is None or len(places) <= at_most:
        return places
    return [places[round(index * (len(places) - 1) / max(1, at_most - 1))] for index in range(at_most)]


def _difference(found: dict, before: dict, after: dict) -> str:
    names = sorted(found.keys() | before.keys() | after.keys())
    states = []
    for name in names:
        value = found.get(name)
        kind = "absent" if value is None else "after" if value == after.get(name) else "before"
        if kind == "before" and value != before.get(name):
            kind = "neither"
        states.append(f"{name or 'the file'} {kind}")
    return ", ".join(states)


def run(only: list[str], short: bool, at_most: int | None, library: Path, folder: Path) -> list[Row]:
    """Try the commands whose names hold one of the given words."""
    from scenarios import NAMES, make_scenario

    bench = Bench(library, folder, short, at_most)
    rows = []
    for name in NAMES:
        if only and not any(word in name for word in only):
            continue
        start = time.monotonic()
        rows.append(bench.try_all(make_scenario(name, bench.inputs)))
        _say(f"{rows[-1].text()} {time.monotonic() - start:.0f} s")
        for failure in rows[-1].failures:
            _say(f"  FAILED {failure}")
    return rows


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def section(rows: dict[str, str]) -> str:
    """The section of the document; `rows`: of the table, by command."""
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.values()]
    tried, failures = sum(int(n) for row in cells for n in row[2:5]), sum(int(row[5]) for row in cells)
    lines = [
        HEADING,
        "",
        "`make faults` (tests/faults/run.py) runs each command in a process with a preloaded library (inject.c) that",
        "counts the system calls which change files at or beside `--out`, and lets something go wrong at them: SIGKILL",
        "(in the middle of writes), a disk that is full from there on, one error of the disk. The columns say at how",
        f"many calls; `make faults` takes all but writes of data, of which it takes {WRITES}, and a third of the",
        "errors for commands that train; `--short` gives each call one of the three, and `--at-most N` takes N of each",
        "kind, evenly spread: the commands that train were tried so. `writing of ...` is what a command does when",
        "everything is computed, and a part of the test suite. Afterwards",
        "",
        "- a folder or file holds the state before or the state after, nothing between;",
        "- a run with epochs, resumed, ends with the bytes of one that nothing interrupted (times left out);",
        "- an error is one line that names the output, exit code 2;",
        "- the next run of the same command succeeds and leaves nothing hidden behind.",
        "",
        "| command | system calls | SIGKILL | ENOSPC | EIO | failures |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows.values(),
        "",
        f"{tried} faults, {failures} failures. Pictures and weights are drawn with the seeds of scenarios.py; which",
        "calls there are depends on neither machine nor load. A row keeps the result of the last run of its command.",
        "",
    ]
    return "\n".join(lines)


def write_section(rows: dict[str, str]) -> None:
    """Put rows into the section of the document; those of other commands stay."""
    from scenarios import NAMES

    document = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else "# Reliability\n"
    before, found, rest = document.partition(f"{HEADING}\n")
    end = rest.find("\n## ")
    old, after = (rest[:end], rest[end:]) if end >= 0 else (rest, "")
    earlier = {line.split("`")[1]: line for line in old.splitlines() if found and line.startswith("| `")}
    merged = {**earlier, **rows}
    text = section({name: merged[name] for name in NAMES if name in merged})
    DOCUMENT.write_text(f"{before.rstrip()}\n\n{text.rstrip()}\n{after}", encoding="utf-8")


def main() -> int:
    """Parse, start again with the library preloaded, try, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="every call with one of the three faults, few writes")
    parser.add_argument("--at-most", type=int, metavar="N", help="faults of each of the three kinds, evenly spread")
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help="commands whose names hold one of these")
    parser.add_argument("--write", action="store_true", help="write the section of docs/reliability.md")
    parser.add_argument("--unsafe", action="store_true", help="let deploy write in place, which must be found")
    args = parser.parse_args()
    if "EDGEDET_FAULTS" not in os.environ:
        with tempfile.TemporaryDirectory(prefix="edgedet-faults-") as folder:
            return _start(Path(folder).resolve())
    sys.path[:0] = [str(HERE), str(HERE.parent), str(REPO)]
    folder = Path(os.environ["EDGEDET_FAULTS"])
    if args.unsafe:
        _write_in_place()
    rows = run(args.only, args.short, args.at_most, folder / "inject.so", folder)
    texts = {row.name: row.text() for row in rows}
    if args.write:
        write_section(texts)
    sys.stdout.write(section(texts))
    return int(any(row.failures for row in rows))


def _write_in_place() -> None:
    """What commands must not do, to see that it is found."""
    from edgedet.deploy import output_folder

    @contextmanager
    def new_folder(out: Path, seal: str):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        yield out

    output_folder.new_folder = new_folder


def _start(folder: Path) -> int:
    sys.path.insert(0, str(HERE))
    from injector import preload

    library = preload(folder)
    environment = {
        **os.environ,
        "EDGEDET_FAULTS": str(folder),
        "LD_PRELOAD": str(library),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
