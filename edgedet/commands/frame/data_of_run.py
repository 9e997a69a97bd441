"""The data set that a run was made with, as its record says, in the words of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

# Settings of a record -> options; those that hold several are joined by `, ` there.
_PATHS = {
    "data": "--data",
    "train_ann": "--train-ann",
    "train_images": "--train-images",
    "val_ann": "--val-ann",
    "val_images": "--val-images",
}
_SPLIT_OF = {"train": "train", "val": "valid"}  # beginnings of those names that are of one split
_SEVERAL = ("data", "rename")


def data_words_of_run(folder: Path, splits: Sequence[str]) -> list[str]:
    """Options of the data set of a run; nothing where none is recorded, or where it is no longer there.

    Args:
        folder: of the run, with report_data/run.json; the paths in that are those that were typed.
        splits: train and valid, or one of them: what the next command reads, which refuses files of others.
    """
    from edgedet.errors import DataError
    from edgedet.outputs.page_files import DATA
    from edgedet.page.record import load_record
    from edgedet.page.run_files import RECORD

    try:
        settings = dict(load_record(folder / DATA / RECORD).settings)
    except (OSError, DataError):
        return []
    line = list[str]()
    for name, option in _PATHS.items():
        if _SPLIT_OF.get(name[: name.find("_")], splits[0]) not in splits:
            continue
        for path in _values(settings.get(name, ""), name):
            if not Path(path).exists():
                return []
            line += [option, path]
    if not line:
        return []
    if settings.get("classes"):
        line += ["--classes", settings["classes"].replace(", ", ",")]
    line += [word for pair in _values(settings.get("rename", ""), "rename") for word in ("--rename", pair)]
    for name, usual in (("val_fraction", ""), ("split_seed", "0"), ("exif", "auto")):
        if settings.get(name, usual) not in (usual, "None"):
            line += [f"--{name.replace('_', '-')}", settings[name]]
    return [*line, "--skip-broken"] if settings.get("skip_broken") == "True" else line


def _values(text: str, name: str) -> list[str]:
    return [part for part in (text.split(", ") if name in _SEVERAL else [text]) if part]
