"""`python -m edgedet.evaluate`: measure an int8 file on a device host, without torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.errors import ConfigError, EdgedetError
from edgedet.evaluate.arguments import add_evaluate_arguments, run_evaluate
from edgedet.fileio import atomic_write_text, require_out_file
from edgedet.options import flags_of, with_flags
from edgedet.runtimes.names import choose_runtime
from edgedet.streams import prepare_streams
from edgedet.threads import limit_blas_threads

if TYPE_CHECKING:
    from edgedet.contracts import NmsChoice
    from edgedet.runtimes.protocol import Runtime


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, evaluate, print.

    Args:
        argv: options without the program's name; None takes the process's.
    Returns:
        Exit code: 0, 2 after an error, 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="python -m edgedet.evaluate",
        description="COCO AP of an int8 .tflite. Needs the base installation, and one interpreter for the "
        "runtimes ref, xnnpack and tflm; never torch.",
    )
    add_evaluate_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report to FILE")
    parser.set_defaults(flags=lambda: flags_of(parser))
    limit_blas_threads()
    prepare_streams()
    args = parser.parse_args(argv)
    try:
        if args.json is not None:
            require_out_file(args.json, "`json`")  # before the model is opened, which may compile C
        report = run_evaluate(args, _open).report
        if args.json is not None:
            atomic_write_text(args.json, report.to_json())
        sys.stdout.write(report.text())
    except (EdgedetError, OSError) as error:
        sys.stderr.write(f"error: {with_flags(str(error), args)}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return 0


def _open(path: Path, runtime: str | None, nms: NmsChoice, send: str | None) -> Runtime:
    name = choose_runtime(path, runtime)
    if name == "torch":
        raise ConfigError(f"{path}: checkpoints need torch; run `edgedet evaluate {path} ...`")
    from edgedet.runtimes.open import open_runtime

    return open_runtime(path, name, nms, send)


if __name__ == "__main__":
    sys.exit(main())
