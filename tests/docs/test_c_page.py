"""docs/c.md: its example compiles without a warning and finds what Python finds; what it names is in the headers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from c_audit_modules import MODELS

import edgedet
from edgedet.deploy.api import deploy

REPO = Path(__file__).resolve().parents[2]
PAGE = (REPO / "docs" / "c.md").read_text(encoding="utf-8")
WIDTH, HEIGHT, MOST = 320, 240, 16


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    names = {"faces": "RTMDet head", "cells": "YOLOv8 head"}
    return {name: MODELS[kind](tmp_path_factory.mktemp(name)) for name, kind in names.items()}


@pytest.fixture(scope="module")
def modules(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("firmware")
    for name, path in models.items():
        deploy(path, "c99", folder / name, name=name)
    return folder


def frame() -> np.ndarray:
    """The pattern of the page, uint8 (H, W, 3)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 7 + y, x ^ y, y * 5], axis=-1).astype(np.uint8)


def expected(name: str, path: Path) -> list[str]:
    found = edgedet.load(path, runtime="sim").predict(frame())[0]
    rows = list(zip(found.labels.tolist(), found.scores, found.boxes, strict=True))[:MOST]
    numbers = [[label, *(f"{float(value):.9g}" for value in (score, *box))] for label, score, box in rows]
    return [f"{name}: {len(rows)}", *(" ".join(map(str, row)) for row in numbers)]


@pytest.mark.toolchain
def test_example_runs_as_it_stands_and_finds_what_python_finds(
    models: dict[str, Path], modules: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("make")
    (example,) = re.findall(r"^```c\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (modules / "main.c").write_text(example, encoding="utf-8")
    (commands,) = re.findall(r"^```\n(make .*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    strict = commands.replace("-std=c99", "-std=c99 -Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror")
    script = f"set -e\n{strict}./a.out\n"
    done = subprocess.run(["bash", "-c", script], cwd=modules, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    printed = done.stdout[done.stdout.index("faces: ") :].splitlines()
    wanted = [line for name in ("faces", "cells") for line in expected(name, models[name])]
    assert len(wanted) > 2
    assert printed == [*wanted, "too small: the scratch memory is too small"]


def test_names_of_the_page_are_in_the_headers(modules: Path) -> None:
    headers = "\n".join(path.read_text(encoding="utf-8") for path in sorted(modules.rglob("*.h")))
    names = set(re.findall(r"\b((?:faces|FACES|edk|EDK)_\w+)", PAGE))
    names -= {"faces_contract", "faces_model_data"}  # files
    assert len(names) > 30
    assert {name for name in names if not re.search(rf"\b{name}\b", headers)} == set()


def test_statuses_of_the_page_are_all_that_there_are(modules: Path) -> None:
    header = (modules / "faces" / "kernels" / "include" / "edk_status.h").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(EDK_\w+)` \|", PAGE, re.MULTILINE) == re.findall(r"X\((EDK_\w+),", header)
