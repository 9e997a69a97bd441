"""`export`: a checkpoint or an int8 file as a file of another maker's format, kept only when it computes the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.errors import ConfigError, ConversionError
from edgedet.exchange.export.check import Check
from edgedet.exchange.export.formats import CHECKPOINT, INT8_FILE, Format, find_format, list_formats, require_libraries
from edgedet.fileio import require_out_file
from edgedet.notebook import short_path
from edgedet.outputs.failures import naming_output
from edgedet.outputs.lock import hold_output
from edgedet.outputs.swap import sync_file
from edgedet.outputs.workshop import dead_workshops, workshop

MADE, MOVING = "made", "moving"  # in the hidden folder: the result; names of its files, while they are moved

__all__ = ["ExportReport", "ExportRequest", "export", "list_formats"]

_SUFFIXES = {CHECKPOINT: (".pt", ".pth"), INT8_FILE: (".tflite",)}
_MAKE_IT = {
    CHECKPOINT: "give a checkpoint of edgedet train",
    INT8_FILE: "make one with `edgedet quantize`",
}


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and how."""

    model: Path  # checkpoint, or int8 .tflite; the format decides
    format: str  # name of one of `formats.FORMATS`
    out: Path  # file or folder, not existing yet
    image: Path | None = None  # picture for the check; None: one is drawn
    imgsz: tuple[int, int] | None = None  # width, height of the input, px; None: the checkpoint's
    opset: int | None = None  # of ONNX; None: 17, and 21 for int16 activations in QDQ ONNX
    centre_priors: bool = False  # format sscma: distances from the centres of the cells, as the firmware reads them


