"""Types and groups of command-line options that several commands share, and errors in their words."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgedet.errors import ConfigError

if TYPE_CHECKING:
    from edgedet.contracts import NmsChoice
    from edgedet.data.paths import DataPaths

SPLITS = ("train", "valid", "test")


def split_name(text: str) -> str:
    """Type of `--split`: val is another word for valid."""
    return {"val": "valid", "validation": "valid"}.get(text, text)


def byte_count(text: str) -> int:
    """Type of `--ram`: bytes, or with k, KiB, M, MiB behind the number (of 1,024 and 1,048,576 bytes)."""
    found = re.fullmatch(r"([0-9]{1,12})(?:([km])(?:i?b)?)?", text.strip().lower())
    value = int(found[1]) * {"k": 1 << 10, "m": 1 << 20}.get(found[2] or "", 1) if found else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected bytes such as 262144, 256k or 1M, got {text!r}")
    return value


def positive_int(text: str) -> int:
    """Type of an option that counts something."""
    value = int(text) if text.strip().isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def epochs_or_auto(text: str) -> int | Literal["auto"]:
    """Type of a number of epochs that may be left to the run."""
    if text.strip() == "auto":
        return "auto"
    try:
        return positive_int(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, or auto, got {text!r}") from None


def threshold(text: str) -> float:
    """Type of a score threshold, 0 <= t < 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"expected a number with 0 <= t < 1, got {text!r}")
    return value


def image_size(text: str) -> tuple[int, int]:
    """Type of `--imgsz`: 192, or 192x160 as width x height, px."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"expected a side such as 192, or WIDTHxHEIGHT such as 192x160; got {text!r}")
    return int(sides[0]), int(sides[-1])


def whole_number(text: str) -> int:
    """Type of a seed: what every generator takes, torch's included."""
    # The length first: Python refuses to read numbers of thousands of digits.
    if not text.strip().isdecimal() or len(text) > 20 or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 2^63 - 1, got {text!r}")
    return int(text)


DATA_HELP = "folder of a data set: COCO, YOLO, Pascal VOC, CVAT, as Roboflow and Label Studio export them, too"


