"""`edgedet data check` and `edgedet data synth`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.shared import Commands, add_command
from edgedet.errors import DataError
from edgedet.options import DATA_HELP, add_split_arguments, data_paths, image_size, positive_int, whole_number


def add_data_commands(commands: Commands) -> None:
    """Options of `edgedet data check` and `edgedet data synth`."""
    data = commands.add_parser("data", help="check a data set, or draw a synthetic one", description="Data sets.")
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


def _data_check(args: argparse.Namespace) -> int:
    from edgedet.contracts import PreprocessSpec, require_trainable_size
    from edgedet.data.check import check_dataset
    from edgedet.progress import show_progress

    require_trainable_size(*args.imgsz)
    spec = PreprocessSpec(width=args.imgsz[0], height=args.imgsz[1], resize=args.resize)
    with show_progress("data check") as progress:
        report = check_dataset(data_paths(args), spec, progress=progress)
    print(report.to_text(), end="")
    if not report.ok:
        raise DataError(f"{sum(len(split.broken) for split in report.splits)} images do not decode, see above")
    return 0


def _data_synth(args: argparse.Namespace) -> int:
    from edgedet.data.synth.dataset import make_synthetic
    from edgedet.progress import show_progress

    with show_progress("data synth") as progress:
        folder = make_synthetic(args.out, images=args.images, seed=args.seed, progress=progress)
    print(f"{folder}: {args.images} images, seed {args.seed}")
    return 0
