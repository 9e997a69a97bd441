from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest
import tflite

from edgedet.errors import ConversionError, EdgedetError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.check import check_graph
from edgedet.graph.flatbuffer import parse_tflite, read_tflite, serialize, write_tflite


def make_small() -> g.Graph:
    m = maker.GraphMaker(1)
    x = m.input((1, 9, 7, 3), name="image")
    y = m.conv(x, 8, stride=(2, 2), activation="RELU6")
    z = m.conv(y, 8, (5, 5), depthwise=True, activation="RELU")
    y = m.add("ADD", [y, z], m.tensors[y].shape, (0.03, -7), g.ElementwiseOptions())
    y = m.concat([y, m.pool("MAX_POOL_2D", y, 5, 1)])
    y = m.same("RESIZE_NEAREST_NEIGHBOR", [y, m.constant([10, 8])], (1, 10, 8, 16), g.ResizeOptions())
    return m.graph([m.conv(y, 4, (1, 1), name="out")], (("edgedet", b'{"a":1}'),))


@pytest.fixture(scope="module")
def small() -> g.Graph:
    return make_small()


def with_operator(graph: g.Graph, number: int, **changes: object) -> g.Graph:
    operators = list(graph.operators)
    operators[number] = replace(operators[number], **changes)  # type: ignore[arg-type]
    return replace(graph, operators=tuple(operators))


def with_tensor(graph: g.Graph, number: int, **changes: object) -> g.Graph:
    tensors = list(graph.tensors)
    tensors[number] = replace(tensors[number], **changes)  # type: ignore[arg-type]
    return replace(graph, tensors=tuple(tensors))


def test_serialize_same_graph_twice_gives_same_bytes(small: g.Graph) -> None:
    assert serialize(small) == serialize(small)


def test_parse_of_serialized_graph_gives_equal_graph(small: g.Graph) -> None:
    first = parse_tflite(serialize(small), "small")
    assert first.tensors == small.tensors
    assert [replace(op, version=0) for op in first.operators] == list(small.operators)
    assert parse_tflite(serialize(first), "small") == first
    assert first.metadata == small.metadata


def test_read_write_read_of_another_tools_model_gives_equal_graph(shared_dir: Path, tmp_path: Path) -> None:
    graph = read_tflite(shared_dir / "data" / "example_15_ops_int8.tflite")
    write_tflite(graph, tmp_path / "again.tflite")
    assert read_tflite(tmp_path / "again.tflite") == graph
    assert [path.name for path in tmp_path.iterdir()] == ["again.tflite"]


