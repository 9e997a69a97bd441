"""The table of kinds in docs/reliability.md names tests that are there, and replaces nothing but itself."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def script(repo_dir: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reliability_table", repo_dir / "bench" / "reliability_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_every_test_of_the_table_exists(script: ModuleType, repo_dir: Path) -> None:
    functions: dict[str, set[str]] = {}
    for row in script.ROWS:
        assert row.tests, row.kind
        for test in row.tests:
            name, _, function = test.partition("::")
            if name not in functions:
                body = ast.parse((repo_dir / "tests" / name).read_text(encoding="utf-8")).body
                functions[name] = {node.name for node in body if isinstance(node, ast.FunctionDef)}
            assert function in functions[name], test


def test_every_kind_has_one_row(script: ModuleType) -> None:
    numbers = [row.kind.partition(":")[0] for row in script.ROWS[2:]]
    assert numbers == [str(number) for number in range(1, 18)]


def test_table_says_what_failed_and_replaces_only_itself(script: ModuleType) -> None:
    row = script.Row("1: kind", "inputs", ("a.py::test_a", "a.py::test_b"))
    text = script.table([row], {"a.py::test_a": ["passed", "skipped"], "a.py::test_b": ["failed"]}, 3.0)
    assert "| 1: kind | inputs | 3 | 1 passed, 1 failed, 1 skipped |  |" in text
    document = "# Title\n\nOther section.\n"
    once = script.replaced(document, text)
    assert once.startswith("# Title\n\n")
    assert once.endswith("\nOther section.\n")
    assert script.replaced(once, text) == once
