"""`edgedet data check`, `convert`, `show` and `synth`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.frame.early import announce_large
from edgedet.commands.frame.next_step import show_next, show_next_on_data, size_words
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command
from edgedet.errors import DataError
from edgedet.options import (
    DATA_HELP,
    SPLITS,
    add_split_arguments,
    data_paths,
    image_size,
    positive_int,
    split_name,
    whole_number,
    with_flags,
)
from edgedet.terminal import show
from edgedet.texts import counted

_FIRST_MODEL = "rtmdet_nano_ncadc_relu6"  # to train where nobody has chosen one, as in the examples of `--help`


def add_data_commands(commands: Commands) -> None:
    """Options of `edgedet data ...`."""
    data = commands.add_parser(
        "data", help="check, convert or show a data set, or draw a synthetic one", description="Data sets."
    )
    actions = data.add_subparsers(title="commands", metavar="COMMAND", required=True)
    check = add_command(
        actions,
        "check",
        "check a data set and count its objects per class and size",
        (
            "data check bccd",
            "data check bccd --imgsz 192x160",
            "data check first second --classes cat,dog --rename kitten=cat",
            "data check labelled --val-fraction 0.1 --split-seed 3",
        ),
        _data_check,
    )
    check.add_argument("data", type=Path, nargs="*", metavar="DIR", help=f"{DATA_HELP}, or its data.yaml")
    add_split_arguments(check)
    check.add_argument(
        "--imgsz", type=image_size, default=(192, 192), metavar="N|WxH", help="input size of the network (default: 192)"
    )
    check.add_argument("--resize", choices=("letterbox", "stretch"), default="letterbox", help="default: %(default)s")
    add_json_argument(check)
    _add_convert(actions)
    _add_show(actions)
    synth = add_command(
        actions,
        "synth",
        'draw the "mask / no_mask" data set',
        ("data synth --out synth --images 400 --seed 0",),
        _data_synth,
    )
    synth.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, in Roboflow's layout")
    synth.add_argument("--images", type=positive_int, default=400, metavar="N", help="default: %(default)s")
    synth.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")
    add_json_argument(synth)


def _add_convert(actions: Commands) -> None:
    convert = add_command(
        actions,
        "convert",
        "write a data set in another format, with chosen classes and drawn splits",
        (
            "data convert voc --out coco",
            "data convert first second --to yolo --out both --classes cat,dog",
            "data convert labelled --out split --val-fraction 0.2 --split-seed 3",
        ),
        _data_convert,
    )
    convert.add_argument("data", type=Path, nargs="*", metavar="DIR", help=f"{DATA_HELP}, or its data.yaml")
    add_split_arguments(convert)
    convert.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, absent or empty")
    convert.add_argument(
        "--to",
        choices=("coco", "yolo", "voc"),
        default="coco",
        help="coco: in Roboflow's layout (default: %(default)s)",
    )
    add_json_argument(convert)


def _add_show(actions: Commands) -> None:
    show = add_command(
        actions,
        "show",
        "draw a page of pictures with their boxes, as labelled or as training sees them",
        (
            "data show bccd --out page.png",
            "data show bccd --split valid --images 40 --out page.html",
            "data show bccd --augmented rtmdet_pico_relu6 --imgsz 192 --out augmented.png",
        ),
        _data_show,
    )
    show.add_argument("data", type=Path, nargs="*", metavar="DIR", help=f"{DATA_HELP}, or its data.yaml")
    add_split_arguments(show)
    show.add_argument("--split", type=split_name, choices=SPLITS, default="train", help="default: %(default)s")
    show.add_argument("--out", type=Path, required=True, metavar="FILE", help="page to write: .png or .html")
    show.add_argument("--images", type=positive_int, default=20, metavar="N", help="default: %(default)s")
    show.add_argument("--seed", type=whole_number, default=0, metavar="S", help="decides which (default: 0)")
    show.add_argument(
        "--augmented",
        metavar="MODEL",
        help="training samples with the augmentation of this model file, such as rtmdet_nano",
    )
    show.add_argument("--imgsz", type=image_size, metavar="N|WxH", help="with --augmented (default: the model's)")
    add_json_argument(show)


def _data_check(args: argparse.Namespace) -> int:
    paths = data_paths(args)
    announce_large("data check", paths)

    from edgedet.contracts import PreprocessSpec, require_trainable_size
    from edgedet.data.check.report import check_dataset
    from edgedet.progress import show_progress

    require_trainable_size(*args.imgsz)
    spec = PreprocessSpec(width=args.imgsz[0], height=args.imgsz[1], resize=args.resize)
    with show_progress("data check") as progress:
        report = check_dataset(paths, spec, progress=progress)
    if report.splits:
        show(with_flags(report.to_text(), args))
        give(args, report.to_json())
    if not report.ok:
        raise DataError(report.error)
    resize = () if args.resize == "letterbox" else ("--set", f"resize={args.resize}")
    show_next_on_data(args, "train", _FIRST_MODEL, *size_words(args.imgsz), *resize)
    return 0


def _data_convert(args: argparse.Namespace) -> int:
    paths = data_paths(args)
    announce_large("data convert", paths)

    from edgedet.data.convert import convert_dataset
    from edgedet.progress import show_progress

    with show_progress("data convert") as progress:
        report = convert_dataset(paths, args.out, args.to, progress)
    show(report.text())
    give(args, report.to_json())
    show_next("data", "check", args.out)
    return 0


def _data_show(args: argparse.Namespace) -> int:
    paths = data_paths(args)
    announce_large("data show", paths)

    from edgedet.data.show import ShowRequest, show_dataset
    from edgedet.progress import show_progress

    request = ShowRequest(
        paths, args.out, args.split, args.images, args.seed, augmented=args.augmented, imgsz=args.imgsz
    )
    with show_progress("data show") as progress:
        count = show_dataset(request, progress)
    show(f"{args.out}: {counted(count, 'picture')} of {args.split}")
    give(args, {"out": str(args.out), "split": args.split, "pictures": count, "augmented": args.augmented})
    if args.augmented is None:
        show_next_on_data(args, "data", "check")
    else:
        show_next_on_data(args, "train", args.augmented, *(() if args.imgsz is None else size_words(args.imgsz)))
    return 0


def _data_synth(args: argparse.Namespace) -> int:
    from edgedet.data.synth.dataset import make_synthetic
    from edgedet.progress import show_progress

    with show_progress("data synth") as progress:
        folder = make_synthetic(args.out, images=args.images, seed=args.seed, progress=progress)
    show(f"{folder}: {counted(args.images, 'image')}, seed {args.seed}")
    give(args, {"out": str(folder), "images": args.images, "seed": args.seed})
    show_next("data", "check", folder)
    return 0
