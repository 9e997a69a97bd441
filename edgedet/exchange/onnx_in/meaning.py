"""The contracts of an ONNX network: what its input takes, and what its outputs mean."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edgedet.contract.api import with_contracts
from edgedet.contract.detection_head import find_outputs
from edgedet.contract.image_input import spread
from edgedet.contract.request import ContractRequest
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.split import CocoSplit
from edgedet.errors import ConfigError
from edgedet.exchange.onnx_in.heads.cut import Ending
from edgedet.exchange.onnx_in.load import OnnxNetwork
from edgedet.graph.graph import Graph
from edgedet.head_spec import HeadSpec


@dataclass(frozen=True)
class UsualInput:
    """How pictures are prepared where a head was published."""

    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "letterbox"


_IMAGENET_BGR = ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395))
USUAL_INPUTS = {
    "rtmdet": UsualInput("BGR", *_IMAGENET_BGR),  # MMDetection
    "yolox": UsualInput("BGR", (0.0,), (1.0,)),  # Megvii's repository, version 0.1.1 and later
    "nanodet": UsualInput("BGR", *_IMAGENET_BGR, "stretch"),
    "yolov8": UsualInput("RGB", (0.0,), (255.0,)),  # Ultralytics
    "fastestdet": UsualInput("BGR", (0.0,), (255.0,), "stretch"),
    "yunet": UsualInput("BGR", (0.0,), (1.0,)),  # OpenCV's FaceDetectorYN
}


def input_contract(
    network: OnnxNetwork, request: ContractRequest, kind: str | None
) -> tuple[PreprocessSpec, tuple[str, ...]]:
    """Preprocessing of a network.

    Args:
        network: the file.
        request: what the caller said.
        kind: of head; None: unknown.
    Returns:
        The contract, and notes on what was assumed.
    Raises:
        ConfigError: nobody says how pixels are normalized.
    """
    depth = network.input_shape[1]
    usual = USUAL_INPUTS.get(kind or "")
    if usual is None and (request.mean is None or request.std is None):
        raise ConfigError(
            f"{network.path}: the file does not say how pixels are normalized, and "
            + (f"head {kind} has no usual way" if kind else "no known head was found")
            + "; give `mean` and `std` of the training, for example 0 and 255 for pixels of 0..1, and `channels` "
            "RGB or BGR"
        )
    usual = usual or UsualInput("RGB", (0.0,), (255.0,))
    mean = usual.mean if request.mean is None else request.mean
    std = usual.std if request.std is None else request.std
    order = request.channels or ("GRAY" if depth == 1 else usual.channels)
    if (order == "GRAY") != (depth == 1):
        raise ConfigError(f"{network.path}: `channels` {order}, but the input has {depth} channels")
    if depth == 1:
        mean, std = mean[:1], std[:1]
    width, height = network.size
    spec = PreprocessSpec(
        width=width,
        height=height,
        channel_order=order,
        resize=request.resize or usual.resize,
        pad_value=114 if request.pad_value is None else request.pad_value,
        mean=spread(mean, depth, "`mean`"),
        std=spread(std, depth, "`std`"),
    )
    assumed = [n for n in ("mean", "std", "channels", "resize") if getattr(request, n) is None]
    numbers = f"mean {_text(spec.mean)}, std {_text(spec.std)}, {spec.channel_order}, {spec.resize}"
    note = f"input: {numbers}; {', '.join(assumed)} assumed" + (f", as is usual for head {kind}" if kind else "")
    return spec, ((note,) if assumed else ())


def _text(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def class_names(
    network: OnnxNetwork, request: ContractRequest, split: CocoSplit | None, count: int | None
) -> tuple[str, ...]:
    """Names of the classes: given, from the file (Ultralytics writes them), or those of the data set.

    Args:
        network: the file.
        request: what the caller said.
        split: labelled images, if there are some.
        count: classes that the head has; None: unknown.
    Raises:
        ConfigError: nobody says, or another number than the head has.
    """
    names, where = request.classes, "`class_names`"
    if names is None:
        names, where = _names_in(network.model), "the file's metadata"
    if not names and split is not None:
        names, where = split.class_names, str(split.ann_path)
    if not names:
        known = f" (its head has {count})" if count else ""
        raise ConfigError(f"{network.path}: nobody names its classes{known}; give `class_names` a,b,c or a file")
    if count is not None and len(names) != count:
        raise ConfigError(
            f"{network.path}: its head has {count} classes, {where} {'names' if len(names) > 1 else 'name'} "
            f"{len(names)}: {', '.join(names[:8])}; give `class_names` a,b,c or a file"
        )
    return tuple(names)


def _names_in(model: Any) -> tuple[str, ...]:
    """Class names in the metadata entry `names`: a dict of number and name as text."""
    text = next((entry.value for entry in model.metadata_props if entry.key == "names"), "")
    try:
        found = ast.literal_eval(text[:100_000]) if text else {}
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    if isinstance(found, dict):
        found = [found[key] for key in sorted(found, key=str)] if not all(
            isinstance(key, int) for key in found
        ) else [found[key] for key in sorted(found)]  # fmt: skip
    return tuple(str(name) for name in found) if isinstance(found, list | tuple) else ()


def output_contract(
    network: OnnxNetwork, request: ContractRequest, ending: Ending, split: CocoSplit | None
) -> tuple[OutputSpec, Callable[[Graph], Graph] | None]:
    """What the outputs mean, and what is still to be found out from the int8 graph.

    Args:
        network: the file.
        request: what the caller said.
        ending: where the network ends.
        split: labelled images, if there are some.
    Returns:
        The contract; and, for outputs that the caller describes, what attaches the final one to the graph.
    """
    usual = OutputSpec(("",))
    plain = OutputSpec(
        (),
        (),
        usual.score_threshold if request.score_threshold is None else request.score_threshold,
        usual.nms_iou if request.nms_iou is None else request.nms_iou,
        usual.max_detections if request.max_detections is None else request.max_detections,
        head=HeadSpec("none", "none", tuple(f"output_{i}" for i in range(len(ending.outputs))), "none"),
    )
    if ending.head is not None:
        names = class_names(network, request, split, ending.head.classes)
        ids = request.category_ids or (split.category_ids if split is not None and split.class_names == names else ())
        return replace(
            plain, class_names=names, strides=ending.head.strides, category_ids=ids, head=ending.head.head
        ), None
    kind = request.head
    if kind in (None, "none"):
        return plain, None
    assert kind is not None
    names = class_names(network, request, split, None)

    def describe(graph: Graph) -> Graph:
        """Read the outputs as the caller says."""
        outputs = {name: f"output_{i}" for i, name in enumerate(ending.outputs)}
        roles = tuple((role, outputs.get(name, name)) for role, name in request.outputs)
        asked = replace(request, outputs=roles, classes=names)
        spec, places, _ = find_outputs(graph, asked, kind, names, network.size, str(network.path))
        preprocess, _ = input_contract(network, request, kind)
        return with_contracts(graph, preprocess, spec, places, str(network.path))

    return plain, describe
