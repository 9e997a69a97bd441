from __future__ import annotations

from pathlib import Path

import pytest
import tflite

from edgedet.errors import UnsupportedOpError
from edgedet.graph.graph import Graph, NoOptions, Operator, Tensor
from edgedet.graph.tflm_ops import RESOLVER_METHODS, OperatorUse, operators_used


def graph_of(*kinds: str) -> Graph:
    return Graph((), tuple(Operator(kind, (), ()) for kind in kinds), (), ())


def test_resolver_methods_keys_are_builtin_operators() -> None:
    builtin = {kind for kind in RESOLVER_METHODS if not kind.startswith("CUSTOM (")}
    assert builtin <= set(dir(tflite.BuiltinOperator)) - {"CUSTOM"}
    assert len(builtin) == 100
    assert len(RESOLVER_METHODS) == 118
    assert list(RESOLVER_METHODS) == sorted(RESOLVER_METHODS)
    assert len(set(RESOLVER_METHODS.values())) == len(RESOLVER_METHODS)


def test_resolver_methods_name_spells_the_operator() -> None:
    for kind, method in RESOLVER_METHODS.items():
        name = kind.removeprefix("CUSTOM (").removesuffix(")").replace("_", "").replace("-", "").lower()
        assert method.removeprefix("Add").lower() == name.removeprefix("signal").removeprefix("tflite").removeprefix(
            "tflm"
        )


def kinds_in(path: Path) -> set[str]:
    """Operators of a file, read without edgedet."""
    model = tflite.Model.GetRootAs(path.read_bytes(), 0)
    names = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
    kinds = set()
    for code in (model.OperatorCodes(i) for i in range(model.OperatorCodesLength())):
        kind = names[max(code.DeprecatedBuiltinCode(), code.BuiltinCode())]
        kinds.add(f"CUSTOM ({code.CustomCode().decode()})" if kind == "CUSTOM" else kind)
    return kinds


def test_resolver_methods_cover_the_operators_of_other_makers_files(shared_dir: Path) -> None:
    found: set[str] = set()
    for path in sorted((shared_dir / "data" / "tflite").glob("*.tflite")):
        assert kinds_in(path) <= set(RESOLVER_METHODS), path.name
        found |= kinds_in(path)
    assert {"SVDF", "CUSTOM (ethos-u)"} <= found


def test_operators_used_repeated_kinds_are_counted_once_each() -> None:
    used = operators_used(graph_of("CONV_2D", "ADD", "CONV_2D"), "m.tflite")
    assert [(use.kind, use.count, use.method) for use in used] == [("ADD", 1, "AddAdd"), ("CONV_2D", 2, "AddConv2D")]


@pytest.mark.parametrize(("dtype", "registration"), [("int8", "Register_ADD_INT8"), ("int16", "")])
def test_operators_used_int8_kernels_only_where_all_operators_are_int8(dtype: str, registration: str) -> None:
    tensors = tuple(Tensor(name, (1, 4), kind) for name, kind in (("a", "int8"), ("b", dtype), ("c", dtype)))
    adds = (Operator("ADD", (0, 0), (0,), NoOptions()), Operator("ADD", (1, 1), (2,), NoOptions()))
    (used,) = operators_used(Graph(tensors, adds, (0, 1), (2,)), "m.tflite")
    assert used == OperatorUse("ADD", 2, "AddAdd", registration)


def test_operator_use_custom_has_its_own_name() -> None:
    assert (OperatorUse("CUSTOM (ethos-u)", 1, "AddEthosU").custom, OperatorUse("ADD", 1, "").custom) == ("ethos-u", "")


def test_operators_used_unknown_operator_lists_the_supported_ones() -> None:
    with pytest.raises(UnsupportedOpError, match=r"m\.tflite: .*no kernel for TILE;.*CONV_2D"):
        operators_used(graph_of("CONV_2D", "TILE"), "m.tflite")
