"""Training augmentation: mosaic, mixup, random resize and crop, HSV, flips; NumPy and OpenCV, no torch.

Each sample draws from its own generator, so that a run does not depend on threads, and a resumed run goes on exactly.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from edgedet.config import TrainConfig
from edgedet.contracts import PreprocessSpec
from edgedet.data.check.content import MIN_SIDE_PX
from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.preprocess import fitted_size, load_image, resample, to_channels
from edgedet.errors import missing_extra

try:
    import cv2
except ImportError as error:
    raise missing_extra("cv2", "train") from error

cv2.setNumThreads(1)  # one worker draws samples beside torch, which has all the cores

MIN_VISIBLE = 0.25  # part of a box's area that has to be left after cropping


@dataclass(frozen=True, eq=False)
class Sample:
    """One training picture."""

    pixels: np.ndarray  # uint8 (height, width, channels), as the spec orders them, of the network's input size
    boxes: np.ndarray  # float32 (N, 4), input px, xyxy
    labels: np.ndarray  # int64 (N,)


class ImageCache:
    """Decoded training pictures, reduced to the largest size that augmentation asks for.

    Args:
        split: training split.
        spec: preprocessing contract.
        largest_scale: largest random resize; the cache keeps letterboxed size x this, never more than the original.
        budget_bytes: memory for pixels; the least recently used pictures are dropped (and decoded again when needed).
    """

    def __init__(
        self, split: CocoSplit, spec: PreprocessSpec, largest_scale: float, budget_bytes: int = 4 << 30
    ) -> None:
        self.split = split
        self.spec = spec
        self._largest_scale = largest_scale
        self._budget_bytes = budget_bytes
        self._pixels: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.split.images)

    def base_size(self, index: int) -> tuple[int, int]:
        """Width and height, px, of the picture inside the network's input without augmentation."""
        record = self.split.images[index]
        placement = fitted_size(record.width, record.height, self.spec)
        return placement.new_width, placement.new_height

    def pixels(self, index: int) -> np.ndarray:
        """uint8 (h, w, channels) pixels of one picture, at most `largest_scale` times its base size."""
        if index in self._pixels:
            self._pixels.move_to_end(index)
            return self._pixels[index]
        image = to_channels(load_image(self.split.images[index].path), self.spec)
        base_width, base_height = self.base_size(index)
        width = min(image.shape[1], round(base_width * self._largest_scale))
        height = min(image.shape[0], round(base_height * self._largest_scale))
        pixels = resample(image, width, height, self.spec.interpolation)
        self._pixels[index] = pixels
        self._bytes += pixels.nbytes
        while self._bytes > self._budget_bytes and len(self._pixels) > 1:
            self._bytes -= self._pixels.popitem(last=False)[1].nbytes
        return pixels

    def targets(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (float32 (N, 4), xyxy, 0..1 of the picture's sides) and labels (int64 (N,)), crowds left out."""
        record = self.split.images[index]
        size = np.array([record.width, record.height] * 2, np.float32)
        return record.boxes[~record.crowd] / size, record.labels[~record.crowd]


def augment(cache: ImageCache, index: int, config: TrainConfig, strong: bool, rng: np.random.Generator) -> Sample:
    """Draw one training sample.

    Args:
        cache: training pictures.
        index: the picture that the sample is about.
        config: probabilities and ranges.
        strong: with mosaic and mixup; the last epochs of a run go without.
        rng: generator of this sample alone.
    Returns:
        The sample.
    """
    if strong and rng.random() < config.mosaic:
        sample = _mosaic(cache, index, config, rng)
        if rng.random() < config.mixup:
            sample = _mixup(sample, _single(cache, int(rng.integers(len(cache))), config, rng))
    else:
        sample = _single(cache, index, config, rng)
    pixels = _hsv(sample.pixels, config, rng)
    return _flip(Sample(pixels, sample.boxes, sample.labels), config, rng)


def _canvas(spec: PreprocessSpec) -> np.ndarray:
    return np.full((spec.height, spec.width, spec.channels), spec.pad_value, np.uint8)


def _resized(cache: ImageCache, index: int, scale: float) -> np.ndarray:
    """The picture at `scale` times its base size, uint8."""
    pixels = cache.pixels(index)
    base_width, base_height = cache.base_size(index)
    size = (max(1, round(base_width * scale)), max(1, round(base_height * scale)))
    if size == (pixels.shape[1], pixels.shape[0]):
        return pixels
    shrinks = size[0] < pixels.shape[1]
    resized = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.reshape(size[1], size[0], -1)  # OpenCV drops the axis of a single channel


def _place(canvas: np.ndarray, picture: np.ndarray, x: int, y: int, window: tuple[int, int, int, int]) -> None:
    """Copy `picture`, its top left corner at (x, y) of the canvas, as far as it lies in the window (x0, y0, x1, y1)."""
    x0, y0 = max(window[0], x), max(window[1], y)
    x1, y1 = min(window[2], x + picture.shape[1]), min(window[3], y + picture.shape[0])
    if x1 > x0 and y1 > y0:
        canvas[y0:y1, x0:x1] = picture[y0 - y : y1 - y, x0 - x : x1 - x]


def _clip(boxes: np.ndarray, labels: np.ndarray, window: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cut boxes to the window and drop those of which too little is left."""
    low = np.array(window[:2] * 2, np.float32)
    high = np.array(window[2:] * 2, np.float32)
    cut = np.clip(boxes, low, high)
    sides = cut[:, 2:] - cut[:, :2]
    before = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    keep = (sides.min(axis=1, initial=np.inf) >= MIN_SIDE_PX) & (np.prod(sides, axis=1) >= MIN_VISIBLE * before)
    return cut[keep], labels[keep]


def _tile(
    cache: ImageCache,
    index: int,
    canvas: np.ndarray,
    window: tuple[int, int, int, int],
    config: TrainConfig,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Put one randomly resized picture into a window of the canvas; a random part of it when it is larger."""
    picture = _resized(cache, index, float(rng.uniform(config.scale_min, config.scale_max)))
    offsets = []
    for low, high, side in ((window[0], window[2], picture.shape[1]), (window[1], window[3], picture.shape[0])):
        slack = high - low - side  # negative: the picture is larger than the window
        offsets.append(low + (int(rng.integers(min(slack, 0), max(slack, 0) + 1)) if config.crop else slack // 2))
    _place(canvas, picture, offsets[0], offsets[1], window)
    boxes, labels = cache.targets(index)
    size = np.array([picture.shape[1], picture.shape[0]] * 2, np.float32)
    return _clip(boxes * size + np.array(offsets * 2, np.float32), labels, window)


def _single(cache: ImageCache, index: int, config: TrainConfig, rng: np.random.Generator) -> Sample:
    canvas = _canvas(cache.spec)
    window = (0, 0, cache.spec.width, cache.spec.height)
    return Sample(canvas, *_tile(cache, index, canvas, window, config, rng))


def _mosaic(cache: ImageCache, index: int, config: TrainConfig, rng: np.random.Generator) -> Sample:
    """Four pictures that meet at a random point; drawn at the final size, so that nothing is resized twice."""
    width, height = cache.spec.width, cache.spec.height
    x, y = round(width * rng.uniform(0.3, 0.7)), round(height * rng.uniform(0.3, 0.7))
    canvas = _canvas(cache.spec)
    others = rng.integers(len(cache), size=3)
    windows = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
    order = rng.permutation(4)  # which quarter the picture itself gets
    targets = [
        _tile(cache, int(i), canvas, windows[quarter], config, rng)
        for i, quarter in zip((index, *others), order, strict=True)
    ]
    return Sample(canvas, np.concatenate([t[0] for t in targets]), np.concatenate([t[1] for t in targets]))


def _mixup(first: Sample, second: Sample) -> Sample:
    """Half of each picture, the objects of both. Source: mixup for detection, arXiv:1902.04103; 0.5 as in RTMDet."""
    pixels = cv2.addWeighted(first.pixels, 0.5, second.pixels, 0.5, 0.0).reshape(first.pixels.shape)
    return Sample(pixels, np.concatenate((first.boxes, second.boxes)), np.concatenate((first.labels, second.labels)))


def _hsv(pixels: np.ndarray, config: TrainConfig, rng: np.random.Generator) -> np.ndarray:
    """Change hue, saturation and value by random factors of up to 1 +- the configured part; of grey only the value."""
    gains = 1 + rng.uniform(-1, 1, 3) * (config.hsv_h, config.hsv_s, config.hsv_v)
    if not (config.hsv_h or config.hsv_s or config.hsv_v):
        return pixels
    levels = np.arange(256)
    hue = ((levels * gains[0]) % 180).astype(np.uint8)
    saturation = np.clip(levels * gains[1], 0, 255).astype(np.uint8)
    value = np.clip(levels * gains[2], 0, 255).astype(np.uint8)
    if pixels.shape[2] == 1:
        result: np.ndarray = value[pixels]
        return result
    table = np.stack((hue, saturation, value), axis=-1)[None]
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV), table), cv2.COLOR_HSV2RGB)


def _flip(sample: Sample, config: TrainConfig, rng: np.random.Generator) -> Sample:
    pixels, boxes = sample.pixels, sample.boxes
    horizontal, vertical = rng.random() < config.flip, rng.random() < config.flip_vertical
    if horizontal:
        pixels = pixels[:, ::-1]
        boxes = np.stack((pixels.shape[1] - boxes[:, 2], boxes[:, 1], pixels.shape[1] - boxes[:, 0], boxes[:, 3]), 1)
    if vertical:
        pixels = pixels[::-1]
        boxes = np.stack((boxes[:, 0], pixels.shape[0] - boxes[:, 3], boxes[:, 2], pixels.shape[0] - boxes[:, 1]), 1)
    return Sample(np.ascontiguousarray(pixels), boxes.astype(np.float32), sample.labels)