@dataclass(frozen=True, repr=False)
class ExportReport:
    """What was written, and how it was checked."""

    format: str
    files: tuple[tuple[Path, int], ...]  # path and bytes; the file that was asked for is first
    check: Check
    notes: tuple[str, ...] = ()  # what a user should know

    def __repr__(self) -> str:
        return f"<ExportReport {self.format}: {short_path(self.files[0][0])}, {self.files[0][1]:,} bytes>"

    def __str__(self) -> str:
        return self.text()

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict: the files, what the check found, notes."""
        files = [{"path": str(path), "bytes": size} for path, size in self.files]
        return {"format": self.format, "files": files, "check": self.check.text(), "notes": list(self.notes)}

    def text(self) -> str:
        """Lines for a terminal, newline at the end."""
        lines = [
            *(f"wrote    {path} ({size:,} bytes)" for path, size in self.files),
            f"checked  on {self.check.text()}",
            *(f"note     {note}" for note in self.notes),
        ]
        return "\n".join(lines) + "\n"


def export(request: ExportRequest) -> ExportReport:
    """Write a file of another format, checked on a picture before it gets its name.

    Args:
        request: what and how.
    Returns:
        What was written. The same request gives the same network; bytes may hold names and versions of libraries.
    Raises:
        ConfigError: unknown format, an option that the format does not take, or `out` exists or can't be written.
        ToolchainError: a library is missing, or refuses the file.
        CheckpointError, ConversionError, UnsupportedOpError, DataError: the model can't be read, has no such form, or
            the written file computes something else. Nothing is left behind.
    """
    wanted = find_format(request.format)
    _check_source(request, wanted)
    _check_options(request, wanted)
    if request.out.parent.is_dir():
        _remove_half(request.out)
    _check_out(request, wanted)
    require_libraries(wanted)
    with hold_output(request.out), naming_output(request.out), _workshop(request.out) as (made, work):
        check, notes = _write(request, wanted, made / request.out.name, work)
        sizes = [
            (path.name, _bytes_of(path)) for path in sorted(made.iterdir(), key=lambda p: p.name != request.out.name)
        ]
        _move_all(made, request.out)
    return ExportReport(wanted.name, tuple((request.out.with_name(name), size) for name, size in sizes), check, notes)


def _check_source(request: ExportRequest, wanted: Format) -> None:
    """Raises ConfigError when a checkpoint was given where an int8 file is needed, or the other way round."""
    suffix = request.model.suffix.lower()
    if suffix not in _SUFFIXES[wanted.source]:
        kinds = {suffix: kind for kind, suffixes in _SUFFIXES.items() for suffix in suffixes}
        found = f"{kinds[suffix]} ({suffix})" if suffix in kinds else (suffix or "no suffix")
        raise ConfigError(
            f"{request.model}: format {wanted.name} is made from {_article(wanted.source)}, found {found}; "
            f"{_MAKE_IT[wanted.source]}"
        )


def _article(source: str) -> str:
    return f"{'an' if source == INT8_FILE else 'a'} {source}"


def _check_options(request: ExportRequest, wanted: Format) -> None:
    """Raises ConfigError about options that the format does not take, before any work."""
    if request.opset is not None:
        if wanted.opsets is None:
            raise ConfigError(f"`opset`: format {wanted.name} has none; leave it out")
        low, high = wanted.opsets
        if not low <= request.opset <= high:
            raise ConfigError(f"`opset` {request.opset}: format {wanted.name} takes {low} to {high}")
    if request.imgsz is not None and wanted.source == INT8_FILE:
        raise ConfigError(
            f"`imgsz`: the size of {request.model} stands in the file; quantize a checkpoint of another size instead"
        )
    if request.centre_priors and wanted.name != "sscma":
        raise ConfigError(f"`centre_priors`: only format sscma takes this, found {wanted.name}")


def _check_out(request: ExportRequest, wanted: Format) -> None:
    """Raises ConfigError when the result could not get its name."""
    out = request.out
    if wanted.suffix and out.suffix.lower() != wanted.suffix:
        raise ConfigError(f"`out` {out}: format {wanted.name} is a file {wanted.suffix}, so its name must end so")
    for path in (out, out.with_suffix(".bin")) if wanted.name == "openvino" else (out,):
        if os.path.lexists(path):
            raise ConfigError(f"`out` {out}: {path} exists already; give a new name, or remove it first")
    require_out_file(out, "`out`")


@contextmanager
def _workshop(out: Path) -> Iterator[tuple[Path, Path]]:
    """Two empty folders on the file system of `out`: for the result, and for intermediate files; gone afterwards."""
    with workshop(out.absolute()) as folder:
        made, work = folder / MADE, folder / "work"
        made.mkdir()
        work.mkdir()
        yield made, work


def _move_all(made: Path, out: Path) -> None:
    """Give files their names, the one that was asked for last, so that it never stands alone."""
    for path in made.rglob("*"):
        if path.is_file():
            sync_file(path)
    (made.parent / MOVING).write_text("\0".join(path.name for path in made.iterdir()), encoding="utf-8")
    for path in sorted(made.iterdir(), key=lambda p: p.name == out.name):
        os.replace(path, out.with_name(path.name))


def _remove_half(out: Path) -> None:
    """Remove files that a killed export named before `out` itself, which is still in its hidden folder."""
    for folder in dead_workshops(out.absolute()):
        if not (folder / MOVING).is_file() or not (folder / MADE / out.name).exists():
            continue
        for name in (folder / MOVING).read_text(encoding="utf-8").split("\0"):
            if not (folder / MADE / name).exists():
                out.with_name(name).unlink(missing_ok=True)


def _bytes_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _write(request: ExportRequest, wanted: Format, path: Path, work: Path) -> tuple[Check, tuple[str, ...]]:
    """Write one format into `path` and check it; torch and the makers' libraries are loaded here."""
    match wanted.name:
        case "onnx-qdq":
            from edgedet.exchange.export.qdq.check import QDQ_NOTE, write_qdq

            return write_qdq(request.model, path, request.opset, request.image), (QDQ_NOTE,)
        case "sscma":
            from edgedet.exchange.export.sscma import write_sscma

            return write_sscma(request.model, path, request.image, request.centre_priors)
        case _:
            return _write_float(request, wanted, path, work)


def _write_float(request: ExportRequest, wanted: Format, path: Path, work: Path) -> tuple[Check, tuple[str, ...]]:
    """As `_write`, of the formats that are made from a checkpoint."""
    from edgedet.exchange.export.subject import load_subject

    subject, opset = load_subject(request.model, request.imgsz, request.image), request.opset
    notes: tuple[str, ...] = ()
    match wanted.name:
        case "onnx":
            from edgedet.exchange.export.onnx_float import write_onnx

            check = write_onnx(subject, path, opset)
        case "hailo":
            from edgedet.exchange.export.hailo import HAILO_NOTE, write_hailo

            check, notes = write_hailo(subject, path, opset), (HAILO_NOTE,)
        case "torchscript":
            from edgedet.exchange.export.torchscript import write_torchscript

            check = write_torchscript(subject, path)
        case "openvino":
            from edgedet.exchange.export.openvino_file import write_openvino

            check = write_openvino(subject, path)
        case "executorch":
            from edgedet.exchange.export.executorch_file import write_executorch

            check = write_executorch(subject, path)
        case "savedmodel":
            from edgedet.exchange.export.tensorflow.files import write_savedmodel

            check = write_savedmodel(subject, path, work, opset)
        case "tflite-float32" | "tflite-float16":
            from edgedet.exchange.export.tensorflow.files import write_float_tflite

            check = write_float_tflite(subject, path, work, int(wanted.name[-2:]), opset)
        case _:
            raise ConversionError(f"format {wanted.name} has no writer")
    return check, notes
