"""What a caller says about an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.contract.request import ContractRequest
from edgedet.quantize.api import QuantizeRequest


@dataclass(frozen=True)
class OnnxRequest:
    """What to quantize, and how."""

    quantization: QuantizeRequest  # its checkpoint is the ONNX file
    contract: ContractRequest  # what is known about input and outputs; None: found, or as is usual for the head
    imgsz: tuple[int, int] | None = None  # (width, height) px, for files that leave their size open
    cut: bool = True  # end in front of the decoding of a known head
    outputs: tuple[str, ...] = ()  # tensors to end at; empty: the head's, or the file's own
