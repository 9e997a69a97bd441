"""Reads the golden detections of a generated module; not a test itself."""

from __future__ import annotations

import re
from pathlib import Path


def golden_detections(folder: Path) -> list[list[float]]:
    """Box, score and label of each golden detection of a module."""
    text = (folder / "golden.c").read_text().partition("edgedet_golden_detections")[2]
    rows = re.findall(r"\{\{([^}]*)\}, ([^,]*), (\d+)\}", text)
    return [
        [float.fromhex(v.strip().rstrip("f")) for v in (*box.split(","), score)] + [int(label)]
        for box, score, label in rows
    ]
