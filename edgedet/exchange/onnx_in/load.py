"""An ONNX file of a stranger: read without trust, its sizes fixed, its constants folded."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.fileio import read_bytes

FIRST_OPSET, LAST_OPSET = 11, 20
OLDEST_OPSET = 7  # older than FIRST_OPSET, but onnx's version converter brings it there
CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")
MAX_SIDE_PX = 4096
_QUANTIZED = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """A network of fixed sizes, simplified."""

    path: Path
    model: Any  # onnx.ModelProto
    input_name: str
    input_shape: tuple[int, int, int, int]  # (1, channels, height, width)
    is_quantized: bool  # holds QuantizeLinear and DequantizeLinear
    notes: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the input, px."""
        return self.input_shape[3], self.input_shape[2]


def load_onnx(path: Path, imgsz: tuple[int, int] | None = None) -> OnnxNetwork:
    """Read and simplify an ONNX file.

    Args:
        path: the file; weights in files beside it are read when they lie in its folder.
        imgsz: (width, height) px, for files that leave their input size open.
    Returns:
        The network with batch 1, its constants folded and its BatchNorms in the convolutions.
    Raises:
        ConversionError: missing or damaged file, opset, input or sizes that don't fit.
        UnsupportedOpError: control flow, or operators that ONNX does not define.
    """
    import onnx

    model = _parse(path)
    _read_external_data(model, path)
    notes = []
    model, note = _known_opset(model, path)
    notes += note
    _require_known_operators(model, path)
    name, shape = _fixed_input(model, path, imgsz)
    if any(dim != found for dim, found in zip(shape, _dims(_input_of(model, path)), strict=True)):
        notes.append(f"input {name}: its size was left open; {shape[3]}x{shape[2]} px, batch 1")
    is_quantized = any(node.op_type in _QUANTIZED for node in model.graph.node)
    if is_quantized:
        _set_input(model, name, shape)
        simple = model
    else:
        simple = _simplified(model, name, shape, path)
    _refuse_control_flow(simple, path)
    with _calm(path, "the shapes of its tensors can't be worked out"):
        simple = onnx.shape_inference.infer_shapes(simple, data_prop=True)
    return OnnxNetwork(path, simple, name, shape, is_quantized, tuple(notes))


def _parse(path: Path) -> Any:
    import onnx

    try:
        data = read_bytes(path)
    except OSError as error:
        raise ConversionError(f"{path}: can't be read ({error.strerror}); give the path of a .onnx file") from error
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # google.protobuf's DecodeError, which no package promises
        raise ConversionError(
            f"{path}: not an ONNX model, or a truncated one ({_short(error)}); export or copy it again"
        ) from error
    if not model.graph.node:
        raise ConversionError(f"{path}: an ONNX model without operators; export or copy it again")
    return model


