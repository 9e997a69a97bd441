"""Where the network ends that is quantized: in front of the decoding of a known head, at named tensors, or as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgedet.errors import ConfigError
from edgedet.exchange.onnx_in.heads.find import FoundHead, find_head, split_weights
from edgedet.exchange.onnx_in.heads.structure import Structure
from edgedet.exchange.onnx_in.ops.builder import Operator

CUTTABLE = ("rtmdet", "yolox", "nanodet", "yolov8", "fastestdet", "yunet")


@dataclass(frozen=True, eq=False)
class Ending:
    """The operators to quantize, and their outputs."""

    operators: list[Operator]
    constants: dict[str, np.ndarray]
    outputs: tuple[str, ...]  # tensors
    head: FoundHead | None  # None: the outputs are not known, or described by the caller
    wholes: tuple[str, ...]  # tensors of the file that the outputs are, or are parts of, each once
    notes: tuple[str, ...] = ()

    def parts(self, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs, out of the values of `wholes`."""
        if self.head is None or not self.head.splits:
            return [values[name] for name in self.outputs]
        found: dict[str, np.ndarray] = {}
        for name, first in self.head.splits:
            found[f"{name}/first"], found[f"{name}/second"] = values[name][:, :first], values[name][:, first:]
        return [found[name] for name in self.outputs]


def choose_ending(
    net: Structure,
    constants: dict[str, np.ndarray],
    names: Sequence[str],
    cut: bool,
    kind: str | None,
    classes: int | None,
    source: str,
) -> Ending:
    """Decide about the outputs.

    Args:
        net: the network.
        constants: of the graph.
        names: tensors that the caller wants as outputs; empty: edgedet chooses.
        cut: whether a head that is decoded inside may be left out.
        kind: of head, when the caller knows it.
        classes: number of classes, when the caller knows it.
        source: file, for errors.
    Raises:
        ConfigError: an unknown tensor, or no such head.
    """
    operators = list(net.operators)
    if names:
        known = {name for op in operators for name in op.outputs}
        for name in names:
            if name not in known:
                near = [other for other in known if name.split("/")[-1] in other][:5] or sorted(known)[-5:]
                raise ConfigError(f"{source}: `outputs` {name}: no tensor has this name; some are {', '.join(near)}")
        return Ending(operators, constants, tuple(names), None, tuple(dict.fromkeys(names)))
    found = find_head(net, kind, classes) if cut and kind in (None, *CUTTABLE) else None
    if found is None:
        if cut and kind in CUTTABLE:
            raise ConfigError(
                f"{source}: its end does not look like head {kind}"
                + (f" with {classes} classes" if classes else "")
                + "; name the tensors that decoding begins with (`outputs` cls_8=NAME,box_8=NAME,...), or leave the "
                "network whole (`cut` off)"
            )
        notes: tuple[str, ...] = (
            () if not cut else ("no known head was found at its end: its outputs stay as they are",)
        )
        return Ending(operators, constants, net.outputs, None, net.outputs, notes)
    ended: tuple[str, ...] = (
        f"head {found.head.kind}: the network ends in front of its decoding, {len(found.tensors)} outputs at strides "
        f"{', '.join(map(str, found.strides))}",
        *([found.note] if found.note else []),
    )
    wholes = tuple(name for name, _ in found.splits) or found.tensors
    constants = dict(constants)
    for tensor, first in found.splits:
        operators = _split(operators, constants, tensor, first, source)
    return Ending(operators, constants, found.tensors, found, wholes, ended)


def _split(
    operators: list[Operator], constants: dict[str, np.ndarray], tensor: str, first: int, source: str
) -> list[Operator]:
    """Two convolutions in place of one whose channels play two roles."""
    place = next(i for i, op in enumerate(operators) if tensor in op.outputs)
    op = operators[place]
    if op.kind != "Conv" or op.attributes.get("group", 1) != 1:
        raise ConfigError(f"{source}: {tensor} holds two parts of the head, and no convolution computes it; `cut` off")
    bias = constants.get(op.inputs[2]) if len(op.inputs) > 2 else None
    halves = []
    for part, (weight, values) in zip(
        ("first", "second"), split_weights(constants[op.inputs[1]], bias, first), strict=True
    ):
        name = f"{tensor}/{part}"
        constants[f"{name}.weight"], constants[f"{name}.bias"] = weight, values
        inputs = (op.inputs[0], f"{name}.weight", f"{name}.bias")
        halves.append(replace(op, name=name, inputs=inputs, outputs=(name,)))
    return [*operators[:place], *halves, *operators[place:]]
