"""The command `edgedet`: each sub-command parses, calls one function of the package, prints, returns a code.

The commands stand in edgedet/commands/. Torch, OpenCV and the interpreters are imported inside their handlers, so that
`--help` is quick and a device host needs the base installation only.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from edgedet import __version__
from edgedet.commands.completion import add_completion
from edgedet.commands.data import add_data_commands
from edgedet.commands.evaluate import add_evaluate, add_predict
from edgedet.commands.files.contract import add_contract
from edgedet.commands.files.convert import add_convert
from edgedet.commands.files.export import add_export
from edgedet.commands.files.import_ import add_import
from edgedet.commands.files.lint import add_lint
from edgedet.commands.files.operators import add_operators
from edgedet.commands.files.settings import add_settings
from edgedet.commands.firmware.boards import add_boards, add_check
from edgedet.commands.firmware.deploy import add_deploy
from edgedet.commands.frame.parser import HelpFormatter, Parser, fail
from edgedet.commands.frame.session import add_session_arguments, session
from edgedet.commands.frame.shared import take_file_of_run
from edgedet.commands.inspect import add_inspect
from edgedet.commands.models import add_models
from edgedet.commands.quantize.quantize import add_quantize
from edgedet.commands.quantize.substitute import add_substitute
from edgedet.commands.report import add_report
from edgedet.commands.train import add_train
from edgedet.commands.ui import add_ui
from edgedet.commands.waterfall import add_waterfall
from edgedet.errors import OF_COMMANDS_THAT_SKIP, BrokenImagesError, EdgedetError, missing_module
from edgedet.options import with_flags
from edgedet.outputs.failures import cant_be_written, os_error_text
from edgedet.streams import drop_output, output_failure, prepare_streams
from edgedet.threads import let_threads_sleep, limit_blas_threads

BROKEN_PIPE = 141  # as a shell sees a program that SIGPIPE ended

# In the order in which a user needs them, and `--help` shows them.
ADD_COMMANDS = (
    add_data_commands,
    add_models,
    add_settings,
    add_import,
    add_train,
    add_substitute,
    add_quantize,
    add_inspect,
    add_waterfall,
    add_lint,
    add_convert,
    add_contract,
    add_evaluate,
    add_predict,
    add_boards,
    add_check,
    add_deploy,
    add_report,
    add_ui,
    add_export,
    add_operators,
    add_completion,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None takes the process's.
    Returns:
        Exit code: 0; 1 when a model does not fit a board, or strict lint finds something; 2 after an error that the
        user can act on; 130 after Ctrl-C; 141 when nobody reads the output any more.
    """
    limit_blas_threads()
    let_threads_sleep()
    prepare_streams()
    try:
        try:
            code = _run(argv)
        except SystemExit as stop:  # of --help, or a wrong command line
            if stop.code or output_failure() is None:
                raise
        lost = output_failure()
        if lost is not None:
            code = fail(f"standard output: {cant_be_written(lost)}")
            drop_output()
        return code
    except BrokenPipeError:  # `| head` has read enough
        drop_output()
        return BROKEN_PIPE


def _run(argv: Sequence[str] | None) -> int:
    args = build_parser().parse_args(argv)
    args.command_line = shlex.join(["edgedet", *(sys.argv[1:] if argv is None else argv)])
    try:
        with ExitStack() as args.held, session(args, sys.argv[1:] if argv is None else argv):
            take_file_of_run(args)
            result: int = args.handler(args)
            sys.stdout.flush()  # a reader that went away is noticed here, not at the interpreter's end
            return result
    except BrokenPipeError:
        raise
    except ModuleNotFoundError as error:
        missing = missing_module(error)
        if missing is None:
            raise
        return fail(str(missing))
    except BrokenImagesError as error:
        return fail(with_flags(str(error), args) + ("" if "skip_broken" in args else OF_COMMANDS_THAT_SKIP))
    except EdgedetError as error:
        return fail(with_flags(str(error), args))
    except OSError as error:
        return fail(os_error_text(error))
    except KeyboardInterrupt:
        print("interrupted" + _how_to_go_on(args), file=sys.stderr)
        return 130


def _how_to_go_on(args: argparse.Namespace) -> str:
    """What to say after Ctrl-C, when the command left something that --resume takes."""
    can_resume = getattr(args, "can_resume", None)
    if can_resume is None or not can_resume(args):
        return ""
    named = "" if getattr(args, "names_out", True) else f"--out {shlex.quote(str(args.out))} "
    return f"; the same command with {named}--resume goes on after the last epoch that was saved"


def build_parser() -> argparse.ArgumentParser:
    """All sub-commands with their options; `handler` of the parsed namespace runs one."""
    parser: argparse.ArgumentParser = Parser(
        prog="edgedet",
        description="An object detector from COCO images to int8 code on a microcontroller, nothing lost on the way.",
        epilog="The usual way: data check, train, quantize, evaluate, deploy.\n`edgedet COMMAND --help` has examples.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgedet {__version__}")
    add_session_arguments(parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in ADD_COMMANDS:
        add(commands)
    return parser
