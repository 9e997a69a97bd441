"""What a folder holds, without what differs from run to run: times, and logs."""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

TIMES = {"seconds", "images_per_second"}
PAGE = {"report.html", "report_data"}  # made of the results when they are complete; a page of others is not shown


def state_of(path: Path) -> dict[str, str]:
    """Name -> digest of every file below a folder, or of a file; empty when it is absent."""
    if path.is_file():
        return {"": _digest(path.name, path.read_bytes())}
    return {
        file.relative_to(path).as_posix(): _digest(file.name, file.read_bytes())
        for file in sorted(path.rglob("*"))
        if file.is_file() and not {"tensorboard", *PAGE} & set(file.relative_to(path).parts)
    }


def hidden_files(folder: Path) -> list[str]:
    """Names below a folder that only edgedet gives to what it has not finished."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob(".*") if path.name.endswith(".edgedet"))


def _digest(name: str, data: bytes) -> str:
    if name.endswith(".json"):
        with suppress(ValueError):  # half a file: its bytes tell it from both states
            data = json.dumps(_without_times(json.loads(data)), sort_keys=True).encode()
    elif name.endswith((".pt", ".pth")):
        hasher = hashlib.sha256()
        _add(hasher, _without_times(torch.load(io.BytesIO(data), weights_only=True)))
        return hasher.hexdigest()
    return hashlib.sha256(data).hexdigest()


def _without_times(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_times(value) for key, value in content.items() if key not in TIMES}
    return [_without_times(value) for value in content] if isinstance(content, list | tuple) else content


def _add(hasher: Any, content: Any) -> None:
    if isinstance(content, dict):
        for key, value in content.items():
            hasher.update(repr(key).encode())
            _add(hasher, value)
    elif isinstance(content, list):
        for value in content:
            _add(hasher, value)
    elif isinstance(content, torch.Tensor):
        hasher.update(content.contiguous().numpy().tobytes())
    else:
        hasher.update(repr(content).encode())
