"""An SSD that ends with TFLite_Detection_PostProcess, against LiteRT's own kernel of that operator."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flatbuffers import flexbuffers
from graph_maker import GraphMaker

from edgedet.contract.api import contract
from edgedet.contract.request import ContractRequest
from edgedet.contract.ssd_operator import KIND, find_postprocess
from edgedet.errors import ConversionError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.runtimes.open import open_runtime

OPTIONS = {
    "max_detections": 12,
    "max_classes_per_detection": 1,
    "detections_per_class": 100,
    "use_regular_nms": False,
    "nms_score_threshold": 1e-8,
    "nms_iou_threshold": 0.5,
    "num_classes": 3,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}


def write_ssd(path: Path, options: dict = OPTIONS) -> Path:
    """64x64 px, 8x8 cells, one anchor each, three classes and the background; scores are sigmoids."""
    m = GraphMaker(4)
    x = m.conv(m.input((1, 64, 64, 3), name="image"), 8, (3, 3), (8, 8))
    ends = []
    for depth in (4, 4):
        y = m.conv(x, depth, (1, 1), name=f"head{len(ends)}", per_channel=False)
        y = m.same("RESHAPE", [y, m.constant([1, 64, depth])], (1, 64, depth), g.ReshapeOptions((1, 64, depth)))
        if ends:
            y = m.add("LOGISTIC", [y], (1, 64, depth), (1 / 256, -128))
        real = m.tensor((1, 64, depth), "float32", name=("boxes", "scores")[len(ends)])
        m.operators.append(g.Operator("DEQUANTIZE", (y,), (real,)))
        ends.append(real)
    rows, columns = np.divmod(np.arange(64), 8)
    rng = np.random.default_rng(0)
    sides = rng.uniform(0.1, 0.3, (64, 2))
    anchors = np.stack([(rows + 0.5) / 8, (columns + 0.5) / 8, sides[:, 0], sides[:, 1]], axis=1).astype(np.float32)
    constant = m.tensor((64, 4), "float32", None, anchors, name="anchors")
    shapes = ((1, 12, 4), (1, 12), (1, 12), (1,))
    outs = tuple(m.tensor(shape, "float32", name=f"post:{i}") for i, shape in enumerate(shapes))
    custom = bytes(flexbuffers.Dumps(options))
    m.operators.append(g.Operator(KIND, (*ends, constant), outs, g.OpaqueOptions("custom", custom=custom)))
    write_tflite(m.graph(list(outs)), path)
    return path


def test_contract_leaves_the_operator_to_the_host_and_finds_what_it_finds(tmp_path: Path) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    path, out = write_ssd(tmp_path / "ssd.tflite"), tmp_path / "out.tflite"
    report = contract(ContractRequest(model=path, out=out, classes=("a", "b", "c"), resize="stretch"))
    assert "left to the host" in report.text()
    spec = report.outputs
    assert (spec.head.kind, spec.head.coding, spec.head.background, spec.head.agnostic) == ("ssd", "ssd", True, True)
    assert (spec.nms_iou, spec.max_detections, len(spec.head.anchors)) == (0.5, 12, 256)
    graph = read_tflite(out)
    assert not any(operator.kind == KIND for operator in graph.operators)
    assert "anchors" not in [tensor.name for tensor in graph.tensors]

    interpreter = litert.Interpreter(str(path), experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    runtime = open_runtime(out)
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)
        x = runtime.prepare(pixels)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        boxes, classes, scores, count = (interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details())
        found = runtime.decode(runtime.invoke(x), 0.0)
        assert len(found) == int(count[0]) == 12
        assert found.labels.tolist() == classes[0].astype(int).tolist()
        np.testing.assert_allclose(found.scores, scores[0], rtol=1e-6)
        expected = np.clip(boxes[0][:, [1, 0, 3, 2]] * 64, 0, 64)
        np.testing.assert_allclose(found.boxes, expected, rtol=1e-5, atol=1e-4)


def test_contract_detections_of_the_operator_itself(tmp_path: Path) -> None:
    path = write_ssd(tmp_path / "ssd.tflite")
    request = ContractRequest(model=path, head="ssd", boxes="detections", classes=("a", "b", "c"))
    report = contract(request)
    assert report.outputs.tensor_names == ("boxes", "classes", "scores", "count")
    assert [name for _, name, _, _ in report.tensors] == [f"post:{i}" for i in range(4)]


def test_contract_of_a_file_that_says_everything_needs_no_option(tmp_path: Path) -> None:
    path, out = write_ssd(tmp_path / "ssd.tflite"), tmp_path / "out.tflite"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("labelmap.txt", "???\ncat\ndog\nowl\n")
    path.write_bytes(path.read_bytes() + archive.getvalue())
    report = contract(ContractRequest(model=path, out=out))
    assert report.outputs.class_names == ("cat", "dog", "owl")
    assert open_runtime(out).outputs == report.outputs


def test_find_postprocess_damaged_options_raise(tmp_path: Path) -> None:
    graph = read_tflite(write_ssd(tmp_path / "ssd.tflite"))
    operator = graph.operators[-1]
    assert isinstance(operator.options, g.OpaqueOptions)
    for custom, message in (
        (b"", "damaged|expected options"),
        (bytes(flexbuffers.Dumps({"x": 1})), "expected options"),
    ):
        broken = replace(operator, options=replace(operator.options, custom=custom))
        with pytest.raises(ConversionError, match=message):
            find_postprocess(replace(graph, operators=(*graph.operators[:-1], broken)), "m")
    wide = write_ssd(tmp_path / "wide.tflite", OPTIONS | {"num_classes": 9})
    with pytest.raises(ConversionError, match="says 9 classes, its scores have 4 channels"):
        find_postprocess(read_tflite(wide), "m")
