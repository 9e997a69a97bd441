"""`edgedet quantize` of a network that is quantized already: nothing is calibrated, its numbers are taken over."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import numpy as np
import torch
from torch.fx import GraphModule

from edgedet.data.coco import CocoSplit
from edgedet.errors import ConversionError
from edgedet.exchange.onnx_in.clean import cleaned
from edgedet.exchange.onnx_in.cut import choose_ending
from edgedet.exchange.onnx_in.equal import onnx_outputs
from edgedet.exchange.onnx_in.load import OnnxNetwork
from edgedet.exchange.onnx_in.meaning import input_contract, output_contract
from edgedet.exchange.onnx_in.qdq import without_pairs
from edgedet.exchange.onnx_in.qdq_graph import frozen_of_pairs
from edgedet.exchange.onnx_in.request import OnnxRequest
from edgedet.exchange.onnx_in.structure import structure_of
from edgedet.exchange.onnx_in.to_fx import fx_from_onnx
from edgedet.fileio import atomic_write_bytes, atomic_write_text
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.graph import Graph
from edgedet.progress import Stopwatch
from edgedet.quantize.api import MANIFEST_FILE, MODEL_FILE, REPORT_FILE, QuantizeReport
from edgedet.quantize.calibration.images import image_batches, make_manifest
from edgedet.quantize.fx.to_graph import QuantizedModel, graph_from_fx
from edgedet.quantize.ptq.pipeline import PtqOptions

METHOD = "qdq"
# Steps of an output, on average over it. Both sides round the same float32 sums, added in other orders: where one lies
# at a tie, a code differs by 1, and layers behind it carry that on. 0.1 to 0.4 were seen; a wrong scale gives dozens.
TOLERANCE_STEPS = 1.0


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
    contract = request.contract
    count = None if contract.classes is None else len(contract.classes)
    ending = choose_ending(
        net, quantized.constants, request.outputs, request.cut, contract.head, count, str(network.path)
    )
    if ending.head is not None and ending.head.splits:
        raise ConversionError(f"{network.path}: its head holds two parts in one tensor of one scale; give `cut` off")
    kind = contract.head if ending.head is None else ending.head.head.kind
    preprocess, notes = input_contract(network, contract, kind)
    outputs, describe = output_contract(network, contract, ending, split if split.class_names else None)
    weights: dict[str, tuple[str, str]] = {}
    module = fx_from_onnx(network, ending.operators, ending.constants, ending.outputs, weights)
    frozen = frozen_of_pairs(module, weights, quantized.stored, network.path)
    graph = graph_from_fx(frozen, preprocess, outputs)
    watch.lap("import")
    (picture,) = image_batches(split.images[:1], preprocess)
    difference = _compare(network, ending.outputs, frozen, picture, graph)
    graph = graph if describe is None else describe(graph)
    data = serialize(graph)
    watch.lap("convert")
    same = f"scales, zero points and codes are the file's; outputs differ from onnxruntime's by {difference:.2g} steps"
    report = _report(request, QuantizedModel(frozen, graph), data, watch, (*network.notes, *ending.notes, *notes, same))
    manifest = make_manifest((), split, preprocess, METHOD, request.quantization.seed)
    atomic_write_text(report.manifest, manifest.to_json())
    atomic_write_bytes(report.model, data)
    atomic_write_text(report.report, json.dumps(report.to_json(), indent=1) + "\n")
    return report


def _compare(
    network: OnnxNetwork, names: tuple[str, ...], frozen: GraphModule, picture: torch.Tensor, graph: Graph
) -> float:
    """Largest mean difference of an output to onnxruntime's, steps of its scale."""
    picture = picture.contiguous()
    expected = onnx_outputs(network.model, network.input_name, picture.numpy(), names, network.path)
    with torch.no_grad():
        found = [value.numpy() for value in frozen(picture)]
    worst = 0.0
    for name, first, second, index in zip(names, expected, found, graph.outputs, strict=True):
        quantization = graph.tensors[index].quantization
        assert quantization is not None
        steps = float(np.abs(first - second).mean() / quantization.scale[0])
        worst = max(worst, steps)
        if not steps <= TOLERANCE_STEPS:
            raise ConversionError(
                f"{network.path}: output {name} differs from onnxruntime's by {steps:.2g} steps on average, expected "
                f"at most {TOLERANCE_STEPS:g}; please report this file"
            )
    return worst


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
