"""What `Model.predict` does with many pictures, and what it gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgedet.api.detections import Detections, counted
from edgedet.api.opening import progress_bar
from edgedet.api.sources import Source, find_pictures
from edgedet.errors import ConfigError, DataError
from edgedet.evaluate.detect import keeping_results
from edgedet.evaluate.predict import detect_each, none_readable, predict, require_usable
from edgedet.notebook import html_table, short_path

if TYPE_CHECKING:
    from edgedet.api.model import Model
    from edgedet.contracts import Detections as Found
    from edgedet.runtimes.device_figures import DeviceMs
    from edgedet.runtimes.protocol import Runtime

_MOST_NAMED = 20  # broken pictures in a message; `broken` has all
_STACK = 5  # from a warning to the line that called Model.predict


@dataclass(frozen=True)
class BrokenPicture:
    """A picture that can't be read."""

    path: Path
    problem: str  # a sentence, the path first


class Predictions(list[Detections]):
    """What was found in several pictures: a list of `Detections`, one for each picture that could be read.

    `broken` has those that could not. In a notebook it shows itself as a short table.
    """

    def __init__(self, found: Iterable[Detections] = (), broken: Sequence[BrokenPicture] = ()) -> None:
        super().__init__(found)
        self.broken: tuple[BrokenPicture, ...] = tuple(broken)

    def __repr__(self) -> str:
        broken = f", {len(self.broken)} more can't be read" if self.broken else ""
        objects = sum(len(one) for one in self)
        return f"<Predictions in {_count(len(self), 'picture')}: {_count(objects, 'object')}{broken}>"

    def _repr_html_(self) -> str:
        rows = [
            ("in memory" if one.path is None else short_path(one.path), f"{one.size[0]}x{one.size[1]}", counted(one))
            for one in self
        ]
        problems = [f"can't be read: {picture.problem}" for picture in self.broken]
        return html_table(repr(self)[1:-1], rows, ("picture", "px", "found"), problems)


class BrokenPicturesError(DataError):
    """Some of many pictures can't be read; nothing of the others is lost.

    Attributes:
        results: what was found in the others, as `Model.predict` would have given it.
        broken: those that can't be read, and why.
    """

    def __init__(self, results: Predictions) -> None:
        self.results, self.broken = results, results.broken
        super().__init__(
            f"{_unreadable(results)}. The other {len(results)} are done: this error has them as `results` (after it, "
            "`import sys; sys.last_value.results`); `skip_broken=True` gives them right away"
        )

    def __reduce__(self) -> tuple[type[BrokenPicturesError], tuple[Predictions]]:
        return type(self), (self.results,)  # a worker process hands it to the one that waits for it


def predict_pictures(
    model: Model, source: Source, score_threshold: float | None, out: Path | None, skip_broken: bool
) -> Predictions:
    """Find objects in pictures; as `Model.predict`.

    Args:
        model: checkpoint or int8 file.
        source: what is meant by `find_pictures`.
        score_threshold: inside [0, 1); None: the model's own.
        out: folder for pictures with boxes and detections.json; None: nothing is written.
        skip_broken: files that can't be read are no error.
    """
    pictures = find_pictures(source)
    if not pictures:
        raise ConfigError("`source` is an empty list; expected at least one picture")
    runtime = model.runtime
    broken: list[BrokenPicture] = []
    alone = len(pictures) == 1 and not skip_broken  # what is wrong with it is then the error

    def told(path: Path, error: DataError) -> None:
        if alone:
            raise error
        broken.append(BrokenPicture(path, str(error)))

    with progress_bar("predict", len(pictures)) as progress:
        if out is not None:
            files = [picture for picture in pictures if isinstance(picture, Path)]
            if len(files) < len(pictures):
                raise ConfigError(
                    "`out` names pictures after their files, but `source` holds pictures in memory; use draw()"
                )
            done = predict(runtime, files, out, score_threshold, progress, on_unreadable=told)
            found = [_named(runtime, p.detections, p.image, (p.width, p.height), p.device_ms) for p in done]
        else:
            require_usable(runtime, pictures)
            with keeping_results(runtime):
                found = [
                    _named(runtime, one.in_image, pictures[place], one.image_size, one.device_ms)
                    for place, one in detect_each(runtime, pictures, score_threshold, progress, told)
                ]
    if not found:
        raise none_readable([picture.problem for picture in broken])
    return _settled(Predictions(found, broken), skip_broken)


def _settled(results: Predictions, skip_broken: bool) -> Predictions:
    if results.broken and not skip_broken:
        raise BrokenPicturesError(results)
    if results.broken:
        warnings.warn(f"{_unreadable(results)}; they are left out", stacklevel=_STACK)
    return results


def _unreadable(results: Predictions) -> str:
    count = len(results.broken)
    named = "; ".join(picture.problem for picture in results.broken[:_MOST_NAMED])
    more = f"; and {count - _MOST_NAMED} more" if count > _MOST_NAMED else ""
    return f"{count} of {len(results) + count} pictures can't be read: {named}{more}"


def _named(
    runtime: Runtime, found: Found, picture: Path | np.ndarray, size: tuple[int, int], ms: DeviceMs | None
) -> Detections:
    path, pixels = (None, picture) if isinstance(picture, np.ndarray) else (picture, None)
    outputs = runtime.outputs
    return Detections(
        found.boxes, found.scores, found.labels, outputs.class_names, path, size, outputs.category_ids, ms, pixels
    )  # fmt: skip


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