def test_serialize_opcodes_hold_both_codes_and_int8_versions(small: g.Graph) -> None:
    model = tflite.Model.GetRootAs(serialize(small), 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    found = {code.BuiltinCode(): code.Version() for code in codes}
    op = tflite.BuiltinOperator
    assert found == {
        op.CONV_2D: 3,
        op.DEPTHWISE_CONV_2D: 3,
        op.ADD: 2,
        op.CONCATENATION: 2,
        op.MAX_POOL_2D: 2,
        op.RESIZE_NEAREST_NEIGHBOR: 2,
    }
    assert all(code.DeprecatedBuiltinCode() == code.BuiltinCode() for code in codes)


def test_serialize_constants_are_16_byte_aligned_and_buffer_0_is_empty(small: g.Graph) -> None:
    data = serialize(small)
    assert data[4:8] == b"TFL3"
    model = tflite.Model.GetRootAs(data, 0)
    assert model.Buffers(0).DataLength() == 0
    for index in range(1, model.BuffersLength()):
        table = model.Buffers(index)._tab
        assert table.Vector(table.Offset(4)) % 16 == 0


@pytest.mark.parametrize(
    ("kind", "options", "version"),
    [
        ("RESIZE_NEAREST_NEIGHBOR", g.ResizeOptions(half_pixel_centers=True), 3),
        ("RESIZE_NEAREST_NEIGHBOR", g.ResizeOptions(align_corners=True), 3),
        ("RESIZE_BILINEAR", g.ResizeOptions(align_corners=True), 2),
        ("RESIZE_BILINEAR", g.ResizeOptions(half_pixel_centers=True), 3),
    ],
)
def test_serialize_resize_options_choose_version(kind: str, options: g.ResizeOptions, version: int) -> None:
    m = maker.GraphMaker(0)
    x = m.input((1, 2, 2, 1))
    y = m.same(kind, [x, m.constant([4, 4])], (1, 4, 4, 1), options)
    assert parse_tflite(serialize(m.graph([y])), "r").operators[0].version == version


def test_serialize_mul_whose_rescale_is_above_one_needs_version_3() -> None:
    m = maker.GraphMaker(0)
    a, b = m.input((1, 2, 2, 1), 1.0, 0), m.input((1, 2, 2, 1), 0.5, 0)
    y = m.add("MUL", [a, b], (1, 2, 2, 1), (0.5, 0), g.ElementwiseOptions())
    assert parse_tflite(serialize(m.graph([y])), "m").operators[0].version == 3


def test_serialize_keeps_the_version_of_a_file_and_chooses_where_there_is_none(small: g.Graph) -> None:
    assert all(operator.version == 0 for operator in small.operators)
    old = replace(small, operators=tuple(replace(operator, version=1) for operator in small.operators))
    assert {operator.version for operator in parse_tflite(serialize(old), "old").operators} == {1}


@pytest.mark.parametrize("example", ["small", "other tool"])
def test_parse_truncated_anywhere_raises_or_gives_equal_graph(
    small: g.Graph, request: pytest.FixtureRequest, example: str
) -> None:
    if example == "small":
        data = serialize(small)
    else:
        data = (request.getfixturevalue("shared_dir") / "data" / "example_15_ops_int8.tflite").read_bytes()
    whole = parse_tflite(data, "whole")
    step = 1 if example == "small" else 37
    lengths = {*range(0, len(data), step), *range(max(0, len(data) - 64), len(data))}
    refused = 0
    for length in lengths:
        try:
            graph = parse_tflite(data[:length], "cut.tflite")
        except EdgedetError as error:
            refused += "cut.tflite" in str(error)
        else:
            assert graph == whole  # only padding was cut off
    assert refused > 0.98 * len(lengths)


def test_parse_with_flipped_bytes_raises_edgedet_error_or_gives_checked_graph(small: g.Graph) -> None:
    data = serialize(small)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 6)):
            damaged[position] = rng.integers(0, 256)
        try:
            serialize(parse_tflite(bytes(damaged), "flipped"))
        except EdgedetError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty or truncated"),
        (b"\x1c\x00\x00\x00TFL2" + bytes(64), "TFL2"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "not a TFLite model"),
        (b"version https://git-lfs.github.com/spec/v1\n", "found a pointer of Git LFS"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(64), "damaged or truncated"),
    ],
)
def test_parse_other_bytes_raises_naming_the_file(data: bytes, message: str) -> None:
    with pytest.raises(ConversionError, match=message) as caught:
        parse_tflite(data, "strange.tflite")
    assert str(caught.value).startswith("strange.tflite: ")


def test_parse_truncated_file_says_where_in_own_words(small: g.Graph) -> None:
    sound = serialize(small)
    places = set()
    for length in range(64, len(sound), 16):
        with pytest.raises(ConversionError) as caught:
            parse_tflite(sound[:length], "cut.tflite")
        message = str(caught.value)
        assert message.startswith("cut.tflite: ")
        assert not any(word in message for word in ("unpack", "struct", "buffer is", "index", "NoneType", "must be"))
        places.add(message.partition("expected ")[2].partition(" inside")[0].partition(" (")[0])
    assert len(places) > 3  # the part that is cut is named
    damaged = sound.replace(b"image", b"\xff\xff\xff\xff\xff")
    with pytest.raises(
        ConversionError, match=r"expected tensor \d+ inside its \d+ bytes, found a name that is no UTF-8"
    ):
        parse_tflite(damaged, "cut.tflite")


def test_read_missing_file_and_directory_raise_conversion_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tflite", tmp_path):
        with pytest.raises(ConversionError, match="can't be read"):
            read_tflite(path)


def test_check_graph_float_model_raises_and_says_quantize(small: g.Graph) -> None:
    number = small.operators[0].outputs[0]
    graph = with_tensor(small, number, dtype="float32", quantization=None)
    assert parse_tflite(serialize(graph), "float") != small
    with pytest.raises(ConversionError, match="is float32; edgedet takes fully int8 models"):
        check_graph(graph, "float")


