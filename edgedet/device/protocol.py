"""Numbers and layouts of the device protocol, version 1; docs/protocol.md has the tables. C: firmware_export/device."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from edgedet.errors import DeviceError

PROTOCOL_VERSION = 1
LEAST_PAYLOAD_BYTES, MOST_PAYLOAD_BYTES = 256, 32_768
DETECTION_BYTES = 24  # four sides, score: float32; label: int32
TARGETS = {1: "c99", 2: "tflm"}
# A device that announces more is none, or the line lies: nothing is allocated for it.
MOST_TENSOR_BYTES = 1 << 28
MOST_CONTRACT_BYTES = 1 << 24
_HELLO = struct.Struct("<HHIIIIIIBBH64s32s")
_BEGIN = struct.Struct("<IBBHHHII")
_RESULT = struct.Struct("<IIIIIII")


class Request(IntEnum):
    """What the computer asks; a reply has the same number and REPLY."""

    HELLO = 1
    BEGIN = 2
    WRITE = 3
    RUN = 4
    READ = 5


REPLY = 0x80
UNREADABLE = 0xFF  # the reply to a frame that came in damaged


class Status(IntEnum):
    """What a reply says."""

    OK = 0
    BAD_REQUEST = 1
    NO_JOB = 2
    INCOMPLETE = 3
    BAD_SUM = 4
    FAILED = 5
    TOO_LARGE = 6
    OTHER_VERSION = 7
    UNREADABLE = 8


class Kind(IntEnum):
    """What is sent to be run."""

    TENSOR = 0  # all inputs of the network, end to end
    FRAME = 1  # pixels, which the device prepares itself


class Area(IntEnum):
    """What can be read."""

    OUTPUTS = 0
    DETECTIONS = 1
    CONTRACT = 2


@dataclass(frozen=True)
class Hello:
    """What a device says of itself."""

    protocol: int
    payload_bytes: int  # most of a frame
    input_bytes: int
    output_bytes: int
    max_detections: int  # 0: it decodes nothing
    frame_bytes: int  # memory for a frame of pixels; 0: it takes tensors alone
    ticks_per_second: int  # 0: it has no clock
    contract_bytes: int
    target: str  # c99 or tflm
    model_sha256: str
    edgedet_version: str
    build: int = 0  # sum of compiler and options by the generated build files; 0: the build did not say

    @property
    def detects(self) -> bool:
        """Whether it follows the contracts, and decodes its outputs."""
        return self.max_detections > 0


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    job: int
    outputs_crc32: int
    detections: int
    detections_crc32: int
    ticks: tuple[int, int, int]  # preparing, the network, decoding


def parse_hello(payload: bytes) -> Hello:
    """Read the reply to HELLO.

    Raises:
        DeviceError: another version of the protocol, or numbers that no device of edgedet sends.
    """
    if len(payload) >= 2 and (version := int.from_bytes(payload[:2], "little")) != PROTOCOL_VERSION:
        raise DeviceError(
            f"the device speaks version {version} of the protocol, this edgedet version {PROTOCOL_VERSION}: deploy the "
            "model again with this edgedet and flash it, or install the edgedet that it was deployed with"
        )
    if len(payload) != _HELLO.size:
        raise DeviceError(f"the device's greeting has {len(payload)} bytes, expected {_HELLO.size}: flash it again")
    (
        protocol,
        most,
        inputs,
        outputs,
        detections,
        frame,
        ticks,
        contract,
        target,
        abilities,
        build,
        sha,
        version_text,
    ) = _HELLO.unpack(payload)
    sound = (
        LEAST_PAYLOAD_BYTES <= most <= MOST_PAYLOAD_BYTES
        and 0 < inputs <= MOST_TENSOR_BYTES
        and 0 < outputs <= MOST_TENSOR_BYTES
        and detections * DETECTION_BYTES <= MOST_TENSOR_BYTES
        and contract <= MOST_CONTRACT_BYTES
        and target in TARGETS
        and bool(abilities & 1) == (detections > 0) == (contract > 0)
        and all(byte in b"0123456789abcdef" for byte in sha)
    )
    if not sound:
        raise DeviceError(
            "the device's greeting holds sizes that no deployment of edgedet has: another program answers, or the "
            "firmware is damaged; flash it again"
        )
    text = version_text.rstrip(b"\0").decode("ascii", "replace")
    return Hello(
        protocol, most, inputs, outputs, detections, frame, ticks, contract, TARGETS[target], sha.decode(),
        "".join(c if c.isprintable() else "?" for c in text), build,
    )  # fmt: skip


def pack_begin(job: int, kind: Kind, pixel_format: int, width: int, height: int, total: int, crc32: int) -> bytes:
    """Payload of BEGIN."""
    return _BEGIN.pack(job, kind, pixel_format, width, height, 0, total, crc32)


def pack_read(job: int, offset: int, count: int, area: Area) -> bytes:
    """Payload of READ."""
    return struct.pack("<IIHBB", job, offset, count, area, 0)


def parse_result(payload: bytes, hello: Hello) -> Result:
    """Read the reply to RUN.

    Raises:
        DeviceError: it is none.
    """
    if len(payload) != _RESULT.size:
        raise DeviceError(f"the device's result has {len(payload)} bytes, expected {_RESULT.size}: flash it again")
    job, outputs, count, detections, *ticks = _RESULT.unpack(payload)
    if count > hello.max_detections:
        raise DeviceError(f"the device found {count} objects, but said that it finds {hello.max_detections} at most")
    return Result(job, outputs, count, detections, (ticks[0], ticks[1], ticks[2]))
