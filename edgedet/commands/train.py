"""`edgedet train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.shared import Commands, add_command, holds_run
from edgedet.options import add_data_arguments, data_paths, image_size, positive_int, whole_number


def add_train(commands: Commands) -> None:
    """Options of `edgedet train`."""
    parser = add_command(
        commands,
        "train",
        "train a detector on COCO images",
        (
            "train rtmdet_nano_ncadc_relu6 --data bccd --imgsz 192 --epochs 100 --batch 32 --out runs/bccd",
            "train rtmdet_pico_relu6 --data bccd --imgsz 192x160 --out runs/pico --set lr=0.002 mosaic=0.5",
            "train rtmdet_nano_relu --train-ann a.json --train-images a --val-ann b.json --val-images b --out runs/ab",
            "train rtmdet_nano_ncadc_relu6 --data bccd --imgsz 192 --epochs 100 --batch 32 --out runs/bccd --resume",
        ),
        _train,
    )
    parser.set_defaults(can_resume=lambda args: holds_run(args.out))
    parser.add_argument("model", metavar="MODEL", help="name of a shipped model, or path of a .toml")
    add_data_arguments(parser)
    parser.add_argument("--imgsz", type=image_size, metavar="N|WxH", help="input size, px (default: the model's)")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="default: the model's")
    parser.add_argument("--batch", type=positive_int, metavar="N", help="images per step (default: the model's)")
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the model file, for example train.lr=0.002; unknown keys are errors",
    )
    parser.add_argument("--resume", action="store_true", help="go on from RUN/last.pt")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")


def _train(args: argparse.Namespace) -> int:
    from edgedet.train.loop import TrainRequest, train

    result = train(
        TrainRequest(
            model=args.model,
            data=data_paths(args),
            out=args.out,
            imgsz=args.imgsz,
            epochs=args.epochs,
            batch=args.batch,
            overrides=tuple(args.overrides),
            resume=args.resume,
            seed=args.seed,
        )
    )
    print(f"best AP {result.best_ap:.3f}: {result.best}")
    print(f"last AP {result.last_ap:.3f}: {result.last}")
    return 0
