from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("json", "PIL", "numpy", "argparse", "yaml", "dataclasses", "edgedet_helper", "typing")


def _run(folder: Path, repo_dir: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(repo_dir), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("module", ["edgedet", "edgedet.evaluate"])
def test_program_takes_no_module_of_the_current_folder(tmp_path: Path, repo_dir: Path, module: str) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text('print("HIJACKED")\nraise SystemExit(77)\n')
    arguments = ("data", "check", "nowhere") if module == "edgedet" else ("nowhere.tflite", "--data", "nowhere")
    result = _run(tmp_path, repo_dir, "-m", module, *arguments)
    assert "HIJACKED" not in result.stdout
    assert (result.returncode, result.stderr[:7]) == (2, "error: "), result.stderr


def test_other_program_that_imports_edgedet_keeps_its_folder(tmp_path: Path, repo_dir: Path) -> None:
    (tmp_path / "tool.py").write_text("import edgedet, own_helper\n")
    (tmp_path / "own_helper.py").write_text('print("own")\n')
    for command in (("-m", "tool"), ("tool.py",)):
        assert _run(tmp_path, repo_dir, *command).stdout == "own\n"


def test_checkout_that_is_not_installed_still_starts(tmp_path: Path, repo_dir: Path) -> None:
    (tmp_path / "edgedet").symlink_to(repo_dir / "edgedet")
    assert _run(tmp_path, tmp_path / "nowhere", "-m", "edgedet", "--version").stdout.startswith("edgedet ")
