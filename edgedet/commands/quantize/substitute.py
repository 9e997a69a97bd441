"""`edgedet substitute`, and the same step in front of `edgedet quantize`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.runs import run_name
from edgedet.commands.frame.early import announce_large, check_run, load_torch
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
from edgedet.commands.quantize.qat import add_run_arguments
from edgedet.config import ACTIVATIONS
from edgedet.errors import ConfigError
from edgedet.options import (
    add_data_arguments,
    data_paths,
    device_options,
    positive_int,
    positive_number,
    whole_number,
    with_flags,
)
from edgedet.terminal import show

if TYPE_CHECKING:
    from edgedet.finetune.substitute import SubstituteReport, SubstituteRequest

FOLDER = "substituted"  # of the fine-tuning run, inside the folder of `edgedet quantize`
TUNE_EPOCHS = 20


def add_substitute(commands: Commands) -> None:
    """Options of `edgedet substitute`."""
    parser = add_command(
        commands,
        "substitute",
        "replace the activations of a trained checkpoint, fine-tune it, and show what that costs and saves",
        (
            "substitute runs/nano/best.pt --activation relu6 --no-channel-attention --data bccd --out runs/ncadc",
            "substitute runs/nano/best.pt --activation hardswish --data bccd --epochs 5 --out runs/hardswish",
        ),
        _substitute,
    )
    parser.set_defaults(can_resume=lambda args: holds_run(args.out))
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="checkpoint (.pt) of edgedet train")
    add_data_arguments(parser)
    _add_what(parser)
    parser.add_argument("--epochs", type=positive_int, default=20, metavar="N", help="default: %(default)s")
    parser.add_argument("--batch", type=positive_int, default=16, metavar="N", help="default: %(default)s")
    parser.add_argument("--lr", type=positive_number, default=1e-3, metavar="R", help="default: %(default)s")
    add_out_argument(parser, "folder of the fine-tuning run", "MODEL_ACTIVATION")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="S", help="default: %(default)s")
    add_run_arguments(parser)
    add_json_argument(parser)


def add_substitution_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that put a substitution in front of a quantization."""
    group = parser.add_argument_group("substitution before quantization (see also: edgedet substitute)")
    _add_what(group)
    group.add_argument("--tune-epochs", type=positive_int, metavar="N", help=f"of fine-tuning (default: {TUNE_EPOCHS})")


def substitutes(args: argparse.Namespace) -> bool:
    """True when the options of `edgedet quantize` ask for a substitution.

    Raises:
        ConfigError: they do not, but say for how long.
    """
    asked = args.activation is not None or args.no_channel_attention
    if args.tune_epochs is not None and not asked:
        raise ConfigError(
            f"--tune-epochs {args.tune_epochs}: fine-tunes a substitution, expected --activation or "
            "--no-channel-attention beside it; --method qat takes --epochs"
        )
    return asked


def _substitute(args: argparse.Namespace) -> int:
    choose_out(args, "train", run_name(args.checkpoint, args.activation or "substituted"))
    check_run(args, args.checkpoint, ())
    announce_out(args, "substitute")
    announce_large("substitute", data_paths(args))
    load_torch("substitute", "edgedet.finetune.substitute")

    from edgedet.api.pages import draft_page, finish_substitute
    from edgedet.finetune.substitute import substitute_checkpoint
    from edgedet.training.parallel.processes import launched

    request = substitute_request(args, args.out, args.epochs, batch=args.batch, lr=args.lr)
    report = substitute_checkpoint(request, draft_page("substitute", request, args.command_line))
    if launched().first:
        show(with_flags(report.text(), args))
        show(finish_substitute(request, report, args.command_line))
        give(args, report.to_json())
        _show_next(args, report)
        show_out(args)
    return 0


def _show_next(args: argparse.Namespace, report: SubstituteReport) -> None:
    """Quantize; where fine-tuning left next to nothing of a network that found something, more of it."""
    from edgedet.evaluate.figures.reading import finds_nothing

    if finds_nothing(report.ap_tuned) is None:
        show_next_on_data(args, "quantize", report.checkpoint)
    elif finds_nothing(report.ap_before) is None:
        show_next_again(args, ("--epochs",), "--epochs", str(3 * args.epochs))
    else:
        show_labels_next(args)


def _add_what(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--activation", choices=ACTIVATIONS, help="take this one (default: as in the checkpoint)")
    parser.add_argument(
        "--no-channel-attention", action="store_true", help="drop the channel attention, keep its mean factors"
    )


def substitute_request(
    args: argparse.Namespace, out: Path, epochs: int, *, batch: int = 16, lr: float = 1e-3
) -> SubstituteRequest:
    """What the options of `edgedet substitute`, or of the same step in front of a quantization, ask for.

    Args:
        args: parsed options.
        out: folder of the fine-tuning run.
        epochs: of fine-tuning.
        batch: images per step.
        lr: peak learning rate.
    """
    from edgedet.finetune.substitute import SubstituteRequest

    return SubstituteRequest(
        checkpoint=args.checkpoint,
        data=data_paths(args),
        out=out,
        activation=args.activation,
        channel_attention=not args.no_channel_attention,
        epochs=epochs,
        batch=batch,
        lr=lr,
        seed=args.seed,
        threads=args.threads or 0,
        resume=args.resume,
        **device_options(args),
    )
