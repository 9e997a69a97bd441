"""What `predict` takes: files, folders, patterns, pictures in memory, and lists of them."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from edgedet.data.bare_images import list_images
from edgedet.data.pictures.preprocess import upright_rgb
from edgedet.errors import ConfigError, DataError, ShapeError
from edgedet.evaluate.video import VIDEO_SUFFIXES
from edgedet.fileio import PathLike, as_path

OneSource: TypeAlias = PathLike | np.ndarray | Image.Image
Source: TypeAlias = OneSource | Iterable[OneSource]


def find_pictures(source: Source) -> list[Path | np.ndarray]:
    """List the pictures that are meant.

    Args:
        source: a file; a folder, searched with its sub-folders for images, not videos; a pattern with `*`, `?`, `[`; a
            picture in memory, uint8 (H, W, 3) RGB or (H, W) grey, or of Pillow; or a list of such things.
    Returns:
        Paths and arrays, uint8 (H, W, 3), RGB, upright; the files of a folder or pattern sorted by path. Of several
        sources, a path where nothing is stays in the list: it is to be treated as a file that can't be read, for one
        wrong path is no reason to leave all others undone.
    Raises:
        DataError: nothing there.
        ShapeError: an array of another shape or type.
        ConfigError: something else.
    """
    return _pictures(source, alone=True)


def _pictures(source: Source, alone: bool) -> list[Path | np.ndarray]:
    if isinstance(source, np.ndarray):
        return [_array(source)]
    if isinstance(source, Image.Image):
        return [upright_rgb(source, "picture in memory")]
    if isinstance(source, (str, os.PathLike)):
        return list(_files_of(source, alone))
    if hasattr(source, "__array__"):  # a tensor
        return [_array(np.asarray(source))]
    if isinstance(source, Iterable) and not isinstance(source, (bytes, Mapping)):
        several = list(source)
        return [picture for one in several for picture in _pictures(one, alone and len(several) == 1)]
    raise ConfigError(
        f"`source`: expected a path, a folder, a pattern, an array or a list of them, found {type(source).__name__}"
    )


def find_files(sources: Sequence[PathLike]) -> list[Path]:
    """The image files of paths, folders and patterns, as `find_pictures`; each once."""
    return list(dict.fromkeys(path for source in sources for path in _files_of(source, len(sources) == 1)))


def _files_of(source: PathLike, alone: bool) -> list[Path]:
    """Of several sources, what is no file, folder or pattern with matches is itself the file."""
    path, text = as_path(source, "source"), os.fspath(source)
    gone = not os.path.exists(path) and not (glob.has_magic(text) and _matches(text))
    return [path] if gone and not alone else _files(text)


def _array(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ShapeError(
            f"picture in memory: expected uint8 (H, W, 3), RGB, or (H, W), grey; found {pixels.dtype} {pixels.shape}"
            f"{_advice(pixels)}"
        )
    if 0 in pixels.shape:
        raise ShapeError(f"picture in memory: expected pixels, found none, shape {pixels.shape}")
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)


def _advice(pixels: np.ndarray) -> str:
    """How the usual other forms become one that is taken."""
    shape, steps = pixels.shape, []
    if pixels.ndim == 4:
        return "; give the pictures of a batch as a list, list(batch)"
    if pixels.ndim == 3 and shape[2] != 3:
        steps += ["a.transpose(1, 2, 0)"] if shape[0] == 3 else ["a[..., :3]"] if shape[2] == 4 else []
    if pixels.dtype.kind == "f":
        steps.append("(255 * a).round().astype('uint8') where they are 0..1")
    elif pixels.dtype != np.uint8 and pixels.dtype.kind in "iu":
        steps.append("a.astype('uint8') where they are 0..255")
    return f"; try {', then '.join(steps)}" if steps else ""


def _files(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        return _images_below(path)
    if glob.has_magic(text):
        found = _matches(text)
        if not found:
            raise DataError(f"{text}: no file matches this pattern; check the folder and the ending")
        return found
    raise DataError(
        f"{path}: no such file or folder; give an image, a folder of images, or a pattern such as 'photos/*.jpg'"
    )


def _images_below(folder: Path) -> list[Path]:
    try:
        return list_images(folder)
    except DataError as error:
        videos = videos_below(folder)
        if not videos:
            raise
        raise DataError(
            f"{folder}: holds no images, but {len(videos)} video{'s' if len(videos) > 1 else ''}; a video goes by "
            f"itself: give {videos[0]} in place of the folder"
        ) from error


def videos_below(folder: Path) -> list[Path]:
    """Videos in a folder and its sub-folders, by their suffix, sorted by path; `find_pictures` passes over them."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())


def _matches(pattern: str) -> list[Path]:
    """Files that a pattern means, sorted by path."""
    matches = [Path(name) for name in glob.glob(os.path.expanduser(pattern), recursive=True)]
    return sorted(path for path in matches if path.is_file())
