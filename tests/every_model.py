"""Mark of tests that take minutes because they go through all sizes of networks."""

from __future__ import annotations

import os

import pytest

EVERY_MODEL = pytest.mark.skipif(
    os.environ.get("EDGEDET_EVERY_MODEL") != "1",
    reason="takes minutes: `make test-models` runs it",
)
