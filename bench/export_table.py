"""Make docs/export.md: what QDQ ONNX and SSCMA-Micro's layout keep of an int8 file, on the demo's data.

    .venv/bin/python bench/export_table.py

Draws the demo's pictures, quantizes the demo's checkpoint as the demo does, and measures AP of the int8 file in the
chip's arithmetic, of its QDQ ONNX in onnxruntime with three settings, and of the two files for SSCMA-Micro as its
firmware reads them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from table import ROOT, commit_of

from edgedet.contracts import Detections
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.preprocess import load_pixels, normalize
from edgedet.data.synth.dataset import make_synthetic
from edgedet.demo import CALIB_IMAGES, CHECKPOINT, IMAGES, SEED
from edgedet.evaluate.evaluator import describe_machine, evaluate
from edgedet.exchange.export.api import ExportRequest, export
from edgedet.exchange.export.onnx_file import EXACT_SUMS
from edgedet.exchange.export.qdq.check import steps_between
from edgedet.fileio import atomic_write_text
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.graph.metadata import contract_metadata
from edgedet.graph.model import load_int8_model
from edgedet.numerics.decode import decode_float
from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint
from edgedet.resources import resource_dir
from edgedet.runtimes.open import open_runtime

SETTINGS = (  # name, graph optimization level, exact sums
    ("floats between the roundings (no optimization)", "ORT_DISABLE_ALL", "0"),
    ("integer kernels, exact sums", "ORT_ENABLE_ALL", "1"),
    ("integer kernels, onnxruntime's default", "ORT_ENABLE_ALL", "0"),
)
STEP_IMAGES = 20


class QdqRuntime:
    """QDQ ONNX behind the evaluator's protocol."""

    name, arithmetic = "onnxruntime", "QDQ ONNX"

    def __init__(self, path: Path, like: Path, level: str, exact: str) -> None:
        """Open a file with one thread."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.add_session_config_entry(EXACT_SUMS, exact)
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.model = load_int8_model(like)
        self.preprocess, self.outputs = self.model.preprocess, self.model.outputs

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Normalized floats, NCHW."""
        return np.ascontiguousarray(normalize(pixels, self.preprocess).transpose(2, 0, 1)[None])

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Float outputs, NHWC, contract order."""
        outputs = self._session.run(None, {self._session.get_inputs()[0].name: x})
        return tuple(np.ascontiguousarray(output.transpose(0, 2, 3, 1)) for output in outputs)

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float) -> Detections:
        """Detections in pixels of the input."""
        return decode_float(raw, self.outputs, score_threshold=score_threshold)

    def codes(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Outputs as codes."""
        parameters = zip(self.invoke(self.prepare(pixels)), self.model.scales, self.model.zero_points, strict=True)
        return [np.rint(value / scale).astype(np.int64) + zero for value, scale, zero in parameters]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    ap: float
    steps: str = ""


def main() -> int:
    """Measure and write docs/export.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    commit = commit_of(ROOT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_synthetic(folder / "data", images=IMAGES, seed=SEED)
        checkpoint, data = resource_dir("models") / CHECKPOINT, DataPaths(folder / "data")
        request = QuantizeRequest(checkpoint, data, folder / "q", calib_images=CALIB_IMAGES)
        model, split = quantize_checkpoint(request).model, data.load("valid")
        rows = [Row("int8 file, the chip's arithmetic", evaluate(open_runtime(model), split).ap.ap)]
        report = export(ExportRequest(model, "onnx-qdq", folder / "qdq.onnx", split.images[0].path))
        rows += [_qdq_row(folder / "qdq.onnx", model, split, *setting) for setting in SETTINGS]
        firmware = _firmware_rows(model, split, folder)
    atomic_write_text(
        ROOT / "docs" / "export.md", _markdown(commit, len(split.images), rows, firmware, report.check.result)
    )
    return 0


def _qdq_row(path: Path, model: Path, split: CocoSplit, name: str, level: str, exact: str) -> Row:
    runtime, chip = QdqRuntime(path, model, level, exact), open_runtime(model)
    ours, theirs = [], []
    for record in split.images[:STEP_IMAGES]:
        pixels = load_pixels(record.path, runtime.preprocess)
        ours += chip.invoke(chip.prepare(pixels))
        theirs += runtime.codes(pixels)
    return Row(f"QDQ ONNX, {name}", evaluate(runtime, split).ap.ap, steps_between(ours, theirs).text())


def _firmware_rows(model: Path, split: CocoSplit, folder: Path) -> list[Row]:
    """AP with priors at the centres of the cells, as SSCMA-Micro has them."""
    rows = []
    for name, centred in (("`--format sscma`", False), ("`--format sscma --centre-priors`", True)):
        path = folder / f"sscma_{centred}.tflite"
        export(ExportRequest(model, "sscma", path, centre_priors=centred))
        rows.append(Row(f"{name}, as its contract says", evaluate(open_runtime(path), split).ap.ap))
        read = load_int8_model(path)
        spec: Any = replace(read.outputs, head=replace(read.outputs.head, offset=0.5))
        entry = contract_metadata(read.preprocess, spec, {role: role for role in spec.tensor_names})
        write_tflite(replace(read_tflite(path), metadata=(entry,)), path)
        rows.append(Row(f"{name}, as the firmware reads it", evaluate(open_runtime(path), split).ap.ap))
    return rows


def _markdown(commit: str, images: int, rows: list[Row], firmware: list[Row], check: str) -> str:
    import onnxruntime

    return "\n".join(
        [
            "# Export",
            "",
            f"Made by bench/export_table.py at commit {commit} on {describe_machine()}, onnxruntime "
            f"{onnxruntime.__version__}. Don't edit by hand.",
            "",
            f"The demo's checkpoint (`models/{CHECKPOINT}`) and data (seed {SEED}), quantized as the demo does; COCO "
            f"AP over {images} validation images; codes over {STEP_IMAGES} of them.",
            "",
            "| file | AP | change | output codes against the int8 file |",
            "| --- | --- | --- | --- |",
            *(f"| {row.name} | {row.ap:.4f} | {row.ap - rows[0].ap:+.4f} | {row.steps} |" for row in rows),
            "",
            f"What `edgedet export --format onnx-qdq` says of its check: {check}.",
            "",
            "Not 0, because floats round an operator's exact result once and the chip's arithmetic twice: one code in "
            "some hundred differs by one step at each operator, and sums behind it carry that on. onnxruntime's "
            "default differs more on processors without VNNI: its sums of 16 bits overflow for large weights "
            f"(`{EXACT_SUMS}=1` avoids it).",
            "",
            "## SSCMA-Micro",
            "",
            "The firmware has the priors of RTMDet's boxes at the centres of the cells, networks are trained with the "
            "upper left corners.",
            "",
            "| file | AP |",
            "| --- | --- |",
            *(f"| {row.name} | {row.ap:.4f} |" for row in firmware),
            "",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
