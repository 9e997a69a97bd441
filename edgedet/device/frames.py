"""Frames on a byte stream: header, payload, CRC-32, coded so that a byte 0 stands between frames and nowhere else.

The coding is COBS (Cheshire and Baker, Consistent Overhead Byte Stuffing, 1999): whatever was lost or damaged, the next
frame is found at the next 0. Bytes that are no frame, a boot message for example, have a wrong sum and are passed over.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

HEADER_BYTES, SUM_BYTES = 4, 4
_HEADER = struct.Struct("<BBH")
_BLOCK = 254  # bytes of a block of COBS


@dataclass(frozen=True)
class Frame:
    """A request or a reply."""

    type: int
    status: int
    sequence: int
    payload: bytes


def encode_frame(frame: Frame) -> bytes:
    """Bytes of a frame on the line, with the 0 before and behind it."""
    content = _HEADER.pack(frame.type, frame.status, frame.sequence) + frame.payload
    return b"\0" + cobs_encode(content + struct.pack("<I", zlib.crc32(content))) + b"\0"


def cobs_encode(data: bytes) -> bytes:
    """The same without a byte 0; longer by one byte, and by one for every 254."""
    out = bytearray()
    for part in data.split(b"\0"):
        full, rest = divmod(len(part), _BLOCK)
        for block in range(full):
            out.append(255)
            out += part[block * _BLOCK : (block + 1) * _BLOCK]
        out.append(rest + 1)
        out += part[full * _BLOCK :]
    return bytes(out)


def cobs_decode(data: bytes) -> bytes | None:
    """What `cobs_encode` made these bytes of; None when it can't have made them. `data` holds no 0."""
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        end = at + code
        if end > len(data):
            return None
        out += data[at + 1 : end]
        if code < 255 and end < len(data):
            out.append(0)
        at = end
    return bytes(out)


def decode_frame(coded: bytes) -> Frame | None:
    """The frame between two bytes 0; None when it is damaged."""
    content = cobs_decode(coded)
    if content is None or len(content) < HEADER_BYTES + SUM_BYTES:
        return None
    body, (crc32,) = content[:-SUM_BYTES], struct.unpack("<I", content[-SUM_BYTES:])
    if zlib.crc32(body) != crc32:
        return None
    kind, status, sequence = _HEADER.unpack_from(body)
    return Frame(kind, status, sequence, body[HEADER_BYTES:])


class FrameReader:
    """Takes bytes as they come, gives frames."""

    def __init__(self, most_bytes: int) -> None:
        """most_bytes: of the payload; what is longer is no frame."""
        content = HEADER_BYTES + most_bytes + SUM_BYTES
        self._most = content + content // _BLOCK + 1
        self._waiting = bytearray()
        self.damaged = 0  # pieces that were no frame

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that these bytes complete."""
        frames = []
        *ended, rest = data.split(b"\0")
        for piece in ended:
            coded = bytes(self._waiting) + piece if len(self._waiting) <= self._most else b"\1"
            self._waiting.clear()
            if not coded:
                continue
            frame = decode_frame(coded) if len(coded) <= self._most else None
            if frame is None:
                self.damaged += 1
            else:
                frames.append(frame)
        if len(self._waiting) <= self._most:  # a line that never sends a 0 fills no memory
            self._waiting += rest[: self._most + 1]
        return frames
