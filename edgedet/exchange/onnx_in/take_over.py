"""`edgedet quantize` of a network that is quantized already: nothing is calibrated, its numbers are taken over."""

from __future__ import annotations

import hashlib
from collections import Counter

from edgedet.data.coco.split import CocoSplit
from edgedet.errors import ConversionError
from edgedet.exchange.onnx_in.clean import cleaned
from edgedet.exchange.onnx_in.describe import describe_network
from edgedet.exchange.onnx_in.heads.structure import structure_of
from edgedet.exchange.onnx_in.load import OnnxNetwork
from edgedet.exchange.onnx_in.qdq.check import check_taken_over
from edgedet.exchange.onnx_in.qdq.graph import frozen_of_pairs
from edgedet.exchange.onnx_in.qdq.pairs import without_pairs
from edgedet.exchange.onnx_in.request import OnnxRequest
from edgedet.exchange.onnx_in.to_fx import fx_from_onnx
from edgedet.graph.flatbuffer import serialize
from edgedet.progress import Stopwatch
from edgedet.quantize.api import MANIFEST_FILE, MODEL_FILE, REPORT_FILE, write_quantized
from edgedet.quantize.calibration.images import image_batches, make_manifest
from edgedet.quantize.fx.to_graph import QuantizedModel, graph_from_fx
from edgedet.quantize.ptq.pipeline import PtqOptions
from edgedet.quantize.report import QuantizeReport

METHOD = "qdq"


def take_over(network: OnnxNetwork, request: OnnxRequest, split: CocoSplit, watch: Stopwatch) -> QuantizeReport:
    """Write the int8 file of a QDQ network, with a manifest that names no images, and the report.

    Args:
        network: the file.
        request: what is known about it.
        split: pictures; one is compared with onnxruntime.
        watch: running.
    Raises:
        EdgedetError: nothing was written.
    """
    operators, constants = cleaned(network.model)
    quantized = without_pairs(operators, constants, network.path)
    net = structure_of(network, quantized.operators, quantized.constants)
    described = describe_network(network, request, net, quantized.constants, split)
    ending, preprocess = described.ending, described.preprocess
    if ending.head is not None and ending.head.splits:
        raise ConversionError(f"{network.path}: its head holds two parts in one tensor of one scale; give `cut` off")
    weights: dict[str, tuple[str, str]] = {}
    module = fx_from_onnx(network, ending.operators, ending.constants, ending.outputs, weights)
    frozen = frozen_of_pairs(module, weights, quantized.stored, network.path)
    graph = graph_from_fx(frozen, preprocess, described.outputs)
    watch.lap("import")
    (picture,) = image_batches(split.images[:1], preprocess)
    check = check_taken_over(network, frozen, ending.outputs, picture.contiguous().numpy())
    graph = graph if described.describe is None else described.describe(graph)
    data = serialize(graph)
    watch.lap("convert")
    same = f"scales, zero points and codes are the file's; {check.text()}"
    report = _report(request, QuantizedModel(frozen, graph), data, watch, (*network.notes, *described.notes, same))
    manifest = make_manifest((), split, preprocess, METHOD, request.quantization.seed)
    write_quantized(request.quantization.out, data, manifest, report.to_json())
    return report


def _report(
    request: OnnxRequest, quantized: QuantizedModel, data: bytes, watch: Stopwatch, notes: tuple[str, ...]
) -> QuantizeReport:
    out = request.quantization.out
    return QuantizeReport(
        model=out / MODEL_FILE,
        manifest=out / MANIFEST_FILE,
        report=out / REPORT_FILE,
        sha256=hashlib.sha256(data).hexdigest(),
        model_bytes=len(data),
        operators=tuple(Counter(operator.kind for operator in quantized.graph.operators).most_common()),
        scale_groups=quantized.scale_groups,
        method=METHOD,
        effort="none",
        options=PtqOptions(),
        ranges=(),
        steps=(),
        int16=(),
        calib_images_asked=0,
        calib_images=0,
        seed=request.quantization.seed,
        seconds=tuple(watch.laps),
        notes=notes,
    )
