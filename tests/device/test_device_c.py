"""The device's side in C, with sanitizers: requests that come twice."""

from __future__ import annotations

import struct
import subprocess
import zlib
from pathlib import Path

import device_requests
import pytest

from edgedet.device.frames import Frame, FrameReader, encode_frame
from edgedet.device.protocol import Kind, Request, Status, pack_begin

YUYV = 2


@pytest.mark.toolchain
def test_failed_job_fails_again_when_it_is_asked_for_again(tmp_path: Path) -> None:
    """Its reason stays: a picture of YUYV has an even width."""
    program = device_requests.build(tmp_path)
    data = bytes(3 * 2 * 2)
    begin = Frame(Request.BEGIN, 0, 2, pack_begin(7, Kind.FRAME, YUYV, 3, 2, len(data), zlib.crc32(data)))
    run = Frame(Request.RUN, 0, 4, struct.pack("<I", 7))
    write = Frame(Request.WRITE, 0, 3, struct.pack("<II", 7, 0) + data)
    stream = [Frame(Request.HELLO, 0, 1, b"\1\0"), begin, write, run, begin, run]
    done = subprocess.run(
        program, input=b"".join(map(encode_frame, stream)), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    failed = [frame for frame in FrameReader(4096).feed(done.stdout) if frame.status == Status.FAILED]
    assert len(failed) == 2
    assert failed[0].payload == failed[1].payload != b""
