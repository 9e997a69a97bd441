"""Whether the torch.fx graph computes what onnxruntime makes of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.errors import ConversionError

# Of the largest value of an output. Both sum float32 in orders of their own, and onnxruntime approximates exp: a few
# thousand additions of rounding errors of 6e-8; 1e-5 was the most that was seen.
TOLERANCE = 1e-4
_LEAST = (
    1e-2  # outputs that are smaller throughout are compared as if they reached it: sigmoids of very negative numbers
)


def onnx_outputs(model: Any, inputs: Mapping[str, np.ndarray], names: Sequence[str], path: Path) -> list[np.ndarray]:
    """Tensors of an ONNX model, by onnxruntime.

    Args:
        model: onnx.ModelProto.
        inputs: name -> values; the image is float32 (1, C, H, W).
        names: of outputs or of tensors inside.
        path: of the file, for errors.
    Returns:
        One array for each name.
    Raises:
        ConversionError: onnxruntime does not run the model.
    """
    import onnx
    import onnxruntime

    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    known = {value.name for value in asked.graph.output}
    asked.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(n) for n in dict.fromkeys(names) if n not in known
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # floats between the pairs of quantized networks
    options.log_severity_level = 4  # it writes what it thinks of a model to stderr
    try:
        session = onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
        results: list[np.ndarray] = session.run(list(names), dict(inputs))
    except Exception as error:  # of onnxruntime's own kinds
        text = " ".join(str(error).split())[:200]
        raise ConversionError(f"{path}: onnxruntime does not run this model: {text}; export it again") from error
    return results


def require_equal(
    expected: Sequence[np.ndarray], found: Sequence[np.ndarray], names: Sequence[str], what: str
) -> float:
    """Compare outputs.

    Args:
        expected: of onnxruntime.
        found: of the network to be quantized, in the same order.
        names: of the outputs, for the error.
        what: file and step, for the error.
    Returns:
        The largest difference, as a fraction of the largest value of its output.
    Raises:
        ConversionError: a shape differs, or a value by more than TOLERANCE.
    """
    worst = 0.0
    for name, first, second in zip(names, expected, found, strict=True):
        if first.shape != second.shape:
            raise ConversionError(f"{what}: output {name} has shape {second.shape}, onnxruntime's has {first.shape}")
        if not np.isfinite(first).all():
            raise ConversionError(f"{what}: output {name} holds NaN or infinite values; export the network again")
        reach = max(float(np.abs(first).max(initial=0.0)), _LEAST)
        difference = float(np.abs(first.astype(np.float64) - second).max(initial=0.0)) / reach
        worst = max(worst, difference)
        if not difference <= TOLERANCE:
            raise ConversionError(
                f"{what}: output {name} differs from onnxruntime's by {difference:.2g} of its largest value, expected "
                f"at most {TOLERANCE:g}; please report this file. onnx2tf makes a float TFLite of it in the meantime"
            )
    return worst
