"""What is in a data set, as the network will see it, and what that means for training and AP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.contracts import PreprocessSpec
from edgedet.data.check.content import examine_for_training
from edgedet.data.check.leak import shared_pictures
from edgedet.data.coco.split import CocoSplit, DataWarning, ImageRecord
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.headers import read_header
from edgedet.data.pictures.preprocess import fitted_size
from edgedet.data.pictures.whole import decode
from edgedet.errors import OF_COMMANDS_THAT_SKIP, BrokenImagesError, DataError
from edgedet.notebook import Brief, html_table, short
from edgedet.texts import counted

SMALL_AREA_PX2 = 32**2  # COCO's thresholds: small below, large from the second on
LARGE_AREA_PX2 = 96**2
TINY_SIDE_PX = 8.0  # the finest stride: a smaller object lies within one cell
FEW_BOXES = 50  # a class with fewer training boxes hardly learns
AREAS = ("small", "medium", "large")


@dataclass(frozen=True)
class ClassCounts:
    """Boxes of one class in one split, by size in the network's input."""

    name: str
    small: int  # area < 32^2 px^2
    medium: int
    large: int  # area >= 96^2 px^2
    tiny: int  # of the ones above: a side below 8 px

    @property
    def boxes(self) -> int:
        """All boxes of the class."""
        return self.small + self.medium + self.large


@dataclass(frozen=True, repr=False)
class SplitReport(Brief):
    """One split."""

    name: str
    ann_path: str
    images: int  # broken ones included
    images_without_boxes: int
    crowd_boxes: int  # counted among the boxes too
    max_boxes: int  # in one image
    classes: tuple[ClassCounts, ...]
    ap_boxes: dict[str, int]  # small, medium, large: boxes behind AP_small etc., which pycocotools sorts by image px
    image_kinds: dict[str, int]  # images that are not plain upright 8-bit RGB: grey, alpha, palette, 16-bit, ...
    broken: tuple[str, ...]  # one message for each image whose header or pixels can't be read
    warnings: tuple[DataWarning, ...]  # put right on load
    blank: tuple[str, ...] = ()  # images of one colour, wholly transparent ones included


@dataclass(frozen=True, repr=False)
class DataReport:
    """The result of `check_dataset`."""

    input_width: int  # px
    input_height: int  # px
    splits: tuple[SplitReport, ...]  # those that can be loaded: train, valid
    duplicates: tuple[tuple[str, str], ...]  # (train image, valid image) with the same pixels file
    advice: tuple[str, ...]
    refusals: tuple[str, ...] = ()  # for what training refuses the data set, before its images are decoded

    @property
    def ok(self) -> bool:
        """True when training takes the data set, and every image decodes."""
        return not self.refusals and not any(split.broken for split in self.splits)

    @property
    def error(self) -> str:
        """What training will end with; empty when `ok`."""
        more = len(self._faults) - 1
        return "" if self.ok else self._faults[0] + (f" ({more} more, see above)" if more else "")

    @property
    def _faults(self) -> tuple[str, ...]:
        """All that training refuses, broken images last, in the words of training."""
        damaged = [split for split in self.splits if split.broken]
        if not damaged:
            return self.refusals
        where = " and ".join(dict.fromkeys(split.ann_path for split in damaged))
        problems = [problem for split in damaged for problem in split.broken]
        broken = BrokenImagesError(where, sum(split.images for split in damaged), problems)
        return (*self.refusals, f"{broken}{OF_COMMANDS_THAT_SKIP}")

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        return asdict(self)

    def __repr__(self) -> str:
        counts = ", ".join(f"{short(split.name, 20)} {split.images} images" for split in self.splits)
        return f"<DataReport {'ok' if self.ok else 'not ok'}: {counts}, {len(self.advice)} advices>"

    def _repr_html_(self) -> str:
        rows = [
            (one.name, one.images, len(one.broken), sum(entry.boxes for entry in one.classes), len(one.classes))
            for one in self.splits
        ]
        return html_table(
            "Fit for training" if self.ok else "Training will refuse this data set",
            rows,
            ("split", "images", "broken", "boxes", "classes"),
            (*self._faults, *self.advice),
        )

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self) -> str:
        """Table for the terminal."""
        lines = []
        for split in self.splits:
            lines += _split_lines(split, self.input_width, self.input_height)
        if self.duplicates:
            lines += [
                f"{_both(len(self.duplicates))}, e.g. {' = '.join(self.duplicates[0])}",
                "",
            ]
        if len(self._faults) > 1:
            lines += ["training will refuse this data set:"] + [f"  - {text}" for text in self._faults] + [""]
        advice = self.advice or (("nothing stands out",) if self.ok else ())
        lines += ["advice:"] + [f"  - {sentence}" for sentence in advice] if advice else []
        return "\n".join(lines) + "\n"


