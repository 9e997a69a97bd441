"""What every annotation format is read into: images, boxes and classes, with ids that fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgedet.data.pictures.headers import ImageHeader


@dataclass(frozen=True)
class Category:
    """One class."""

    category_id: int
    name: str
    parent: str  # COCO's supercategory, "" when absent


@dataclass(frozen=True, slots=True)
class RawImage:
    """One image of a data set, not opened yet."""

    image_id: int
    file_name: str  # relative to the image folder; with the seed it decides about train or valid
    path: Path
    width: int  # px, as the annotations state it
    height: int  # px
    stated: bool = True  # False: no size is stated, the two are the upright picture's


@dataclass(frozen=True, slots=True)  # a data set has millions
class Instance:
    """One box."""

    annotation_id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]  # xywh, px
    area: float  # px^2
    crowd: bool

    def with_bbox(self, bbox: tuple[float, float, float, float]) -> Instance:
        """The same instance with another box; its area never exceeds the box."""
        return replace(self, bbox=bbox, area=min(self.area, bbox[2] * bbox[3]))


class Findings:
    """Counts what was put right, by the code of its warning."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}

    def add(self, code: str, example: str, times: int = 1) -> None:
        """Count one or several more; the first example is kept."""
        count, first = self._found.get(code, (0, example))
        self._found[code] = (count + times, first)

    def extend(self, other: Findings) -> None:
        """Count what another one counted."""
        for code, count, example in other.items():
            before, first = self._found.get(code, (0, example))
            self._found[code] = (before + count, first)

    def items(self) -> list[tuple[str, int, str]]:
        """(code, count, first example), by code."""
        return [(code, *self._found[code]) for code in sorted(self._found)]


@dataclass(frozen=True)
class Annotations:
    """What an annotation file says; its ids fit together."""

    where: str  # file or folder, for messages
    images: tuple[RawImage, ...]
    instances: tuple[Instance, ...]  # each of a known image and category
    categories: tuple[Category, ...]  # by ascending id
    findings: Findings
    headers: Mapping[Path, ImageHeader] = field(default_factory=dict)  # of image files that had to be opened already
    in_parts: bool = False  # the file gives boxes in parts of the image; they were multiplied by the upright size
    broken: tuple[str, ...] = ()  # what is wrong with each image that was left out because it can't be read


def without_images(part: Annotations, broken: Mapping[Path, str]) -> Annotations:
    """Leave out images and their boxes.

    Args:
        part: annotations.
        broken: path -> what is wrong with it.
    """
    if not broken:
        return part
    gone = {raw.image_id for raw in part.images if raw.path in broken}
    return replace(
        part,
        images=tuple(raw for raw in part.images if raw.image_id not in gone),
        instances=tuple(instance for instance in part.instances if instance.image_id not in gone),
        broken=(*part.broken, *broken.values()),
    )
