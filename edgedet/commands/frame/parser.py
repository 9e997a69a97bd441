"""The parser of every command: one line for what is wrong, with what may have been meant, and help for 100 columns."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

from edgedet.errors import nearest
from edgedet.terminal import COLUMNS, visible

# What other tools call it -> the command here.
OTHER_WORDS = {
    "test": "evaluate", "val": "evaluate", "eval": "evaluate", "detect": "predict", "infer": "predict",
    "build": "deploy", "qat": "quantize --method qat", "finetune": "train --from CKPT",
    "benchmark": "evaluate",
}  # fmt: skip
# What other tools call it -> the option here, where a command has it.
OTHER_OPTIONS = {
    "conf": "score-threshold", "score-thr": "score-threshold", "threshold": "score-threshold", "iou": "nms-iou",
    "max-det": "max-detections", "img-size": "imgsz", "img": "imgsz", "size": "imgsz", "batch-size": "batch",
    "weights": "from", "pretrained": "from", "output": "out", "project": "out", "save-dir": "out", "dataset": "data",
    "learning-rate": "lr", "cfg-options": "set", "gpu": "device", "num-workers": "workers", "source": "images",
}  # fmt: skip
# What else people call the values of an option -> what to write here.
OTHER_VALUES = {
    "--target": {
        **{name: f"--project {name}" for name in ("arduino", "esp-idf", "zephyr", "cmake", "make", "cmsis-pack")},
        "esp32": "--project esp-idf", "c": "c99", "tflite": "tflm", "tflite-micro": "tflm", "wasm": "web",
        "browser": "web", "ethos-u55": "ethos-u55-128", "ethos-u65": "ethos-u65-256",
    },
    "--runtime": {
        "tflite": "ref", "litert": "ref", "simulator": "sim", "numpy": "sim", "c": "c99", "pytorch": "torch",
        "qemu": "qemu:cortex-m55", "serial": "serial:PORT",
    },
}  # fmt: skip
# An override as `--set` takes it; what follows `--set` and looks otherwise is the next argument.
_OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Parsers of the commands that do something, in the order of `--help`."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for command in group.choices.values():
            yield from leaves(command)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, at most `COLUMNS`."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(COLUMNS, shutil.get_terminal_size().columns) - 2)


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments; the usage of some commands fills a screen."""

    def error(self, message: str) -> NoReturn:
        """End the program with code 2."""
        message = message.removeprefix("argument ")
        self.exit(fail(f"{message}{_choice(message)}; `{self.prog} --help` shows the options"))

    def parse_known_args(  # type: ignore[override]  # as argparse calls it, for sub-commands too
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse does, after a look for options that this command does not have."""
        argv = list(sys.argv[1:] if args is None else args)
        if self._subparsers is None:  # else they are of a sub-command
            argv = self._bare_json(self._spread_overrides(argv))
            self._refuse_unknown(argv)
        found, rest = super().parse_known_args(argv, namespace)
        if self._subparsers is None and rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def _spread_overrides(self, argv: list[str]) -> list[str]:
        """`--set A=1 B=2 MODEL` as `--set=A=1 --set=B=2 MODEL`: words belong to it while they look like a key."""
        if "--set" not in self._option_string_actions:
            return argv
        spread: list[str] = []
        inside = False
        for word in argv:
            if inside and _OVERRIDE.match(word):
                if spread[-1] == "--set":
                    spread.pop()
                word = f"--set={word}"
            else:
                inside = word == "--set"
            spread.append(word)
        return spread

    def _bare_json(self, argv: list[str]) -> list[str]:
        """`models --json MODEL` as `models --json=- MODEL`: a file that is meant to be read must not be overwritten."""
        action = self._option_string_actions.get("--json")
        if action is None or action.nargs != "?":
            return argv
        words: list[str] = []
        for word in argv:
            if word == "-" and words[-1:] == ["--json=-"]:
                continue
            words.append("--json=-" if word == "--json" else word)
        return words

    def _refuse_unknown(self, argv: Sequence[str]) -> None:
        """Name an unknown option before what is missing because of it: `--agianst` before the absence of --against."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for word in argv:
            if word == "--":
                return
            name = word.partition("=")[0]
            if not name.startswith("--") or " " in name or any(other.startswith(name) for other in known):
                continue
            if name == "--data" and any(action.dest == "data" for action in self._get_positional_actions()):
                self.error(f"{word}: this command takes its data set without --data, as `{self.prog} DIR`")
            self.error(f"unrecognized arguments: {word}{_option(name, known)}")


def fail(message: str) -> int:
    """One line on stderr, whatever a message holds."""
    sys.stderr.write(f"error: {visible(' '.join(message.split()))}\n")
    return 2


def examples_text(examples: Iterable[str]) -> str:
    """Command lines for `--help`; long ones go on in the next line, behind a backslash as a shell takes it."""
    lines = []
    for example in examples:
        wrapped = textwrap.wrap(
            f"edgedet {example}", COLUMNS - 8, break_long_words=False, break_on_hyphens=False, subsequent_indent="    "
        )
        lines += [f"  {line}" for line in " \\\n".join(wrapped).split("\n")]
    return "\n".join(lines)


def _choice(message: str) -> str:
    """Which of argparse's choices a wrong one may have meant."""
    found = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message)
    if found is None:
        return ""
    choices = [choice.strip().strip("'") for choice in found[2].split(",")]
    others = OTHER_WORDS if "evaluate" in choices else OTHER_VALUES.get(message.partition(":")[0], {})
    close = others.get(found[1].lower()) or nearest(found[1], choices)
    return f"; did you mean {close}?" if close else ""


def _option(name: str, known: Sequence[str]) -> str:
    """Which option an unknown one may have meant."""
    other = f"--{OTHER_OPTIONS.get(name.removeprefix('--').replace('_', '-'), '')}"
    dashed = name.replace("_", "-")
    close = other if other in known else dashed if dashed in known else nearest(name, known)
    return f"; did you mean {close}?" if close else ""