def _read_external_data(model: Any, path: Path) -> None:
    """Weights in other files: only in the model's own folder, or below it."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

    folder = path.parent.resolve()
    for tensor in _all_tensors(model.graph):
        if not uses_external_data(tensor):
            continue
        info = {entry.key: entry.value for entry in tensor.external_data}
        location = info.get("location", "")
        target = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
            raise ConversionError(
                f"{path}: tensor {tensor.name} lies in {location!r}, outside the folder of the model; put its data "
                "beside the model and export it again"
            )
        if not target.is_file():
            raise ConversionError(f"{path}: tensor {tensor.name}: {target} is missing; copy it beside the model")
        try:
            load_external_data_for_tensor(tensor, str(folder))
        except Exception as error:  # onnx raises what its checks and NumPy meet
            raise ConversionError(
                f"{path}: tensor {tensor.name} of {target}: {_short(error)}; copy it again"
            ) from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _all_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _all_tensors(inner)


def _known_opset(model: Any, path: Path) -> tuple[Any, list[str]]:
    """The model at a known opset; old ones are brought there by onnx itself."""
    import onnx

    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    version = int(versions[0]) if versions else 0
    if FIRST_OPSET <= version <= LAST_OPSET:
        return model, []
    if not OLDEST_OPSET <= version < FIRST_OPSET:
        raise ConversionError(
            f"{path}: opset {version or 'unknown'}, expected {FIRST_OPSET} to {LAST_OPSET}; export it again, for "
            "example with torch.onnx.export(..., opset_version=17)"
        )
    with _calm(path, f"opset {version} can't be brought to {FIRST_OPSET}, which is the oldest that edgedet reads"):
        model = onnx.version_converter.convert_version(model, 13)
    return model, [f"opset {version}: brought to 13 by onnx's version converter"]


def _require_known_operators(model: Any, path: Path) -> None:
    import onnx

    unknown = Counter(
        f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        for node in model.graph.node
        if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type)
    )
    own = {function.name for function in model.functions}
    unknown = Counter({name: n for name, n in unknown.items() if name.rpartition("::")[2] not in own})
    if unknown:
        first = next(n for n in model.graph.node if n.op_type == next(iter(unknown)).rpartition("::")[2])
        raise UnsupportedOpError(
            f"{path}: node {first.name or first.output[0]!r}: operator {', '.join(unknown)} is not ONNX's own; export "
            "the network without it, or in front of it"
        )


def _input_of(model: Any, path: Path) -> Any:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ConversionError(
            f"{path}: inputs {', '.join(v.name for v in inputs) or 'none'}; expected one, the image: export the "
            "network without the others"
        )
    return inputs[0]


def _dims(value: Any) -> list[int]:
    """Sizes of a value; 0 where they are left open."""
    return [max(int(dim.dim_value), 0) for dim in value.type.tensor_type.shape.dim]


def _fixed_input(model: Any, path: Path, imgsz: tuple[int, int] | None) -> tuple[str, tuple[int, int, int, int]]:
    """Name and (1, channels, height, width) of the image."""
    import onnx

    value = _input_of(model, path)
    dims, kind = _dims(value), value.type.tensor_type.elem_type
    where = f"{path}: input {value.name}"
    if kind != onnx.TensorProto.FLOAT:
        name = onnx.TensorProto.DataType.Name(kind).lower() if kind else "no tensor"
        raise ConversionError(f"{where}: {name}, expected float32; export the network in float32")
    if len(dims) != 4:
        raise ConversionError(f"{where}: {len(dims)} axes, expected 4: (batch, channels, height, width)")
    batch, channels, height, width = dims
    if channels not in (0, 1, 3) and width in (1, 3):
        raise ConversionError(f"{where}: shape {tuple(dims)} is NHWC; expected NCHW, as torch exports it")
    if batch > 1 or channels not in (1, 3):
        raise ConversionError(f"{where}: shape {tuple(dims)}, expected batch 1 and 1 or 3 channels; export it so")
    if imgsz is None and not (height and width):
        raise ConversionError(f"{where}: its height and width are left open; fix them with `imgsz` 320, or WxH")
    if imgsz is not None:
        if (width and width != imgsz[0]) or (height and height != imgsz[1]):
            raise ConversionError(
                f"{where}: is {width}x{height} px in the file, and `imgsz` says {imgsz[0]}x{imgsz[1]}; export the "
                "network again for another size"
            )
        width, height = imgsz
    if max(width, height) > MAX_SIDE_PX:
        raise ConversionError(f"{where}: {width}x{height} px, expected at most {MAX_SIDE_PX} a side")
    return value.name, (1, channels, height, width)


def _set_input(model: Any, name: str, shape: tuple[int, ...]) -> None:
    (value,) = [value for value in model.graph.input if value.name == name]
    for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
        dim.dim_value = size


def _simplified(model: Any, name: str, shape: tuple[int, ...], path: Path) -> Any:
    """onnxsim: constants folded, BatchNorms merged, dead branches gone, shapes inferred."""
    import onnx
    import onnxsim

    with _calm(path, "the shapes of its tensors can't be worked out"):  # onnxsim refuses outputs without a shape
        _set_input(model, name, shape)
        model = onnx.shape_inference.infer_shapes(model)
    with _calm(path, f"onnxsim can't simplify it for an input of {shape[3]}x{shape[2]} px"):
        simple, _ = onnxsim.simplify(model, overwrite_input_shapes={name: list(shape)})
    return simple


def _refuse_control_flow(model: Any, path: Path) -> None:
    for node in model.graph.node:
        if node.op_type in CONTROL_FLOW:
            raise UnsupportedOpError(
                f"{path}: node {node.name or node.output[0]!r}: control flow ({node.op_type}) depends on the input; "
                "export the network without it, or in front of it"
            )


@contextlib.contextmanager
def _calm(path: Path, what: str) -> Iterator[None]:
    """Errors of other packages as one line, and none of their chatter."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except (ConversionError, UnsupportedOpError):
        raise
    except Exception as error:  # these packages raise what they meet, down to RuntimeError and IndexError
        raise ConversionError(f"{path}: {what}: {_short(error)}") from error


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
