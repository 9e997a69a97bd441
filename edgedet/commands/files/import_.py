"""`edgedet import`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from edgedet.commands.frame.early import check_checkpoint
from edgedet.commands.frame.next_step import show_next
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command
from edgedet.config import ACTIVATIONS
from edgedet.contracts import INTERPOLATIONS
from edgedet.errors import ConfigError
from edgedet.options import image_size, positive_number
from edgedet.terminal import show, visible

# No import of edgedet.exchange.checkpoints here: it needs torch. A test compares.
PRESETS = ("mmdet", "mmyolo", "sscma")
TABLES = ("state_dict", "ema_state_dict", "model")


def add_import(commands: Commands) -> None:
    """Options of `edgedet import`."""
    parser = add_command(
        commands,
        "import",
        "turn a checkpoint of MMDetection, MMYOLO or SSCMA (RTMDet) into one of edgedet",
        (
            "import rtmdet_tiny_8xb32-300e_coco.pth --out tiny.pt",
            "import rtmdet_s.pth --preset mmyolo --activation silu --classes coco.txt --imgsz 320 --out s.pt",
            "import epoch_300.pth --preset sscma --activation relu6 --classes mask,no_mask --imgsz 192 --out mask.pt",
            "import other.pth --list",
        ),
        _import,
    )
    parser.add_argument("checkpoint", type=Path, metavar="FILE", help=".pth; nothing that it holds is run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="checkpoint (.pt) to write")
    parser.add_argument("--list", action="store_true", help="show every key and what becomes of it; writes nothing")
    group = parser.add_argument_group("what the file does not say itself")
    group.add_argument(
        "--preset", choices=PRESETS, help="normalization and channel order of a project's configurations"
    )
    group.add_argument(
        "--channels", dest="channel_order", choices=("RGB", "BGR", "GRAY"), help="order of the input's channels"
    )
    group.add_argument("--mean", type=_numbers, metavar="M[,M,M]", help="in 0..255, in the order of the channels")
    group.add_argument("--std", type=_numbers, metavar="S[,S,S]", help="in 0..255, in the order of the channels")
    group.add_argument(
        "--imgsz", type=image_size, metavar="N|WxH", help="input size, px (default: its configuration's)"
    )
    group.add_argument(
        "--interpolation",
        choices=INTERPOLATIONS,
        default="bilinear",
        help="how pictures are resized; area is what edgedet trains with (default: %(default)s, as the projects do)",
    )
    group.add_argument(
        "--classes", dest="class_names", metavar="A,B|FILE", help="names in the order of the labels, or a file of them"
    )
    group.add_argument("--activation", choices=ACTIVATIONS, help="the weights do not show it")
    group.add_argument("--boxes", choices=("linear", "exp"), help="exp: MMDetection's exp_on_reg")
    group.add_argument(
        "--bn-eps", type=positive_number, metavar="E", help="of the BatchNorms (default: its norm_cfg's)"
    )
    group.add_argument("--weights", choices=TABLES, help="table to take (default: state_dict, the averaged weights)")
    group.add_argument("--name", metavar="NAME", help="of the model (default: the shipped model most like it)")
    add_json_argument(parser)


def _numbers(text: str) -> tuple[float, ...]:
    """Type of `--mean` and `--std`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected numbers such as 127.5 or 103.5,116.3,123.7; got {text!r}"
        ) from error


def _import(args: argparse.Namespace) -> int:
    if (args.out is None) == (not args.list):
        raise ConfigError("give either --out FILE, or --list")
    check_checkpoint(args.checkpoint, "expected a .pth file of MMDetection, MMYOLO or SSCMA")

    from edgedet.contract.labels import parse_classes
    from edgedet.exchange.checkpoints.api import ImportRequest, describe_keys, import_checkpoint, list_keys
    from edgedet.exchange.checkpoints.architecture import Choices
    from edgedet.exchange.checkpoints.contracts import InputChoices

    request = ImportRequest(
        checkpoint=args.checkpoint,
        out=args.out or Path(),
        class_names=None if args.class_names is None else parse_classes(args.class_names),
        weights=args.weights,
        inputs=InputChoices(args.preset, args.channel_order, args.mean, args.std, args.imgsz, args.interpolation),
        network=Choices(args.activation, args.boxes, args.bn_eps, args.name),
    )
    if args.list:
        rows = list_keys(request)
        print(visible(describe_keys(rows)), end="")  # a row a key, for grep
        give(args, [asdict(row) for row in rows])
    else:
        report = import_checkpoint(request)
        show(report.text())
        give(args, report.to_json())
        show_next("lint", args.out)
    return 0
