"""Generated C of a graph, compiled with warnings as errors and sanitizers; not a test itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from edgedet.deploy.api import DeployReport, deploy
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import write_tflite

_WARNINGS = "-O1 -Wall -Wextra -Wconversion -Wshadow -Werror"
_SANITIZERS = "-g -fsanitize=address,undefined -fno-sanitize-recover=all"


def assert_generated_c_equals_simulator(graph: g.Graph, folder: Path, ram_bytes: int | None = None) -> DeployReport:
    """Deploy a graph and run its self-test: golden vectors of the simulator for random inputs, checked bit by bit.

    Args:
        graph: whose operators have kernels.
        folder: to work in.
        ram_bytes: limit of the arena.
    Returns:
        What `deploy` says.
    """
    write_tflite(graph, folder / "model.tflite")
    report = deploy(folder / "model.tflite", "c99", folder / "module", ram_bytes=ram_bytes)
    assert_self_test_passes(report.out)
    return report


def assert_self_test_passes(folder: Path, flags: str = f"{_WARNINGS} {_SANITIZERS}") -> None:
    """Compile a generated module, with warnings as errors and sanitizers unless told otherwise, and run its self-test.

    Args:
        folder: that `deploy` wrote, target c99.
        flags: of the compiler.
    """
    command = ["make", "-s", f"CC={shutil.which('gcc')}", f"CFLAGS={flags}", "build/selftest"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([folder / "build" / "selftest"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "PASS\n"), done.stdout + done.stderr
