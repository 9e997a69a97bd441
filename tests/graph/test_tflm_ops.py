from __future__ import annotations

import pytest
import tflite

from edgedet.errors import UnsupportedOpError
from edgedet.graph.graph import Graph, Operator
from edgedet.graph.tflm_ops import RESOLVER_METHODS, OperatorUse, operators_used


def graph_of(*kinds: str) -> Graph:
    return Graph((), tuple(Operator(kind, (), ()) for kind in kinds), (), ())


def test_resolver_methods_keys_are_builtin_operators() -> None:
    assert set(RESOLVER_METHODS) <= set(dir(tflite.BuiltinOperator))
    assert len(set(RESOLVER_METHODS.values())) == len(RESOLVER_METHODS)


def test_resolver_methods_name_spells_the_operator() -> None:
    for kind, method in RESOLVER_METHODS.items():
        assert method.removeprefix("Add").lower() == kind.replace("_", "").lower()


def test_operators_used_repeated_kinds_are_counted_once_each() -> None:
    used = operators_used(graph_of("CONV_2D", "ADD", "CONV_2D"), "m.tflite")
    assert used == (OperatorUse("ADD", 1, "AddAdd"), OperatorUse("CONV_2D", 2, "AddConv2D"))


def test_operators_used_unknown_operator_lists_the_supported_ones() -> None:
    with pytest.raises(UnsupportedOpError, match=r"m\.tflite: .*no kernel for TILE;.*CONV_2D"):
        operators_used(graph_of("CONV_2D", "TILE"), "m.tflite")
