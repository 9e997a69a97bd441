"""What `help` says is enough: the lines in it run as they stand, and every argument of every function is explained."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import edgedet
from edgedet.config import available_models

REPO = Path(__file__).resolve().parents[2]


def lines_of_help() -> str:
    """The script in `help(edgedet)`, without its comments."""
    block = re.search(r"\n\n    import edgedet\n(?:(?:    .*)?\n)+", str(edgedet.__doc__))
    assert block is not None
    code = textwrap.dedent(block[0])
    return "\n".join(re.sub(r"\s+# .*", "", line) for line in code.splitlines() if line.strip())


@pytest.mark.slow
def test_the_lines_of_help_run_with_a_folder_and_2_epochs(tiny_coco_once: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("cv2")
    code = lines_of_help()
    assert len(code.splitlines()) <= 15
    for said, here in (
        ('"bccd"', repr(str(tiny_coco_once))),
        ("epochs=100", "epochs=2, imgsz=96, quiet=True"),
        ('"photos"', repr(str(tiny_coco_once / "valid"))),
        ('"runs/mine"', '"runs/rtmdet_pico_relu6_int8-1"'),
        ('"runs/one", "runs/other"', '"runs/rtmdet_pico_relu6-1", "runs/rtmdet_pico_relu6_int8-1"'),
    ):
        assert said in code
        code = code.replace(said, here)
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "target:    c99" in done.stdout
    assert (tmp_path / "both.html").is_file()
    assert (tmp_path / "with_boxes.png").is_file()
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert runs == ["rtmdet_pico_relu6-1", "rtmdet_pico_relu6_int8-1", "rtmdet_pico_relu6_int8_c99-1"]


def test_help_explains_every_argument_and_what_comes_out() -> None:
    silent = []
    for name in edgedet.__all__:
        value = getattr(edgedet, name)
        functions = [(name, value)] if inspect.isfunction(value) else []
        if inspect.isclass(value):
            functions = [
                (f"{name}.{member}", function)
                for member, function in inspect.getmembers(value, inspect.isfunction)
                if not member.startswith("_")
            ]
            assert inspect.getdoc(value), name
        for where, function in functions:
            text = inspect.getdoc(function) or ""
            words = [word for word in inspect.signature(function).parameters if word != "self"]
            # One argument may be explained by the sentence itself.
            part = re.split(r"^(?:Returns|Raises):", text.partition("Args:")[2], flags=re.MULTILINE)[0]
            said = re.findall(r"^    (\w+): ", part, re.MULTILINE)
            if len(words) > 1 or "Args:" in text:
                silent += [f"{where}: {word}" for word in words if word not in said]
            assert text, where
            assert set(said) <= set(words), where
    assert silent == []


def test_help_names_what_dir_has() -> None:
    text = str(edgedet.__doc__)
    for name in ("open_dataset", "train", "load", "report", "models", "boards", "EdgedetError"):
        assert name in text


def test_models_are_those_that_train_takes() -> None:
    networks = edgedet.models()
    assert tuple(network.name for network in networks) == available_models()
    assert all(network.made_for and network.width % 32 == network.height % 32 == 0 for network in networks)
