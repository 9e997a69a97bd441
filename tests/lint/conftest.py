from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import graph_maker
import pytest

from edgedet.graph.graph import Graph
from edgedet.lint.api import lint_subject
from edgedet.lint.finding import Finding, Subject


@pytest.fixture(scope="session")
def maker() -> ModuleType:
    """tests/graph_maker.py."""
    return graph_maker


@pytest.fixture(scope="session")
def codes() -> Callable[..., dict[str, Finding]]:
    """Findings of a graph, by code."""

    def found(graph: Graph, kind: str = "tflite", has_contract: bool = True) -> dict[str, Finding]:
        findings = lint_subject(Subject("it.tflite", kind, graph, has_contract)).findings
        by_code = {finding.code: finding for finding in findings}
        assert len(by_code) == len(findings), "one finding for each code"
        return by_code

    return found
