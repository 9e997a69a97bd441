"""What examples/ shows runs as it stands; the notebook in tests/api/test_ipython.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("jinja2")

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(arguments: list[str], folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    process = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow
@pytest.mark.long  # tests/api/test_help.py runs the same calls
def test_script_goes_from_a_data_set_to_c(tiny_coco_once: Path, tmp_path: Path) -> None:
    text = run([str(EXAMPLES / "photos_to_chip.py"), str(tiny_coco_once), "2"], tmp_path)
    assert "AP float" in text
    assert "target:    c99" in text
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    names = ["rtmdet_pico_relu6-1", "rtmdet_pico_relu6_int8-1", "rtmdet_pico_relu6_int8_c99-1"]
    assert folders == names
