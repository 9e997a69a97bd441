"""The preprocessing contract of a file: size and channels from the input's shape, mean and std often from its scale."""

from __future__ import annotations

from edgedet.contract.request import ContractRequest
from edgedet.contracts import PreprocessSpec
from edgedet.errors import ConfigError
from edgedet.graph.graph import Graph, Quantization

# Real range of the input -> mean and std that give it, of pixels 0..255.
RANGES = (
    (0.0, 1.0, (0.0,), (255.0,)),
    (-1.0, 1.0, (127.5,), (127.5,)),
    (0.0, 255.0, (0.0,), (1.0,)),
    (-128.0, 127.0, (128.0,), (1.0,)),
    (-2.118, 2.64, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
)
TOLERANCE = 0.03  # of the range: calibrated scales are not round numbers
STRETCHING_HEADS = ("ssd", "fomo", "none")


def find_preprocess(
    graph: Graph, request: ContractRequest, head: str, source: str
) -> tuple[PreprocessSpec, tuple[str, ...]]:
    """Preprocessing of a file without a contract.

    Args:
        graph: of the file.
        request: what the caller said.
        head: kind of head, for the usual way to resize.
        source: name of the file, for errors.
    Returns:
        The contract, and notes on what was found or assumed.
    Raises:
        ConfigError: the input is no image, or mean and std can't be told from it.
    """
    height, width, depth = image_shape(graph, source)
    notes = []
    order = request.channels or ("GRAY" if depth == 1 else "RGB")
    if (order == "GRAY") != (depth == 1):
        raise ConfigError(f"{source}: channels {order}, but the input has {depth} channels")
    if request.channels is None and depth == 3:
        notes.append("channels: RGB assumed; say BGR if the network was trained on OpenCV's order")
    resize = request.resize or ("stretch" if head in STRETCHING_HEADS else "letterbox")
    if request.resize is None:
        notes.append(f"resize: {resize} assumed, as is usual for this head")
    mean, std = request.mean, request.std
    if mean is None or std is None:
        mean, std, note = _normalization(graph, request, source)
        notes.append(note)
    spec = PreprocessSpec(
        width=width,
        height=height,
        channel_order=order,
        resize=resize,
        pad_value=114 if request.pad_value is None else request.pad_value,
        mean=spread(mean, depth, "mean"),
        std=spread(std, depth, "std"),
    )
    return spec, tuple(notes)


def image_shape(graph: Graph, source: str) -> tuple[int, int, int]:
    """(height, width, channels) of the only input, which may be NHWC or NCHW.

    Raises:
        ConfigError: several inputs, or none that could be an image.
    """
    shapes = [graph.tensors[index].shape for index in graph.inputs]
    if len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][0] == 1:
        _, first, second, third = shapes[0]
        if third in (1, 3):
            return first, second, third
        if first in (1, 3):
            return second, third, first
    raise ConfigError(
        f"{source}: a contract needs one image as the input, (1, height, width, 1 or 3) or (1, 1 or 3, height, width); "
        f"found {', '.join(map(str, shapes))}"
    )


def spread(values: tuple[float, ...], depth: int, name: str) -> tuple[float, ...]:
    """One value for each channel.

    Raises:
        ConfigError: neither one value nor one for each channel.
    """
    if len(values) not in (1, depth):
        raise ConfigError(f"{name}: expected 1 value or {depth}, got {', '.join(f'{v:g}' for v in values)}")
    return values if len(values) == depth else values * depth


def input_quantization(graph: Graph) -> tuple[Quantization, str] | None:
    """Scale of the input and its dtype; of a float input those of the QUANTIZE that reads it."""
    tensor = graph.tensors[graph.inputs[0]]
    if tensor.dtype != "float32":
        return None if tensor.quantization is None else (tensor.quantization, tensor.dtype)
    for operator in graph.operators:
        if operator.kind == "QUANTIZE" and operator.inputs[0] == graph.inputs[0]:
            target = graph.tensors[operator.outputs[0]]
            return None if target.quantization is None else (target.quantization, target.dtype)
    return None


def _normalization(
    graph: Graph, request: ContractRequest, source: str
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    """Mean and std from the real range of the input's codes."""
    choices = "; ".join(
        f"mean {','.join(f'{v:g}' for v in mean)} std {','.join(f'{v:g}' for v in std)} for {low:g}..{high:g}"
        for low, high, mean, std in RANGES
    )
    found = input_quantization(graph)
    missing = "`mean` and `std`" if request.mean is None and request.std is None else "`mean` and `std`, both,"
    if found is None or found[1] not in ("int8", "uint8"):
        raise ConfigError(
            f"{source}: the input's type does not tell its range; give {missing} of the training: {choices}"
        )
    quantization, dtype = found
    first = -128 if dtype == "int8" else 0
    scale, zero_point = float(quantization.scale[0]), int(quantization.zero_point[0])
    low, high = (first - zero_point) * scale, (first + 255 - zero_point) * scale
    depth = image_shape(graph, source)[2]
    for expected_low, expected_high, mean, std in RANGES:
        room = TOLERANCE * (expected_high - expected_low)
        if abs(low - expected_low) <= room and abs(high - expected_high) <= room and len(mean) in (1, depth):
            if request.mean is not None or request.std is not None:
                break
            text = f"mean {','.join(f'{v:g}' for v in mean)}, std {','.join(f'{v:g}' for v in std)}"
            return mean, std, f"{text}: found from the input's range {low:.3f}..{high:.3f}"
    raise ConfigError(
        f"{source}: the input's codes reach from {low:.3f} to {high:.3f}, which leaves open how pixels were "
        f"normalized; give {missing} of the training: {choices}"
    )
