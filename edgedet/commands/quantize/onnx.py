"""`edgedet quantize model.onnx`: its options, and what they lead to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.commands.files.contract import add_contract_arguments, contract_request
from edgedet.commands.quantize.qat import QAT_OPTIONS
from edgedet.errors import ConfigError
from edgedet.options import image_size

if TYPE_CHECKING:
    from edgedet.exchange.onnx_in.api import OnnxRequest
    from edgedet.quantize.api import QuantizeRequest

SUFFIX = ".onnx"
# Attributes of what is said about input and outputs of an ONNX file; all are None when absent.
_CONTRACT = (
    *(
        "head",
        "class_names",
        "category_ids",
        "layout",
        "strides",
        "anchors",
        "ssd_scales",
        "ssd_ratios",
        "boxes",
        "scores",
    ),
    *("unit", "offset", "outputs", "mean", "std", "channels", "resize", "pad_value", "score_threshold", "nms_iou"),
    *("max_detections", "class_thresholds", "class_agnostic"),
)


def add_onnx_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that an ONNX file needs."""
    group = parser.add_argument_group("ONNX files")
    group.add_argument(
        "--imgsz", type=image_size, metavar="S|WxH", help="px, for files that leave their input size open"
    )
    group.add_argument(
        "--no-cut",
        action="store_true",
        help="keep the decoding that a known head ends with inside the network (default: end in front of it, so that "
        "classes and boxes have scales of their own)",
    )
    titles = (
        "outputs of an ONNX file (--outputs NAME,... ends it there)",
        "input of an ONNX file",
        "decoding",
    )
    add_contract_arguments(parser, *titles, classes="--class-names")


def is_onnx(path: Path) -> bool:
    """True for the path of an ONNX file."""
    return path.suffix.lower() == SUFFIX


def refuse_onnx_options(args: argparse.Namespace) -> None:
    """Raises ConfigError when an option was given that only ONNX files take."""
    given = [f"--{name.replace('_', '-')}" for name in (*_CONTRACT, "imgsz") if getattr(args, name) is not None]
    given += ["--no-cut"] if args.no_cut else []
    if given:
        raise ConfigError(f"{', '.join(given)}: only for ONNX files, and {args.checkpoint} is a checkpoint")


def onnx_request(args: argparse.Namespace, quantization: QuantizeRequest) -> OnnxRequest:
    """What `edgedet quantize model.onnx` is to do.

    Args:
        args: parsed options of `edgedet quantize`.
        quantization: what they say about the quantization.
    """
    from edgedet.exchange.onnx_in.api import OnnxRequest

    names, roles = _outputs(args.outputs)
    contract = contract_request(args, args.checkpoint, None, roles, args.class_names)
    return OnnxRequest(quantization, contract, args.imgsz, not args.no_cut, names)


def refuse_checkpoint_options(args: argparse.Namespace) -> None:
    """Raises ConfigError when an option was given that needs a checkpoint of edgedet."""
    options = {name: option for name, option in QAT_OPTIONS.items() if name != "images"}
    given = [option for name, option in options.items() if getattr(args, name) not in (None, False)]
    given += ["--method qat"] if args.method == "qat" else []
    given += [f"--activation {args.activation}"] if args.activation is not None else []
    for name in ("no_channel_attention", "resume", "threads", "waterfall"):
        given += [f"--{name.replace('_', '-')}"] if getattr(args, name) else []
    if given:
        raise ConfigError(f"{', '.join(given)}: needs a checkpoint of edgedet, and {args.checkpoint} is an ONNX file")


def _outputs(text: str | None) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """(names of tensors, roles of them) of `NAME,...` or `ROLE=NAME,...`."""
    if text is None:
        return (), ()
    parts = [part.strip() for part in text.split(",")]
    pairs = [part.partition("=") for part in parts]
    if not all(parts) or any(bool(sign) != bool(pairs[0][1]) or (sign and not name) for _, sign, name in pairs):
        raise ConfigError(f"--outputs {text}: expected NAME,NAME,... or ROLE=NAME,ROLE=NAME,...")
    if not pairs[0][1]:
        return tuple(parts), ()
    return tuple(name for _, _, name in pairs), tuple((role, name) for role, _, name in pairs)
