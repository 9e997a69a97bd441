"""The C of the kernels has the style of .clang-format."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from c_audit_tools import REPO

pytestmark = pytest.mark.toolchain


def test_kernels_have_one_style(require_tool: Callable[..., str]) -> None:
    program = require_tool("clang-format")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if " 14." not in version:
        pytest.skip(f"other versions format otherwise than clang-format 14; found {version.strip()}")
    files = [*(REPO / "kernels").glob("*/*.[ch]"), *(REPO / "firmware_export" / "qemu").glob("*.[ch]")]
    assert len(files) > 100
    done = subprocess.run(
        [program, "--dry-run", "-Werror", *files], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
