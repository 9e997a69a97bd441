"""`edgedet lint`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.commands.firmware.ethos_u import add_npu_arguments, npu_options, npu_words
from edgedet.commands.frame.next_step import show_next, show_next_on_data_of
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command
from edgedet.npu.cores import NPU_TARGETS, choose_target
from edgedet.terminal import show


def add_lint(commands: Commands) -> None:
    """Options of `edgedet lint`."""
    parser = add_command(
        commands,
        "lint",
        "say what in a detector will hurt on the chip, why, and how to mend it",
        (
            "lint model_int8.tflite",
            "lint runs/bccd/best.pt",
            "lint exported.onnx --strict --json findings.json",
            "lint model_int8.tflite --target ethos-u55-64",
        ),
        _lint,
    )
    parser.add_argument("model", type=Path, metavar="FILE", help=".tflite of any maker, checkpoint (.pt), or .onnx")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when there is an error or a warning")
    parser.add_argument(
        "--target",
        choices=NPU_TARGETS,
        metavar="NPU",
        help="ethos-u55-64 and the like: compile the file and variants of it, and say what costs cycles there",
    )
    add_npu_arguments(parser)
    add_json_argument(parser)


def _lint(args: argparse.Namespace) -> int:
    from edgedet.lint.api import lint

    npu = npu_options(args)
    target = args.target if npu is None or npu.preset is None else choose_target(args.target, npu, "")
    report = lint(args.model, target, npu)
    show(report.text())
    give(args, report.to_json())
    if report.format != "tflite":
        if not show_next_on_data_of(args.model, "quantize", args.model):
            show_next("quantize", "--help")  # which pictures, nobody knows here
    elif report.count("error"):
        runs = [finding.command for finding in report.findings if finding.severity == "error"]
        if any(command.startswith("edgedet convert ") for command in runs):  # others name data, which nobody knows here
            show_next("convert", args.model, "--out", args.model.with_stem(f"{args.model.stem}_converted"))
    elif target is not None:
        show_next("deploy", args.model, "--target", target, *npu_words(npu))
    else:
        show_next("check", args.model, "--board", "all")
    return 1 if args.strict and report.count("error") + report.count("warning") else 0
