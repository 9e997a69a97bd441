"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo_dir() -> Path:
    """Root of the checkout."""
    return REPO


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
