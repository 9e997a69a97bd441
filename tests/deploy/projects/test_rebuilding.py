"""What `make` builds again after a change, with both generated Makefiles."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.deploy.api import deploy

pytest.importorskip("jinja2", reason="needs the extra c99")
pytestmark = pytest.mark.toolchain


def compiled(folder: Path, *options: str) -> set[str]:
    """Names of the objects that `make` builds now."""
    done = subprocess.run(["make", *options], cwd=folder, capture_output=True, text=True, check=True)
    commands = (line.split() for line in done.stdout.splitlines() if " -c -o " in line)
    return {Path(words[words.index("-o") + 1]).name for words in commands}


@pytest.mark.parametrize("project", [None, "make"])
def test_make_builds_again_what_a_changed_header_or_option_concerns(
    project: str | None, tiny_model: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("make")
    out = tmp_path / "out"
    deploy(tiny_model, "c99", out, project=project)
    module = out if project is None else out / "edgedet"
    goal = "build" if project else "build/selftest"
    options = [goal, "CFLAGS=-O0"]
    first = compiled(out, *options)
    assert {"model.o", "run.o", "edk_conv_s8.o"} <= first
    assert compiled(out, *options) == set()

    change(out, module / "run.h")
    again = compiled(out, *options)
    assert "run.o" in again
    assert "edk_conv_s8.o" not in again
    change(out, module / "golden.h")
    assert compiled(out, *options) == {"golden.o", "selftest.o"}

    (module / "golden.h").rename(tmp_path / "golden.h")  # then the compiler speaks, not make of a rule that is missing
    done = subprocess.run(["make", *options], cwd=out, capture_output=True, text=True, check=False)
    assert "golden.h: No such file" in done.stderr
    assert "No rule to make target" not in done.stderr
    (tmp_path / "golden.h").rename(module / "golden.h")
    compiled(out, *options)

    assert compiled(out, goal, "CFLAGS=-O0 '-DQUOTED=\"a b\"'") == first  # no object of other options stays


def change(out: Path, path: Path) -> None:
    """As if a file had been saved after all that was built."""
    for older in out.rglob("*"):
        os.utime(older, ns=(older.stat().st_atime_ns, older.stat().st_mtime_ns - 10**10))
    os.utime(path)
