"""Whether image files can be decoded to their end: asked before long work, so that none stops it later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.data.pictures.headers import IMAGE_ERRORS
from edgedet.data.pictures.opening import open_image
from edgedet.data.pictures.preprocess import load_image
from edgedet.errors import DataError
from edgedet.threads import usable_cores

_AHEAD = 64  # files of each thread that are waited for at once


@dataclass(frozen=True)
class Decoded:
    """What decoding an image file showed."""

    problem: str  # empty: it decodes
    blank: bool = False  # every pixel has the same colour, transparent ones that of the ground


def decode_problem(path: Path) -> str:
    """What is wrong with an image file, which exists; empty when it decodes."""
    return decode(path).problem


def decode(path: Path) -> Decoded:
    """Decode an image file to its end.

    JPEGs are decoded at an eighth of their size, which reads all of their data and costs a third of the time.

    Args:
        path: of the file, which exists.
    """
    try:
        with open_image(path) as image:
            if image.format != "JPEG" or image.mode not in ("RGB", "L"):
                pixels = load_image(path)
                return Decoded("", bool((pixels == pixels[:1, :1]).all()))
            image.draft(image.mode, (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()
            return Decoded("", all(low == high for low, high in np.reshape(image.getextrema(), (-1, 2)).tolist()))
    except DataError as error:
        return Decoded(str(error))
    except FileNotFoundError:
        return Decoded(f"{path}: image file not found")
    except IMAGE_ERRORS as error:
        return Decoded(f"{path}: can't decode the image ({type(error).__name__}: {error})")


def decode_problems(paths: Sequence[Path]) -> Iterator[str]:
    """`decode_problem` of many files, in their order, on all cores."""
    with ThreadPoolExecutor(usable_cores()) as pool:  # decoding releases the GIL
        step = _AHEAD * usable_cores()
        for start in range(0, len(paths), step):
            yield from pool.map(decode_problem, paths[start : start + step])
