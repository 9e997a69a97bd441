"""Run a model on images and draw what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from edgedet.contracts import Detections
from edgedet.data.check.content import require_bright_files
from edgedet.data.pictures.draw import draw_boxes
from edgedet.data.pictures.headers import read_header
from edgedet.data.pictures.preprocess import load_image
from edgedet.errors import ConfigError, DataError
from edgedet.escape import json_text
from edgedet.evaluate.detect import Found, OnDevice, detect, keeping_results
from edgedet.evaluate.earlier import DETECTIONS_FILE, earlier_pictures, strange_names
from edgedet.evaluate.own_decoder import Decoder, OwnDecoder
from edgedet.fileio import write_text
from edgedet.outputs.folder import added_files
from edgedet.outputs.lock import hold_output

if TYPE_CHECKING:  # drawing alone needs no runtime
    from edgedet.progress import Progress
    from edgedet.runtimes.device_figures import DeviceMs
    from edgedet.runtimes.protocol import Runtime

_MOST_NAMED = 20  # images, where none can be read


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in one image, and where its picture is."""

    image: Path  # input
    picture: Path  # PNG with boxes
    width: int  # px, of the upright image
    height: int  # px
    detections: Detections  # in pixels of the upright image
    device_ms: DeviceMs | None = None  # of a board, by its clock; None: no board, or it has no clock


def predict(
    runtime: Runtime,
    image_paths: Sequence[Path],
    out: Path,
    score_threshold: float | None = None,
    progress: Progress | None = None,
    decode: Decoder | None = None,
    on_unreadable: Callable[[Path, DataError], None] | None = None,
) -> list[Prediction]:
    """Detect objects in images; write `OUT/<name>.png` for each and `OUT/detections.json`.

    Nothing is written before every image went through. Pictures of an earlier run in this folder, which its
    detections.json lists, are replaced, or removed. Where `<name>.png` is any other file, or another image has the name
    already, the picture is `<name>_2.png` and so on.

    Args:
        runtime: the model in one of its forms.
        image_paths: at least one image file.
        out: folder, created when absent.
        score_threshold: inside [0, 1); None takes the model's.
        progress: called after each image.
        decode: of a head that edgedet does not know, as in `evaluate`; None: the contract's head.
        on_unreadable: told of an image that can't be read, which is left out then; None: it is an error.
    Returns:
        One prediction per image that could be read, in order.
    Raises:
        ConfigError: no images, the threshold is out of range, or edgedet did not write the folder's detections.json.
        DataError: an image is missing or damaged, or all are, or the 16-bit ones among them are almost black.
    """
    if not image_paths:
        raise ConfigError("predict: no images given; name at least one image file")
    keeping = keeping_results(runtime)
    if decode is not None:
        runtime = OwnDecoder(runtime, decode)
    require_usable(runtime, image_paths)
    unreadable: list[str] = []

    def told(path: Path, error: DataError) -> None:
        if on_unreadable is None:
            raise error
        unreadable.append(str(error))
        on_unreadable(path, error)

    with hold_output(out):
        earlier = earlier_pictures(out)
        pictures = picture_paths(image_paths, out, earlier)
        with keeping:
            found = detect_each(runtime, image_paths, score_threshold, progress, told)
            predictions = [_prediction(image_paths[place], pictures[place], one) for place, one in found]
        if not predictions:
            raise none_readable(unreadable)
        _write(predictions, runtime, out, score_threshold, unreadable, earlier)
    return predictions


def require_usable(runtime: Runtime, pictures: Sequence[Path | np.ndarray]) -> None:
    """Look at all pictures before the first is run, which may be one of many slow ones.

    Args:
        runtime: the model in one of its forms.
        pictures: files, or decoded: uint8 (H, W, 3). Files that can't be read are passed over: their turn comes.
    Raises:
        DataError: the 16-bit files among them are almost black.
        DeviceError: one does not fit into the memory of a board.
    """
    require_bright_files([picture for picture in pictures if isinstance(picture, Path)])
    if not isinstance(runtime, OnDevice):
        return
    for picture in pictures:
        if not isinstance(picture, Path):
            runtime.require_room(picture.shape[1], picture.shape[0], "a picture in memory")
            continue
        try:
            header = read_header(picture)
        except (DataError, FileNotFoundError):  # told where it is its turn
            continue
        runtime.require_room(*header.upright_size, str(picture))


def detect_each(
    runtime: Runtime,
    pictures: Sequence[Path | np.ndarray],
    threshold: float | None,
    progress: Progress | None,
    on_unreadable: Callable[[Path, DataError], None],
) -> Iterator[tuple[int, Found]]:
    """Detect objects in one picture after the other.

    Args:
        runtime: the model in one of its forms.
        pictures: files, or decoded: uint8 (H, W, 3), RGB, upright.
        threshold: inside [0, 1); None takes the model's.
        progress: called after each picture.
        on_unreadable: told of a file that can't be read, which is left out then.
    Yields:
        Place of a picture among all, and what was found in it.
    """
    for place, picture in enumerate(pictures):
        try:
            found = detect(runtime, picture, threshold)
        except DataError as error:
            if not isinstance(picture, Path):
                raise
            on_unreadable(picture, error)
        else:
            yield place, found
        if progress is not None:
            progress(place + 1, len(pictures))