def check_dataset(
    data: Path | DataPaths, spec: PreprocessSpec, *, progress: Callable[[int, int], None] | None = None
) -> DataReport:
    """Read both splits, decode every image, count boxes at the size that the network sees.

    Args:
        data: root of the data set, or several of them, or explicit files.
        spec: preprocessing contract; its input size decides what is small.
        progress: called with (images done, images in all), once for the headers of each split, once for all pixels.
    Returns:
        The report. Broken images, and all that training refuses, are listed in it.
    Raises:
        ConfigError: no data set is given.
    """
    paths = data if isinstance(data, DataPaths) else DataPaths(data)
    loaded = examine_for_training(replace(paths, skip_broken=True), spec, progress)  # the report lists those, too
    splits = [split for split in (loaded.train, loaded.valid) if split is not None]
    total = sum(len(split.images) for split in splits)
    done = 0
    files: dict[str, list[_File]] = {"train": [], "valid": []}
    # Decoding releases the GIL.
    with ThreadPoolExecutor(max_workers=2) as pool:
        for split in splits:
            for file in pool.map(_examine, split.images):
                files[split.name].append(file)
                done += 1
                if progress:
                    progress(done, total)
    reports = tuple(_report(split, files[split.name], spec) for split in splits)
    duplicates = shared_pictures(*splits) if len(splits) == 2 else ()
    comparable = len(splits) == 2 and splits[0].class_names == splits[1].class_names
    advice = tuple(_advise(reports[0], reports[1], len(duplicates), spec)) if comparable else ()
    refusals = tuple(str(fault) for fault in loaded.faults)
    return DataReport(spec.width, spec.height, reports, duplicates, advice, refusals)


@dataclass(frozen=True)
class _File:
    """What decoding one image file showed."""

    path: str
    kinds: tuple[str, ...]
    problem: str  # "" when it decodes
    blank: bool  # of one colour


def _examine(record: ImageRecord) -> _File:
    problem, blank, kinds = "", False, []
    try:
        header = read_header(record.path)
        name = {"L": "grey", "1": "grey", "P": "palette", "RGB": ""}.get(header.mode, header.mode)
        if header.mode in ("RGBA", "LA", "PA"):
            name = "alpha"
        if header.mode.startswith("I"):
            name = "16-bit"
        kinds = [kind for kind in (name, "exif-rotated" if header.orientation != 1 else "") if kind]
        decoded = decode(record.path)
        problem, blank = decoded.problem, decoded.blank
    except DataError as error:
        problem = str(error)
    return _File(str(record.path), tuple(kinds), problem, blank)


def input_boxes(record: ImageRecord, spec: PreprocessSpec) -> np.ndarray:
    """Boxes of an image in the network's input: float32 (N, 4), input px, xyxy."""
    return fitted_size(record.width, record.height, spec).to_input(record.boxes)


