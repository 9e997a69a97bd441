"""Damaged requests for the device program of a small module with sanitizers; for fuzzing, not a test itself."""

from __future__ import annotations

import resource
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
from device_line import build_device
from tiny_detector import tiny_graph

from edgedet.deploy.api import deploy
from edgedet.device.frames import Frame, FrameReader, encode_frame
from edgedet.device.protocol import REPLY, UNREADABLE, Area, Kind, Request, Status, pack_begin, pack_read
from edgedet.errors import DeviceError
from edgedet.graph.flatbuffer import write_tflite

INPUT_BYTES = 64 * 32 * 3
PAYLOAD = 1024
_SANITIZERS = "-O0 -fsanitize=address,undefined -fno-sanitize-recover=all -w"
_NUMBERS = (0, 1, 8, 0x7F, 0xFF, 0x400, 0x1800, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def build(folder: Path) -> list[str]:
    """Deploy and compile; the command reads standard input and ends with it."""
    write_tflite(tiny_graph(), folder / "tiny.tflite")
    return build_device(deploy(folder / "tiny.tflite", "c99", folder / "module").out, _SANITIZERS)


def damaged_stream(rng: np.random.Generator) -> bytes:
    """One or two jobs, tensor or frame, in which requests are missing, doubled, in another order or lie."""
    frames = [Frame(Request.HELLO, 0, 1, b"\1\0")]
    for job in range(1, int(rng.integers(2, 4))):
        frames += _job(job, rng)
    share = rng.choice([0.02, 0.1, 0.5])
    stream = bytearray()
    for frame in frames:
        if rng.random() >= share:
            stream += encode_frame(frame)
            continue
        match int(rng.integers(7)):
            case 0:
                pass
            case 1:
                stream += encode_frame(frame) * 2
            case 2:
                other = frames[int(rng.integers(len(frames)))]
                stream += encode_frame(other) + encode_frame(frame)
            case 3:
                stream += _torn(rng, encode_frame(frame))
            case 4:
                stream += rng.integers(0, 256, int(rng.integers(1, 3000))).astype(np.uint8).tobytes()
            case _:
                stream += encode_frame(_lying(rng, frame))
    return bytes(stream)


def _job(job: int, rng: np.random.Generator) -> list[Frame]:
    """All requests of a job."""
    pixel_format = int(rng.integers(3))
    width, height = int(rng.integers(1, 120)), int(rng.integers(1, 60))  # YUYV takes even widths alone
    is_frame = rng.random() < 0.5
    size = width * height * (3, 2, 2)[pixel_format] if is_frame else INPUT_BYTES
    data = rng.integers(0, 256, size).astype(np.uint8).tobytes()
    begin = pack_begin(job, Kind(int(is_frame)), pixel_format, width, height, size, zlib.crc32(data))
    frames, step = [Frame(Request.BEGIN, 0, 2, begin)], int(rng.integers(200, PAYLOAD - 8))
    for start in range(0, size, step):
        frames.append(Frame(Request.WRITE, 0, 3, struct.pack("<II", job, start) + data[start : start + step]))
    frames.append(Frame(Request.RUN, 0, 4, struct.pack("<I", job)))
    return frames + [Frame(Request.READ, 0, 5, pack_read(job, 0, int(rng.integers(0, 80)), area)) for area in Area]


def _torn(rng: np.random.Generator, data: bytes) -> bytes:
    at = int(rng.integers(len(data)))
    return data[:at] if rng.random() < 0.5 else data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]


def _lying(rng: np.random.Generator, frame: Frame) -> Frame:
    """A request with a right sum, and something wrong in it."""
    payload, kind = bytearray(frame.payload), frame.type
    for _ in range(int(rng.integers(1, 3))):
        match int(rng.integers(4)):
            case 0:
                kind = int(rng.integers(256))
            case 1:
                del payload[int(rng.integers(len(payload) + 1)) :]
            case 2:
                payload += bytes(int(rng.choice([1, 4, 300, 1100])))
            case _ if len(payload) >= 4:
                at = int(rng.integers(len(payload) - 3))
                payload[at : at + 4] = struct.pack("<I", _NUMBERS[int(rng.integers(len(_NUMBERS)))])
    return Frame(kind, frame.status, frame.sequence, bytes(payload))


def _lift_address_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def serve(program: list[str], path: Path) -> None:
    """Let the program read a stream.

    Raises:
        RuntimeError: it crashed, or what it wrote is no frame: a find.
        DeviceError: it refused a request, or found one damaged.
    """
    with path.open("rb") as stream:
        done = subprocess.run(
            program, stdin=stream, capture_output=True, timeout=50, check=False, preexec_fn=_lift_address_limit
        )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace")[-4000:])
    reader = FrameReader(PAYLOAD)
    replies = reader.feed(done.stdout)
    known = {request | REPLY for request in Request} | {UNREADABLE}
    if reader.damaged or reader.feed(b"\0") or not all(reply.status in list(Status) for reply in replies):
        raise RuntimeError("the device wrote something that is no reply")
    if any(reply.type not in known or reply.status != Status.OK for reply in replies):
        raise DeviceError("a request was refused")
