"""A device in Python whose replies are damaged as a string of bytes says; for fuzzing, not a test itself."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from edgedet.device.frames import Frame, FrameReader, encode_frame
from edgedet.device.link import Link, Patience
from edgedet.device.protocol import REPLY, Area, Kind, Request, Status
from edgedet.device.session import Answer, Expected, Job, Session

INPUT, OUTPUTS, FOUND = bytes(range(200)) * 4, bytes(range(256)) * 2, bytes(range(48))
CONTRACT, SHA256 = b'{"preprocess": {}, "outputs": {}}', "ab" * 32
PAYLOAD = 256
PATIENCE = Patience(reply_s=0.001, attempts=6, hello_s=0.01, run_s=0.01, restarts=3)
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class LyingLine:
    """Follows the protocol `Line`; every reply is damaged as the next bytes of `script` want it."""

    def __init__(self, script: bytes) -> None:
        self._script = script
        self._at = 0
        self._coming = b""
        self._reader = FrameReader(PAYLOAD)
        self._job, self._sum, self._received = -1, 0, bytearray()

    @property
    def bytes_per_second(self) -> float:
        return 1e12

    def read(self, timeout_s: float) -> bytes:
        data, self._coming = self._coming, b""
        return data

    def close(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        for request in self._reader.feed(data):
            status, payload = self._answer(request)
            self._coming += self._damaged(Frame(request.type | REPLY, status, request.sequence, payload))

    def _take(self) -> int:
        """Next byte of the script; behind its end the device is honest."""
        if self._at >= len(self._script):
            return 0
        self._at += 1
        return self._script[self._at - 1]

    def _answer(self, request: Frame) -> tuple[int, bytes]:
        payload = request.payload
        if request.type == Request.HELLO:
            sizes = (1, PAYLOAD, len(INPUT), len(OUTPUTS), 100, 0, 1_000_000, len(CONTRACT), 1, 1, 0)
            return Status.OK, struct.pack("<HHIIIIIIBBH64s32s", *sizes, SHA256.encode(), b"1.0")
        if request.type == Request.BEGIN:
            self._job, *_, self._sum = struct.unpack("<IBBHHHII", payload)
            self._received = bytearray()
            return Status.OK, struct.pack("<I", 0)
        job = int.from_bytes(payload[:4], "little")
        if request.type == Request.READ:
            _, offset, count, area, _ = struct.unpack("<IIHBB", payload)
            data = {Area.OUTPUTS: OUTPUTS, Area.DETECTIONS: FOUND, Area.CONTRACT: CONTRACT}[area]
            return (Status.OK if area == Area.CONTRACT or job == self._job else Status.NO_JOB), data[offset:][:count]
        if job != self._job:
            return Status.NO_JOB, b""
        if request.type == Request.WRITE:
            if int.from_bytes(payload[4:8], "little") == len(self._received):
                self._received += payload[8:]
            return Status.OK, struct.pack("<I", len(self._received))
        if len(self._received) < len(INPUT):
            return Status.INCOMPLETE, struct.pack("<I", len(self._received))
        if zlib.crc32(self._received) != self._sum:
            return Status.BAD_SUM, b""
        return Status.OK, struct.pack("<7I", job, zlib.crc32(OUTPUTS), 2, zlib.crc32(FOUND), 1, 2, 3)

    def _damaged(self, frame: Frame) -> bytes:
        """Bytes for the line: honest for most numbers."""
        how = self._take()
        data = encode_frame(frame)
        at = self._take() | self._take() << 8
        match how:
            case 200:
                return b""
            case 201:
                return data + data
            case 202:
                return data[: at % len(data)]
            case 203:
                return data[: at % len(data)] + bytes([self._take()]) + data[at % len(data) + 1 :]
            case 204:
                return bytes(self._take() for _ in range(at % 40)) + data
            case 205:  # lost on the way to the device, so to say
                self._job = -1
                return data
        # From here on with a right sum: a device that lies.
        payload = bytearray(frame.payload)
        status, kind, sequence = frame.status, frame.type, frame.sequence
        match how:
            case 210 if payload:
                payload[at % len(payload)] = self._take()
            case 211:
                del payload[at % (len(payload) + 1) :]
            case 212:
                payload += bytes([self._take()]) * (at % 400)
            case 213:
                status = self._take()
            case 214:
                sequence = at
            case 215:
                kind = self._take()
            case 216 if len(payload) >= 4:
                place = at % (len(payload) - 3)
                payload[place : place + 4] = struct.pack("<I", _NUMBERS[self._take() % len(_NUMBERS)])
        return encode_frame(Frame(kind, status, sequence, bytes(payload)))


def damaged_script(rng: np.random.Generator) -> bytes:
    """Bytes of which some damage replies."""
    count = int(rng.integers(1, 60))
    rows = rng.integers(0, 256, (count, 4)).astype(np.uint8)
    kinds = np.array([*range(200, 206), *range(210, 217)], np.uint8)
    rows[:, 0] = np.where(rng.random(count) < rng.choice([0.05, 0.3, 0.9]), rng.choice(kinds, count), 0)
    return rows.tobytes()


def run_session(script: bytes) -> Answer:
    """Greet a device that follows a script and run one tensor on it."""
    expected = Expected(SHA256, len(INPUT), len(OUTPUTS), CONTRACT)
    return Session(Link(LyingLine(script), PATIENCE), expected).run(Job(Kind.TENSOR, INPUT))
