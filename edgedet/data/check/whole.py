"""Images that can't be decoded: named before any work that would stop at them, or left out."""

from __future__ import annotations

from collections.abc import Sequence

from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.whole import decode_problems
from edgedet.errors import BrokenImagesError, DataError
from edgedet.progress import Progress


def whole_splits(
    splits: Sequence[CocoSplit], skip_broken: bool, progress: Progress | None = None, most: int | None = None
) -> tuple[CocoSplit, ...]:
    """Decode every image of some splits.

    Args:
        splits: of one data set; images that were left out on load count as broken.
        skip_broken: leave broken images out; else they are an error.
        progress: called with (images done, in all).
        most: look at the first so many images of each only; None: at all.
    Returns:
        The splits, each without its broken images, which its `broken` names.
    Raises:
        BrokenImagesError: some are broken; it names those of all splits.
        DataError: no image of a split is left.
    """
    total, done, result = sum(len(split.images[:most]) for split in splits), 0, []
    for split in splits:
        paths, broken = [record.path for record in split.images[:most]], {}
        for path, problem in zip(paths, decode_problems(paths), strict=True):
            done += 1
            if problem:
                broken[path] = problem
            if progress is not None:
                progress(done, total)
        result.append(split.without(broken))
    problems = [problem for split in result for problem in split.broken]
    if problems and not skip_broken:
        where = " and ".join(dict.fromkeys(str(split.ann_path) for split in result if split.broken))
        count = sum(len(split.images) + len(split.broken) for split in result if split.broken)
        raise BrokenImagesError(where, count, problems)
    for split in result:
        if not split.images and split.broken:
            raise DataError(f"{split.ann_path}: {split.name}: all {len(split.broken)} images are broken, none is left")
    return tuple(result)


def left_out_text(splits: Sequence[CocoSplit]) -> tuple[str, ...]:
    """One sentence for each split that broken images were left out of."""
    return tuple(
        f"{split.name}: images left out because they are broken: {len(split.broken)} ({'; '.join(split.broken)})"
        for split in splits
        if split.broken
    )