def _report(split: CocoSplit, files: list[_File], spec: PreprocessSpec) -> SplitReport:
    # A split whose images are all broken has none left.
    boxes = np.concatenate([np.zeros((0, 4)), *(input_boxes(record, spec) for record in split.images)])
    labels = np.concatenate([np.zeros(0, np.int64), *(record.labels for record in split.images)])
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = sides.prod(axis=1)
    size = (areas >= SMALL_AREA_PX2).astype(int) + (areas >= LARGE_AREA_PX2)
    classes = []
    for label, name in enumerate(split.class_names):
        mine = labels == label
        small, medium, large = np.bincount(size[mine], minlength=3).tolist()
        tiny = int((sides[mine].min(axis=1) < TINY_SIDE_PX).sum())
        classes.append(ClassCounts(name, small, medium, large, tiny))
    kinds: dict[str, int] = {}
    for file in files:
        for kind in file.kinds:
            kinds[kind] = kinds.get(kind, 0) + 1
    counts = [len(record.labels) for record in split.images]
    return SplitReport(
        name=split.name,
        ann_path=str(split.ann_path),
        images=len(split.images) + len(split.broken),
        images_without_boxes=counts.count(0),
        crowd_boxes=int(sum(record.crowd.sum() for record in split.images)),
        max_boxes=max(counts, default=0),
        classes=tuple(classes),
        ap_boxes=_ap_boxes(split),
        image_kinds=kinds,
        broken=(*split.broken, *(file.problem for file in files if file.problem)),
        warnings=split.warnings,
        blank=tuple(file.path for file in files if file.blank),
    )


def _ap_boxes(split: CocoSplit) -> dict[str, int]:
    """Non-crowd boxes in pycocotools' area ranges, both ends included, area in image px as in the annotation file."""
    areas = np.concatenate([np.zeros(0), *(record.areas[~record.crowd] for record in split.images)])
    ends = (0, SMALL_AREA_PX2, LARGE_AREA_PX2, np.inf)
    return {
        name: int(((areas >= low) & (areas <= high)).sum())
        for name, low, high in zip(AREAS, ends[:-1], ends[1:], strict=True)
    }


def _advise(train: SplitReport, valid: SplitReport, duplicates: int, spec: PreprocessSpec) -> list[str]:
    """Sentences about what will surprise later."""
    advice = []
    for split in (train, valid):
        if split.broken:
            broken = counted(len(split.broken), "image doesn't decode", "images don't decode")
            them = "it" if len(split.broken) == 1 else "them"
            advice.append(f"{split.name}: {broken}: replace or remove {them}, or training stops")
        if split.blank:
            advice.append(
                f"{split.name}: {len(split.blank)} images are of one colour (e.g. {split.blank[0]}): nothing can be "
                "seen in them; were they lost, black, or wholly transparent?"
            )
    objects = sum(valid.ap_boxes.values())
    for area in AREAS if objects else ():
        if not valid.ap_boxes[area]:
            advice.append(f"no {area} objects in valid (area in image pixels), so AP_{area} will read -1")
    advice += _advise_classes(train, valid)
    advice += _advise_tiny(train, spec)
    if duplicates:
        advice.append(f"{_both(duplicates)}: AP on valid will look better than it is")
    if valid.images < 30:
        advice.append(f"valid has only {counted(valid.images, 'image')}: AP will jump between evaluations")
    if max(train.max_boxes, valid.max_boxes) > 100:
        advice.append(
            f"an image has {max(train.max_boxes, valid.max_boxes)} boxes: a model trained on this gives more than "
            "COCO's 100 detections an image, and AP counts as many as its contract says"
        )
    return advice


def _both(duplicates: int) -> str:
    return f"{counted(duplicates, 'image is', 'images are')} in train and in valid"


