"""`edgedet boards` and `edgedet check`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgedet.commands.frame.next_step import show_next
from edgedet.commands.frame.results import add_json_argument, give
from edgedet.commands.frame.shared import Commands, add_command, refuse_checkpoint
from edgedet.errors import ConfigError
from edgedet.npu.cores import NPU_TARGETS
from edgedet.options import byte_count
from edgedet.terminal import announce, show

BOARD_HELP = "name of a board (`edgedet boards`), or path of a .toml of your own"


def add_boards(commands: Commands) -> None:
    """Options of `edgedet boards`."""
    parser = add_command(
        commands,
        "boards",
        "list the boards that edgedet knows: processor, memories, NPU, and where each figure is from",
        ("boards", "boards nicla_vision", "boards ./my_board.toml --json"),
        _boards,
    )
    parser.add_argument("board", nargs="?", metavar="BOARD", help=f"{BOARD_HELP}: all about it")
    form = parser.add_mutually_exclusive_group()
    add_json_argument(form, bare=True)
    form.add_argument("--markdown", action="store_true", help="print the tables of docs/boards.md")


def _boards(args: argparse.Namespace) -> int:
    from edgedet.hardware.board import all_boards, load_board
    from edgedet.hardware.text import boards_text, markdown

    if args.markdown and args.board:
        raise ConfigError(f"--markdown prints the whole table, found {args.board}; leave the name out")
    boards = all_boards() if args.board is None else (load_board(args.board),)
    if args.markdown:
        sys.stdout.write(markdown(boards))
    else:
        show(boards_text(boards))
    if args.board is None and not args.markdown:
        show("\nKiB (M: MiB) free for a firmware. `edgedet boards NAME` shows all about one, with sources.")
    give(args, [board.to_json() for board in boards] if args.board is None else boards[0].to_json())
    return 0


def add_check(commands: Commands) -> None:
    """Options of `edgedet check`."""
    parser = add_command(
        commands,
        "check",
        "say whether a model fits a board, in which memory, how fast it may run, and what would make it fit",
        (
            "check model_int8.tflite --board nicla_vision",
            "check model_int8.tflite --board all --json fits.json",
            "check model_int8.tflite --board grove_vision_ai_v2 --target ethos-u55-64",
            "check model_int8.tflite --board ./my_board.toml --ram 128k",
        ),
        _check,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="int8 .tflite of any maker")
    parser.add_argument("--board", required=True, metavar="BOARD", help=f"{BOARD_HELP}; or all")
    parser.add_argument(
        "--target",
        choices=("c99", "tflm", *NPU_TARGETS),
        metavar="TARGET",
        default="c99",
        help="c99: plain C, planned and measured (default); tflm: TFLite Micro, its code and stack are assumed; "
        "ethos-u55-64 and the like: compiled by Vela, with its estimate",
    )
    parser.add_argument("--ram", type=byte_count, metavar="BYTES", help="largest arena, as of deploy; 256k is 262144")
    add_json_argument(parser)


def _check(args: argparse.Namespace) -> int:
    from edgedet.deploy.preflight import boards_of, check
    from edgedet.hardware.text import report_text

    refuse_checkpoint(args.model)
    boards = boards_of(args.board)
    report = check(
        args.model,
        boards,
        target=args.target,
        ram_bytes=args.ram,
        log=lambda text: announce(f"does not fit; trying {text} ..."),
    )
    show(report_text(report))
    give(args, report.to_json())
    if report.fits and args.board != "all":
        limit = () if args.ram is None else ("--ram", str(args.ram))
        show_next("deploy", args.model, "--target", args.target, "--board", args.board, *limit)
    return 0 if report.fits else 1
