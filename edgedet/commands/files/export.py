"""`edgedet export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command
from edgedet.errors import ConfigError
from edgedet.options import image_size, positive_int, with_flags
from edgedet.terminal import show


def add_export(commands: Commands) -> None:
    """Options of `edgedet export`."""
    parser = add_command(
        commands,
        "export",
        "write a checkpoint or an int8 file in another maker's format, checked on a picture before it is kept",
        (
            "export --list",
            "export runs/bccd/best.pt --format onnx --out detector.onnx --image photo.jpg",
            "export runs/bccd/best.pt --format openvino --imgsz 320 --out detector.xml",
            "export runs/q/model_int8.tflite --format onnx-qdq --out detector_qdq.onnx",
            "export runs/q/model_int8.tflite --format sscma --out sscma_int8.tflite",
            "export runs/bccd/best.pt --format hailo --out hailo",
        ),
        _export,
    )
    parser.add_argument(
        "model", type=Path, nargs="?", metavar="MODEL", help="checkpoint (.pt), or int8 .tflite for onnx-qdq and sscma"
    )
    parser.add_argument("--format", metavar="NAME", help="one of --list")
    parser.add_argument("--out", type=Path, metavar="PATH", help="file or folder to write, which may not exist yet")
    parser.add_argument(
        "--list",
        action="store_true",
        help="show all formats: made from what, by which library, installed or not, what for",
    )
    parser.add_argument("--image", type=Path, metavar="FILE", help="picture for the check (default: a drawn one)")
    parser.add_argument(
        "--imgsz", type=image_size, metavar="SIZE", help="input of 192 or WIDTHxHEIGHT px (default: the checkpoint's)"
    )
    parser.add_argument(
        "--opset",
        type=positive_int,
        metavar="N",
        help="of ONNX, 11 to 20 (onnx-qdq: 13 to 21, int16 from 21; default: 17)",
    )
    parser.add_argument(
        "--centre-priors",
        action="store_true",
        help="format sscma: move the distances, because the firmware counts them from the centres of the cells",
    )
    add_json_argument(parser)


def _export(args: argparse.Namespace) -> int:
    from edgedet.exchange.export.api import ExportRequest, export, list_formats
    from edgedet.exchange.export.formats import formats_json

    if args.list:
        show(list_formats())
        give(args, formats_json())
        return 0
    missing = [
        name for name, value in (("MODEL", args.model), ("--format", args.format), ("--out", args.out)) if not value
    ]
    if missing:
        raise ConfigError(f"export needs {', '.join(missing)}; `edgedet export --list` shows the formats")
    request = ExportRequest(
        model=args.model,
        format=args.format,
        out=args.out,
        image=args.image,
        imgsz=args.imgsz,
        opset=args.opset,
        centre_priors=args.centre_priors,
    )
    report = export(request)
    show(with_flags(report.text(), args))
    give(args, report.to_json())
    return 0
