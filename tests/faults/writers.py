"""What commands do when everything is computed: their writing alone, so that each system call is tried in a moment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from edgedet.deploy.earlier import check_replaceable
from edgedet.deploy.output_folder import file_table, write_folder
from edgedet.errors import EdgedetError
from edgedet.fileio import require_out_file
from edgedet.net.checkpoint import write_torch_file
from edgedet.outputs.lock import hold_output
from edgedet.quantize.api import STALE_FILES, write_quantized
from edgedet.quantize.calibration.images import Manifest


def write_model(out: Path, version: int) -> None:
    """As `quantize`: three files that replace those of an earlier run; its waterfall goes, other files stay."""
    with hold_output(out):
        write_quantized(out, bytes([version]) * 100_000, _manifest(version), {"version": version, "seconds": 1.0})
        if version == 0:
            (out / "notes").mkdir()
            (out / "notes" / "mine.txt").write_text("kept")
            (out / min(STALE_FILES)).write_text("of the old model")


def _manifest(version: int) -> Manifest:
    manifest: Manifest = object.__new__(Manifest)
    object.__setattr__(manifest, "to_json", lambda: f'{{"version": {version}}}')
    return manifest


def write_deployment(out: Path, version: int) -> None:
    """As `deploy`: a folder that replaces an earlier one."""
    with hold_output(out):
        check_replaceable(out, "c99", None)
        texts = {f"src/{name}.c": f"int {name} = {version};\n" * 1000 for name in ("model", f"version_{version}")}
        write_folder(out, texts, {"format": "edgedet-deploy", "target": "c99", "files": file_table(texts)})


def write_checkpoint(out: Path, version: int) -> None:
    """As an epoch of `train`, or `import`: one file of torch.save."""
    require_out_file(out, "`out`")
    with hold_output(out):
        write_torch_file({"weights": torch.full((20_000,), float(version)), "version": version}, out)


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "model": write_model,
    "deployment": write_deployment,
    "checkpoint": write_checkpoint,
}


def run_writer(name: str, out: str, version: str) -> int:
    """Call one of them as the command line calls its functions; exit code."""
    try:
        WRITERS[name](Path(out), int(version))
    except EdgedetError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0
