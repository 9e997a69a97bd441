from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from edgedet.convert.graph import Graph
from edgedet.lint.api import lint_subject
from edgedet.lint.finding import Finding, Subject


@pytest.fixture(scope="session")
def maker() -> ModuleType:
    """tests/graph_maker.py; tests have no package."""
    path = Path(__file__).parents[1] / "graph_maker.py"
    spec = importlib.util.spec_from_file_location("graph_maker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def codes() -> Callable[..., dict[str, Finding]]:
    """Findings of a graph, by code."""

    def found(graph: Graph, kind: str = "tflite", has_contract: bool = True) -> dict[str, Finding]:
        findings = lint_subject(Subject("it.tflite", kind, graph, has_contract)).findings
        by_code = {finding.code: finding for finding in findings}
        assert len(by_code) == len(findings), "one finding for each code"
        return by_code

    return found
