"""`edgedet models`."""

from __future__ import annotations

import argparse

from edgedet.commands.frame.early import check_model_options
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command
from edgedet.options import add_overrides_argument, image_size, positive_int
from edgedet.terminal import show


def add_models(commands: Commands) -> None:
    """Options of `edgedet models`."""
    parser = add_command(
        commands,
        "models",
        "list the models that ship with edgedet: what for, parameters, MACs, RAM and flash on the chip",
        (
            "models",
            "models --imgsz 160x128 --classes 1",
            "models rtmdet_pico_relu6 --imgsz 96 --set channels=1",
            "models mine.toml --json",
        ),
        _models,
    )
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="name of a shipped model, or path of a .toml: all about it"
    )
    parser.add_argument("--imgsz", type=image_size, metavar="N|WxH", help="input size, px (default: the model's)")
    parser.add_argument(
        "--classes", type=positive_int, default=3, metavar="N", help="number of classes (default: %(default)s)"
    )
    add_overrides_argument(parser, "channels=1")
    add_json_argument(parser, bare=True)


def _models(args: argparse.Namespace) -> int:
    check_model_options(args.model, args.overrides, args.imgsz)

    from edgedet.catalog import all_model_sizes, model_sizes, sizes_table
    from edgedet.progress import show_progress

    if args.model is not None:
        sizes = model_sizes(args.model, args.imgsz, args.classes, tuple(args.overrides))
        show(sizes.text())
        give(args, sizes.to_json())
        return 0
    with show_progress("models", "models") as progress:
        rows = all_model_sizes(args.imgsz, args.classes, tuple(args.overrides), progress)
    give(args, [row.to_json() for row in rows])
    show(sizes_table(rows))
    show(
        f"\nOf {args.classes} classes. RAM: arena of edgedet deploy --target c99. Flash: its constants, without code."
        "\n`edgedet models MODEL` shows all about one."
    )
    return 0
