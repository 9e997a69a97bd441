"""The commands of docs/desk.md as they stand there, in one shell, with the firmware on this computer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="needs the extra c99")
pytestmark = pytest.mark.toolchain
PAGE = Path(__file__).resolve().parents[2] / "docs" / "desk.md"


def test_desk_page_commands_measure_the_same_ap_both_ways(
    toy_model: Path, toy_data: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("gcc")
    require_tool("make")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    shutil.copy(toy_model, tmp_path / "model_int8.tflite")
    (tmp_path / "bccd").symlink_to(toy_data)
    start = f"set -eu\nedgedet() {{ {sys.executable} -m edgedet \"$@\"; }}\ntrap 'kill $(jobs -p)' EXIT\n"
    done = subprocess.run(
        ["bash", "-c", start + "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    tensor, image = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("tensor", "image"))
    assert tensor["ap"] == image["ap"]
    assert 0.0 < image["ap"]["ap"] < 1.0
    assert (tensor["device"]["sent"], image["device"]["sent"]) == ("tensor", "image")
    assert image["device"]["device_ms"]["total"]["median"] > 0.0
    found = json.loads((tmp_path / "pictures" / "detections.json").read_text())
    assert all(set(row["device_ms"]) == {"prepare", "network", "decode"} for row in found["images"])
