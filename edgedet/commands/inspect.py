"""`edgedet inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.after_measuring import next_after_inspect
from edgedet.commands.frame.early import announce_large
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command, refuse_checkpoint
from edgedet.evaluate.arguments import add_send_argument
from edgedet.options import (
    SPLITS,
    add_data_arguments,
    data_paths,
    positive_int,
    refuse_other_splits,
    split_name,
    whole_number,
)
from edgedet.runtimes.names import INT8_CHOICES
from edgedet.terminal import show

# What the page says about it.
_SETTINGS = ("runtime", "split", "images", "sensitivity_images", "seed")


def add_inspect(commands: Commands) -> None:
    """Options of `edgedet inspect`."""
    parser = add_command(
        commands,
        "inspect",
        "compare every layer of an int8 .tflite with the float checkpoint that it was made from",
        (
            "inspect runs/q/model_int8.tflite --against runs/bccd/best.pt --data bccd",
            "inspect model_int8.tflite --against best.pt --data bccd --split train --images 64 --out diagnosis",
            "inspect model_int8.tflite --against best.pt --data bccd --runtime serial:/dev/ttyACM0@921600 --send image",
        ),
        _inspect,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite of edgedet quantize")
    parser.add_argument("--against", type=Path, required=True, metavar="CKPT", help="checkpoint it was quantized from")
    add_data_arguments(parser)
    parser.add_argument("--split", type=split_name, choices=SPLITS, default="valid", help="default: %(default)s")
    parser.add_argument(
        "--images", type=positive_int, default=32, metavar="N", help="drawn with the seed (default: %(default)s)"
    )
    parser.add_argument(
        "--sensitivity-images",
        type=positive_int,
        default=8,
        metavar="N",
        help="of them, 1 to 8, on which the network runs once for every layer (default: %(default)s)",
    )
    parser.add_argument(
        "--runtime",
        choices=INT8_CHOICES,
        metavar="RUNTIME",
        help="compare its output codes with the simulator's on the same images: serial:PORT[@BAUD], or another",
    )
    add_send_argument(parser)
    parser.add_argument("--top", type=positive_int, default=15, metavar="N", help="layers shown (default: %(default)s)")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of inspect.csv, .json and .svg (default: beside the model)"
    )
    add_json_argument(parser)


def _inspect(args: argparse.Namespace) -> int:
    from edgedet.api.pages import finish_inspect, request_settings
    from edgedet.diagnose.inspect import InspectRequest, inspect_model
    from edgedet.drawing.charts import LayerPoint, layers_chart
    from edgedet.fileio import require_out_folder
    from edgedet.progress import show_progress

    refuse_checkpoint(args.model)
    refuse_other_splits(args, args.split)
    announce_large("inspect", data_paths(args))
    folder = args.out or args.model.parent
    if args.model.is_file():  # else that is what is wrong
        require_out_folder(folder, "--out")
    request = InspectRequest(
        model=args.model,
        checkpoint=args.against,
        split=data_paths(args).load(args.split),
        images=args.images,
        sensitivity_images=args.sensitivity_images,
        seed=args.seed,
        runtime=args.runtime,
        send=args.send,
    )
    with show_progress("inspect", "steps") as progress:
        inspection = inspect_model(request, progress)
    points = [LayerPoint(x.name, x.cumulative_db, x.alone_db, x.sensitivity) for x in inspection.layers]
    contents = {
        "inspect.csv": inspection.to_csv(),
        "inspect.json": inspection.to_json(),
        "inspect.svg": layers_chart(f"Layers of {args.model}", points),
    }
    show(inspection.text(args.top))
    data = request_settings(data_paths(args))
    settings = [(name, str(getattr(args, name))) for name in _SETTINGS if getattr(args, name) is not None]
    page = finish_inspect(folder, contents, (args.model, args.against), args.command_line, settings + data)
    for name in contents:
        show(f"wrote {folder / name}")
    show(page)
    give(args, contents["inspect.json"])
    next_after_inspect(args)
    return 0
