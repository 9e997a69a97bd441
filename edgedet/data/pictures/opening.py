"""The one place where Pillow opens a file: of the formats that are meant, and of a size that memory holds."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from edgedet.errors import DataError
from edgedet.fileio import special_kind
from edgedet.texts import other_kind

# Pillow goes by the first bytes, whatever the file is called. Its other formats are left out: EPS starts Ghostscript,
# and rare decoders are where damaged files find faults.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "GIF")
MAX_PIXELS = 100_000_000  # 10,000 x 10,000; decoding and the change to RGB take up to 16 bytes for each


def open_image(path: Path) -> Image.Image:
    """Open an image file; its header is read, its pixels are not decoded yet.

    Args:
        path: the file, whatever its name ends in.
    Returns:
        Pillow's image, to be closed by the caller.
    Raises:
        DataError: more pixels than `MAX_PIXELS`, or a pipe, a socket or a device, which is not waited for.
        FileNotFoundError: no such file.
        Exception: one of `headers.IMAGE_ERRORS`: no image of these formats, or damaged.
    """
    if kind := special_kind(path):
        raise DataError(f"{path}: is {kind}, expected an image file; remove it from the data set")
    try:
        image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(path, "its header claims") from error
    except UnidentifiedImageError as error:
        with path.open("rb") as file:
            found = other_kind(file.read(64))
        if not found:
            raise
        raise DataError(f"{path}: expected a file of {', '.join(FORMATS)}, found {found}") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise _too_large(path, f"found {image.width}x{image.height},")
    return image


def _too_large(path: Path, found: str) -> DataError:
    return DataError(
        f"{path}: expected an image of at most {MAX_PIXELS:,} pixels, {found} more; cut it into tiles or reduce it"
    )
