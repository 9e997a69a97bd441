"""What a model finds in pictures that show none of its classes: the figure where AP has no meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgedet.contracts import Detections


@dataclass(frozen=True)
class FalseAlarms:
    """Detections in images without objects."""

    score_threshold: float  # detections above it count: what the chip reports
    images: int
    images_with_any: int
    total: int
    per_class: tuple[tuple[str, int], ...]  # (name, detections), in the order of the data set

    @property
    def per_image(self) -> float:
        """Detections per image."""
        return self.total / self.images

    def text(self) -> str:
        """Lines for people, each with its line end."""
        names = ", ".join(f"{name} {count}" for name, count in self.per_class)
        return (
            f"no objects in these {self.images} images: AP can't be measured, every detection is a false alarm\n"
            f"false alarms per image: {self.per_image:.3f} at score > {self.score_threshold:g} "
            f"({self.total} in all, {self.images_with_any} images have any)\n"
            f"per class: {names}\n"
        )


def count_false_alarms(
    found: Mapping[int, Detections], class_names: Sequence[str], score_threshold: float
) -> FalseAlarms:
    """Count detections in images without objects.

    Args:
        found: detections by image, labels as indices into `class_names`; at least one image.
        class_names: of the data set.
        score_threshold: that the detections were made with.
    Returns:
        The figure.
    """
    counts = [0] * len(class_names)
    for detections in found.values():
        for label in detections.labels.tolist():
            counts[label] += 1
    return FalseAlarms(
        score_threshold=score_threshold,
        images=len(found),
        images_with_any=sum(1 for detections in found.values() if len(detections)),
        total=sum(counts),
        per_class=tuple(zip(class_names, counts, strict=True)),
    )
