"""`edgedet contract`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.commands.frame.next_step import show_next
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command, refuse_checkpoint
from edgedet.contracts import RESIZE_MODES
from edgedet.errors import ConfigError
from edgedet.fileio import require_out_file
from edgedet.head_spec import CODINGS, HEADS, SCORES, UNITS
from edgedet.options import positive_int, threshold
from edgedet.terminal import show
from edgedet.texts import read_text

if TYPE_CHECKING:
    from edgedet.contract.request import ContractRequest


def add_contract(commands: Commands) -> None:
    """Options of `edgedet contract`."""
    parser = add_command(
        commands,
        "contract",
        "show, attach or change what a .tflite says about its input and outputs",
        (
            "contract model_int8.tflite",
            "contract sscma_int8.tflite --layout sscma --classes a,b,c --out model_int8.tflite",
            "contract yolov8n_int8.tflite --head yolov8 --classes coco.txt --out model_int8.tflite",
            "contract fomo.tflite --head fomo --classes face --mean 0 --std 255 --out model_int8.tflite",
            "contract yolo.tflite --head yolov3 --anchors coco --classes a,b --mean 127.5 --std 127.5 --out b.tflite",
            "contract model_int8.tflite --score-threshold 0.4 --classes cat,dog --out model_int8.tflite",
        ),
        _contract,
    )
    parser.add_argument("model", type=Path, metavar="FILE", help="int8 .tflite of any maker")
    parser.add_argument(
        "--out", type=Path, metavar="FILE2", help="write the file with its contracts (default: only show)"
    )
    add_contract_arguments(parser, "outputs", "input", "decoding")
    add_json_argument(parser)


def add_contract_arguments(
    parser: argparse.ArgumentParser, outputs: str, image: str, decoding: str, classes: str = "--classes"
) -> None:
    """Add what can be said about a file: its outputs, its input, and how it is decoded.

    Args:
        parser: of the command.
        outputs, image, decoding: titles of the three groups.
        classes: option of the class names.
    """
    _add_outputs(parser.add_argument_group(outputs), classes)
    _add_input(parser.add_argument_group(image))
    group = parser.add_argument_group(decoding)
    group.add_argument("--score-threshold", type=threshold, metavar="T", help="for pictures (default: 0.25)")
    group.add_argument(
        "--class-thresholds", type=_numbers, metavar="T,...", help="a score threshold of each class, in its place"
    )
    group.add_argument("--nms-iou", type=threshold, metavar="IOU", help="default: 0.65")
    group.add_argument(
        "--class-agnostic",
        action=argparse.BooleanOptionalAction,
        help="each box has its best class only, and suppresses those of all classes (default: inside each class)",
    )
    group.add_argument("--max-detections", type=positive_int, metavar="N", help="of an image (default: 100)")


def _add_outputs(group: argparse._ArgumentGroup, classes: str) -> None:
    group.add_argument(
        "--head", choices=HEADS, metavar="HEAD", help=f"what decodes the outputs: {', '.join(HEADS)} (a classifier)"
    )
    group.add_argument(classes, metavar="A,B,C|FILE", help="names (default: the appended label file)")
    group.add_argument("--category-ids", type=_whole_numbers, metavar="ID,...", help="COCO category id of each class")
    group.add_argument("--layout", choices=("sscma",), help="outputs of equal shape are in SSCMA's order; head rtmdet")
    group.add_argument("--strides", type=_whole_numbers, metavar="S,...", help="of the levels (default: found)")
    group.add_argument(
        "--anchors",
        metavar="W,H,...|FILE|coco|ssd",
        help="YOLO: pairs of px, smallest stride first, or coco for its usual nine; SSD: a file (.npy, or text with "
        "centre y, centre x, height, width in 0..1 a line), or ssd to compute them from the strides",
    )
    group.add_argument("--ssd-scales", type=_numbers, metavar="MIN,MAX", help="of computed anchors (default: 0.2,0.95)")
    group.add_argument(
        "--ssd-ratios", type=_numbers, metavar="R,...", help="of computed anchors (default: 1,2,1/2,3,1/3)"
    )
    group.add_argument(
        "--boxes",
        choices=CODINGS,
        metavar="CODING",
        help=f"how boxes are coded: {', '.join(CODINGS)} (default: as is usual for the head)",
    )
    group.add_argument("--scores", choices=SCORES, help="what makes scores of class values (default: found)")
    group.add_argument("--unit", choices=UNITS, help="of boxes that are decoded in the graph (default: found)")
    group.add_argument("--offset", type=float, metavar="CELLS", help="of priors inside a cell (yolov8 0.5, others 0)")
    group.add_argument(
        "--outputs", metavar="ROLE=NAME,...", help="which tensor is which, for example cls_8=Identity,box_8=Identity_1"
    )


def _add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--mean", type=_numbers, metavar="M[,M,M]", help="in 0..255 (default: found from the scale)")
    group.add_argument("--std", type=_numbers, metavar="S[,S,S]", help="in 0..255 (default: found from the scale)")
    group.add_argument(
        "--channels", type=_channels, metavar="RGB|BGR|gray", help="default: gray for one channel, or RGB"
    )
    group.add_argument("--resize", choices=RESIZE_MODES, help="default: letterbox; ssd, fomo, none: stretch")
    group.add_argument("--pad-value", type=_byte, metavar="V", help="of the letterbox, 0..255 (default: 114)")


def _contract(args: argparse.Namespace) -> int:
    from edgedet.contract.api import contract

    refuse_checkpoint(args.model)
    if args.out is not None:
        require_out_file(args.out, "--out")
    request = contract_request(args, args.model, args.out, _parse_outputs(args.outputs), args.classes)
    report = contract(request)
    show(report.text())
    give(args, report.to_json())
    if args.out is not None:
        show_next("lint", args.out)
    return 0


def contract_request(
    args: argparse.Namespace,
    model: Path,
    out: Path | None,
    outputs: tuple[tuple[str, str], ...],
    classes: str | None,
) -> ContractRequest:
    """What the options of `add_contract_arguments` say.

    Args:
        args: parsed.
        model: the file that it is said about.
        out: file to write, if any.
        outputs: (role, name of the tensor).
        classes: names, or the file that holds them.
    """
    from edgedet.contract.labels import parse_classes
    from edgedet.contract.request import ContractRequest

    anchors, source = _parse_anchors(args.anchors)
    return ContractRequest(
        model=model,
        out=out,
        head=args.head,
        classes=None if classes is None else parse_classes(classes),
        category_ids=args.category_ids,
        strides=args.strides,
        anchors=anchors,
        anchor_source=source,
        ssd_scales=args.ssd_scales,
        ssd_ratios=args.ssd_ratios,
        boxes=args.boxes,
        scores=args.scores,
        unit=args.unit,
        offset=args.offset,
        outputs=outputs,
        layout=args.layout,
        mean=args.mean,
        std=args.std,
        channels=args.channels,
        resize=args.resize,
        pad_value=args.pad_value,
        score_threshold=args.score_threshold,
        nms_iou=args.nms_iou,
        max_detections=args.max_detections,
        class_thresholds=args.class_thresholds,
        agnostic=args.class_agnostic,
    )


def _parse_anchors(text: str | None) -> tuple[tuple[float, ...] | None, str | None]:
    """(anchors, source) as in ContractRequest."""
    if text is None:
        return None, None
    if text in ("coco", "ssd"):
        return None, text
    path = Path(text)
    try:
        if path.suffix == ".npy":
            import numpy as np

            return tuple(np.load(path, allow_pickle=False).astype(float).reshape(-1).tolist()), None
        words = read_text(path) if path.is_file() else text
        values = tuple(float(word) for word in words.replace(",", " ").replace(";", " ").split())
    except (ValueError, OSError) as error:
        raise ConfigError(f"--anchors {text}: expected numbers, a file of numbers, coco or ssd; {error}") from error
    if not values or len(values) % 2:
        raise ConfigError(f"--anchors {text}: expected pairs of width and height, found {len(values)} numbers")
    return values, None


def _parse_outputs(text: str | None) -> tuple[tuple[str, str], ...]:
    pairs = [] if text is None else [entry.partition("=") for entry in text.split(",")]
    if not all(role and name for role, _, name in pairs):
        raise ConfigError(
            f"--outputs {text}: expected ROLE=NAME,ROLE=NAME,..., for example cls_8=Identity,box_8=Identity_1"
        )
    return tuple((role.strip(), name.strip()) for role, _, name in pairs)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(math.isfinite(value) for value in values):
        raise argparse.ArgumentTypeError(
            f"expected a number, or several (of each channel, of each class) as 1,2,3; got {text!r}"
        )
    return values


def _whole_numbers(text: str) -> tuple[int, ...]:
    words = text.split(",")
    if not all(word.strip().isdecimal() and len(word) < 10 for word in words):
        raise argparse.ArgumentTypeError(f"expected whole numbers as 8,16,32; got {text!r}")
    return tuple(int(word) for word in words)


def _channels(text: str) -> str:
    if text.upper() not in ("RGB", "BGR", "GRAY", "GREY"):
        raise argparse.ArgumentTypeError(f"expected RGB, BGR or gray, got {text!r}")
    return "GRAY" if text.upper() == "GREY" else text.upper()


def _byte(text: str) -> int:
    if not text.isdecimal() or len(text) > 3 or int(text) > 255:
        raise argparse.ArgumentTypeError(f"expected a whole number 0..255, got {text!r}")
    return int(text)
