"""Pictures that are in the training and in the validation split: what is measured on them is memory."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path

from edgedet.data.coco.split import CocoSplit, DataWarning


def shared_pictures(train: CocoSplit, valid: CocoSplit) -> tuple[tuple[str, str], ...]:
    """Pairs of image files with the same bytes.

    Args:
        train, valid: splits of one data set. Only files of equal length are read.
    Returns:
        (train image, valid image), in the order of valid.
    """
    of_length: dict[int, list[Path]] = defaultdict(list)
    for record in train.images:
        of_length[record.path.stat().st_size].append(record.path)
    digest = cache(lambda path: hashlib.sha256(path.read_bytes()).digest())
    found = []
    for record in valid.images:
        like = of_length.get(record.path.stat().st_size, ())
        same = next((path for path in like if path == record.path or digest(path) == digest(record.path)), None)
        if same is not None:
            found.append((str(same), str(record.path)))
    return tuple(found)


def with_leak(train: CocoSplit, valid: CocoSplit) -> CocoSplit:
    """The validation split with a warning about those of its images that are in the training split."""
    shared = shared_pictures(train, valid)
    if not shared:
        return valid
    warning = DataWarning("images_in_train", len(shared), " = ".join(shared[0]))
    return replace(valid, warnings=(*valid.warnings, warning))
