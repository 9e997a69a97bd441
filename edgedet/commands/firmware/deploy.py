"""`edgedet deploy`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.api.runs import run_name
from edgedet.commands.firmware.ethos_u import add_npu_arguments, npu_options
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import (
    Commands,
    add_command,
    add_out_argument,
    announce_out,
    choose_out,
    refuse_checkpoint,
    show_out,
)
from edgedet.deploy.projects.layout import PROJECTS
from edgedet.npu.cores import NPU_TARGETS, NpuOptions, choose_target
from edgedet.options import byte_count
from edgedet.terminal import show

_EXAMPLES = (
    "deploy runs/q/model_int8.tflite --target tflm --out firmware",
    "deploy runs/q/model_int8.tflite --target c99 --out module --ram 262144",
    "deploy faces_int8.tflite --target c99 --name faces --out faces",
    "deploy runs/q/model_int8.tflite --target c99 --project arduino --out firmware",
    "deploy runs/q/model_int8.tflite --target ethos-u55-128 --out firmware",
    "deploy runs/q/model_int8.tflite --preset grove-vision-ai-v2 --out firmware",
    "deploy runs/q/model_int8.tflite --target c99 --board nicla_vision --out module",
    "deploy runs/q/model_int8.tflite --target web --out page",
)


def add_deploy(commands: Commands) -> None:
    """Options of `edgedet deploy`."""
    parser = add_command(
        commands,
        "deploy",
        "write the sources that run an int8 .tflite on a chip",
        _EXAMPLES,
        _deploy,
    )
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="int8 .tflite of any maker; for target tflm whatever TFLite Micro runs",
    )
    parser.add_argument(
        "--target",
        choices=("tflm", "c99", "web", *NPU_TARGETS),
        metavar="TARGET",
        help="tflm: TFLite Micro, C++ (default); c99: plain C without an interpreter, planned arena; web: that C as "
        "WebAssembly in one page for browsers; ethos-u55-64 and the like: TFLite Micro with the network compiled by "
        "Vela for Arm's NPU",
    )
    add_out_argument(parser, "folder of the sources", "MODEL_TARGET")
    parser.add_argument(
        "--name",
        metavar="NAME",
        help="symbols, macros, files and libraries begin with it, so that several modules fit one image",
    )
    parser.add_argument(
        "--project",
        choices=PROJECTS,
        help="put a project around the module: build files, manifests and an example with a place for the camera",
    )
    parser.add_argument(
        "--board", metavar="BOARD", help="the model must fit this board (`edgedet boards`), or nothing is written"
    )
    parser.add_argument("--ram", type=byte_count, metavar="BYTES", help="largest arena that is allowed; 256k is 262144")
    parser.add_argument(
        "--image", type=Path, metavar="FILE", help="picture for the golden vectors (default: a drawn one)"
    )
    add_npu_arguments(parser)
    add_json_argument(parser)


def _deploy(args: argparse.Namespace) -> int:
    from edgedet.deploy.api import deploy

    refuse_checkpoint(args.model)
    npu = npu_options(args)
    target = choose_target(args.target, npu or NpuOptions(), "tflm")
    choose_out(args, "deploy", run_name(args.model, target))
    announce_out(args, "deploy")
    report = deploy(
        args.model,
        target,
        args.out,
        ram_bytes=args.ram,
        image=args.image,
        name=args.name,
        project=args.project,
        npu=npu,
        board=args.board,
    )
    show(report.text())
    give(args, report.to_json())
    show_out(args)
    return 0
