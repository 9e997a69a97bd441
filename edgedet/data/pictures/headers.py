"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from edgedet.data.pictures.opening import FORMATS, open_image
from edgedet.errors import DataError

_ORIENTATION_TAG = 0x0112  # EXIF 2.32, tag 274

# Pillow warns about odd metadata, palettes and sizes on stderr, while pixels are decoded in threads. `read_header`
# hands over what it says about a file; its words never go to the terminal.
warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
_RECORDING = threading.Lock()  # catch_warnings changes a list of the whole process

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm")  # of files taken for images

# What Pillow raises for files that are no images, cut off, or damaged inside.
IMAGE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class ImageHeader:
    """Size, colour mode and orientation as stored in the file."""

    stored_width: int  # px
    stored_height: int  # px
    mode: str  # Pillow's name: RGB, L, RGBA, P, CMYK, I;16, ...
    orientation: int  # EXIF, 1..8; 1: upright
    wide: bool = False  # more than 8 bits a channel
    note: str = ""  # what Pillow found odd in it, for example a damaged EXIF block; "" when nothing

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) after the EXIF orientation is applied, as `load_image` returns the image."""
        if self.orientation >= 5:
            return self.stored_height, self.stored_width
        return self.stored_width, self.stored_height


def exif_orientation(image: Image.Image) -> int:
    """EXIF orientation of an opened image, from what stands before its pixels; nothing is decoded.

    Args:
        image: opened by Pillow, not loaded yet.
    Returns:
        1..8; 1 (upright) when absent or out of range, and for TIFF, which Pillow turns upright itself.
    """
    if image.format == "TIFF":
        return 1
    # PngImageFile.getexif would decode the whole image to look for a chunk behind its pixels.
    orientation = Image.Image.getexif(image).get(_ORIENTATION_TAG, 1)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


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
        with _RECORDING, warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            # Pillow warns about large images here; load_image is the place where size matters.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with open_image(path) as image:
                orientation, wide = exif_orientation(image), _is_wide(image)
                note = " ".join(str(found[0].message).split()) if found else ""
                return ImageHeader(image.width, image.height, image.mode, orientation, wide, note)
    except FileNotFoundError:
        raise
    except IMAGE_ERRORS as error:
        raise DataError(
            f"{path}: can't read the image header ({type(error).__name__}: {error}); "
            f"expected a file of {', '.join(FORMATS)}; replace the file"
        ) from error


def _is_wide(image: Image.Image) -> bool:
    """True when the file has more than 8 bits a channel, also where Pillow reduces them while it decodes (RGB)."""
    return image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