def none_readable(problems: Sequence[str]) -> DataError:
    """The error where not one of several images can be read; `problems` says why, one sentence an image."""
    more = f"; and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
    return DataError(f"none of the {len(problems)} images can be read: {'; '.join(problems[:_MOST_NAMED])}{more}")


def _prediction(image: Path, picture: Path, found: Found) -> Prediction:
    width, height = found.image_size
    return Prediction(image, picture, width, height, found.in_image, found.device_ms)


def _write(
    predictions: Sequence[Prediction], runtime: Runtime, out: Path, threshold: float | None,
    unreadable: Sequence[str], earlier: AbstractSet[str],
) -> None:  # fmt: skip
    """Pictures and detections.json, all at once, in place of those of an earlier run."""
    here = out.resolve()
    inputs = {prediction.image.name for prediction in predictions if prediction.image.resolve().parent == here}
    stale = earlier - {prediction.picture.name for prediction in predictions} - inputs
    names = runtime.outputs.class_names
    with added_files(out, DETECTIONS_FILE, frozenset(stale)) as folder:
        for prediction in predictions:  # decoded again rather than kept: memory does not grow with the number of images
            drawn = draw_detections(load_image(prediction.image), prediction.detections, names)
            Image.fromarray(drawn).save(folder / prediction.picture.name, format="PNG")
        write_text(folder / DETECTIONS_FILE, _to_json(predictions, runtime, threshold, unreadable))


def draw_detections(image: np.ndarray, detections: Detections, class_names: Sequence[str]) -> np.ndarray:
    """Draw boxes with class names and scores; each class has its own colour.

    Args:
        image: uint8 (H, W, 3), RGB; stays as it is.
        detections: in pixels of the image.
        class_names: one per label.
    Returns:
        uint8 (H, W, 3), a copy with boxes.
    Raises:
        ShapeError: the image is not uint8 (H, W, 3).
    """
    texts = [
        f"{class_names[label]} {score:.2f}"
        for label, score in zip(detections.labels.tolist(), detections.scores.tolist(), strict=True)
    ]
    return draw_boxes(image, detections.boxes, detections.labels, texts)


def picture_paths(image_paths: Sequence[Path], out: Path, earlier: AbstractSet[str] = frozenset()) -> list[Path]:
    """A different PNG path in `out` for each image, none of them an input or a file of the user's.

    Args:
        image_paths: inputs.
        out: folder of the pictures.
        earlier: names in it that may be replaced.
    Returns:
        One path per image, in order.
    """
    taken = {str(path.resolve()).lower() for path in image_paths}  # lower: some file systems ignore case
    strange = strange_names(out, earlier)
    pictures = []
    for path in image_paths:
        picture, number = out / f"{path.stem}.png", 1
        while picture.name.lower() in strange or str(picture.resolve()).lower() in taken:
            number += 1
            picture = out / f"{path.stem}_{number}.png"
        taken.add(str(picture.resolve()).lower())
        pictures.append(picture)
    return pictures


def threshold_values(runtime: Runtime, threshold: float | None) -> dict[str, Any]:
    """What the JSON files say about the threshold that was asked for, or (None) those of the model."""
    if threshold is not None:
        return {"score_threshold": threshold}
    values: dict[str, Any] = {"score_threshold": runtime.outputs.score_threshold}
    if runtime.outputs.class_thresholds:
        values["class_thresholds"] = list(runtime.outputs.class_thresholds)
    return values


def detection_rows(found: Detections, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Detections as the JSON files of `predict` hold them, best first."""
    rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    return [
        {"class": class_names[label], "label": label, "score": score, "box_xyxy_px": box} for label, score, box in rows
    ]


def _to_json(
    predictions: Sequence[Prediction], runtime: Runtime, threshold: float | None, unreadable: Sequence[str]
) -> str:
    names = runtime.outputs.class_names
    images = []
    for prediction in predictions:
        images.append(
            {
                "image": str(prediction.image),
                "picture": prediction.picture.name,
                "width": prediction.width,
                "height": prediction.height,
                "detections": detection_rows(prediction.detections, names),
                **({} if prediction.device_ms is None else {"device_ms": asdict(prediction.device_ms)}),
            }
        )
    head = {"runtime": runtime.name, "arithmetic": runtime.arithmetic, **threshold_values(runtime, threshold)}
    if isinstance(runtime, OnDevice):
        head["device"] = asdict(runtime.device_figures())
    return json_text({**head, "class_names": list(names), "images": images, "unreadable": list(unreadable)}, 2)
