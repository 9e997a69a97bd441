"""Damage files of every kind at random: each must be read, or refused with one line, in bounded time and memory.

    python tests/fuzz/run.py --count 10000 --seed 0 --write docs/reliability.md      # make fuzz
    python tests/fuzz/run.py --seconds 300                                          # make fuzz SECONDS=300
    python tests/fuzz/run.py --kinds toml --first 4711 --count 1 --out finds        # one file again, kept

A traceback, more than 10 s of processor time (60 s in all) for one file, or a process of more than 2 GB is a find: its
file is kept in --out, and the exit code is 1. File number N of a kind depends on the seed and N alone. Each kind runs
in a process of its own, so that memory is its own, and a crash is seen.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.kinds import KINDS, TITLES, Kind

from edgedet.errors import EdgedetError

LIMIT_CPU_SECONDS, LIMIT_SECONDS = 10.0, 60.0
LIMIT_BYTES = 2 << 30  # of a process, torch and all
ADDRESS_BYTES = 16 << 30  # a wild allocation ends in MemoryError instead of the machine's end
_NO_LIMIT = 10_000_000
BEGIN, END = "<!-- fuzz: begin -->", "<!-- fuzz: end -->"


@dataclass
class Outcome:
    """What the files of one kind led to."""

    kind: str
    tried: int = 0
    accepted: int = 0
    refused: int = 0
    worst_cpu_seconds: float = 0.0
    peak_bytes: int = 0
    finds: dict[str, str] = field(default_factory=dict)  # place in the code -> file and traceback


class _TooSlow(BaseException):
    """Not an Exception, so that no handler of a reader takes it for damage."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _TooSlow(f"more than {LIMIT_CPU_SECONDS:g} s of processor time, or {LIMIT_SECONDS:g} s")


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_one(kind: Kind, path: Path, outcome: Outcome) -> BaseException | None:
    """Read a file under the limits, and count what came of it.

    Returns:
        What is a find; None when the file was accepted or refused as it should be.
    """
    outcome.tried += 1
    start = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS)
    try:
        kind.read(path)
        outcome.accepted += 1
    except (EdgedetError, OSError):
        outcome.refused += 1
    except (Exception, _TooSlow) as error:
        return error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        outcome.worst_cpu_seconds = max(outcome.worst_cpu_seconds, time.process_time() - start)
        before, outcome.peak_bytes = outcome.peak_bytes, peak_bytes()
    if before <= LIMIT_BYTES < outcome.peak_bytes:
        return MemoryError(f"the process grew to {outcome.peak_bytes:,} bytes")
    return None


def fuzz(name: str, seed: int, first: int, count: int, seconds: float, out: Path) -> Outcome:
    """Read damaged files of one kind, until there were `count` of them or the time is over."""
    signal.signal(signal.SIGVTALRM, _stop)
    signal.signal(signal.SIGALRM, _stop)
    warnings.simplefilter("ignore")
    kind, outcome = KINDS[name](), Outcome(name)
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{kind.suffix}"
        for number in range(first, first + count):
            if time.monotonic() > end:
                break
            data = kind.damaged(np.random.default_rng((seed, list(KINDS).index(name), number)))
            path.write_bytes(data)
            error = read_one(kind, path, outcome)
            if error is not None:
                _keep(outcome, error, data, out / f"{name}_{number}{kind.suffix}")
    return outcome


def _keep(outcome: Outcome, error: BaseException, data: bytes, path: Path) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{type(error).__name__} at " + (f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(error))
    if place not in outcome.finds:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        outcome.finds[place] = f"{path}\n{''.join(traceback.format_exception(error))[-6000:]}"


def _in_process(name: str, options: argparse.Namespace, seconds: float) -> Outcome:
    """`fuzz` in a process of its own."""
    numbers = {"seed": options.seed, "first": options.first, "count": options.count, "seconds": seconds}
    command = [sys.executable, __file__, "--child", "--kinds", name, "--out", str(options.out)]
    command += [word for key, value in numbers.items() for word in (f"--{key}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        return Outcome(name, finds={f"the process ended with {done.returncode}": done.stderr[-6000:]})
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def commit_now() -> str:
    """The commit of the tree that is read, asked before a long run; "-dirty" behind it where files differ from it."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def section(outcomes: list[Outcome], options: argparse.Namespace, commit: str) -> str:
    """The section of docs/reliability.md."""
    words = platform.uname()
    rows = [
        f"| {TITLES[o.kind]} | {o.tried:,} | {o.accepted:,} | {o.refused:,} | {len(o.finds)} | "
        f"{o.worst_cpu_seconds:.2f} | {o.peak_bytes / 2**20:,.0f} |"
        for o in outcomes
    ]
    limits = f"--count {options.count}" if options.count < _NO_LIMIT else f"--seconds {options.seconds:g}"
    return f"""{BEGIN}
## Damaged files

Files damaged at random, in their bytes and in what they mean. Each is accepted, or refused with one line that names it;
a find is a traceback, more than 10 s, or a process of more than 2 GB. Seconds are of the processor, for the slowest
file; memory is that of the process, with Python, NumPy and (for checkpoints) torch.

| kind | tried | accepted | refused | finds | worst s | peak MB |
| --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(rows)}

`python tests/fuzz/run.py {limits} --seed {options.seed}`, commit {commit}, {words.system} {words.machine},
{os.cpu_count()} cores, Python {platform.python_version()}. `make fuzz` runs it again, `make fuzz SECONDS=300` as long
as fits a CI.
{END}"""


def write_section(path: Path, text: str) -> None:
    """Put the section into a file, in the place of an earlier one, or at its end."""
    old = path.read_text(encoding="utf-8") if path.exists() else "# Reliability\n"
    place = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    new = place.sub(lambda _: text, old) if place.search(old) else f"{old.rstrip()}\n\n{text}\n"
    path.write_text(new, encoding="utf-8")


def _parsed(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"some of {','.join(KINDS)}")
    parser.add_argument("--count", type=int, default=_NO_LIMIT, help="files of each kind")
    parser.add_argument("--seconds", type=float, default=1e9, help="for all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, len(KINDS)), help="kinds at a time")
    parser.add_argument("--out", type=Path, default=Path("fuzz_findings"), help="folder for the files of finds")
    parser.add_argument("--write", type=Path, help="write the table into this file, too")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = _parsed(argv)
    names = options.kinds.split(",")
    if options.child:
        # Soft alone: a program with AddressSanitizer reserves terabytes, and lifts it for itself.
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
        found = fuzz(names[0], options.seed, options.first, options.count, options.seconds, options.out)
        sys.stdout.write(f"\n{json.dumps(asdict(found))}\n")
        return 0
    commit = commit_now()
    share = options.seconds * min(options.jobs, len(names)) / len(names)
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes: list[Any] = list(pool.map(lambda name: _in_process(name, options, share), names))
    text = section(outcomes, options, commit)
    sys.stdout.write(text + "\n")
    for outcome in outcomes:
        for place, trace in outcome.finds.items():
            sys.stdout.write(f"\n{outcome.kind}: {place}\n{trace!a}\n".replace("\\n", "\n"))
    if options.write is not None:
        write_section(options.write, text)
    return 1 if any(outcome.finds for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
