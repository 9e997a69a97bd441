"""A page of pictures with their boxes, as they are or as training sees them: a look says more than a table."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgedet.config import TrainConfig, load_model_file
from edgedet.contracts import PreprocessSpec
from edgedet.data.coco.split import CocoSplit, ImageRecord
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.draw import draw_boxes
from edgedet.data.pictures.preprocess import load_image, resize_to_input, to_rgb
from edgedet.errors import ConfigError
from edgedet.escape import html_text
from edgedet.fileio import atomic_write_bytes, require_out_file

_TILE_PX = 320  # side of a picture on the page
_GAP_PX = 8
_JPEG_QUALITY = 88
SUFFIXES = (".png", ".html")


@dataclass(frozen=True)
class ShowRequest:
    """What to draw."""

    data: DataPaths
    out: Path  # .png or .html
    split: str = "train"
    images: int = 20  # pictures, all when there are fewer; samples when augmented
    seed: int = 0  # decides which, and the augmentation
    augmented: str | None = None  # model whose augmentation is drawn; None: the pictures as they are
    imgsz: tuple[int, int] | None = None  # width, height, px, of augmented samples; None: the model's

    def __post_init__(self) -> None:
        if self.out.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"`out` {self.out}: expected a name that ends in {' or '.join(SUFFIXES)}")
        if self.imgsz is not None and self.augmented is None:
            raise ConfigError("`imgsz` without `augmented`: labelled pictures are shown as they are; leave it out")


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of the page."""

    pixels: np.ndarray  # uint8 (H, W, 3), RGB, boxes drawn
    caption: str


def show_dataset(request: ShowRequest, progress: Callable[[int, int], None] | None = None) -> int:
    """Draw a page.

    Args:
        request: what to draw.
        progress: called with (pictures done, in all).
    Returns:
        Pictures on the page.
    Raises:
        ConfigError: the page can't be written, or there is no such model.
        DataError: the data set is wrong.
        ToolchainError: augmentation without the extra `train`.
    """
    require_out_file(request.out, "`out`")
    split = request.data.load(request.split)
    if request.augmented is None:
        tiles = labelled_tiles(split, request.images, request.seed, progress)
        title = f"{split.ann_path}: {len(tiles)} of {len(split.images)} images of {split.name}"
    else:
        file = load_model_file(request.augmented)
        spec = file.preprocess.spec(request.imgsz)
        tiles = augmented_tiles(split, spec, file.train, request.images, request.seed, progress)
        title = f"{split.ann_path}: {split.name} as {request.augmented} learns it at {spec.width}x{spec.height}"
    page = _png(tiles, title) if request.out.suffix.lower() == ".png" else _html(tiles, title)
    atomic_write_bytes(request.out, page)
    return len(tiles)


def draw_records(split: CocoSplit, count: int, seed: int) -> list[ImageRecord]:
    """Images of a split without repetition, drawn by a seed, in the order of the split."""
    order = np.random.default_rng(seed).permutation(len(split.images))[:count]
    return [split.images[i] for i in sorted(order)]


def labelled_tiles(split: CocoSplit, count: int, seed: int, progress: Callable[[int, int], None] | None) -> list[Tile]:
    """Pictures with the boxes of their annotations; crowds have a thin box and say so.

    Args:
        split: data set.
        count: pictures, all when there are fewer.
        seed: decides which.
        progress: called with (pictures done, in all).
    Raises:
        DataError: an image can't be read.
    """
    tiles = []
    records = draw_records(split, count, seed)
    spec = PreprocessSpec(_TILE_PX, _TILE_PX)
    for done, record in enumerate(records, start=1):
        pixels, placement = resize_to_input(load_image(record.path), spec)
        names = [
            split.class_names[label] + (" (crowd)" if crowd else "")
            for label, crowd in zip(record.labels, record.crowd, strict=True)
        ]
        shown = pixels[: placement.new_height, : placement.new_width]
        drawn = draw_boxes(shown, placement.to_input(record.boxes), record.labels, names)
        size = f"{record.width}x{record.height}, {len(record.labels)} boxes"
        tiles.append(Tile(drawn, f"{record.path.name}  {size}"))
        if progress:
            progress(done, len(records))
    return tiles


def augmented_tiles(
    split: CocoSplit,
    spec: PreprocessSpec,
    config: TrainConfig,
    count: int,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> list[Tile]:
    """Training samples: mosaic, mixup, random resize and crop, colours and flips, with the boxes that are left.

    Args:
        split: training split.
        spec: preprocessing contract.
        config: training settings of a model file.
        count: samples.
        seed: of everything random.
        progress: called with (samples done, in all).
    Raises:
        DataError: an image can't be read.
        ToolchainError: the extra `train` is missing.
    """
    from edgedet.data.augment import ImageCache, augment

    cache = ImageCache(split, spec, config.scale_max)
    tiles = []
    chosen = np.random.default_rng(seed).integers(len(cache), size=count)
    for done, index in enumerate(chosen.tolist(), start=1):
        sample = augment(cache, index, config, strong=True, rng=np.random.default_rng((seed, done)))
        names = [split.class_names[label] for label in sample.labels]
        zoom = max(1, _TILE_PX // max(spec.width, spec.height))  # whole pixels, so that they stay as training sees them
        pixels = to_rgb(sample.pixels, spec).repeat(zoom, axis=0).repeat(zoom, axis=1)
        drawn = draw_boxes(pixels, sample.boxes * zoom, sample.labels, names)
        caption = f"{split.images[index].path.name}  {len(names)} boxes"
        tiles.append(Tile(drawn, caption))
        if progress:
            progress(done, count)
    return tiles


def _png(tiles: Sequence[Tile], title: str) -> bytes:
    font = ImageFont.load_default(size=13)
    columns = min(len(tiles), max(1, round(len(tiles) ** 0.5 * 1.3)))
    rows = -(-len(tiles) // columns)
    width = max(tile.pixels.shape[1] for tile in tiles) + _GAP_PX
    height = max(tile.pixels.shape[0] for tile in tiles) + _GAP_PX + 18  # a line of text
    page = Image.new("RGB", (columns * width + _GAP_PX, rows * height + 32), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    draw.text((_GAP_PX, 8), title, font=font, fill=(0, 0, 0))
    for index, tile in enumerate(tiles):
        x, y = _GAP_PX + index % columns * width, 32 + index // columns * height
        page.paste(Image.fromarray(tile.pixels), (x, y + 18))
        text = tile.caption
        while draw.textlength(text, font=font) > width - _GAP_PX:
            text = text.removesuffix("…")[:-1] + "…"
        draw.text((x, y), text, font=font, fill=(60, 60, 60))
    buffer = io.BytesIO()
    page.save(buffer, format="PNG")
    return buffer.getvalue()


def _html(tiles: Sequence[Tile], title: str) -> bytes:
    figures = []
    for tile in tiles:
        buffer = io.BytesIO()
        Image.fromarray(tile.pixels).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
        data = base64.b64encode(buffer.getvalue()).decode()
        caption = html_text(tile.caption)
        picture = f'<img alt="{caption}" src="data:image/jpeg;base64,{data}">'
        figures.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
    style = "body{font:14px sans-serif}main{display:flex;flex-wrap:wrap;gap:12px}figure{margin:0;max-width:340px}"
    head = f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{html_text(title)}</title>'
    body = f"<h1>{html_text(title)}</h1>\n<main>\n" + "\n".join(figures) + "\n</main>\n"
    return f"{head}<style>{style}</style>\n{body}</html>\n".encode()
