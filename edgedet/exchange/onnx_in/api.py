"""`edgedet quantize model.onnx`: from a float ONNX file to `model_int8.tflite`; the Python side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.fx import GraphModule

from edgedet.contracts import PreprocessSpec
from edgedet.data.bare_images import load_folder
from edgedet.data.check.content import require_bright
from edgedet.data.check.whole import whole_splits
from edgedet.data.coco.split import CocoSplit, common_classes
from edgedet.exchange.onnx_in.clean import cleaned
from edgedet.exchange.onnx_in.describe import describe_network
from edgedet.exchange.onnx_in.equal import onnx_outputs, require_equal
from edgedet.exchange.onnx_in.heads.cut import Ending
from edgedet.exchange.onnx_in.heads.structure import structure_of
from edgedet.exchange.onnx_in.load import OnnxNetwork, load_onnx
from edgedet.exchange.onnx_in.request import OnnxRequest
from edgedet.exchange.onnx_in.take_over import take_over
from edgedet.exchange.onnx_in.to_fx import fx_from_onnx
from edgedet.fileio import require_out_folder
from edgedet.outputs.lock import hold_output
from edgedet.progress import Stopwatch
from edgedet.quantize.api import FloatNetwork, quantize_network
from edgedet.quantize.calibration.images import image_batches
from edgedet.quantize.fx.qparams import input_params
from edgedet.quantize.fx.separate import separate_prescribed
from edgedet.quantize.report import QuantizeReport

__all__ = ["OnnxRequest", "quantize_onnx"]


def quantize_onnx(
    request: OnnxRequest,
    progress: Callable[[int, int], None] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> QuantizeReport:
    """Quantize an ONNX network and write the model, the calibration manifest and the report.

    Nothing is written before everything is computed.

    Args:
        request: what and how.
        progress: called with (images done, images in all) during calibration.
        on_step: called with the name of each long step when it begins.
    Returns:
        The report that also stands in report.json.
    Raises:
        ConfigError: something about the file has to be said.
        ConversionError, UnsupportedOpError: the file is damaged, or holds what has no int8 form.
        DataError: the images.
    """
    quantization = request.quantization
    require_out_folder(quantization.out, "`out`")
    with hold_output(quantization.out):
        watch = Stopwatch()
        split = (
            load_folder(quantization.images, (), skip_broken=quantization.data.skip_broken)
            if quantization.images is not None
            else quantization.data.load("train")
        )
        if quantization.data.skip_broken:  # the first picture is compared, whichever are drawn
            (split,) = whole_splits((split,), skip_broken=True)
        require_bright(split)
        watch.lap("list images")
        network = load_onnx(quantization.checkpoint, request.imgsz)
        if network.is_quantized:
            return take_over(network, request, split, watch)
        imported = import_network(network, request, split)
        if split.class_names and imported.outputs.class_names:
            advice = "calibrate with the data that the network was trained on, or with `images` DIR"
            common_classes(split, str(network.path), imported.outputs.class_names, advice)
        watch.lap("import")
        return quantize_network(imported, split, quantization, watch, progress, on_step)


def import_network(network: OnnxNetwork, request: OnnxRequest, split: CocoSplit) -> FloatNetwork:
    """From a simplified ONNX file to what quantization takes, compared with onnxruntime on one picture.

    Args:
        network: the file.
        request: what is known about it.
        split: pictures; annotated ones also tell the classes.
    """
    operators, constants = cleaned(network.model)
    net = structure_of(network, operators, constants)
    described = describe_network(network, request, net, constants, split)
    ending, preprocess = described.ending, described.preprocess
    module = fx_from_onnx(network, ending.operators, ending.constants, ending.outputs)
    difference = _compare(network, ending, module, split, preprocess)
    separated, names = separate_prescribed(module, input_params(preprocess))
    equal = f"the network equals onnxruntime's to {difference:.1g} on a picture"
    notes = (*network.notes, *described.notes, equal)
    if names:
        notes = (*notes, f"{len(names)} tensors of prescribed scales are brought to a shared one by QUANTIZE")
    return FloatNetwork(separated, preprocess, described.outputs, notes, described.describe)


def _compare(
    network: OnnxNetwork, ending: Ending, module: GraphModule, split: CocoSplit, preprocess: PreprocessSpec
) -> float:
    """Largest difference to onnxruntime on the first picture."""
    (picture,) = image_batches(split.images[:1], preprocess)
    image = {network.input_name: picture.contiguous().numpy()}
    expected = onnx_outputs(network.model, image, ending.wholes, network.path)
    with torch.no_grad():
        found = [value.numpy() for value in module(picture.contiguous())]
    values = dict(zip(ending.wholes, expected, strict=True))
    return require_equal(ending.parts(values), found, ending.outputs, str(network.path))
