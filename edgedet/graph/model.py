"""An int8 file with its contracts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConversionError
from edgedet.graph.c_decoder import c_decoder_of
from edgedet.graph.check import refuse_compiled
from edgedet.graph.graph import Graph, Tensor
from edgedet.graph.metadata import read_contracts
from edgedet.graph.prepare.load import load_tflite
from edgedet.notebook import short_path


@dataclass(frozen=True, eq=False)
class Int8Model:
    """An int8 `.tflite` with its contracts."""

    path: Path
    data: bytes
    graph: Graph
    preprocess: PreprocessSpec
    outputs: OutputSpec
    output_positions: tuple[int, ...]  # contract order -> position in graph.outputs
    input_scale: float  # 1.0 of a float input
    input_zero_point: int
    scales: tuple[float, ...]  # of the outputs, contract order; 1.0 of float ones
    zero_points: tuple[int, ...]
    input_dtype: str = "int8"  # int8, uint8, int16 or float32
    dtypes: tuple[str, ...] = ()  # of the outputs, contract order; empty: all int8
    notes: tuple[str, ...] = ()  # what `graph.load` changed in the file

    def __repr__(self) -> str:  # without the file's bytes
        return f"<Int8Model {short_path(self.path)}, {len(self.graph.operators)} operators>"

    @property
    def channels_first(self) -> bool:
        """True when the input is (1, channels, height, width)."""
        spec = self.preprocess
        shape = self.graph.tensors[self.graph.inputs[0]].shape
        return shape != (1, spec.height, spec.width, spec.channels)

    @property
    def has_c_decoder(self) -> bool:
        """True when the C kernels prepare this input and decode these outputs."""
        return bool(self.c_decoder)

    @property
    def c_decoder(self) -> str:
        """How C decodes the outputs: `levels`, `rows`, `cells`, or "": it does not. See `c_decoder_of`."""
        return self._c_decoder[0]

    @property
    def why_no_c_decoder(self) -> str:
        """What keeps C from decoding the outputs; "" when it does."""
        return self._c_decoder[1]

    @property
    def _c_decoder(self) -> tuple[str, str]:
        alone = len(self.graph.outputs) == len(self.output_positions)
        dtypes = (self.input_dtype, *self.dtypes)
        return c_decoder_of(self.preprocess, self.outputs, dtypes, self.channels_first, alone)


def load_int8_model(path: Path) -> Int8Model:
    """Read an int8 `.tflite`, its contracts and the quantization of its input and outputs.

    Args:
        path: the file.
    Returns:
        The model.
    Raises:
        ConversionError: missing or damaged file, not int8, no metadata, or contracts that don't fit the tensors.
        UnsupportedOpError: the compiler of an accelerator has changed the file.
    """
    loaded = load_tflite(path)
    return int8_model(loaded.graph, path, loaded.data, loaded.notes)


def int8_model(graph: Graph, path: Path, data: bytes = b"", notes: tuple[str, ...] = ()) -> Int8Model:
    """A graph in memory with its contracts; arguments and errors as of `Int8Model` and `load_int8_model`."""
    refuse_compiled(graph, str(path))
    if len(graph.inputs) != 1:
        raise ConversionError(
            f"{path}: expected one input, found {len(graph.inputs)}; edgedet runs single-input models"
        )
    source = graph.tensors[graph.inputs[0]]
    _require_quantized(graph, path)
    input_scale, input_zero_point = _affine(source, path)  # before the contracts: a float file has a clearer error
    contracts = read_contracts(graph, str(path))
    positions = tuple(contracts.output_indices)
    results = [graph.tensors[graph.outputs[position]] for position in positions]
    affine = [_affine(tensor, path) for tensor in results]
    return Int8Model(
        path=path,
        data=data,
        graph=graph,
        preprocess=contracts.preprocess,
        outputs=contracts.outputs,
        output_positions=positions,
        input_scale=input_scale,
        input_zero_point=input_zero_point,
        scales=tuple(scale for scale, _ in affine),
        zero_points=tuple(zero_point for _, zero_point in affine),
        input_dtype=source.dtype,
        dtypes=tuple(tensor.dtype for tensor in results),
        notes=notes,
    )


def _affine(tensor: Tensor, path: Path) -> tuple[float, int]:
    """(scale, zero point) of an input or output; (1.0, 0) of floats at the borders of an int8 network."""
    if tensor.dtype == "float32":
        return 1.0, 0
    if tensor.dtype not in ("int8", "uint8", "int16") or tensor.quantization is None:
        raise ConversionError(
            f"{path}: tensor {tensor.name}: expected quantized int8, found {tensor.dtype}; this file is not an int8 "
            "model, make one with `edgedet quantize`"
        )
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])


def _require_quantized(graph: Graph, path: Path) -> None:
    """A file without any int8 or uint8 weights is a float model, whatever its borders are."""
    if not any(tensor.dtype in ("int8", "uint8", "int16") for tensor in graph.tensors):
        source = graph.tensors[graph.inputs[0]]
        raise ConversionError(
            f"{path}: tensor {source.name} is {source.dtype}, and the file holds nothing quantized, so it is not an "
            "int8 model; make one with `edgedet quantize`"
        )