def _advise_classes(train: SplitReport, valid: SplitReport) -> list[str]:
    advice = []
    most = max(counts.boxes for counts in train.classes)
    unlearned = [counts.name for counts in train.classes if not counts.boxes]
    untested = [counts.name for counts in valid.classes if not counts.boxes]
    if unlearned:
        advice.append(
            f"{_have(unlearned)} no box in train: it can't be learned; leave it out (`--classes` names those to keep)"
        )
    for learned in train.classes:
        if 0 < learned.boxes < FEW_BOXES:
            advice.append(
                f"class {learned.name!r} has only {counted(learned.boxes, 'box', 'boxes')} in train; {FEW_BOXES} or "
                "more are advisable"
            )
        elif 0 < learned.boxes * 20 < most:
            advice.append(
                f"class {learned.name!r} has {learned.boxes} boxes in train, another one {most}: expect a low AP"
            )
    if untested:
        advice.append(f"{_have(untested)} no box in valid: its AP will read -1 and is left out of the mean")
    return advice


def _advise_tiny(train: SplitReport, spec: PreprocessSpec) -> list[str]:
    """Classes of which most objects lie within one cell, by name; where there are none, such objects of all classes."""
    size = f"{spec.width}x{spec.height}"
    lost = [counts for counts in train.classes if counts.tiny * 2 > counts.boxes]
    if lost:
        named = ", ".join(f"{one.tiny} of {one.boxes} of class {one.name!r}" for one in lost[:3])
        more = f" and most of {counted(len(lost) - 3, 'more class', 'more classes')}" if len(lost) > 3 else ""
        return [
            f"training boxes with a side below {TINY_SIDE_PX:g} px at {size}: {named}{more}: they will hardly be "
            f"found; --imgsz {2 * spec.width}x{2 * spec.height} doubles their sides, pictures cut into tiles do so, too"
        ]
    boxes = sum(counts.boxes for counts in train.classes)
    tiny = sum(counts.tiny for counts in train.classes)
    if not boxes or tiny * 10 < boxes:
        return []
    has = "has" if tiny == 1 else "have"
    return [
        f"{tiny} of {counted(boxes, 'training box', 'training boxes')} ({100 * tiny / boxes:.0f} %) {has} a side "
        f"below {TINY_SIDE_PX:g} px at {size}: a larger --imgsz will find more of them"
    ]


def _have(names: list[str]) -> str:
    """Classes as the subject of a sentence; of many only the first."""
    if len(names) == 1:
        return f"class {names[0]!r} has"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"each of {len(names)} classes ({', '.join(repr(name) for name in names[:3])}{more}) has"


def _split_lines(split: SplitReport, width: int, height: int) -> list[str]:
    """Table and remarks of one split."""
    wide = max([len("class"), len("all")] + [len(counts.name) for counts in split.classes])
    header = f"  {'class':<{wide}}  {'boxes':>7}  {'small':>7}  {'medium':>7}  {'large':>7}  {'< 8 px':>7}"
    rows = list(split.classes)
    totals = [sum(getattr(counts, area) for counts in rows) for area in (*AREAS, "tiny")]
    rows.append(ClassCounts("all", *totals))
    images = counted(split.images, "image")
    lines = [f"{split.name}: {images}, {split.images_without_boxes} without boxes ({split.ann_path})"]
    lines += [f"  box sizes at {width}x{height} px", header]
    for row in rows:
        numbers = (row.boxes, row.small, row.medium, row.large, row.tiny)
        lines.append(f"  {row.name:<{wide}}  " + "  ".join(f"{number:>7}" for number in numbers))
    parts = ", ".join(f"{split.ap_boxes[area]} {area}" for area in AREAS)
    lines.append(f"  for AP_small/medium/large, which go by the area in image pixels: {parts}")
    if split.crowd_boxes:
        lines.append(f"  {counted(split.crowd_boxes, 'crowd box', 'crowd boxes')}")
    if split.image_kinds:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(split.image_kinds.items()))
        lines.append(f"  converted to upright 8-bit RGB: {kinds}")
    lines += [f"  warning {warning.text}" for warning in split.warnings]
    lines += [f"  broken {problem}" for problem in split.broken[:10]]
    if len(split.broken) > 10:
        lines.append(f"  and {counted(len(split.broken) - 10, 'more broken image')}")
    return [*lines, ""]
