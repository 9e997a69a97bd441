"""What the pages of docs/ tell people to type: every command line passes the parser, every Python snippet its names."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import edgedet
from edgedet.commands.main import build_parser

REPO = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPO.glob("docs/*.md"), REPO / "README.md", REPO / "CONTRIBUTING.md"])
FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
INLINE = re.compile(r"(?<!`)`(edgedet [^`]+)`(?!`)")
CONFUSED = ("val",)  # named as what people type, and are told of the right command
REDIRECTIONS = ("<", ">", "2>", "&&", ";", "|")
# Words that stand for something in a command that is spoken of, not typed.
ELLIPSIS = re.compile(r"\.\.\.|…|\[|\||\$|<")


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each block; indented ones have none."""
    text = page.read_text(encoding="utf-8")
    yield from FENCED.findall(text)
    for block in INDENTED.findall(FENCED.sub("", text)):
        yield "", re.sub(r"^    ", "", block, flags=re.MULTILINE)


def typed(page: Path) -> Iterator[list[str]]:
    """Command lines of edgedet in the blocks, joined where they go on after a backslash."""
    for language, block in blocks(page):
        if language not in ("", "bash", "sh", "console"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            line = line.removeprefix("$ ")
            if line.startswith("edgedet ") and not ELLIPSIS.search(line.partition(" #")[0]):
                words = shlex.split(line, comments=True)
                yield words[
                    : next((at for at, word in enumerate(words) if word in ("<", ">", "2>", "&&", ";", "|")), None)
                ]


def named(page: Path) -> Iterator[list[str]]:
    """Commands that the text speaks of."""
    for line in INLINE.findall(page.read_text(encoding="utf-8")):
        if not ELLIPSIS.search(line):
            yield line.split()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_command_lines_of_a_page_parse(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser, refused = build_parser(), []
    for words in typed(page):
        try:
            parser.parse_args(words[1:])
        except SystemExit as stopped:
            if stopped.code != 0:  # --help and --version end well
                refused.append(f"{shlex.join(words)}: {capsys.readouterr().err}")
    assert refused == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_commands_and_options_that_a_page_names_exist(page: Path) -> None:
    for words in named(page):
        help_text, at = edgedet_help(words)
        for word in words[at:]:
            if word.startswith("--"):
                option = word.partition("=")[0].rstrip(",.")
                assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", help_text), (
                    f"{page.name}: {' '.join(words)}"
                )


def edgedet_help(words: list[str]) -> tuple[str, int]:
    """Help of the command that the words begin with, and how many words name it."""
    parser, at = build_parser(), 1
    while True:
        choices: dict[str, Any] = {}
        for action in parser._actions:
            if isinstance(action.choices, dict):
                choices = action.choices
        if at >= len(words) or words[at] not in choices:
            word = words[at] if at < len(words) else "-"
            assert at > 1 or word.startswith("-") or word.isupper() or word in CONFUSED, f"no command: {words}"
            return parser.format_help(), at
        parser, at = choices[words[at]], at + 1


def python_blocks() -> list[tuple[str, int, str]]:
    return [
        (page.name, number, block)
        for page in PAGES
        for number, (language, block) in enumerate(blocks(page), 1)
        if language == "python"
    ]


@pytest.mark.parametrize(("page", "number", "block"), python_blocks(), ids=lambda value: str(value)[:20])
def test_python_of_a_page_compiles_and_its_names_exist(page: str, number: int, block: str) -> None:
    pytest.importorskip("torch")
    tree = ast.parse(block)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgedet"):
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name), f"{page}: {node.module} has no {name.name}"
        if isinstance(node, ast.Call):
            check_call(node, page)


def check_call(node: ast.Call, page: str) -> None:
    """A call of `edgedet.NAME`, or of a method of a model or data set by its usual name, with arguments that it has."""
    called = node.func
    if not isinstance(called, ast.Attribute) or not isinstance(called.value, ast.Name):
        return
    owner: Any = {"edgedet": edgedet, "model": edgedet.Model, "chip": edgedet.Model, "data": edgedet.Dataset}.get(
        called.value.id
    )
    if owner is None:
        return
    assert hasattr(owner, called.attr), f"{page}: {called.value.id}.{called.attr} does not exist"
    known = inspect.signature(getattr(owner, called.attr)).parameters
    for keyword in node.keywords:
        assert keyword.arg is None or keyword.arg in known, f"{page}: {called.attr} has no argument {keyword.arg}"


def test_enough_is_looked_at() -> None:
    """The patterns find what they are for."""
    assert sum(len(list(typed(page))) for page in PAGES) > 80
    assert sum(len(list(named(page))) for page in PAGES) > 100
    assert len(python_blocks()) >= 3
