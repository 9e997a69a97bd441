"""OpenVINO's IR of a detector: model.xml and model.bin."""

from __future__ import annotations

from pathlib import Path

import torch

from edgedet.exchange.export.check import FLOAT32, Check, compare
from edgedet.exchange.export.subject import INPUT_NAME, FloatDetector
from edgedet.graph.metadata import contract_metadata


def write_openvino(subject: FloatDetector, path: Path) -> Check:
    """Write the two files and check them on the CPU in float32.

    Args:
        subject: the detector.
        path: of the .xml; the .bin is written beside it. Weights stay float32; the contracts are in rt_info.
    Returns:
        The check.
    Raises:
        ConversionError: the files compute something else.
    """
    import openvino

    model = openvino.convert_model(
        subject.model, example_input=torch.from_numpy(subject.x), input=list(subject.x.shape)
    )
    model.inputs[0].get_tensor().set_names({INPUT_NAME})
    for output, name in zip(model.outputs, subject.names, strict=True):
        output.get_tensor().set_names({name})
    key, contract = contract_metadata(subject.preprocess, subject.outputs)
    model.set_rt_info(contract.decode("utf-8"), [key])
    openvino.save_model(model, str(path), compress_to_fp16=False)
    # float32: on some processors the plugin would compute in bfloat16.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    outputs = compiled([subject.x])
    found = [outputs[name] for name in subject.names]
    result = compare(subject.names, subject.expected, found, FLOAT32, "float32 sums in another order")
    return Check(subject.picture, "the torch network", f"OpenVINO: {result}")
