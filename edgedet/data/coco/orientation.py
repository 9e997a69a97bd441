"""Which frame the boxes of a data set refer to when cameras stored pictures turned, and boxes brought upright.

Pixels are always turned upright by their EXIF orientation. Annotation tools do the same, or ignore it; a tool does one
of the two for all its images. Only an image whose orientation swaps its sides (5 to 8) and whose sides differ shows
which, by the size that is stated for it. So the frame is decided for a whole annotation file:

- all such images state one frame: it holds for every image, those turned by 180 degrees and mirrored ones included;
- they contradict each other: an error that asks for `exif`, which then decides about the images that show nothing;
- none shows anything: other splits of the data set are asked, then `exif`, and upright is the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from edgedet.data.formats.annotations import Annotations, Instance, RawImage, without_images
from edgedet.data.formats.file_names import nearest_name
from edgedet.data.pictures.headers import ImageHeader, read_header
from edgedet.errors import BrokenImagesError, ConfigError, DataError, require_one_of
from edgedet.progress import Progress

EXIF = ("auto", "upright", "stored")


@dataclass(frozen=True)
class FrameEvidence:
    """Images whose stated size shows the frame."""

    upright: tuple[RawImage, ...]
    stored: tuple[RawImage, ...]
    rotated: tuple[RawImage, ...]  # all images with an orientation, those included

    @property
    def frame(self) -> str | None:
        """What the images show; None: nothing."""
        if self.stored:
            return "stored"
        return "upright" if self.upright else None


def with_headers(part: Annotations, progress: Progress | None = None, skip_broken: bool = False) -> Annotations:
    """Read the headers of all image files.

    Args:
        part: annotations.
        progress: called with (images done, in all).
        skip_broken: leave out images whose header can't be read, with their boxes, and name them.
    Returns:
        The annotations with every header.
    Raises:
        DataError: one message that counts what is missing or of another size, or names all that is broken.
    """
    headers: dict[Path, ImageHeader] = dict(part.headers)
    missing, broken, resized = [], dict[Path, str](), []
    for done, raw in enumerate(part.images, start=1):
        if progress is not None:
            progress(done, len(part.images))
        path = raw.path
        try:
            header = headers.get(path) or read_header(path)
        except FileNotFoundError:
            missing.append(path)
            continue
        except DataError as error:
            broken[path] = str(error)
            continue
        if (raw.width, raw.height) not in (header.upright_size, (header.stored_width, header.stored_height)):
            actual = "{}x{}".format(*header.upright_size)
            resized.append(f"{path} is {actual}, stated {raw.width}x{raw.height}")
        headers[path] = header
    total, where = len(part.images), part.where
    if missing:
        raise DataError(
            f"{where}: {len(missing)} of {total} images not found, first {missing[0]}{nearest_name(missing[0])}; "
            "restore the files, remove their entries, or give the right image folder"
        )
    if broken and not skip_broken:
        raise BrokenImagesError(where, total, tuple(broken.values()))
    if resized:
        raise DataError(
            f"{where}: {len(resized)} of {total} images have another size than stated, first {resized[0]}; "
            "the boxes would be misplaced; export images and annotations together again"
        )
    return without_images(replace(part, headers=headers), broken)


def frame_evidence(part: Annotations) -> FrameEvidence:
    """Look for images that show the frame.

    Args:
        part: annotations with headers.
    """
    upright: list[RawImage] = []
    stored: list[RawImage] = []
    rotated: list[RawImage] = []
    for raw in part.images:
        header = part.headers[raw.path]
        if header.orientation == 1:
            continue
        rotated.append(raw)
        if raw.stated and header.upright_size != (header.stored_width, header.stored_height):
            (upright if (raw.width, raw.height) == header.upright_size else stored).append(raw)
    return FrameEvidence(tuple(upright), tuple(stored), tuple(rotated))


def bring_upright(
    part: Annotations, exif: str = "auto", others: Callable[[], Iterable[Annotations]] = tuple
) -> Annotations:
    """Decide the frame of a source, and turn its boxes upright.

    Args:
        part: annotations with headers.
        exif: auto | upright | stored, where the images show nothing.
        others: reads the other splits of the data set, with headers; called only when `part` can't tell.
    Returns:
        Annotations whose sizes and boxes refer to the upright images; what was done is counted.
    Raises:
        ConfigError: another `exif`, or all images show the opposite.
        DataError: images contradict each other, and `exif` is auto.
    """
    require_one_of("`exif`", exif, EXIF)
    found = frame_evidence(part)
    if not found.rotated:
        return part
    frame, code = _decide(part.where, found, exif, others)
    for raw in found.rotated:
        part.findings.add(code, raw.file_name)
    # Images that show their frame keep it: the size that is stated for them is in the same pixels as their boxes.
    stored = {raw.image_id for raw in (found.rotated if frame == "stored" else found.stored)}
    stored -= {raw.image_id for raw in found.upright}
    turned = {raw.image_id: part.headers[raw.path] for raw in found.rotated if raw.image_id in stored}
    images = tuple(_upright_size(raw, turned.get(raw.image_id)) for raw in part.images)
    instances = tuple(
        instance
        if (header := turned.get(instance.image_id)) is None
        else _upright_box(_in_stored_px(instance, header) if part.in_parts else instance, header)
        for instance in part.instances
    )
    return replace(part, images=images, instances=instances)


def _decide(
    where: str, found: FrameEvidence, exif: str, others: Callable[[], Iterable[Annotations]]
) -> tuple[str, str]:
    """(frame, code of the warning)."""
    first_stored, first_upright = (raws[0].file_name if raws else "" for raws in (found.stored, found.upright))
    if found.upright and found.stored and exif == "auto":
        raise DataError(
            f"{where}: {len(found.stored)} rotated images state the size of the stored pixels (e.g. {first_stored}), "
            f"{len(found.upright)} that of the upright picture (e.g. {first_upright}): their boxes come from tools "
            "that treat EXIF orientations differently; say by `exif` upright or stored what holds for the images that "
            "show neither, or export all of them by one tool"
        )
    if not (found.upright and found.stored) and found.frame is not None:
        if exif not in ("auto", found.frame):
            raise ConfigError(
                f"{where}: `exif` {exif}, but the sizes of rotated images, e.g. {first_stored or first_upright}, show "
                f"that annotations refer to the {found.frame} pixels; leave the option out"
            )
        return found.frame, _CODES[found.frame]
    if exif != "auto":
        return exif, _CODES[exif]
    frames = {frame for other in others() if (frame := frame_evidence(other).frame) is not None}
    if len(frames) == 1:
        (frame,) = frames
        return frame, _CODES[frame]
    return "upright", "exif_assumed"


_CODES = {"upright": "exif_rotated", "stored": "exif_boxes_turned"}


def _upright_size(raw: RawImage, turned: ImageHeader | None) -> RawImage:
    """The image with the size of the upright picture."""
    return raw if turned is None else replace(raw, width=turned.upright_size[0], height=turned.upright_size[1])


def _in_stored_px(instance: Instance, header: ImageHeader) -> Instance:
    """A box in parts of the image was multiplied by the upright size; parts of the stored image were meant."""
    x, y, width, height = instance.bbox
    upright_width, upright_height = header.upright_size
    across, down = header.stored_width / upright_width, header.stored_height / upright_height
    return replace(
        instance, bbox=(x * across, y * down, width * across, height * down), area=instance.area * across * down
    )


def _upright_box(instance: Instance, header: ImageHeader) -> Instance:
    """A box of the stored image in the upright frame."""
    x, y, width, height = instance.bbox
    if header.orientation in (2, 3, 7, 8):  # the stored right side comes first
        x = header.stored_width - x - width
    if header.orientation in (3, 4, 6, 7):  # the stored bottom comes first
        y = header.stored_height - y - height
    bbox = (y, x, height, width) if header.orientation >= 5 else (x, y, width, height)
    return replace(instance, bbox=bbox)
