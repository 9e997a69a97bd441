"""What edgedet wrote into an ONNX file of its own: the contracts, as text that anybody may have changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgedet.contract.request import ContractRequest
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConfigError, ConversionError
from edgedet.exchange.onnx_in.heads.cut import Ending
from edgedet.exchange.onnx_in.heads.structure import Shape, Structure
from edgedet.exchange.onnx_in.load import OnnxNetwork
from edgedet.exchange.onnx_in.request import OnnxRequest
from edgedet.graph.metadata import METADATA_NAME, parse_contracts
from edgedet.numerics.heads.layout import accepts

MOST_CHARACTERS = 10_000_000  # of the text; the contracts of 10,000 classes have some hundred thousand


@dataclass(frozen=True)
class OwnContract:
    """Contracts that fit the file."""

    preprocess: PreprocessSpec
    outputs: OutputSpec
    tensors: tuple[str, ...]  # outputs of the file, in contract order

    def complete(self, request: ContractRequest) -> ContractRequest:
        """What the caller said, and of the rest what the file says."""
        stored: dict[str, object] = {
            "classes": self.outputs.class_names or None,
            "category_ids": self.outputs.category_ids if request.classes is None else None,
            "mean": self.preprocess.mean,
            "std": self.preprocess.std,
            "channels": self.preprocess.channel_order,
            "resize": self.preprocess.resize,
            "pad_value": self.preprocess.pad_value,
            "score_threshold": self.outputs.score_threshold,
            "nms_iou": self.outputs.nms_iou,
            "max_detections": self.outputs.max_detections,
        }
        missing = {name: value for name, value in stored.items() if getattr(request, name) is None}
        return replace(request, **missing)  # type: ignore[arg-type]

    def ending(self, net: Structure, constants: dict[str, np.ndarray], request: OnnxRequest) -> Ending | None:
        """The file's outputs as they are; None when the caller says where the network ends, or what its outputs are."""
        if request.outputs or request.contract.describes_head():
            return None
        note = f"outputs: {', '.join(self.outputs.tensor_names)}, as the file's metadata says"
        return Ending(list(net.operators), constants, self.tensors, None, self.tensors, (note,))

    def described(self, request: ContractRequest, source: str) -> OutputSpec:
        """The output contract with what the caller said otherwise.

        Args:
            request: from `complete`.
            source: file, for errors.
        Raises:
            ConfigError: another number of classes.
        """
        names = request.classes or ()
        if len(names) != len(self.outputs.class_names):
            raise ConfigError(
                f"{source}: its contract has {len(self.outputs.class_names)} classes, `class_names` names "
                f"{len(names)}: {', '.join(names[:8])}; give one name for each"
            )
        given = {name: getattr(request, name) for name in ("score_threshold", "nms_iou", "max_detections")}
        return replace(self.outputs, class_names=names, category_ids=request.category_ids or (), **given)


def read_own_contract(
    network: OnnxNetwork, shapes: Mapping[str, Shape], request: OnnxRequest
) -> tuple[OwnContract | None, tuple[str, ...]]:
    """Contracts in metadata_props, key `edgedet`.

    Args:
        network: the file.
        shapes: of its tensors.
        request: what the caller said.
    Returns:
        The contracts, None where the file has none, or has some that can't be used and the caller says all that they
        would say; and a note that says why.
    Raises:
        ConversionError: they can't be used, and the caller leaves open what would have to be guessed: another
            normalization or order of channels gives other detections, and nothing tells.
    """
    texts = [entry.value for entry in network.model.metadata_props if entry.key == METADATA_NAME]
    if not texts:
        return None, ()
    try:
        return _checked(texts[0], network, shapes), ()
    except ConversionError as error:
        reason = " ".join(str(error).removeprefix(f"{network.path}: ").split())[:300]
        said = request.contract
        open_ends = [name for name in ("mean", "std", "channels", "resize") if getattr(said, name) is None]
        open_ends += [] if request.outputs or said.head is not None else ["head"]
        if not open_ends:
            return None, (f"the contract in the file's metadata is not used: {reason}",)
        raise ConversionError(
            f"{network.path}: edgedet wrote a contract into the file's metadata, which can't be used: {reason}. Export "
            f"the file again; or say what it would say: {', '.join(f'`{name}`' for name in open_ends)} are missing"
        ) from error


def _checked(text: str, network: OnnxNetwork, shapes: Mapping[str, Shape]) -> OwnContract:
    source = str(network.path)
    if len(text) > MOST_CHARACTERS:
        raise ConversionError(f"{source}: it has {len(text)} characters, expected at most {MOST_CHARACTERS}")
    preprocess, outputs, names = parse_contracts(text.encode("utf-8", "replace"), source)
    depth, size = network.input_shape[1], network.size
    if (preprocess.channels, (preprocess.width, preprocess.height)) != (depth, size):
        raise ConversionError(
            f"{source}: it says {preprocess.width}x{preprocess.height} px in {preprocess.channels} channels, the input "
            f"has {size[0]}x{size[1]} px in {depth}"
        )
    ends = [value.name for value in network.model.graph.output]
    for role, name in names.items():
        shape = shapes.get(name, ())
        last = (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape
        if name not in ends or not accepts(last, role, outputs, size):
            raise ConversionError(f"{source}: {role} should be the output {name}, found {shape or 'none of that name'}")
    if len(set(names.values())) != len(names):
        raise ConversionError(f"{source}: it names one output twice")
    return OwnContract(preprocess, outputs, tuple(names.values()))
