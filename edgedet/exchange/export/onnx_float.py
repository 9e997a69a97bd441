"""Float ONNX of a detector: torch's exporter, then onnxsim, so that every node is one that chips' compilers know."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import torch

from edgedet.errors import ConversionError
from edgedet.exchange.export.check import FLOAT32, Check, compare
from edgedet.exchange.export.onnx_file import run_onnx, with_contracts
from edgedet.exchange.export.subject import INPUT_NAME, FloatDetector

DEFAULT_OPSET = 17


def onnx_model(subject: FloatDetector, opset: int | None = None) -> bytes:
    """ONNX file of a detector, batch 1, static shapes, BatchNorm folded, contracts in its metadata.

    Args:
        subject: the detector.
        opset: 11..20; None: 17.
    Returns:
        The file: one float32 input (1, channels, height, width), normalized; outputs cls_8, box_8, ... in contract
        order, NCHW.
    Raises:
        ConversionError: onnxsim found that it had changed what the network computes.
    """
    import onnx
    import onnxsim

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter over TorchScript is called legacy, but the other one needs onnxscript and gives opset 18 only.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            subject.model,
            (torch.from_numpy(subject.x),),
            buffer,  # type: ignore[arg-type]  # its stub knows paths only
            dynamo=False,
            opset_version=opset or DEFAULT_OPSET,
            input_names=[INPUT_NAME],
            output_names=list(subject.names),
        )
    model, same = onnxsim.simplify(onnx.load_from_string(buffer.getvalue()))
    if not same:
        raise ConversionError("onnxsim changed what the network computes; please report this network")
    return with_contracts(model.SerializeToString(), subject.preprocess, subject.outputs)


def write_onnx(subject: FloatDetector, path: Path, opset: int | None = None) -> Check:
    """Write the file and check it in onnxruntime.

    Args:
        subject: the detector.
        path: to write.
        opset: as `onnx_model`.
    Returns:
        The check.
    Raises:
        ConversionError: the file computes something else.
    """
    data = onnx_model(subject, opset)
    result = compare(
        subject.names, subject.expected, run_onnx(data, subject.x), FLOAT32, "float32 sums in another order"
    )
    path.write_bytes(data)
    return Check(subject.picture, "the torch network", f"onnxruntime: {result}")
