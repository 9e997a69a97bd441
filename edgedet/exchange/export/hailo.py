"""What Hailo's Dataflow Compiler takes: the float ONNX and a model script; the compiler itself is proprietary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgedet.contracts import PreprocessSpec
from edgedet.exchange.export.check import Check
from edgedet.exchange.export.onnx_float import write_onnx
from edgedet.exchange.export.subject import FloatDetector

HAILO_NOTE = "Hailo's Dataflow Compiler is proprietary: get it from hailo.ai; README.txt has its three commands"
MODEL, SCRIPT, README = "model.onnx", "model.alls", "README.txt"


def write_hailo(subject: FloatDetector, folder: Path, opset: int | None = None) -> Check:
    """Write the folder; its ONNX is checked as that of format onnx.

    Args:
        subject: the detector.
        folder: to write, not existing yet.
        opset: 11..17, as far as the compiler's parser goes; None: 17.
    Returns:
        The check of the ONNX file.
    Raises:
        ConversionError: the ONNX file computes something else.
    """
    folder.mkdir()
    check = write_onnx(subject, folder / MODEL, opset)
    (folder / SCRIPT).write_text(model_script(subject.preprocess), encoding="utf-8")
    (folder / README).write_text(_readme(subject), encoding="utf-8")
    return replace(check, result=f"{check.result}; the model script is not checked")


def model_script(preprocess: PreprocessSpec) -> str:
    """Model script that normalizes on the chip, so that it takes bytes.

    Args:
        preprocess: input contract.
    """
    mean, std = (", ".join(repr(float(value)) for value in values) for values in (preprocess.mean, preprocess.std))
    return f"normalization1 = normalization([{mean}], [{std}])\n"


def _readme(subject: FloatDetector) -> str:
    spec, outputs = subject.preprocess, subject.outputs
    return (
        "For Hailo's Dataflow Compiler (DFC), which is proprietary: it comes with an account from hailo.ai, not with "
        "edgedet.\n\n"
        f"calib.npy: some hundred of your own pictures as the network sees them: uint8 (N, {spec.height}, "
        f"{spec.width}, {spec.channels}), {spec.channel_order}, {spec.resize}, not normalized ({SCRIPT} does that).\n\n"
        f"  hailo parser onnx {MODEL} --hw-arch hailo8l\n"
        f"  hailo optimize model.har --hw-arch hailo8l --model-script {SCRIPT} --calib-set-path calib.npy\n"
        "  hailo compiler model_optimized.har --hw-arch hailo8l\n\n"
        f"Outputs, in this order: {', '.join(outputs.tensor_names)}: class logits without sigmoid, and left, top, "
        "right, bottom distances in strides from the upper left corner of each cell.\n"
        f"Classes: {', '.join(outputs.class_names)}.\n"
    )
