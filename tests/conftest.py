"""Fixtures for all tests."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPO = Path(__file__).resolve().parents[1]
# `make test` hands these on: a make that a test starts would print its folders and take over the outer one's jobs.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)
# Bit by bit the same results are promised on the CPU, so a GPU is seen only by those who ask for it.
if os.environ.get("EDGEDET_TEST_CUDA") != "1":
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
sys.path.insert(0, str(Path(__file__).parent))  # for `import graph_maker`: tests have no package (importlib mode)

from tiny_detector import bgr_model, deep_model, grey_model, mean_std_model, tiny_model  # noqa: E402, F401
from toy_detector import toy_data, toy_model  # noqa: E402, F401


@pytest.fixture(scope="session")
def repo_dir() -> Path:
    """Root of the checkout."""
    return REPO


@pytest.fixture(scope="session")
def require_tool() -> Callable[..., str]:
    """Function of program names: path of the first that is installed; without one CI fails, other machines skip."""

    def find(*names: str) -> str:
        for name in names:
            path = shutil.which(name)
            if path is not None:
                return path
        reason = f"none of {', '.join(names)} is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; .ci/run installs the Debian packages")
        pytest.skip(reason)

    return find


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder shared/ beside the checkout; tests that need it are skipped where it is absent."""
    path = REPO.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"{path} is absent: no shared data beside this checkout")
    return path


@pytest.fixture(scope="session")
def bccd_dir() -> Path:
    """The blood cell data set (205 train and 87 valid images), from EDGEDET_BCCD or ../shared/data/bccd."""
    path = Path(os.environ.get("EDGEDET_BCCD", REPO.parent / "shared" / "data" / "bccd"))
    if not (path / "train").is_dir():
        pytest.skip(f"{path}/train is absent: set EDGEDET_BCCD to a copy of the BCCD data set")
    return path


@pytest.fixture
def tiny_coco(tmp_path: Path) -> Path:
    """A tiny data set that a test may change."""
    return _draw_rectangles(tmp_path / "tiny")


@pytest.fixture(scope="session")
def tiny_coco_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for many tests, which may not change it."""
    return _draw_rectangles(tmp_path_factory.mktemp("data") / "tiny")


def _draw_rectangles(root: Path) -> Path:
    """Coloured rectangles, so that training takes seconds.

    Roboflow's layout, 2 classes, 9 training and 4 validation images of 96x80 px.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", 9), ("valid", 4)):
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for index in range(count):
            pixels = rng.integers(0, 60, (80, 96, 3), dtype=np.uint8)
            for _ in range(2):
                x, y = int(rng.integers(0, 60)), int(rng.integers(0, 44))
                width, height = (int(v) for v in rng.integers(16, 36, 2))
                label = int(rng.integers(2))
                pixels[y : y + height, x : x + width, label] = 220
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": index,
                        "category_id": label + 1,
                        "bbox": [x, y, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                    }
                )
            name = f"{index}.png"
            Image.fromarray(pixels).save(root / split / name)
            images.append({"id": index, "file_name": name, "width": 96, "height": 80})
        document = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(document))
    return root
