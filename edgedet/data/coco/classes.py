"""Classes and data sets put together: renamed, left out, merged by name."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgedet.data.formats.annotations import Annotations, Category, Findings, Instance, RawImage
from edgedet.data.pictures.headers import ImageHeader
from edgedet.errors import DataError, meant


def rename_classes(parts: Sequence[Annotations], names: Sequence[tuple[str, str]]) -> list[Annotations]:
    """Give classes other names; classes that get the same name become one.

    Args:
        parts: data sets.
        names: (old, new), each old name once.
    Returns:
        The data sets with new names; a merged class has the lowest id of its members.
    Raises:
        DataError: none of the data sets has a class of an old name.
    """
    known = sorted({category.name for part in parts for category in part.categories})
    unknown = [old for old, _ in names if old not in known]
    if unknown:
        near = meant(unknown[0], known)
        raise DataError(f"{_where(parts)}: no class {unknown[0]!r} to rename{near}; classes are {known}")
    return [_renamed(part, dict(names)) if names or _repeats(part) else part for part in parts]


def _repeats(part: Annotations) -> bool:
    """True when two classes of a data set have the same name."""
    return len({category.name for category in part.categories}) < len(part.categories)


def _renamed(part: Annotations, names: dict[str, str]) -> Annotations:
    kept: dict[str, Category] = {}
    new_id: dict[int, int] = {}
    for category in part.categories:  # by ascending id
        name = names.get(category.name, category.name)
        first = kept.setdefault(name, replace(category, name=name))
        new_id[category.category_id] = first.category_id
    instances = tuple(replace(instance, category_id=new_id[instance.category_id]) for instance in part.instances)
    return replace(part, categories=tuple(kept.values()), instances=instances)


def keep_classes(part: Annotations, names: Sequence[str]) -> Annotations:
    """Leave out all other classes and their boxes; images without a box that is left stay as pictures of nothing.

    Args:
        part: data set.
        names: classes to keep, in any order: labels keep the order of the data set.
    Raises:
        DataError: the data set has no class of one of the names.
    """
    known = [category.name for category in part.categories]
    unknown = [name for name in names if name not in known]
    if unknown:
        near = meant(unknown[0], known)
        raise DataError(f"{part.where}: no class {unknown[0]!r} to keep by `classes`{near}; classes are {known}")
    categories = tuple(category for category in part.categories if category.name in names)
    ids = {category.category_id for category in categories}
    left_out = [name for name in known if name not in names]
    if left_out:
        part.findings.add("classes_left_out", ", ".join(left_out))
    instances = tuple(instance for instance in part.instances if instance.category_id in ids)
    return replace(part, categories=categories, instances=instances)


def merge(parts: Sequence[Annotations]) -> Annotations:
    """Put data sets together; classes of the same name are one.

    Args:
        parts: at least one; a single one stays as it is.
    Returns:
        All images and boxes, numbered anew from 1 in the order of the parts. Classes have the ids of the first data
        set; those that later ones add follow behind.
    """
    if len(parts) == 1:
        return parts[0]
    categories: dict[str, Category] = {}
    images: list[RawImage] = []
    instances: list[Instance] = []
    findings = Findings()
    headers: dict[Path, ImageHeader] = {}
    for part in parts:
        _add_categories(categories, part)
        new_category = {category.category_id: categories[category.name].category_id for category in part.categories}
        new_image = {image.image_id: len(images) + index for index, image in enumerate(part.images, start=1)}
        images += [replace(image, image_id=new_image[image.image_id]) for image in part.images]
        for instance in part.instances:
            image_id, category_id = new_image[instance.image_id], new_category[instance.category_id]
            number = len(instances) + 1
            instances.append(replace(instance, annotation_id=number, image_id=image_id, category_id=category_id))
        findings.extend(part.findings)
        headers |= part.headers
    ordered = tuple(sorted(categories.values(), key=lambda category: category.category_id))
    broken = tuple(text for part in parts for text in part.broken)
    return Annotations(_where(parts), tuple(images), tuple(instances), ordered, findings, headers, broken=broken)


def _add_categories(categories: dict[str, Category], part: Annotations) -> None:
    """Add the classes that are new, behind those that are there."""
    first = not categories
    next_id = 1 + max((category.category_id for category in categories.values()), default=-1)
    for category in part.categories:
        if category.name in categories:
            continue
        categories[category.name] = category if first else replace(category, category_id=next_id)
        next_id += 1


def _where(parts: Sequence[Annotations]) -> str:
    return " + ".join(part.where for part in parts)


def require_plain_names(part: Annotations) -> None:
    """Make sure that class names are one line of text.

    Args:
        part: data set.
    Raises:
        DataError: one holds control characters, as lines that were read with their end do.
    """
    for category in part.categories:
        if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in category.name):
            raise DataError(
                f"{part.where}: the name {category.name!a:.80} of class {category.category_id} holds the end of a line "
                "or another control character, expected one line of text; mend the name where it is written"
            )


def names_alike(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that people take for one: upper case, blanks, forms of Unicode and invisible marks left out."""
    first: dict[str, str] = {}
    return [(other, name) for name in names if (other := first.setdefault(_plain(name), name)) != name]


def _plain(name: str) -> str:
    shown = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", shown).casefold().replace("_", " ").replace("-", " ").split())
