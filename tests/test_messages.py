"""Errors of the package speak of its arguments; the command line puts its options in their place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedet.commands.main import main

REPO = Path(__file__).resolve().parents[1]
PACKAGE = REPO / "edgedet"
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# A whole command line is meant to be copied into a terminal, up to what ends it in a sentence.
COMMAND_LINE = re.compile(r"\b(?:edgedet|pip install|tensorboard|hailo) [^`;()]*")
# These print the advice of reports and tables, in the words of the command line; what they raise is checked, too.
REPORTS = {
    "data/check/report.py",
    "diagnose/inspect.py",
    "diagnose/waterfall.py",
    "graph/operator_text.py",
    "hardware/remedies.py",
    "lint/rules_int16.py",
    "settings.py",
}


def is_command_line(path: Path) -> bool:
    name = path.relative_to(PACKAGE).as_posix()
    return name.startswith("commands/") or name in ("demo.py", "options.py")


def text_of(node: ast.AST) -> str | None:
    """A string as it stands in the source, `{}` for what an f-string puts in."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def passed_over(node: ast.AST) -> Iterator[ast.AST]:
    """Children that hold no message: docstrings, names of options where they are made, arguments of a compiler."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
        yield from node.args
    if isinstance(node, (ast.Tuple, ast.List)) and any(
        (text_of(item) or "").startswith(("-W", "-std=", "--version")) for item in node.elts
    ):
        yield from node.elts


def flags_in(node: ast.AST, raised: bool, report: bool) -> Iterator[tuple[int, str]]:
    """Line and option of every message below `node` that names one outside a command line."""
    raised = raised or isinstance(node, ast.Raise)
    text = text_of(node)
    if text is not None and (raised or not report):
        yield from ((node.lineno, found) for found in FLAG.findall(COMMAND_LINE.sub("", text)))
    over = list(passed_over(node))
    for child in ast.iter_child_nodes(node):
        if isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant):
            continue  # seen above, as one text
        if child not in over:
            yield from flags_in(child, raised, report)


def test_messages_name_arguments_and_not_options() -> None:
    wrong = [
        f"{path.relative_to(REPO)}:{line}: {flag}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not is_command_line(path)
        for line, flag in flags_in(
            ast.parse(path.read_text(encoding="utf-8")), False, path.relative_to(PACKAGE).as_posix() in REPORTS
        )
    ]
    assert wrong == []  # write `name_of_the_argument` in backticks: edgedet.options.with_flags makes the option of it


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise E("give --out")', ["--out"]),
        ('raise E(f"{x} with --out {y}; or --resume")', ["--out", "--resume"]),
        ('E(f"{a}" " two --out")', ["--out"]),
        ('raise E(f"see `edgedet contract {x} --head y`, or --head")', ["--head"]),
        ('f"edgedet train {x} --data DIR"', []),
        ('def f():\n    """Of --out."""\n    p.add_argument("--out", help="x")', []),
        ('("-Wall", "--specs=x")', []),
    ],
)
def test_flags_in_finds_options_in_messages_only(source: str, found: list[str]) -> None:
    assert [flag for _, flag in flags_in(ast.parse(source), False, False)] == found


def test_main_translates_arguments_into_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv, expected in (
        (["train", "rtmdet_nano_relu", "--out", str(tmp_path), "--set", "lr"], "--set 'lr': expected key=value"),
        (
            [
                "train",
                "rtmdet_nano_relu",
                "--data",
                str(tmp_path),
                "--out",
                str(tmp_path),
                "--imgsz",
                "32",
                "--batch",
                "1",
            ],
            "--imgsz 32 with --batch 1",
        ),
        (["evaluate", "best.pt", "--runtime", "sim", "--data", str(tmp_path)], "runs with --runtime torch"),
        (["data", "synth", "--out", __file__], "choose another --out"),
    ):
        assert main(argv) == 2
        message = capsys.readouterr().err
        assert expected in message
        assert "`" not in message.replace("`edgedet quantize`", "")
