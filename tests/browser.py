"""A headless Chromium for tests, from the script that makes the pictures of docs/."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

_PATIENCE_S = 60.0  # of a busy machine


def browser_tools(repo_dir: Path) -> ModuleType:
    """The module bench/report_pictures.py: `chromium`, `show`, `screenshot`."""
    name = "report_pictures"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, repo_dir / "bench" / "report_pictures.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def wait_until(happened: Callable[[], Any], what: str) -> Any:
    """What `happened` gives as soon as it is true."""
    end = time.monotonic() + _PATIENCE_S
    while not (found := happened()):
        assert time.monotonic() < end, f"waited {_PATIENCE_S:.0f} s for {what}"
        time.sleep(0.02)
    return found
