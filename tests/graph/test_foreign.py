"""Files with what edgedet can't run: read, shown, written again, and refused by name by who runs them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import foreign_files as files
import numpy as np
import pytest

from edgedet.errors import ConversionError, EdgedetError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.check import check_graph
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.summary import summarize
from edgedet.simulate.simulator import Simulator

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
OP = schema.BuiltinOperator
INT8, FLOAT16, STRING, RESOURCE, UINT32, INT4 = 9, 1, 5, 13, 15, 17


def round_trip(data: bytes) -> g.Graph:
    graph = parse_tflite(data, "foreign")
    written = serialize(graph)
    again = parse_tflite(written, "again")
    assert again == graph
    assert serialize(again) == written
    return graph


def scores(model: Any) -> int:
    return model.subgraphs[0].outputs[0]


def svdf(model: Any) -> None:
    options = schema.SVDFOptionsT()
    options.rank, options.fusedActivationFunction, options.asymmetricQuantizeInputs = 2, 1, True
    state = files.add_tensor(model, [1, 6], isVariable=True)
    inputs = [scores(model), scores(model), scores(model), -1, state]
    files.add_operator(model, OP.SVDF, inputs, [files.add_tensor(model, [1, 4])], options=options)


def lstm(model: Any) -> None:
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.cellClip, options.timeMajor = 10.0, True
    inner = files.add_tensor(model, [], kind=0)
    files.add_operator(
        model,
        OP.UNIDIRECTIONAL_SEQUENCE_LSTM,
        [scores(model), -1],
        [files.add_tensor(model, [1, 4])],
        options=options,
        intermediates=[inner, inner],
        mutatingVariableInputs=[False, True],
    )


def custom(model: Any) -> None:
    out = files.add_tensor(model, [1, 4])
    options = list(b"\x01\x02flexbuffer\x00")
    files.add_operator(
        model, OP.CUSTOM, [scores(model)], [out], custom="TFLite_Detection_PostProcess", customOptions=options
    )


def bucketize(model: Any) -> None:
    options = schema.BucketizeOptionsT()
    options.boundaries = [0.5, 1.25]
    files.add_operator(model, OP.BUCKETIZE, [scores(model)], [files.add_tensor(model, [1, 4], 2)], options=options)


def var_handle(model: Any) -> None:
    options = schema.VarHandleOptionsT()
    options.container, options.sharedName = b"", b"state"
    files.add_operator(model, OP.VAR_HANDLE, [], [files.add_tensor(model, [], RESOURCE)], options=options)


def newer_than_edgedet(model: Any) -> None:
    files.add_operator(model, 999, [scores(model)], [files.add_tensor(model, [1, 4])])


OPERATORS: dict[str, tuple[Callable[[Any], None], g.OpaqueOptions, str]] = {
    "SVDF": (
        svdf,
        g.OpaqueOptions(
            "",
            "SVDFOptions",
            (
                g.OpaqueField("AsymmetricQuantizeInputs", "", True),
                g.OpaqueField("FusedActivationFunction", "", 1),
                g.OpaqueField("Rank", "", 2),
            ),
        ),
        r"operator 2 \(SVDF, writes 'extra'\) is not supported; supported are",
    ),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        lstm,
        g.OpaqueOptions(
            "",
            "UnidirectionalSequenceLSTMOptions",
            (g.OpaqueField("CellClip", "", 10.0), g.OpaqueField("TimeMajor", "", True)),
            intermediates=(7, 7),
            mutating=(False, True),
        ),
        "operator 2 .UNIDIRECTIONAL_SEQUENCE_LSTM, writes 'extra'. is not supported",
    ),
    "CUSTOM (TFLite_Detection_PostProcess)": (
        custom,
        g.OpaqueOptions("", custom=b"\x01\x02flexbuffer\x00"),
        "CUSTOM .TFLite_Detection_PostProcess., writes 'extra'. is not supported",
    ),
    "BUCKETIZE": (
        bucketize,
        g.OpaqueOptions("", "BucketizeOptions", (g.OpaqueField("Boundaries", "float32", (0.5, 1.25)),)),
        "operator 2 .BUCKETIZE",
    ),
    "VAR_HANDLE": (
        var_handle,
        g.OpaqueOptions("", "VarHandleOptions", (g.OpaqueField("SharedName", "string", b"state"),)),
        "operator 2 .VAR_HANDLE",
    ),
    "number 999": (newer_than_edgedet, g.OpaqueOptions(""), "operator 2 .number 999, writes 'extra'. is not supported"),
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_unknown_operators_keep_their_options_and_are_refused_by_name(kind: str) -> None:
    edit, expected, message = OPERATORS[kind]
    graph = round_trip(files.edited(files.plain(), edit))
    operator = graph.operators[2]
    assert operator.kind == kind
    assert isinstance(operator.options, g.OpaqueOptions)
    found = {name: getattr(operator.options, name) for name in ("table", "custom", "intermediates", "mutating")}
    assert found == {name: getattr(expected, name) for name in found}
    # A default that LiteRT's writer stores as bytes is stored again, an empty container for one.
    assert set(expected.fields) <= set(operator.options.fields)
    with pytest.raises(UnsupportedOpError, match=message):
        Simulator(graph)
    assert f"operator 2 ({kind}, writes 'extra') is not supported" in summarize(graph).to_text()


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("ethos-u", "Vela for Arm Ethos-U"),
        ("edgetpu-custom-op", "the Edge TPU compiler for Google Coral"),
        ("XC_conv2d_v2", "xformer for XMOS xcore"),
    ],
)
def test_files_of_accelerators_compilers_are_told_to_come_before_the_compiler(name: str, maker: str) -> None:
    def compiled(model: Any) -> None:
        files.add_operator(model, OP.CUSTOM, [scores(model)], [files.add_tensor(model, [1, 4])], custom=name)

    graph = round_trip(files.edited(files.plain(), compiled))
    message = rf"holds a part of the network compiled by {maker}.*give the \.tflite from before the compiler"
    with pytest.raises(UnsupportedOpError, match=rf"operator 2 \(CUSTOM \({name}\), writes 'extra'\) {message}"):
        check_graph(graph, "npu")
    assert "from before the compiler" in summarize(graph).to_text()


def constant(kind: int, shape: list[int], content: bytes) -> Callable[[Any], None]:
    def edit(model: Any) -> None:
        files.add_tensor(model, shape, kind, buffer=files.add_data(model, content))

    return edit


def quantization(**fields: Any) -> Any:
    table = schema.QuantizationParametersT()
    for name, value in fields.items():
        setattr(table, name, value)
    return table


def custom_quantization(model: Any) -> None:
    details = schema.CustomQuantizationT()
    details.custom = list(b"secret")
    kind = schema.QuantizationDetails.CustomQuantization
    files.add_tensor(model, [1], quantization=quantization(detailsType=kind, details=details))


TENSORS: dict[str, tuple[Callable[[Any], None], str]] = {
    "float16": (constant(FLOAT16, [2], bytes(4)), "type float16 is not one of int8, int16"),
    "uint32": (constant(UINT32, [1], bytes(4)), "type uint32 is not one of"),
    "int4": (constant(INT4, [3], b"\x12\x03"), "type int4 is not one of"),
    "string": (constant(STRING, [1], b"\x01\0\0\0\x0c\0\0\0\x0e\0\0\0hi"), "type string is not one of"),
    "resource": (lambda model: files.add_tensor(model, [], RESOURCE), "type resource is not one of"),
    "type 77": (lambda model: files.add_tensor(model, [1], 77), "type type 77 is not one of"),
    "variable": (lambda model: files.add_tensor(model, [1, 6], isVariable=True), "is a variable, state from one"),
    "dynamic": (lambda model: files.add_tensor(model, [-1, 6], shapeSignature=[-1, 6]), "shape .-1, 6. is not fixed"),
    "custom quantization": (custom_quantization, "has custom quantization"),
}


@pytest.mark.parametrize("what", TENSORS)
def test_foreign_tensors_are_shown_kept_and_refused_by_position(what: str) -> None:
    edit, message = TENSORS[what]
    graph = round_trip(files.edited(files.plain(), edit))
    position = len(graph.tensors) - 1
    with pytest.raises(ConversionError, match=rf"file: tensor {position} \('extra'\): {message}"):
        check_graph(graph, "file")
    assert f"unsupported            tensor {position} ('extra')" in summarize(graph).to_text()


def test_shape_signature_rank_and_training_ranges_survive_and_do_not_hinder() -> None:
    def edit(model: Any) -> None:
        tensor = model.subgraphs[0].tensors[0]
        tensor.shapeSignature, tensor.hasRank = [-1, 9, 8, 3], True
        tensor.quantization.min, tensor.quantization.max = [0.0], [1.0]

    graph = round_trip(files.edited(files.plain(), edit))
    extras = g.TensorExtras(shape_signature=(-1, 9, 8, 3), has_rank=True, minimum=(0.0,), maximum=(1.0,))
    assert graph.tensors[0].extras == extras
    Simulator(graph)


def test_sparse_tensor_is_shown_but_not_written() -> None:
    def edit(model: Any) -> None:
        sparsity = schema.SparsityParametersT()
        sparsity.traversalOrder, sparsity.blockMap, sparsity.dimMetadata = [0], [], []
        files.add_tensor(model, [4], buffer=files.add_data(model, b"\x05"), sparsity=sparsity)

    graph = parse_tflite(files.edited(files.plain(), edit), "sparse")
    position = len(graph.tensors) - 1
    with pytest.raises(ConversionError, match=rf"tensor {position} \('extra'\) is sparse, which edgedet shows"):
        serialize(graph)
    with pytest.raises(ConversionError, match=rf"tensor {position} \('extra'\): is sparse; export a plain model"):
        check_graph(graph, "sparse")


def test_constant_without_elements_is_a_constant() -> None:
    def edit(model: Any) -> None:  # RESHAPE to a scalar: its shape has no entries
        shape = files.add_tensor(model, [0], 2)
        out = files.add_tensor(model, [])
        model.subgraphs[0].tensors[out].quantization = quantization(scale=[1.0], zeroPoint=[0])
        one = files.add_tensor(model, [1, 1, 1, 1], quantization=quantization(scale=[1.0], zeroPoint=[0]))
        model.subgraphs[0].inputs = [*model.subgraphs[0].inputs, one]
        model.subgraphs[0].outputs = [*model.subgraphs[0].outputs, out]
        files.add_operator(model, OP.RESHAPE, [one, shape], [out])

    graph = round_trip(files.edited(files.plain(), edit))
    data = graph.tensors[graph.operators[2].inputs[1]].data
    assert data is not None
    assert data.shape == (0,)
    codes = np.zeros((1, 9, 8, 3), np.int8), np.full((1, 1, 1, 1), 5, np.int8)
    assert int(Simulator(graph).invoke(*codes)[1]) == 5


def second_subgraph(model: Any) -> None:
    body = schema.SubGraphT()
    body.name, body.tensors, body.operators, body.inputs, body.outputs = b"body", [], [], [0], [1]
    model.subgraphs.append(body)
    source, target = (files.add_tensor(model, [1, 4], subgraph=1) for _ in range(2))
    body.tensors[1].buffer = 0
    files.add_operator(model, OP.ABS, [source], [target], subgraph=1)
    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = 1, 1
    files.add_operator(model, OP.WHILE, [scores(model)], [files.add_tensor(model, [1, 4])], options=options)


def test_several_subgraphs_survive_with_the_operators_that_call_them() -> None:
    graph = round_trip(files.edited(files.plain(), second_subgraph))
    assert [subgraph.name for subgraph in graph.subgraphs] == ["main", "body"]
    assert [operator.kind for operator in graph.others[0].operators] == ["ABS"]
    text = summarize(graph).to_text()
    assert "subgraph 1             body: 1 operators (ABS 1)" in text
    with pytest.raises(UnsupportedOpError, match=r"operator 2 \(WHILE, writes 'extra'\) is not supported"):
        Simulator(graph)
    with pytest.raises(ConversionError, match=r"2 subgraphs, of which 'body' can't run"):
        check_graph(parse_tflite(files.edited(files.plain(), unused_subgraph), "file"), "file")


def unused_subgraph(model: Any) -> None:
    second_subgraph(model)
    model.subgraphs[0].operators.pop()


def test_weights_that_two_subgraphs_share_are_written_once() -> None:
    def edit(model: Any) -> None:
        body = schema.SubGraphT()
        body.name, body.tensors, body.operators = b"again", model.subgraphs[0].tensors, model.subgraphs[0].operators
        body.inputs, body.outputs = model.subgraphs[0].inputs, model.subgraphs[0].outputs
        model.subgraphs.append(body)

    one, two = files.plain(), files.edited(files.plain(), edit)
    graph = round_trip(two)
    assert graph.others[0].tensors == graph.tensors
    weights = sum(t.data.nbytes for t in graph.tensors if t.data is not None)
    # Two descriptions of the network, but one set of weights.
    assert len(serialize(graph)) < 2 * len(one) - weights + 256


def test_signatures_metadata_and_description_survive() -> None:
    def edit(model: Any) -> None:
        model.description = b"made by hand"
        signature, source, target = schema.SignatureDefT(), schema.TensorMapT(), schema.TensorMapT()
        source.name, source.tensorIndex = b"picture", model.subgraphs[0].inputs[0]
        target.name, target.tensorIndex = b"found", scores(model)
        signature.signatureKey, signature.inputs, signature.outputs = b"serving_default", [source], [target]
        signature.subgraphIndex = 0
        model.signatureDefs = [signature]
        model.metadata = []
        for name, content in ((b"min_runtime_version", b"1.14.0"), (b"TFLITE_METADATA", b"\x10\0\0\0M001")):
            entry = schema.MetadataT()
            entry.name, entry.buffer = name, files.add_data(model, content)
            model.metadata.append(entry)

    graph = round_trip(files.edited(files.plain(), edit))
    assert graph.signatures == (
        g.Signature("serving_default", (("picture", graph.inputs[0]),), (("found", graph.outputs[0]),)),
    )
    assert graph.metadata == (("min_runtime_version", b"1.14.0"), ("TFLITE_METADATA", b"\x10\0\0\0M001"))
    assert graph.description == "made by hand"
    assert "signature              serving_default: picture -> found" in summarize(graph).to_text()
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=serialize(graph))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["picture"], "outputs": ["found"]}}


def archive(comment: bytes = b"") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("labels.txt", "cat\ndog\n" * 20)
        file.writestr("more/vocabulary.txt", "word")
        file.comment = comment
    return content.getvalue()


def appended_as_tflite_metadata_does(data: bytes) -> bytes:
    """Offsets in the archive count from the start of the file."""
    content = io.BytesIO(data)
    with zipfile.ZipFile(content, "a") as file:
        file.writestr("labels.txt", "cat\ndog\n" * 20)
        file.writestr("more/vocabulary.txt", "word")
    return content.getvalue()


@pytest.mark.parametrize("joined", ["by zipfile", "with cat", "with a comment"])
def test_label_files_behind_the_flatbuffer_survive_a_rewrite_of_another_length(joined: str) -> None:
    plain = files.edited(files.plain(), lambda model: None)  # LiteRT's layout: the length differs from ours
    if joined == "by zipfile":
        data = appended_as_tflite_metadata_does(plain)
    else:
        data = plain + archive(b"labels" if joined == "with a comment" else b"")
    graph = round_trip(data)
    written = serialize(graph)
    assert len(written) != len(data)
    with zipfile.ZipFile(io.BytesIO(written)) as file:
        assert file.testzip() is None
        assert file.read("labels.txt") == b"cat\ndog\n" * 20
        assert file.namelist() == ["labels.txt", "more/vocabulary.txt"]
        # Offsets are those of the file itself, as TFLite Metadata writes them.
        first = file.getinfo("labels.txt").header_offset
    assert written[first : first + 4] == b"PK\x03\x04"
    assert serialize(parse_tflite(written, "again")) == written
    assert "appended archive       labels.txt, more/vocabulary.txt" in summarize(graph).to_text()


@pytest.mark.parametrize("damage", ["no directory", "offset behind the end", "cut", "bytes behind"])
def test_damaged_archive_behind_the_flatbuffer_is_ignored(damage: str) -> None:
    plain, zipped = files.plain(), bytearray(archive())
    if damage == "no directory":
        zipped[zipped.index(b"PK\x01\x02")] = 0
    elif damage == "offset behind the end":
        place = zipped.index(b"PK\x01\x02")
        zipped[place + 42 : place + 46] = b"\xff\xff\xff\x7f"
        second = zipped.index(b"PK\x01\x02", place + 4)
        zipped[second + 42 : second + 46] = b"\xff\xff\xff\x7f"
    elif damage == "cut":
        del zipped[-3:]
    else:
        zipped += b"tail"
    graph = parse_tflite(plain + bytes(zipped), "file")
    assert graph.appended == b""
    assert graph == parse_tflite(plain, "file")


@pytest.mark.parametrize("writer", ["both", "only the new field", "only the byte"])
def test_operator_codes_of_every_kind_of_writer(writer: str) -> None:
    def edit(model: Any) -> None:
        out = files.add_tensor(model, [1, 5, 4, 4], quantization=quantization(scale=[0.5], zeroPoint=[3]))
        files.add_operator(model, OP.QUANTIZE, [scores(model)], [out])
        for code in model.operatorCodes:
            if writer == "only the new field":  # ai-edge-quantizer 0.10
                code.deprecatedBuiltinCode = 0
            elif writer == "only the byte":  # converters of before 2020
                code.builtinCode = 0

    graph = round_trip(files.edited(files.plain(), edit))
    assert [operator.kind for operator in graph.operators] == ["CONV_2D", "CONV_2D", "QUANTIZE"]
    model = schema.Model.GetRootAs(serialize(graph), 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    assert all(code.BuiltinCode() == code.DeprecatedBuiltinCode() for code in codes)


def test_operator_code_above_the_byte_has_its_placeholder() -> None:
    def edit(model: Any) -> None:
        files.add_operator(model, OP.RELU_0_TO_1, [scores(model)], [files.add_tensor(model, [1, 5, 4, 4])])

    graph = round_trip(files.edited(files.plain(), edit))
    assert graph.operators[2].kind == "RELU_0_TO_1"
    model = schema.Model.GetRootAs(serialize(graph), 0)
    assert (model.OperatorCodes(1).BuiltinCode(), model.OperatorCodes(1).DeprecatedBuiltinCode()) == (152, 127)


def test_bias_with_the_axis_of_the_weights_runs_as_in_tflite_micro() -> None:
    def edit(model: Any) -> None:
        for operator in model.subgraphs[0].operators:
            model.subgraphs[0].tensors[operator.inputs[2]].quantization.quantizedDimension = 3

    data = files.edited(files.plain(), edit)
    graph = round_trip(data)
    codes = np.random.default_rng(0).integers(-128, 128, (1, 9, 8, 3)).astype(np.int8)
    chip = pytest.importorskip("tflite_micro").runtime.Interpreter.from_bytes(data)
    chip.set_input(codes, 0)
    chip.invoke()
    np.testing.assert_array_equal(Simulator(graph).invoke(codes)[0], chip.get_output(0))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: setattr(m.subgraphs[0], "outputs", [99]), "model output is tensor 99, but there are"),
        (
            lambda m: setattr(m.subgraphs[0].operators[1], "outputs", [-1]),
            "operator 1 .CONV_2D.: output 0 is",
        ),
        (lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 7), "operator 0 has code 7, there are 1"),
        (lambda m: setattr(m, "subgraphs", []), "no subgraph"),
        (lambda m: setattr(m, "version", 2), "schema version 2, expected 3"),
    ],
)
def test_broken_files_are_refused_saying_what(edit: Callable[[Any], None], message: str) -> None:
    with pytest.raises(EdgedetError, match=f"broken: .*{message}|broken: {message}"):
        parse_tflite(files.edited(files.plain(), edit), "broken")
