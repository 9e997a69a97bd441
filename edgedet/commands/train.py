"""`edgedet train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.runs import run_name
from edgedet.commands.frame.early import announce_large, check_model_options, check_run, load_torch
from edgedet.commands.frame.next_step import show_labels_next, show_next_again, show_next_on_data
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import (
    Commands,
    add_command,
    add_out_argument,
    announce_out,
    choose_out,
    holds_run,
    show_out,
)
from edgedet.errors import ConfigError
from edgedet.options import (
    add_data_arguments,
    add_overrides_argument,
    add_training_device_arguments,
    data_paths,
    device_options,
    epochs_or_auto,
    image_size,
    positive_int,
    positive_number,
    whole_number,
    with_flags,
)
from edgedet.terminal import show

if TYPE_CHECKING:
    from edgedet.training.loop import TrainResult


def add_train(commands: Commands) -> None:
    """Options of `edgedet train`."""
    parser = add_command(
        commands,
        "train",
        "train a detector on COCO images",
        (
            "train rtmdet_nano_ncadc_relu6 --data bccd --imgsz 192",
            "train rtmdet_nano_ncadc_relu6 --data bccd --imgsz 192 --epochs 100 --out runs/bccd",
            "train rtmdet_pico_relu6 --data bccd --imgsz 192x160 --out runs/pico --set lr=0.002 mosaic=0.5",
            "train rtmdet_nano_relu --train-ann a.json --train-images a --val-ann b.json --val-images b --out runs/ab",
            "train rtmdet_nano_ncadc_relu6 --data bccd --imgsz 192 --epochs 100 --out runs/bccd --resume",
            "train rtmdet_nano_ncadc_relu6 --data bccd --imgsz 192 --epochs auto --out runs/bccd",
            "train --from tiny.pt --data bccd --imgsz 192 --epochs 25 --freeze stage2 --set lr=0.001 --out runs/tiny",
            "train rtmdet_nano --data coco --imgsz 320 --batch 128 --device cuda --workers 12 --out runs/coco",
        ),
        _train,
    )
    parser.set_defaults(can_resume=lambda args: holds_run(args.out))
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="name of a shipped model, or path of a .toml; may be left out with --from, whose network is trained then",
    )
    add_data_arguments(parser)
    parser.add_argument("--imgsz", type=image_size, metavar="N|WxH", help="input size, px (default: the model's)")
    parser.add_argument(
        "--epochs",
        type=epochs_or_auto,
        metavar="N|auto",
        help="auto: until AP on the validation images no longer rises, at most 5 times the default (default: the "
        "model's, more for a small data set or a large batch)",
    )
    parser.add_argument(
        "--batch",
        type=positive_int,
        metavar="N",
        help="images per step (default: the model's); learning rate and averaging follow, unless --set gives them",
    )
    add_out_argument(parser, "folder of the run", "MODEL")
    add_overrides_argument(parser, "train.lr=0.002")
    parser.add_argument(
        "--resume", action="store_true", help="go on from RUN/last.pt; with more --epochs, extend the run"
    )
    _add_start(parser)
    parser.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")
    add_training_device_arguments(parser)
    add_json_argument(parser)


def _add_start(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run that starts from a checkpoint."""
    group = parser.add_argument_group(
        "start from a trained network",
        "classes of equal names keep their predictors, others get fresh ones; pixels are prepared as before",
    )
    group.add_argument(
        "--from", dest="start", type=Path, metavar="CKPT", help="checkpoint (.pt) of edgedet train or edgedet import"
    )
    group.add_argument("--freeze", metavar="STAGE", help="keep everything up to stem, stage1..4, backbone or neck")
    group.add_argument(
        "--backbone-lr-scale", type=positive_number, metavar="F", help="slow the backbone down, for example 0.1"
    )
    group.add_argument("--remake-head", action="store_true", help="fresh weights for the whole head")


def _name(args: argparse.Namespace) -> str:
    """Of the folder: the model's, or that of the run that it starts from."""
    if args.model is not None:
        return Path(args.model).stem
    return "model" if args.start is None else run_name(args.start, "tuned")


def _train(args: argparse.Namespace) -> int:
    changed = args.freeze is not None or args.backbone_lr_scale is not None or args.remake_head
    if args.start is None and changed:
        raise ConfigError("--freeze, --backbone-lr-scale and --remake-head belong to --from CKPT")
    choose_out(args, "train", _name(args))
    check_run(args, args.start, ())
    check_model_options(args.model, args.overrides, args.imgsz)
    check_run(args, None, ("train", "valid"))
    announce_out(args, "train")
    announce_large("train", data_paths(args))
    load_torch("train", "edgedet.training.loop")

    from edgedet.api.pages import draft_page, finish_train
    from edgedet.training.loop import TrainRequest, train
    from edgedet.training.parallel.processes import launched
    from edgedet.training.warm_start import WarmStart

    scale = 1.0 if args.backbone_lr_scale is None else args.backbone_lr_scale
    start = None if args.start is None else WarmStart(args.start, args.freeze, scale, args.remake_head)
    request = TrainRequest(
        model=args.model,
        data=data_paths(args),
        out=args.out,
        imgsz=args.imgsz,
        epochs=args.epochs,
        batch=args.batch,
        overrides=tuple(args.overrides),
        resume=args.resume,
        seed=args.seed,
        start=start,
        **device_options(args),
    )
    result = train(request, draft_page("train", request, args.command_line))
    if not launched().first:
        return 0
    give(args, result.to_json())
    show(f"best AP {result.best_ap:.3f}: {result.best}")
    show(f"last AP {result.last_ap:.3f}: {result.last}")
    _show_course(args, result)
    show(finish_train(request, result, args.command_line))
    _show_next(args, result)
    show_out(args)
    return 0


def _show_next(args: argparse.Namespace, result: TrainResult) -> None:
    """Quantize; where the network finds next to nothing, more epochs while it learns, else a look at the labels."""
    from edgedet.evaluate.figures.reading import finds_nothing
    from edgedet.evaluate.figures.training_curves import still_learns

    if finds_nothing(result.best_ap) is None:
        show_next_on_data(args, "quantize", result.best)
    elif isinstance(args.epochs, int) and still_learns(result.history):
        show_next_again(args, ("--epochs",), "--epochs", "auto")
    else:
        show_labels_next(args)


def _show_course(args: argparse.Namespace, result: TrainResult) -> None:
    """What AP and loss say about the run that has ended."""
    from edgedet.evaluate.figures.reading import finds_nothing

    nothing = finds_nothing(result.best_ap)
    if nothing is not None:
        show(f"note: {nothing.text()}")
    for sentence in result.reading:
        show(with_flags(f"reading: {sentence.text()}", args))
