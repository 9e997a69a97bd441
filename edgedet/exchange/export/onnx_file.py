"""What all ONNX files of edgedet share: the contracts in their metadata, and onnxruntime to run them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ToolchainError
from edgedet.graph.metadata import contract_metadata

# onnxruntime's integer convolutions on processors with AVX2 and without VNNI add pairs of products in 16 bits, which
# overflow for large weights: codes wrong by up to 255. This option makes it take kernels that don't.
EXACT_SUMS = "session.x64quantprecision"


def with_contracts(
    data: bytes, preprocess: PreprocessSpec, outputs: OutputSpec, tensor_names: Mapping[str, str] | None = None
) -> bytes:
    """An ONNX file with edgedet's contracts in metadata_props, key `edgedet`, the JSON that int8 files carry.

    Args:
        data: the file.
        preprocess: input contract.
        outputs: output contract.
        tensor_names: contract name -> name of the output; None: they are the same.
    """
    import onnx

    model = onnx.load_from_string(data)
    key, value = contract_metadata(preprocess, outputs, tensor_names)
    onnx.helper.set_model_props(model, {key: value.decode("utf-8")})
    result: bytes = model.SerializeToString()
    return result


def open_session(data: bytes) -> Any:
    """Onnxruntime's session of a file: one thread, CPU, exact integer sums.

    Raises:
        ToolchainError: onnxruntime refuses the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(EXACT_SUMS, "1")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class
        raise ToolchainError(f"onnxruntime {onnxruntime.__version__} refuses the written file: {error}") from error


def run_onnx(data: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """Outputs of an ONNX file in its order.

    Args:
        data: the file.
        inputs: in the order of the file's inputs.
    """
    session = open_session(data)
    feeds = {end.name: array for end, array in zip(session.get_inputs(), inputs, strict=True)}
    result: list[np.ndarray] = session.run(None, feeds)
    return result
