"""Frames on a line: coding, sums, and what is found again after garbage."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from edgedet.device.frames import Frame, FrameReader, cobs_decode, cobs_encode, decode_frame, encode_frame

FRAME = Frame(3, 0, 513, bytes(range(256)) + bytes(300))


def test_crc32_check_value() -> None:
    assert zlib.crc32(b"123456789") == 0xCBF43926  # what the C computes, too: firmware_export/device/device.c.j2


# Examples of the publication and of the article on it.
@pytest.mark.parametrize(
    ("data", "coded"),
    [
        (b"", "01"),
        (b"\0", "0101"),
        (b"\0\0", "010101"),
        (b"\0\x11\0", "01021101"),
        (b"\x11\x22\0\x33", "0311220233"),
        (b"\x11\0\0\0", "0211010101"),
        (bytes(range(1, 255)), "ff" + bytes(range(1, 255)).hex() + "01"),
        (bytes(range(255)), "01ff" + bytes(range(1, 255)).hex() + "01"),
    ],
)
def test_cobs_encode_examples(data: bytes, coded: str) -> None:
    assert cobs_encode(data).hex() == coded
    assert cobs_decode(bytes.fromhex(coded)) == data


def test_cobs_decode_takes_a_last_full_block_without_an_empty_one_behind_it() -> None:
    assert cobs_decode(b"\xff" + bytes(range(1, 255))) == bytes(range(1, 255))


def test_cobs_any_bytes_come_back_and_hold_no_zero() -> None:
    rng = np.random.default_rng(0)
    for length in (1, 253, 254, 255, 508, 509, 2000):
        for zeros in (0.0, 0.01, 0.9):
            data = rng.integers(1, 256, length).astype(np.uint8)
            data[rng.random(length) < zeros] = 0
            coded = cobs_encode(data.tobytes())
            assert 0 not in coded
            assert len(coded) <= length + 1 + length // 254
            assert cobs_decode(coded) == data.tobytes()


@pytest.mark.parametrize("coded", [b"\x05\x11", b"\x03\x11\x22\x04"])
def test_cobs_decode_a_block_that_ends_early_is_none(coded: bytes) -> None:
    assert cobs_decode(coded) is None


def test_frame_comes_back_and_any_damaged_bit_is_seen() -> None:
    data = encode_frame(FRAME)
    assert data[0] == data[-1] == 0
    assert decode_frame(data[1:-1]) == FRAME
    rng = np.random.default_rng(1)
    for at in rng.integers(1, len(data) - 1, 300).tolist():
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(rng.integers(8))
        assert all(decode_frame(piece) is None for piece in bytes(damaged).split(b"\0") if piece)


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
def test_reader_finds_the_frames_between_garbage(chunk: int) -> None:
    reader = FrameReader(1024)
    frame = encode_frame(FRAME)
    stream = b"boot: v1\r\n" + frame + frame[:40] + frame + b"\xff" * 5000 + frame + frame[1:] + b"\0\0\0"
    found = [f for start in range(0, len(stream), chunk) for f in reader.feed(stream[start : start + chunk])]
    assert found == [FRAME] * 4
    assert reader.damaged == 3


def test_reader_keeps_no_more_than_a_frame_of_a_line_that_never_ends() -> None:
    reader = FrameReader(1024)
    for _ in range(1000):
        assert reader.feed(b"\x55" * 1000) == []
    assert len(reader._waiting) < 3000
    assert reader.feed(b"\0" + encode_frame(FRAME)) == [FRAME]


def test_reader_frames_beyond_the_largest_payload_are_damaged() -> None:
    reader = FrameReader(100)
    assert reader.feed(encode_frame(FRAME)) == []
    assert reader.damaged == 1
