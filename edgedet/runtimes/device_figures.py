"""What was measured on a board, as numbers: ms by its own clock, ms with the line, and what went over the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from edgedet.contracts import Detections
from edgedet.runtimes.names import IMAGE


@dataclass(frozen=True)
class DeviceMs:
    """ms of one picture, by the board's clock."""

    prepare: float  # resize, pad and quantize; 0 where a tensor was sent
    network: float
    decode: float  # thresholds, boxes, NMS

    @property
    def total(self) -> float:
        """Sum of the three."""
        return self.prepare + self.network + self.decode


@dataclass(frozen=True)
class Spread:
    """A figure over all pictures, ms."""

    min: float
    median: float
    mean: float
    max: float


@dataclass(frozen=True)
class DeviceTimes:
    """ms on the board over all pictures."""

    prepare: Spread
    network: Spread
    decode: Spread
    total: Spread


@dataclass(frozen=True)
class LineTraffic:
    """What went over the line in this run."""

    requests: int
    sent_again: int
    damaged: int  # pieces that came back and were no frame
    late: int  # replies to no open request: late or doubled
    begun_again: int  # pictures
    bytes_out: int
    bytes_in: int

    def since(self, earlier: LineTraffic) -> LineTraffic:
        """What came after an earlier count of the same line."""
        return LineTraffic(*(now - then for now, then in zip(astuple(self), astuple(earlier), strict=True)))


@dataclass(frozen=True)
class OwnDetections:
    """COCO AP of what the board itself detected, at the score thresholds that were compiled into it."""

    ap: float
    ap50: float
    objects: int  # over all pictures
    score_threshold: float  # least of the contract's


@dataclass(frozen=True)
class DeviceFigures:
    """What was measured on a board."""

    port: str
    sent: str  # tensor: preprocessing was done on this computer; image: on the board
    target: str  # c99 | tflm
    edgedet_version: str  # that deployed the firmware
    images: int
    earlier_images: int  # of them, measured by a run that was interrupted
    device_ms: DeviceTimes | None  # None: the board has no clock
    line_ms: Spread | None  # a whole picture, line included; None: all are of an earlier run
    line: LineTraffic
    own_detections: OwnDetections | None = None  # None: it decodes nothing, or the pictures show no object

    def lines(self) -> tuple[str, ...]:
        """Sentences for a report."""
        where = "resize, quantize, network, decode and NMS" if self.sent == IMAGE else "network, decode and NMS"
        lines = [f"measured on the device: {where}; {self.sent}s were sent"]
        ms = self.device_ms
        if ms is not None:
            before = f"prepare {ms.prepare.mean:.3f}, " if self.sent == IMAGE else ""
            lines.append(
                f"ms on the device, by its clock: {before}network {ms.network.mean:.3f}, decode {ms.decode.mean:.3f}; "
                f"all: min {ms.total.min:.3f}, median {ms.total.median:.3f}, max {ms.total.max:.3f}"
            )
        elif self.images:
            lines.append("on the device: it has no clock, so its times are not known")
        if self.earlier_images:
            lines.append(f"{self.earlier_images} images were measured by a run that was interrupted")
        if self.line_ms is not None:
            lines.append(
                f"ms with the line: mean {self.line_ms.mean:.1f}, min {self.line_ms.min:.1f}, median "
                f"{self.line_ms.median:.1f}, max {self.line_ms.max:.1f}, {self.port}"
            )
        line = self.line
        lines.append(
            f"line: {line.requests:,} requests, {line.sent_again:,} sent again, {line.damaged:,} damaged and "
            f"{line.late:,} late or doubled replies, {line.begun_again:,} images begun again; {line.bytes_out:,} bytes "
            f"out, {line.bytes_in:,} in"
        )
        own = self.own_detections
        if own is not None:
            lines.append(
                f"the device's own detections, at its threshold {own.score_threshold:g}: AP {own.ap:.3f}, AP50 "
                f"{own.ap50:.3f}, {own.objects:,} objects; bit by bit those of its outputs decoded here"
            )
        return tuple(lines)


@dataclass(frozen=True, eq=False)
class OnePicture:
    """What a board made of one picture."""

    found: Detections | None  # its own detections, px of what was sent; None: it decodes nothing
    ms: DeviceMs | None  # None: it has no clock


def spread(values: Sequence[float]) -> Spread | None:
    """Least, median, mean and most; None of nothing."""
    if not values:
        return None
    return Spread(min(values), float(np.median(values)), float(np.mean(values)), max(values))


def device_times(ms: Sequence[DeviceMs]) -> DeviceTimes | None:
    """Over all pictures; None of nothing."""
    parts = [spread([getattr(one, name) for one in ms]) for name in ("prepare", "network", "decode", "total")]
    prepare, network, decode, total = parts
    if prepare is None or network is None or decode is None or total is None:
        return None
    return DeviceTimes(prepare, network, decode, total)