def broken_graphs(small: g.Graph) -> dict[str, tuple[g.Graph, str]]:
    conv, weights = small.operators[0], small.operators[0].inputs[1]
    count = len(small.tensors)
    out = conv.outputs[0]
    return {
        "index too large": (with_operator(small, 0, inputs=(0, weights, count)), f"there are {count} tensors"),
        "index negative": (with_operator(small, 0, inputs=(-1, weights)), "lacks input 0, which is tensor -1"),
        "reads its own output": (with_operator(small, 0, inputs=(out, weights)), "no earlier operator"),
        "order reversed": (replace(small, operators=small.operators[::-1]), "no earlier operator"),
        "written twice": (replace(small, operators=small.operators[:1] * 2 + small.operators[1:]), "written twice"),
        "output not produced": (replace(small, operators=small.operators[:2]), "not produced"),
        "no operators": (replace(small, operators=()), "needs inputs, outputs and operators"),
        "scale 0": (with_tensor(small, out, quantization=maker.quantization(0.0)), "finite and positive"),
        "scale nan": (with_tensor(small, out, quantization=maker.quantization(np.nan)), "finite and positive"),
        "zero point 128": (with_tensor(small, out, quantization=maker.quantization(1.0, 128)), "zero point outside"),
        "7 scales": (with_tensor(small, weights, quantization=maker.quantization(np.ones(7))), "do not fit the shape"),
        "no scale": (with_tensor(small, out, quantization=None), "has no scale"),
        "7 zero points": (
            with_tensor(small, out, quantization=g.Quantization(np.ones(1, np.float32), np.zeros(7, np.int64))),
            "must be .n,. alike",
        ),
        "side 0": (with_tensor(small, out, shape=(1, 0, 4, 8)), "at least 1"),
        "huge": (with_tensor(small, out, shape=(1, 2**15, 2**15, 2**15)), "more than"),
        "data short": (with_tensor(small, weights, data=np.zeros(3, np.int8)), "expected data of int8"),
        "stride 0": (with_operator(small, 0, options=g.ConvOptions(stride=(0, 1))), "out of range"),
        "padding FULL": (with_operator(small, 0, options=g.ConvOptions(padding="FULL")), "out of range"),
        "wrong options": (with_operator(small, 0, options=g.NoOptions()), "takes ConvOptions"),
        "one input": (with_operator(small, 0, inputs=(0,)), "has 1 inputs, expected 2 to 3"),
    }


# What makes a graph unreadable; the other cases can be written and shown, but not run.
UNREADABLE = {
    "index too large", "index negative", "7 zero points", "data short", "stride 0", "padding FULL", "wrong options",
    "one input",
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(broken_graphs(make_small())))
def test_check_graph_broken_graph_raises_saying_what(small: g.Graph, case: str) -> None:
    graph, message = broken_graphs(small)[case]
    with pytest.raises(ConversionError, match=message):
        check_graph(graph, "broken")
    if case in UNREADABLE:
        with pytest.raises(ConversionError, match=message):
            serialize(graph)
    else:
        data = serialize(graph)
        assert serialize(parse_tflite(data, "shown")) == data


def test_serialize_unknown_operator_lists_supported(small: g.Graph) -> None:
    graph = with_operator(small, 0, kind="LSTM")
    with pytest.raises(UnsupportedOpError, match=r"operator 0 \(LSTM\) is not supported; supported are .*ADD, "):
        serialize(graph)


def test_write_tflite_broken_graph_leaves_nothing(small: g.Graph, tmp_path: Path) -> None:
    with pytest.raises(ConversionError):
        write_tflite(with_operator(small, 0, options=g.NoOptions()), tmp_path / "x.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LEAKY_RELU", g.LeakyReluOptions(0.125)),
        ("SOFTMAX", g.SoftmaxOptions(2.0)),
        ("RESHAPE", g.ReshapeOptions((1, -1, 4))),
        ("RESHAPE", g.ReshapeOptions()),
        ("SQUEEZE", g.SqueezeOptions((0,))),
        ("MAX_POOL_2D", g.PoolOptions((3, 2), (2, 1), "VALID", "RELU_N1_TO_1")),
        ("SPACE_TO_DEPTH", g.BlockSizeOptions(2)),
        ("PACK", g.PackOptions(1, -1)),
        ("HARD_SWISH", g.NoOptions()),
        ("LOGISTIC", g.NoOptions()),
    ],
)
def test_options_survive_the_round_trip(kind: str, options: g.Options) -> None:
    m = maker.GraphMaker(0)
    y = m.same(kind, [m.input((1, 4, 4, 4))], (1, 4, 4, 4), options)
    assert parse_tflite(serialize(m.graph([y])), "o").operators[0].options == options


def test_strided_slice_split_and_fully_connected_options_survive_the_round_trip() -> None:
    m = maker.GraphMaker(0)
    x = m.input((1, 4, 4, 4))
    index = [m.constant([0, 0, 0, 0]) for _ in range(3)]
    sliced = m.same("STRIDED_SLICE", [x, *index], (1, 4, 4, 4), g.StridedSliceOptions(1, 2, 4, 8, 16))
    split = m.same("SPLIT", [m.constant(3), sliced], (1, 4, 4, 4), g.SplitOptions(1))
    weights = m.tensor((2, 64), "int8", maker.quantization(0.1), np.ones((2, 64), np.int8))
    dense = m.same("FULLY_CONNECTED", [split, weights, -1], (1, 2), g.FullyConnectedOptions("RELU", True))
    graph = m.graph([dense])
    read = parse_tflite(serialize(graph), "o")
    assert [op.options for op in read.operators] == [op.options for op in graph.operators]
    assert read.operators[-1].inputs[-1] == -1
