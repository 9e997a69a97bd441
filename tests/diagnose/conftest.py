from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from edgedet.data.coco.split import CocoSplit

pytest.importorskip("torch")


def load_maker() -> ModuleType:
    """tests/diagnose/maker.py; tests have no package."""
    spec = importlib.util.spec_from_file_location("diagnose_maker", Path(__file__).with_name("maker.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def maker() -> ModuleType:
    return load_maker()


@pytest.fixture(scope="session")
def pico(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> Path:
    """Folder with model.pt and model_int8.tflite of rtmdet_pico_relu6."""
    folder = tmp_path_factory.mktemp("pico")
    maker.write_detector(folder)
    return folder


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory, maker: ModuleType) -> CocoSplit:
    """Three pictures with labels."""
    return maker.write_split(tmp_path_factory.mktemp("pictures"))
