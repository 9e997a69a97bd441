"""A few faults of two commands; `make faults` tries all of all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_faults_leave_the_state_before_or_after(require_tool) -> None:
    """Folders that are exchanged, files that join a folder, a file that is renamed: each with one of the faults."""
    require_tool("gcc")
    done = subprocess.run(
        [sys.executable, str(RUN), "--short", "--only", "writing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "0 failures" in done.stdout


def test_faults_are_found_where_a_command_is_not_safe(require_tool) -> None:
    """The bench itself: a command that writes into its folder directly fails it."""
    require_tool("gcc")
    done = subprocess.run(
        [sys.executable, str(RUN), "--short", "--only", "writing of a deployment", "--unsafe"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-3000:]
    assert "between: " in done.stderr
