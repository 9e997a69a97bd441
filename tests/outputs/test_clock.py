"""A clock that is set while a command runs must not matter: durations are monotonic, nothing is named by the time."""

from __future__ import annotations

import re
from pathlib import Path

WALL_CLOCK = re.compile(r"\btime\.(time|time_ns|localtime|gmtime|ctime|strftime)\(|\bdatetime\.(now|today|utcnow)\(")


def test_package_reads_the_wall_clock_only_to_say_when(repo_dir: Path) -> None:
    sources = list((repo_dir / "edgedet").rglob("*.py"))
    assert len(sources) > 100
    found = {path.name for path in sources if WALL_CLOCK.search(path.read_text(encoding="utf-8"))}
    assert found == {"session.py", "record.py"}  # the lines of --log-file, and the record of a run, say when
