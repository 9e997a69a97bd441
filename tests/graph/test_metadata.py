from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConversionError
from edgedet.graph.graph import Graph, NoOptions, Operator, Quantization, Tensor
from edgedet.graph.metadata import Contracts, contract_metadata, read_contracts
from edgedet.head_spec import HeadSpec

PREPROCESS = PreprocessSpec(width=96, height=64, mean=(1.5, 2.0, 3.0))
OUTPUTS = OutputSpec(class_names=("a", "b", "c", "dé"), strides=(8, 16), category_ids=(3, 1, 7, 9))
ORDER = ("box_16", "cls_8", "cls_16", "box_8")


def quantized(name: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor(name, shape, "int8", Quantization(np.array([0.1], np.float32), np.array([0])))


def detector(order: tuple[str, ...] = ORDER, size: tuple[int, int] = (64, 96), channels: int = 4) -> Graph:
    """Four classes: class and box tensors have the same shapes, only names tell them apart."""
    tensors = [quantized("image", (1, *size, 3))]
    for name in order:
        stride = int(name.split("_")[1])
        tensors.append(quantized(name, (1, size[0] // stride, size[1] // stride, channels)))
    operators = tuple(Operator("LOGISTIC", (0,), (i,), NoOptions()) for i in range(1, len(tensors)))
    metadata = (("other", b"\x00\x01"), contract_metadata(PREPROCESS, OUTPUTS))
    return Graph(tuple(tensors), operators, (0,), tuple(range(1, len(tensors))), metadata)


def test_read_contracts_four_classes_finds_outputs_by_name() -> None:
    found = read_contracts(detector(), "m.tflite")
    assert found == Contracts(PREPROCESS, OUTPUTS, (1, 3, 2, 0))
    graph = detector()
    names = [graph.tensors[graph.outputs[i]].name for i in found.output_indices]
    assert tuple(names) == OUTPUTS.tensor_names


def test_read_contracts_mapped_tensor_names_are_followed() -> None:
    names = {name: f"Identity_{i}" for i, name in enumerate(OUTPUTS.tensor_names)}
    graph = detector()
    tensors = [replace(t, name=names.get(t.name, t.name)) for t in graph.tensors]
    entry = contract_metadata(PREPROCESS, OUTPUTS, names)
    found = read_contracts(replace(graph, tensors=tuple(tensors), metadata=(entry,)), "m.tflite")
    assert found.output_indices == (1, 3, 2, 0)


def test_contract_metadata_is_deterministic_json() -> None:
    name, blob = contract_metadata(PREPROCESS, OUTPUTS)
    assert (name, blob) == contract_metadata(PREPROCESS, OUTPUTS)
    content = json.loads(blob)
    assert (name, content["version"]) == ("edgedet", 1)
    assert content["tensors"]["cls_8"] == "cls_8"


def test_contract_metadata_incomplete_names_raises() -> None:
    with pytest.raises(ConversionError, match="expected exactly"):
        contract_metadata(PREPROCESS, OUTPUTS, {"cls_8": "x"})


def test_read_contracts_without_metadata_says_what_to_do() -> None:
    with pytest.raises(ConversionError, match=r"m\.tflite: 0 metadata buffers .*edgedet quantize"):
        read_contracts(replace(detector(), metadata=()), "m.tflite")


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "version None"),
        (b'{"version":4}', "version 4, this edgedet reads versions 1 to 3"),
        (
            b'{"version":3,"preprocess":{"width":32,"height":32},"outputs":{"class_names":["a","b"],'
            b'"class_thresholds":[0.5]},"tensors":{}}',
            "class_thresholds: expected 2 numbers inside",
        ),
        (
            b'{"version":3,"preprocess":{"width":32,"height":32},"outputs":{"class_names":["a","b"],'
            b'"class_thresholds":[0.5,0.4]},"tensors":{}}',
            "score_threshold must be the lowest of class_thresholds, 0.4, got 0.25",
        ),
        (b'{"version":1}', "is wrong"),
        (b'{"version":1,"preprocess":{"width":0,"height":32},"outputs":{},"tensors":{}}', "whole number of px"),
        (
            b'{"version":2,"preprocess":{"width":32,"height":32},"outputs":{"class_names":["a"],"head":{"kind":"rcnn"}},'
            b'"tensors":{}}',
            "head must be one of rtmdet",
        ),
        (
            b'{"version":2,"preprocess":{"width":32,"height":32},"outputs":{"class_names":["a"],"head":{"gamma":1}},'
            b'"tensors":{}}',
            "outputs: head: unknown keys gamma",
        ),
        (b'{"version":1,"preprocess":{"width":32,"height":32,"x":1},"outputs":{},"tensors":{}}', "unknown keys"),
        (b'{"version":1,"preprocess":5,"outputs":{},"tensors":{}}', "is wrong"),
        (
            b'{"version":1,"preprocess":{"width":32,"height":32},"outputs":{"class_names":["a"],"strides":[0]},'
            b'"tensors":{"cls_0":"a","box_0":"b"}}',
            "strides, each of them, must be in 1..4096, got 0",
        ),
        (
            b'{"version":1,"preprocess":{"width":32,"height":32,"mean":["a","b","c"]},"outputs":{"class_names":["a"],'
            b'"strides":[8]},"tensors":{"cls_8":"a","box_8":"b"}}',
            "preprocess: mean: expected float, got 'a'",
        ),
        (
            b'{"version":1,"preprocess":{"width":32,"height":32,"pad_value":1.5},"outputs":{"class_names":["a"],'
            b'"strides":[8]},"tensors":{"cls_8":"a","box_8":"b"}}',
            "preprocess: pad_value: expected int, got 1.5",
        ),
    ],
)
def test_read_contracts_wrong_json_raises_naming_the_file(blob: bytes, message: str) -> None:
    with pytest.raises(ConversionError, match=message) as caught:
        read_contracts(replace(detector(), metadata=(("edgedet", blob),)), "m.tflite")
    assert str(caught.value).startswith("m.tflite: ")


def test_read_contracts_missing_output_names_what_is_there() -> None:
    with pytest.raises(
        ConversionError, match=r"box_8 should be one tensor named 'box_8'; the outputs are box_16, cls_8"
    ):
        read_contracts(detector(ORDER[:3]), "m.tflite")


def test_read_contracts_other_class_count_raises() -> None:
    with pytest.raises(ConversionError, match=r"cls_8 has shape \(1, 8, 12, 5\), expected \(1, 8, 12, 4\)"):
        read_contracts(detector(channels=5), "m.tflite")


def test_read_contracts_other_input_size_raises() -> None:
    with pytest.raises(ConversionError, match=r"one input of \(1, 64, 96, 3\), the graph has \(1, 96, 64, 3\)"):
        read_contracts(detector(size=(96, 64)), "m.tflite")


def test_read_contracts_rows_of_cells_are_accepted_as_sscma_writes_them() -> None:
    graph = detector()
    flat = [replace(t, shape=(1, t.shape[1] * t.shape[2], 4)) if t.name in ORDER else t for t in graph.tensors]
    assert read_contracts(replace(graph, tensors=tuple(flat)), "m.tflite").output_indices == (1, 3, 2, 0)


def test_contract_metadata_described_head_has_version_2_and_reads_back() -> None:
    head = HeadSpec(kind="yolox", coding="yolox", tensors=("box_8", "cls_8"), objectness=False)
    outputs = OutputSpec(("a", "b", "c", "d"), strides=(8,), head=head)
    name, blob = contract_metadata(PREPROCESS, outputs)
    assert json.loads(blob)["version"] == 2
    graph = replace(detector(), metadata=((name, blob),))
    assert read_contracts(graph, "m.tflite") == Contracts(PREPROCESS, outputs, (3, 1))


def _json_with(part: str, key: str, value: str) -> bytes:
    """A contract with one value in place of a sound one; `value` is JSON text."""
    content = json.loads(contract_metadata(PREPROCESS, OUTPUTS)[1])
    content[part][key] = "PLACE"
    return json.dumps(content).replace('"PLACE"', value).encode()


@pytest.mark.parametrize("value", ['"100;\\nvoid f(void) {}"', "true", "1.5", "1" + "0" * 18, "1" + "0" * 400, "NaN",
                                   "Infinity", "null", "[1]", "{}", '"\\ud800"', "-1"])  # fmt: skip
@pytest.mark.parametrize(
    ("part", "key"),
    [("outputs", "max_detections"), ("outputs", "nms_iou"), ("outputs", "class_names"), ("outputs", "strides"),
     ("outputs", "head"), ("preprocess", "pad_value"), ("preprocess", "mean"), ("preprocess", "std"),
     ("preprocess", "width"), ("preprocess", "resize"), ("tensors", "cls_8")],
)  # fmt: skip
def test_read_contracts_value_of_another_kind_names_file_and_key(part: str, key: str, value: str) -> None:
    if (key, value[0]) == ("cls_8", '"') and value != '"\\ud800"':
        pytest.skip("a name of a tensor")
    if (key, value) in (("strides", "[1]"), ("head", "{}")):
        pytest.skip("is one of that kind")
    with pytest.raises(ConversionError, match=rf"m\.tflite: metadata 'edgedet' is wrong: .*{key}"):
        read_contracts(replace(detector(), metadata=(("edgedet", _json_with(part, key, value)),)), "m.tflite")


@pytest.mark.parametrize("version", ["true", "1.0", '"1"', "[1]"])
def test_read_contracts_version_of_another_type_is_none(version: str) -> None:
    blob = contract_metadata(PREPROCESS, OUTPUTS)[1].replace(b'"version":1', f'"version":{version}'.encode())
    with pytest.raises(ConversionError, match="has version"):
        read_contracts(replace(detector(), metadata=(("edgedet", blob),)), "m.tflite")


def test_contract_metadata_thresholds_of_classes_have_version_3_and_read_back() -> None:
    plain = contract_metadata(PREPROCESS, OUTPUTS)
    outputs = OUTPUTS.with_thresholds((0.5, 0.25, 0.9, 0.25))
    name, blob = contract_metadata(PREPROCESS, outputs)
    content = json.loads(blob)
    assert (content["version"], content["outputs"]["class_thresholds"]) == (3, [0.5, 0.25, 0.9, 0.25])
    assert content["outputs"]["score_threshold"] == 0.25
    assert read_contracts(replace(detector(), metadata=((name, blob),)), "m").outputs == outputs
    # Equal ones are one for all: the file is what it was before classes had thresholds, byte by byte.
    assert contract_metadata(PREPROCESS, outputs.with_thresholds((0.25,) * 4)) == plain
    assert b"class_thresholds" not in plain[1]
