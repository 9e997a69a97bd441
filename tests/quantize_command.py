"""`edgedet quantize` of a file with pictures to calibrate on, as a user calls it."""

from __future__ import annotations

from pathlib import Path

from edgedet.commands.main import main


def quantized(source: Path, data: Path, out: Path, *options: str) -> int:
    """Exit code of the command."""
    return main(["quantize", str(source), "--images", str(data / "train"), "--out", str(out), *options])
