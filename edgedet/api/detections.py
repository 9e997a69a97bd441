"""What a model found in one picture, with everything that people do with it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from PIL import Image

from edgedet.api.public import public
from edgedet.data.pictures.preprocess import load_image
from edgedet.errors import ShapeError, ToolchainError
from edgedet.evaluate.predict import draw_detections
from edgedet.notebook import short, short_path
from edgedet.typed import require_given, require_whole, shown

if TYPE_CHECKING:
    from supervision import Detections as SupervisionDetections

    from edgedet.contracts import Detections as Found
    from edgedet.runtimes.device_figures import DeviceMs

_MOST_CLASSES = 3  # named in a short text


class Detection(NamedTuple):
    """One object."""

    class_name: str
    score: float  # 0..1
    box: tuple[float, float, float, float]  # left, top, right, bottom, px of the upright picture


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """What a model found in one picture, best first.

    `for one in found: one.class_name, one.score, one.box` goes over the objects: name, 0..1, and (left, top, right,
    bottom) in px of the upright picture; `found[0]` is the best of them, `found[found.scores > 0.5]` are some. In a
    notebook it shows itself as the picture with its boxes.

    Attributes:
        boxes: float32 (N, 4), left, top, right, bottom, px.
        scores: float32 (N,), 0..1.
        labels: int64 (N,), index into `class_names`.
        class_names: of the model.
        path: file of the picture; None: it was given in memory.
        size: (width, height) of the upright picture, px.
        category_ids: COCO category id of each class; empty: 0, 1, 2, ...
        device_ms: of a board, ms by its clock; None: no board, or it has no clock.
    """

    boxes: np.ndarray  # float32 (N, 4), left, top, right, bottom, px of the upright picture
    scores: np.ndarray  # float32 (N,), 0..1
    labels: np.ndarray  # int64 (N,), index into class_names
    class_names: tuple[str, ...]  # of the model
    path: Path | None  # file of the picture; None: it was given in memory
    size: tuple[int, int]  # width, height of the upright picture, px
    category_ids: tuple[int, ...] = ()  # COCO category id of each class; empty: 0, 1, 2, ...
    device_ms: DeviceMs | None = None  # of a board: ms by its clock; None: no board, or it has no clock
    _pixels: np.ndarray | None = field(default=None, repr=False)  # of a picture in memory; files are read again

    def __post_init__(self) -> None:
        boxes, scores, labels = (np.asarray(values) for values in (self.boxes, self.scores, self.labels))
        count = len(scores) if scores.ndim == 1 else -1
        if boxes.shape != (count, 4) or labels.shape != (count,) or (count and labels.dtype.kind not in "iu"):
            raise ShapeError(
                f"Detections: expected boxes (N, 4), scores (N,) and whole labels (N,), found {boxes.shape}, "
                f"{scores.shape} and {labels.dtype} {labels.shape}; take the same rows of all three"
            )
        if count and not 0 <= labels.min() <= labels.max() < len(self.class_names):
            raise ShapeError(
                f"Detections: labels {labels.min()} to {labels.max()}; expected 0 to {len(self.class_names) - 1}, one "
                "for each class name"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        for label, score, box in zip(self.labels.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True):
            yield Detection(self.class_names[label], score, (box[0], box[1], box[2], box[3]))

    @overload
    def __getitem__(self, which: int | np.integer) -> Detection: ...

    @overload
    def __getitem__(self, which: slice | Sequence[int] | np.ndarray) -> Detections: ...

    def __getitem__(self, which: int | np.integer | slice | Sequence[int] | np.ndarray) -> Detection | Detections:
        """One object by its number, or some by a slice, a list of numbers or a mask: `found[found.scores > 0.5]`."""
        if isinstance(which, int | np.integer):
            return list(self)[which]
        rows = which if isinstance(which, slice) else np.asarray(which)
        if isinstance(rows, np.ndarray) and (rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iub")):
            raise ShapeError(
                f"Detections[...]: expected a number, a slice, a list of numbers or a mask, found {shown(which)}"
            )
        rows = rows if isinstance(rows, slice) or rows.size else rows.astype(np.int64)
        return replace(self, boxes=self.boxes[rows], scores=self.scores[rows], labels=self.labels[rows])

    def __repr__(self) -> str:
        where = "a picture in memory" if self.path is None else short_path(self.path)
        return f"<Detections in {where}, {self.size[0]}x{self.size[1]}: {counted(self)}>"

    @public
    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """COCO results, as pycocotools' `loadRes` and `edgedet evaluate --detections` take them.

        Args:
            image_id: of the picture in its data set.
        Returns:
            A dict of image_id, category_id, bbox [x, y, width, height] in px, and score for each object.
        """
        require_given(image_id=image_id)
        require_whole(image_id=image_id)
        ids = self.category_ids or tuple(range(len(self.class_names)))
        rows = zip(self.labels.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True)
        return [
            {"image_id": image_id, "category_id": ids[label], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            for label, score, (x1, y1, x2, y2) in rows
        ]

    @public
    def to_supervision(self) -> SupervisionDetections:
        """`supervision.Detections` for its annotators and trackers; class names are in `data["class_name"]`.

        Raises:
            ToolchainError: the package supervision is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise ToolchainError("to_supervision() needs the package supervision: pip install supervision") from error
        names = np.array([self.class_names[label] for label in self.labels.tolist()], dtype=np.str_)
        return supervision.Detections(
            xyxy=self.boxes.astype(np.float32).reshape(-1, 4),
            confidence=self.scores.astype(np.float32),
            class_id=self.labels.astype(int),
            data={"class_name": names},
        )

    @public
    def draw(self) -> Image.Image:
        """The picture with boxes, class names and scores; a Pillow image with `.show()` and `.save(path)`.

        Raises:
            DataError: the file of the picture is gone.
        """
        pixels = self._pixels if self._pixels is not None else load_image(self._file())
        return Image.fromarray(draw_detections(pixels, self._found(), self.class_names))

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.draw().save(buffer, format="PNG")
        return buffer.getvalue()

    def _file(self) -> Path:
        assert self.path is not None, "made with a path or with pixels"
        return self.path

    def _found(self) -> Found:
        from edgedet.contracts import Detections as Found

        return Found(self.boxes, self.scores, self.labels)


def counted(found: Detections) -> str:
    """How many objects of which class, in words: `2 dog, 1 cat`; the most frequent first, the rest counted."""
    counts = Counter(found.class_names[label] for label in found.labels.tolist())
    named = ", ".join(f"{count} {short(name, 20)}" for name, count in counts.most_common(_MOST_CLASSES))
    more = f", ... ({len(counts)} classes)" if len(counts) > _MOST_CLASSES else ""
    return f"{named}{more}" or "nothing"
