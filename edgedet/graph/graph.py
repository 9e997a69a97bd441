"""The int8 graph: frozen dataclasses that mirror a TFLite model.

`flatbuffer.py` reads and writes it; evaluate and deploy work from it and from nothing else. Tensors are NHWC;
convolution weights are OHWI, depthwise weights (1, H, W, C); all as in TFLite. A graph can hold more than edgedet runs,
so that every file can be shown and written again: operators with `OpaqueOptions`, types without arithmetic, state,
further subgraphs. `check.py` says what of it can't run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edgedet.notebook import Brief

PADDINGS = ("SAME", "VALID")
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization: real = (q - zero_point) * scale."""

    scale: np.ndarray  # float32 (1,) per tensor, or (C,) per channel
    zero_point: np.ndarray  # int64, same shape; 0 for weights and biases
    axis: int = 0  # quantized dimension; matters only per channel

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Quantization):
            return NotImplemented
        return (
            self.axis == other.axis
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


@dataclass(frozen=True)
class TensorExtras:
    """What a file says of a tensor beyond type, shape, scales and data; kept for writing it again."""

    is_variable: bool = False  # state that lives from one inference to the next
    shape_signature: tuple[int, ...] = ()  # as the shape, with -1 where it may change; `shape` says what it is now
    has_rank: bool = False
    minimum: tuple[float, ...] = ()  # of training, in real units; no kernel reads them
    maximum: tuple[float, ...] = ()
    custom_quantization: bytes = b""  # details without a meaning in TFLite
    unwritable: str = ""  # what of this tensor a write would lose, e.g. "sparse"


NO_EXTRAS = TensorExtras()


@dataclass(frozen=True, eq=False, repr=False)
class Tensor(Brief):
    """One tensor; a constant when `data` is given."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # NumPy name: int8, int16, int32, int64, uint8, float32, bool; of foreign files also those of dtypes.py
    quantization: Quantization | None = None
    data: np.ndarray | None = None  # of types that NumPy lacks: uint8 (n,), the bytes of the file
    extras: TensorExtras = NO_EXTRAS

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor):
            return NotImplemented
        if self.data is None or other.data is None:
            same_data = self.data is other.data
        else:
            same_data = self.data.dtype == other.data.dtype and np.array_equal(self.data, other.data)
        return same_data and (self.name, self.shape, self.dtype, self.quantization, self.extras) == (
            other.name,
            other.shape,
            other.dtype,
            other.quantization,
            other.extras,
        )


@dataclass(frozen=True)
class ConvOptions:
    """CONV_2D."""

    padding: str = "SAME"
    stride: tuple[int, int] = (1, 1)  # (height, width)
    dilation: tuple[int, int] = (1, 1)
    activation: str = "NONE"


@dataclass(frozen=True)
class DepthwiseConvOptions:
    """DEPTHWISE_CONV_2D."""

    padding: str = "SAME"
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    activation: str = "NONE"
    depth_multiplier: int = 1


@dataclass(frozen=True)
class PoolOptions:
    """MAX_POOL_2D, AVERAGE_POOL_2D."""

    filter: tuple[int, int]  # (height, width)
    stride: tuple[int, int]
    padding: str = "SAME"
    activation: str = "NONE"


@dataclass(frozen=True)
class ElementwiseOptions:
    """ADD, SUB, MUL."""

    activation: str = "NONE"
    # Of int16 ADD and SUB: True lets TFLite take another kernel for power-of-two scales, which TFLite Micro does not.
    pot_scale_int16: bool = True  # the schema's default, without meaning in int8


@dataclass(frozen=True)
class ConcatOptions:
    """CONCATENATION."""

    axis: int
    activation: str = "NONE"


@dataclass(frozen=True)
class ResizeOptions:
    """RESIZE_NEAREST_NEIGHBOR, RESIZE_BILINEAR."""

    align_corners: bool = False
    half_pixel_centers: bool = False


@dataclass(frozen=True)
class ReshapeOptions:
    """RESHAPE; many files say the shape in the second input, or in both; the declared shape of the output decides."""

    new_shape: tuple[int, ...] = ()  # one entry may be -1: what remains; empty: only the second input says it


@dataclass(frozen=True)
class ReduceOptions:
    """MEAN, SUM, REDUCE_MAX; axes are the second input."""

    keep_dims: bool = False


@dataclass(frozen=True)
class FullyConnectedOptions:
    """FULLY_CONNECTED."""

    activation: str = "NONE"
    keep_num_dims: bool = False


@dataclass(frozen=True)
class SoftmaxOptions:
    """SOFTMAX."""

    beta: float = 1.0


@dataclass(frozen=True)
class LeakyReluOptions:
    """LEAKY_RELU."""

    alpha: float  # slope below zero; float32 in the file


@dataclass(frozen=True)
class SqueezeOptions:
    """SQUEEZE; no dims: all of size 1."""

    squeeze_dims: tuple[int, ...] = ()


@dataclass(frozen=True)
class SplitOptions:
    """SPLIT, whose axis is the first input; SPLIT_V, whose sizes and axis are the second and the third."""

    num_splits: int


@dataclass(frozen=True)
class UnpackOptions:
    """UNPACK: one output for each position along the axis."""

    num: int
    axis: int = 0


@dataclass(frozen=True)
class GatherOptions:
    """GATHER; the indices are the second input."""

    axis: int = 0
    batch_dims: int = 0


@dataclass(frozen=True)
class ArgOptions:
    """ARG_MAX, ARG_MIN; the axis is the second input."""

    output_type: int = 2  # of the schema's TensorType: 2 is int32, 4 is int64


@dataclass(frozen=True)
class PackOptions:
    """PACK."""

    values_count: int
    axis: int = 0


@dataclass(frozen=True)
class StridedSliceOptions:
    """STRIDED_SLICE; bit i of a mask is about axis i."""

    begin_mask: int = 0
    end_mask: int = 0
    ellipsis_mask: int = 0
    new_axis_mask: int = 0
    shrink_axis_mask: int = 0


@dataclass(frozen=True)
class TransposeConvOptions:
    """TRANSPOSE_CONV; inputs are output shape, weights, input, bias."""

    padding: str = "SAME"
    stride: tuple[int, int] = (1, 1)
    activation: str = "NONE"


@dataclass(frozen=True)
class BlockSizeOptions:
    """SPACE_TO_DEPTH, DEPTH_TO_SPACE."""

    block_size: int


@dataclass(frozen=True)
class NoOptions:
    """LOGISTIC, QUANTIZE, DEQUANTIZE, PAD, HARD_SWISH, TRANSPOSE, MAXIMUM, MINIMUM, RELU, RELU6, ..."""


@dataclass(frozen=True)
class OpaqueField:
    """One field of an options table that edgedet has no meaning for."""

    name: str  # of the schema's accessor
    dtype: str  # "" for a number, "string" for bytes, else the NumPy name of a vector's entries
    value: int | float | bool | bytes | tuple[int | float | bool, ...]


@dataclass(frozen=True)
class OpaqueOptions:
    """Of an operator that edgedet can't run: unknown, custom, or with an option without a meaning here."""

    reason: str  # why; a clause to stand behind the operator's name
    table: str = ""  # options table of the schema; empty: none
    fields: tuple[OpaqueField, ...] = ()  # of the table; those with their default are left out
    custom: bytes = b""  # options of a custom operator
    intermediates: tuple[int, ...] = ()  # tensors
    mutating: tuple[bool, ...] = ()  # per input: the operator changes it
    unwritable: str = ""  # what of the options a write would lose


Options = (
    ConvOptions
    | DepthwiseConvOptions
    | PoolOptions
    | ElementwiseOptions
    | ConcatOptions
    | ResizeOptions
    | ReshapeOptions
    | ReduceOptions
    | FullyConnectedOptions
    | SoftmaxOptions
    | LeakyReluOptions
    | SqueezeOptions
    | SplitOptions
    | UnpackOptions
    | GatherOptions
    | ArgOptions
    | PackOptions
    | StridedSliceOptions
    | TransposeConvOptions
    | BlockSizeOptions
    | NoOptions
    | OpaqueOptions
)


@dataclass(frozen=True)
class Operator:
    """One operator."""

    kind: str  # name in TFLite's BuiltinOperator; "CUSTOM (name)"; "number n" for one that is newer than edgedet
    inputs: tuple[int, ...]  # tensor indices; -1 for an optional input that is absent
    outputs: tuple[int, ...]
    options: Options = field(default_factory=NoOptions)
    version: int = 0  # as in the file; 0: the writer takes the smallest one that has a kernel


@dataclass(frozen=True)
class Subgraph:
    """A further subgraph: the body of a loop, the initialization of variables, another signature."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """Names under which a caller finds inputs and outputs (SignatureDef)."""

    key: str
    inputs: tuple[tuple[str, int], ...]  # (name, tensor)
    outputs: tuple[tuple[str, int], ...]
    subgraph: int = 0


@dataclass(frozen=True)
class Graph:
    """A whole model, operators in execution order."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    metadata: tuple[tuple[str, bytes], ...] = ()
    description: str = "edgedet"
    name: str = "main"  # of the first subgraph
    others: tuple[Subgraph, ...] = ()  # subgraphs 1, 2, ...
    signatures: tuple[Signature, ...] = ()
    appended: bytes = b""  # zip archive behind the flatbuffer (label files of TFLite Metadata), see appended.py

    def __repr__(self) -> str:  # a network's tensors are megabytes of text
        return f"<Graph of {len(self.operators)} operators and {len(self.tensors)} tensors>"

    @property
    def subgraphs(self) -> tuple[Subgraph, ...]:
        """All subgraphs, this graph first."""
        return (Subgraph(self.name, self.tensors, self.operators, self.inputs, self.outputs), *self.others)

    def tensor_index(self, name: str) -> int:
        """Index of the tensor with this name.

        Raises:
            KeyError: no tensor has this name.
        """
        for index, tensor in enumerate(self.tensors):
            if tensor.name == name:
                return index
        raise KeyError(name)
