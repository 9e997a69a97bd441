"""`edgedet quantize --method qat`: its options, and what they lead to."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet.config import QatRecipe, available_models, load_model_file
from edgedet.errors import ConfigError
from edgedet.options import (
    add_training_device_arguments,
    data_paths,
    device_options,
    positive_int,
    positive_number,
)

if TYPE_CHECKING:
    from edgedet.finetune.qat import QatRequest

# Attribute of the parsed options -> option, for those that only QAT takes. All of them are None (or False) when absent.
QAT_OPTIONS = {
    "epochs": "--epochs",
    "batch": "--batch",
    "lr": "--lr",
    "ema_decay": "--ema-decay",
    "distill": "--distill",
    "images": "--images",
    "check_runtime": "--check-runtime",
    "recipe": "--recipe",
}


def add_qat_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `--method qat`."""
    group = parser.add_argument_group("quantization-aware training (--method qat)")
    group.add_argument(
        "--recipe",
        metavar="MODEL",
        help="settings of the [qat] section of a model file, such as rtmdet_nano_relu_q; implies --method qat, and the "
        "options below override single ones",
    )
    group.add_argument("--epochs", type=positive_int, metavar="N", help="default: 5")
    group.add_argument("--batch", type=positive_int, metavar="N", help="images per step (default: 16)")
    group.add_argument("--lr", type=positive_number, metavar="R", help="peak learning rate (default: 3e-4)")
    group.add_argument(
        "--ema-decay",
        type=float,
        metavar="D",
        help="of the weights while ranges are learned, later their mean is taken; 0: no averaging (default: 0.998)",
    )
    group.add_argument(
        "--distill", action="store_true", help="learn from the float model's outputs; labels are not needed"
    )
    group.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="a folder of pictures, in place of a data set: to calibrate on, or with --distill to train on",
    )
    group.add_argument(
        "--check-runtime",
        choices=("ref", "sim"),
        help="measures the written file: TFLite's reference kernels, or the same arithmetic in NumPy (default: ref)",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of every fine-tuning run."""
    parser.add_argument("--threads", type=positive_int, metavar="N", help="torch's threads (default: all cores)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run in RUN")
    add_training_device_arguments(parser)


def refuse_qat_options(args: argparse.Namespace) -> None:
    """Raises ConfigError when an option was given that only QAT takes."""
    # Pictures without labels are enough for calibration, too.
    values = {option: getattr(args, name) for name, option in QAT_OPTIONS.items() if name != "images"}
    given = [option for option, value in values.items() if value is not None and value is not False]  # 0 is given, too
    if args.activation is None and not args.no_channel_attention:  # a substitution trains, too
        run = {"--resume": args.resume or None, "--threads": args.threads, "--workers": args.workers}
        given += [option for option, value in run.items() if value is not None]
        if args.device not in (None, "auto", "cpu"):
            raise ConfigError(
                f"--device {args.device}: --method ptq calibrates on one thread of the CPU, so that the file is the "
                "same on every machine; expected auto or cpu"
            )
    if given:
        raise ConfigError(f"{', '.join(given)}: only --method qat takes this, found --method {args.method}")


def qat_request(args: argparse.Namespace) -> QatRequest:
    """What `--method qat` is to do; the checkpoint may still be replaced by its substitution.

    Args:
        args: parsed options of `edgedet quantize`.
    Raises:
        ConfigError: options that do not go together.
    """
    from edgedet.finetune.qat import QatRequest, with_recipe

    names = {"check_runtime": "runtime"}
    given: dict[str, Any] = {
        names.get(name, name): value for name in QAT_OPTIONS if (value := getattr(args, name)) is not None
    }
    recipe = given.pop("recipe", None)
    request = QatRequest(
        checkpoint=args.checkpoint,
        data=data_paths(args),
        out=args.out,
        calib_images=args.calib_images,
        seed=args.seed,
        threads=args.threads or 0,
        resume=args.resume,
        int16=args.int16,
        **device_options(args),
    )
    if recipe is not None:
        request = with_recipe(request, _recipe(recipe))
        given["distill"] |= request.distill
    return replace(request, **given)


def _recipe(name: str) -> QatRecipe:
    """The [qat] section of a model file."""
    file = load_model_file(name)
    if file.qat is None:
        having = ", ".join(known for known in available_models() if load_model_file(known).qat is not None)
        raise ConfigError(f"--recipe {name}: this model has no [qat] section; give one of {having}, or your own .toml")
    return file.qat