def add_overrides_argument(parser: argparse.ArgumentParser, example: str) -> None:
    """Add `--set`, keys of the model file.

    Args:
        parser: of the command.
        example: KEY=VALUE for the help.
    """
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change a key of the model file, for example {example}; several may follow each other",
    )


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--data`, the explicit paths of both splits, and what is taken of them."""
    group = parser.add_argument_group("data set")
    group.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="DIR",
        help=f"{DATA_HELP}, or its data.yaml; given several times, classes of the same name are one",
    )
    add_split_arguments(group)
    group.add_argument(
        "--skip-broken", action="store_true", help="leave out images that can't be decoded, and name them"
    )


def add_split_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the explicit paths of both splits, and what is taken of a data set."""
    for split, word in (("train", "training"), ("val", "validation")):
        parser.add_argument(f"--{split}-ann", type=Path, metavar="FILE", help=f"COCO JSON of the {word} split")
        parser.add_argument(f"--{split}-images", type=Path, metavar="DIR", help=f"images of the {word} split")
    parser.add_argument("--classes", type=class_list, default=(), metavar="A,B", help="only these classes")
    parser.add_argument(
        "--rename",
        type=class_pair,
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="another name for a class, may be given several times; classes that get the same name become one",
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        metavar="F",
        help="part of train to validate on where there is no validation split (default: 0.2 where no split is named)",
    )
    parser.add_argument("--split-seed", type=whole_number, default=0, metavar="S", help="of that draw (default: 0)")
    parser.add_argument(
        "--exif",
        choices=("auto", "upright", "stored"),
        default="auto",
        help="pixels that boxes of rotated photos refer to; auto: as the stated sizes show, else upright",
    )


def class_list(text: str) -> tuple[str, ...]:
    """Type of `--classes`: names with commas between them."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected class names separated by commas, got {text!r}")
    return names


def class_pair(text: str) -> tuple[str, str]:
    """Type of `--rename`: OLD=NEW."""
    old, separator, new = text.partition("=")
    if not separator or not old.strip() or not new.strip():
        raise argparse.ArgumentTypeError(f"expected OLD=NEW, got {text!r}")
    return old.strip(), new.strip()


def data_paths(args: argparse.Namespace) -> DataPaths:
    """Data set that `--data` (or positional `data`) and its companions name."""
    from edgedet.data.paths import DataPaths

    return DataPaths(
        tuple(args.data or ()),
        args.train_ann,
        args.train_images,
        args.val_ann,
        args.val_images,
        classes=args.classes,
        rename=tuple(args.rename),
        val_fraction=args.val_fraction,
        split_seed=args.split_seed,
        exif=args.exif,
        skip_broken=getattr(args, "skip_broken", False),
    )


def refuse_other_splits(args: argparse.Namespace, split: str) -> None:
    """Raises ConfigError when a command that reads one split was given the files of another.

    Args:
        args: parsed options of `add_data_arguments`.
        split: that the command reads.
    """
    files = {"train": ("train_ann", "train_images"), "valid": ("val_ann", "val_images")}
    idle = [f"`{name}`" for other, names in files.items() if other != split for name in names if getattr(args, name)]
    if idle:
        raise ConfigError(f"{', '.join(idle)}: not of the split {split}, which is read; leave it out, or give `split`")


def add_nms_arguments(parser: argparse._ActionsContainer) -> None:
    """Add limits of decoding, for this run."""
    parser.add_argument(
        "--nms-iou", type=positive_number, metavar="IOU", help="of a model: suppress boxes above it (default: its own)"
    )
    parser.add_argument(
        "--max-detections", type=positive_int, metavar="N", help="of a model, per image (default: its own)"
    )
    parser.add_argument(
        "--class-agnostic",
        action="store_true",
        help="of a model: each box has its best class only, and suppresses those of all classes",
    )


def nms_choice(args: argparse.Namespace) -> NmsChoice:
    """What the options of `add_nms_arguments` say."""
    from edgedet.contracts import NmsChoice

    return NmsChoice(args.nms_iou, args.max_detections, args.class_agnostic)


def positive_number(text: str) -> float:
    """Type of an option that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


# Argument of the Python API -> destination of the option, where they differ.
_OTHER_NAMES = {"channel_attention": "no_channel_attention", "runtime": "check_runtime"}


def flags_of(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Argument of the Python API -> option of a command."""
    flags = {a.dest: next((s for s in a.option_strings if s.startswith("--")), "") for a in parser._actions}
    flags |= {name: flags[dest] for name, dest in _OTHER_NAMES.items() if dest in flags and name not in flags}
    return {name: flag for name, flag in flags.items() if flag}


def with_flags(message: str, args: argparse.Namespace) -> str:
    """An error of the package in the words of the command line: `calib_images` in backticks becomes --calib-images.

    Args:
        message: names arguments of the Python API in backticks.
        args: parsed options, with `flags` to call for what `flags_of` gives; names that are no option of this command
            stay as they are.
    """
    flags: dict[str, str] = args.flags() if "flags" in args else {}
    return re.sub(r"`(\w+)`", lambda found: flags.get(found[1], found[0]), message)


def add_device_argument(parser: argparse._ActionsContainer, note: str = "") -> None:
    """Add `--device`."""
    parser.add_argument(
        "--device",
        metavar="D",
        help=f"auto, cpu, cuda, cuda:N or mps{note} (default: auto, a CUDA GPU where there is one)",
    )


def add_training_device_arguments(parser: argparse._ActionsContainer, precision: bool = True) -> None:
    """Add `--device`, `--precision` (unless the training knows one only) and `--workers`."""
    add_device_argument(parser)
    if precision:
        parser.add_argument(
            "--precision",
            metavar="{auto,float32,bfloat16,float16}",
            help="of the forward pass; auto: what the device is fast at, if the model's train.bf16 allows it",
        )
    parser.add_argument(
        "--workers",
        type=not_negative_int,
        metavar="N",
        help="processes that draw batches; the batches are the same for any number (default: 0, a thread, for the CPU; "
        "up to 8 for a GPU)",
    )


def device_options(args: argparse.Namespace) -> dict[str, Any]:
    """What the options of `add_training_device_arguments` say, by argument of a request; absent ones are left out."""
    names = ("device", "precision", "workers")
    return {name: value for name in names if (value := getattr(args, name, None)) is not None}


def not_negative_int(text: str) -> int:
    """Type of an option that counts something which may be absent."""
    if not text.strip().isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)
