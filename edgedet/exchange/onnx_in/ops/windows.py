"""Windows that slide over a picture: stride, dilation and padding of convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch.fx import Node

from edgedet.exchange.onnx_in.ops.builder import FxBuilder, Operator
from edgedet.graph.operators import same_padding


@dataclass(frozen=True)
class Window:
    """A window; pairs are (height, width)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]  # (left, right, top, bottom)

    @property
    def symmetric(self) -> bool:
        """True when both sides of an axis have the same padding."""
        left, right, top, bottom = self.padding
        return left == right and top == bottom


def window_of(b: FxBuilder, op: Operator, source: Node, kernel: Sequence[int]) -> Window:
    """Window of an operator, with the padding that auto_pad and ceil_mode mean for the size of its input.

    Args:
        b: of the graph.
        op: Conv or a pool.
        source: of the picture.
        kernel: (height, width).
    Raises:
        UnsupportedOpError: not over two axes, or negative padding.
    """
    if len(kernel) != 2 or len(b.shape(source)) != 4:
        raise b.unsupported(op, f"a window over {len(kernel)} axes, expected 2")
    stride = _pair(op.attributes.get("strides", (1, 1)))
    dilation = _pair(op.attributes.get("dilations", (1, 1)))
    pads = [int(pad) for pad in op.attributes.get("pads", (0, 0, 0, 0))]
    sizes = b.shape(source)[2:]
    reach = [(int(taps) - 1) * step + 1 for taps, step in zip(kernel, dilation, strict=True)]
    auto = str(op.attributes.get("auto_pad", "NOTSET"))
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        same = [same_padding(*axis) for axis in zip(sizes, reach, stride, strict=True)]
        same = [ends if auto == "SAME_UPPER" else ends[::-1] for ends in same]
        pads = [same[0][0], same[1][0], same[0][1], same[1][1]]
    elif auto == "VALID":
        pads = [0, 0, 0, 0]
    if int(op.attributes.get("ceil_mode", 0)):
        for axis in (0, 1):
            pads[axis + 2] += _ceil_room(sizes[axis], reach[axis], stride[axis], pads[axis], pads[axis + 2])
    if min(pads) < 0:
        raise b.unsupported(op, f"pads {pads}")
    return Window(_pair(kernel), stride, dilation, (pads[1], pads[3], pads[0], pads[2]))


def _ceil_room(size: int, reach: int, stride: int, begin: int, end: int) -> int:
    """What ceil_mode adds at the end: a last window that is not whole, if it begins inside the input or its padding."""
    room = size + begin + end - reach
    windows = -(-room // stride) + 1
    if (windows - 1) * stride >= size + begin:
        windows -= 1
    return max((windows - 1) * stride - room, 0)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return int(values[0]), int(values[-1])
