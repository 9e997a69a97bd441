from __future__ import annotations

import os
import resource
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.pictures.headers import read_header
from edgedet.data.pictures.opening import FORMATS, open_image
from edgedet.data.pictures.preprocess import load_image
from edgedet.errors import DataError


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; all its pixels are 0, which take next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(min((width + 1) * height, 1 << 20)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", FORMATS)
def test_open_image_every_format_that_is_meant(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (5, 3), (200, 0, 0)).save(tmp_path / "a.jpg", format=name)
    with open_image(tmp_path / "a.jpg") as image:
        assert (image.format, image.size) == (name, (5, 3))
    assert load_image(tmp_path / "a.jpg").shape == (3, 5, 3)


@pytest.mark.parametrize("name", ["EPS", "PDF", "ICO", "TGA", "JPEG2000", "PCX", "SGI"])
def test_open_image_other_formats_are_refused_whatever_the_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "a.jpg", format=name)

    def started(*arguments: object, **options: object) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    monkeypatch.setattr(subprocess, "Popen", started)
    for read in (read_header, load_image):
        with pytest.raises(DataError, match=r"a\.jpg: .*expected a .*file of JPEG, PNG, BMP, WEBP, TIFF, PPM, GIF"):
            read(tmp_path / "a.jpg")


@pytest.mark.parametrize("size", [(30_000, 30_000), (12_000, 12_000), (1, 100_000_001), (2**31 - 1, 2**31 - 1)])
def test_open_image_too_large_is_refused_before_memory_is_taken(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(png_of_size(*size))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_header, load_image):
        with pytest.raises(DataError, match=r"a\.png: expected an image of at most 100,000,000 pixels"):
            read(tmp_path / "a.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_load_image_transparent_pixels_are_the_same_in_every_strip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (600, 4, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    colour, alpha = rgba[..., :3].astype(int), rgba[..., 3:].astype(int)
    assert (load_image(tmp_path / "a.png") == (colour * alpha + 255 * (255 - alpha) + 127) // 255).all()


def test_open_image_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    for name, kind in (("a.png", "a pipe"), ("b.png", "a device")):
        with pytest.raises(DataError, match=rf"{name}: is {kind}, expected an image file"):
            load_image(tmp_path / name)
