"""The line `next:` at the end of a command: what comes after it, ready to copy, on the same pictures."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from edgedet.commands.frame.data_of_run import data_words_of_run
from edgedet.device.line import is_serial
from edgedet.terminal import visible

_FILES = {"train": ("train_ann", "train_images"), "valid": ("val_ann", "val_images")}
# Splits that a command reads; the first is one that it can't do without.
_READ = {
    "train": ("train", "valid"),
    "quantize": ("train", "valid"),
    "substitute": ("train", "valid"),
    "check": ("train", "valid"),
    "show": ("train", "valid"),
    "evaluate": ("valid",),
    "inspect": ("valid",),
    "waterfall": ("valid",),
}
_ARGUMENTS = ("check", "show")  # of `edgedet data`, which take folders without an option, and broken images as they are
# Options of one run, that the same command does not take again.
_OF_ONE_RUN = ("--json", "--log-file", "--out")
LABELS = "labels.png"


def show_next(*words: str | Path) -> None:
    """Say which command comes next, of these words behind `edgedet`."""
    line = shlex.join(["edgedet", *map(str, words)])
    sys.stdout.write(f"next: `{visible(line)}`\n")  # whole: a wrapped line is no command


def show_next_on_data(args: argparse.Namespace, *words: str | Path, split: str = "valid") -> bool:
    """Say which command comes next, on the data set of this one; nothing where that is not enough for it.

    Args:
        args: parsed options, with those of `add_split_arguments`.
        words: of the command, behind `edgedet`.
        split: that a command which reads one split is to read.
    Returns:
        True when it was said.
    """
    name = str(words[1] if words[0] == "data" else words[0])
    of_data = data_words(args, name, split)
    if not of_data:
        return False
    chosen = ("--split", split) if split != "valid" and len(_READ[name]) == 1 else ()
    show_next(*words, *of_data, *chosen)
    return True


def show_next_on_data_of(model: Path, *words: str | Path) -> bool:
    """As `show_next_on_data`, on the data set that the run of a model was made with, where that is still there."""
    of_data = data_words_of_run(model.parent, _READ[str(words[0])])
    if of_data:
        show_next(*words, *of_data)
    return bool(of_data)


def show_next_again(args: argparse.Namespace, without: Sequence[str], *words: str) -> None:
    """Propose this command again, with other options.

    Args:
        args: parsed options, with `command_line`.
        without: long options that take a value, which are left out.
        words: that are added.
    """
    left_out, typed, passing = (*without, *_OF_ONE_RUN), list[str](), False
    for word in shlex.split(args.command_line)[1:]:
        name, equals, _ = word.partition("=")
        if passing:
            passing = False
        elif len(name) > 2 and any(option.startswith(name) for option in left_out):  # also abbreviated
            passing = not equals
        elif word != "--resume":
            typed.append(word)
    show_next(*typed, *words)


def show_labels_next(args: argparse.Namespace, split: str = "train") -> None:
    """Propose a look at the labels, which is what helps where a network finds next to nothing."""
    of_data = data_words(args, "show", split)
    if of_data:
        chosen = () if split == "train" else ("--split", split)
        show_next("data", "show", *of_data, *chosen, "--out", free_name(LABELS))


def free_name(name: str) -> str:
    """A file in the current folder that is not there yet: labels.png, labels_2.png."""
    stem, suffix = Path(name).stem, Path(name).suffix
    names = (name if number == 1 else f"{stem}_{number}{suffix}" for number in count(1))
    return next(one for one in names if not Path(one).exists())


def runs_on_device(args: argparse.Namespace) -> bool:
    """True when the command ran on a board behind a serial line."""
    return args.runtime is not None and is_serial(args.runtime)


def device_words(args: argparse.Namespace) -> tuple[str, ...]:
    """The options that choose the runtime, as they were given."""
    runtime = () if args.runtime is None else ("--runtime", args.runtime)
    return (*runtime, *(() if args.send is None else ("--send", args.send)))


def size_words(size: tuple[int, int]) -> tuple[str, str]:
    """`--imgsz` of a width and height, px."""
    return "--imgsz", f"{size[0]}" if size[0] == size[1] else f"{size[0]}x{size[1]}"


def data_words(args: argparse.Namespace, command: str, split: str = "valid") -> list[str]:
    """The data set of this command as another one takes it; nothing where it does not hold what that needs.

    Args:
        args: parsed options of `add_split_arguments`.
        command: key of `_READ`.
        split: of a command that reads one.
    """
    read = _READ[command] if len(_READ[command]) > 1 else (split,)
    folders = [str(folder) for folder in getattr(args, "data", None) or ()]
    files = [name for one in read for name in _FILES.get(one, ()) if getattr(args, name) is not None]
    if not folders and not set(files) & set(_FILES.get(read[0], ())):
        return []
    given = command in _ARGUMENTS
    line = folders if given else [word for folder in folders for word in ("--data", folder)]
    line += [word for name in files for word in (f"--{name.replace('_', '-')}", str(getattr(args, name)))]
    if args.classes:
        line += ["--classes", ",".join(args.classes)]
    line += [word for old, new in args.rename for word in ("--rename", f"{old}={new}")]
    if args.val_fraction is not None:
        line += ["--val-fraction", str(args.val_fraction)]
    if args.split_seed:
        line += ["--split-seed", str(args.split_seed)]
    if args.exif != "auto":
        line += ["--exif", args.exif]
    return [*line, "--skip-broken"] if getattr(args, "skip_broken", False) and not given else line
