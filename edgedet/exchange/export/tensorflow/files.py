"""SavedModel and float .tflite of a detector, by onnx2tf and TensorFlow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.errors import ConversionError, ToolchainError
from edgedet.exchange.export.check import FLOAT16, FLOAT32, Check, compare
from edgedet.exchange.export.onnx_float import onnx_model
from edgedet.exchange.export.subject import INPUT_NAME, FloatDetector
from edgedet.exchange.export.tensorflow import onnx2tf_run
from edgedet.exchange.export.tensorflow.output_match import match_outputs
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.metadata import contract_metadata

CONTRACT_FILE = "assets.extra/edgedet.json"  # where TensorFlow leaves files of others alone
_WHY32 = "float32 sums in another order"
_WHY16 = "weights rounded to float16"


def write_savedmodel(subject: FloatDetector, folder: Path, work: Path, opset: int | None = None) -> Check:
    """Write a SavedModel, NHWC, signature with the contract's names, checked as TensorFlow loads it.

    Args:
        subject: the detector.
        folder: to write, not existing yet.
        work: an empty folder for intermediate files, on the same file system.
        opset: of the ONNX file between; None: 17.
    Returns:
        The check.
    Raises:
        ConversionError: the result computes something else, or onnx2tf failed.
    """
    _convert(subject, work, opset)
    found = dict(np.load(work / onnx2tf_run.FOUND))
    expected = _nhwc(subject)
    result = compare(subject.names, list(expected.values()), [found[name] for name in expected], FLOAT32, _WHY32)
    shutil.move(work / onnx2tf_run.NAMED, folder)
    contract = folder / CONTRACT_FILE
    contract.parent.mkdir()
    contract.write_bytes(contract_metadata(subject.preprocess, subject.outputs)[1])
    return Check(subject.picture, "the torch network", f"TensorFlow: {result}")


def write_float_tflite(subject: FloatDetector, path: Path, work: Path, bits: int, opset: int | None = None) -> Check:
    """Write a float .tflite, NHWC, outputs named by the contract, checked in LiteRT.

    Args:
        subject: the detector.
        path: to write.
        work: an empty folder for intermediate files.
        bits: of the weights, 32 or 16; inputs, outputs and arithmetic stay float32.
        opset: of the ONNX file between; None: 17.
    Returns:
        The check.
    Raises:
        ConversionError: the result computes something else, or onnx2tf failed.
    """
    _convert(subject, work, opset)
    made = (work / onnx2tf_run.CONVERTED / f"model_float{bits}.tflite").read_bytes()
    x = np.ascontiguousarray(subject.x.transpose(0, 2, 3, 1))
    expected = _nhwc(subject)
    graph = parse_tflite(made, "onnx2tf's file")
    order = match_outputs(expected, _run_tflite(made, x))
    outputs = tuple(graph.outputs[order[name]] for name in expected)
    tensors = list(graph.tensors)
    for name, index in ((INPUT_NAME, graph.inputs[0]), *zip(expected, outputs, strict=True)):
        tensors[index] = replace(tensors[index], name=name)
    metadata = (*graph.metadata, contract_metadata(subject.preprocess, subject.outputs))
    named = replace(graph, tensors=tuple(tensors), outputs=outputs, signatures=(), metadata=metadata)
    data = serialize(named)
    tolerance, why = (FLOAT32, _WHY32) if bits == 32 else (FLOAT16, _WHY16)
    result = compare(subject.names, list(expected.values()), _run_tflite(data, x), tolerance, why)
    path.write_bytes(data)
    return Check(subject.picture, "the torch network", f"LiteRT: {result}")


def _nhwc(subject: FloatDetector) -> dict[str, np.ndarray]:
    pairs = zip(subject.names, subject.expected, strict=True)
    return {name: np.ascontiguousarray(output.transpose(0, 2, 3, 1)) for name, output in pairs}


def _convert(subject: FloatDetector, work: Path, opset: int | None) -> None:
    (work / onnx2tf_run.MODEL).write_bytes(onnx_model(subject, opset))
    probe: dict[str, Any] = {"input": subject.x.transpose(0, 2, 3, 1), **_nhwc(subject)}
    np.savez(work / onnx2tf_run.PROBE, **probe)
    # One thread: TensorFlow otherwise starts one for each core for each of its pools.
    quiet = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    package = Path(__file__).parents[3]
    search = os.pathsep.join(part for part in (str(package), os.environ.get("PYTHONPATH", "")) if part)
    command = [sys.executable, "-m", onnx2tf_run.__name__, str(work)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **quiet, "PYTHONPATH": search}
    )
    if done.returncode or not (work / onnx2tf_run.FOUND).is_file():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ConversionError(f"onnx2tf failed: {' '.join(lines[-3:])[-500:] or 'it said nothing'}")


def _run_tflite(data: bytes, x: np.ndarray) -> list[np.ndarray]:
    """Outputs in the order of the file."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ToolchainError(f"LiteRT refuses the written file: {error}") from error
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return [interpreter.get_tensor(end["index"]) for end in interpreter.get_output_details()]
