"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edgedet.data.preprocess import IMAGE_ERRORS
from edgedet.errors import DataError

EXIF_ORIENTATION = 0x0112  # EXIF 2.32, tag 274


@dataclass(frozen=True)
class ImageHeader:
    """Size, colour mode and orientation as stored in the file."""

    stored_width: int  # px
    stored_height: int  # px
    mode: str  # Pillow's name: RGB, L, RGBA, P, CMYK, I;16, ...
    orientation: int  # EXIF, 1..8; 1: upright

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) after the EXIF orientation is applied, as `load_image` returns the image."""
        if self.orientation >= 5:
            return self.stored_height, self.stored_width
        return self.stored_width, self.stored_height


def read_header(path: Path) -> ImageHeader:
    """Read the header of an image file.

    Args:
        path: the file.
    Returns:
        The header.
    Raises:
        FileNotFoundError: no such file; the caller knows who refers to it.
        DataError: not an image, or its header is damaged.
    """
    try:
        # Pillow warns about large images here; load_image is the place where size matters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                orientation = image.getexif().get(EXIF_ORIENTATION, 1)
                if not isinstance(orientation, int) or not 1 <= orientation <= 8:
                    orientation = 1  # what ImageOps.exif_transpose makes of it
                return ImageHeader(image.width, image.height, image.mode, orientation)
    except FileNotFoundError:
        raise
    except IMAGE_ERRORS as error:
        raise DataError(
            f"{path}: can't read the image header ({type(error).__name__}: {error}); "
            "expected a JPEG, PNG or other file that Pillow reads; replace the file"
        ) from error
