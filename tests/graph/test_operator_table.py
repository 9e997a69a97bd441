"""The table of operators against the code: readers, simulator, C, and one tiny graph of every kind."""

from __future__ import annotations

import numpy as np
import pytest
import tflite
from operator_graphs import BORDER_GRAPHS, CASES, SCALE, graph_of, random_inputs

from edgedet.codegen.emit import borders as emit_borders
from edgedet.codegen.emit.compute import check_operators, supported_kinds
from edgedet.codegen.program import build_program
from edgedet.errors import UnsupportedOpError
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.operator_table import BORDER, INT8, INT16, ROWS, Trait, kinds_with, known_operators, support
from edgedet.graph.prepare.fold_shapes import FOLDED_KINDS
from edgedet.graph.tflite.op_options import SPECS
from edgedet.simulate import borders, int16, simulator
from edgedet.simulate.simulator import Simulator

SIMULATED = [(row.kind, dtype) for row in ROWS for dtype in row.simulator if dtype in (INT8, INT16)]
GENERATED = [(row.kind, dtype) for row in ROWS for dtype in row.c if dtype in (INT8, INT16)]


def claimed(where: str, dtype: str) -> set[str]:
    return {row.kind for row in ROWS if dtype in getattr(row, where)}


def test_rows_are_operators_of_tflite_each_once() -> None:
    kinds = [row.kind for row in ROWS]
    assert len(set(kinds)) == len(kinds)
    assert all(hasattr(tflite.BuiltinOperator, kind) for kind in kinds)


def test_rows_cover_what_the_reader_reads() -> None:
    assert set(SPECS) == {row.kind for row in ROWS if row.reader}
    assert all(row.reader or row.traits == {Trait.ON_SHAPES} for row in ROWS)


def test_rows_claim_what_is_folded_on_shapes() -> None:
    assert set(kinds_with(Trait.ON_SHAPES)) == set(FOLDED_KINDS)


def test_rows_claim_the_simulator_s_builders() -> None:
    assert claimed("simulator", INT8) == set(simulator._BUILDERS)
    assert claimed("simulator", INT16) == set(int16.BUILDERS)
    assert claimed("simulator", BORDER) == set(borders.BUILDERS)


def test_rows_claim_the_emitters_of_c() -> None:
    assert claimed("c", INT8) | claimed("c", BORDER) == set(supported_kinds())
    assert claimed("c", BORDER) == set(emit_borders.EMITTERS)


def test_c_computes_only_what_the_simulator_proves() -> None:
    for row in ROWS:
        assert set(row.c) <= set(row.simulator), row.kind


def test_every_row_that_runs_has_a_tiny_graph() -> None:
    assert set(CASES) >= {row.kind for row in ROWS if {INT8, INT16} & set(row.simulator)}


@pytest.mark.parametrize(("kind", "dtype"), SIMULATED)
def test_simulator_runs_what_the_table_claims(kind: str, dtype: str) -> None:
    graph = parse_tflite(serialize(graph_of(kind, dtype)), "test")
    outputs = Simulator(graph).invoke(*random_inputs(graph))
    expected = "int32" if CASES[kind].positions else dtype
    assert [(str(o.dtype), o.shape) for o in outputs] == [(expected, shape) for shape in CASES[kind].outputs]


def test_every_row_that_runs_at_borders_has_a_tiny_graph() -> None:
    assert set(BORDER_GRAPHS) == {row.kind for row in ROWS if BORDER in row.simulator}


@pytest.mark.parametrize("kind", BORDER_GRAPHS)
def test_simulator_runs_borders_that_the_table_claims(kind: str) -> None:
    graph = parse_tflite(serialize(BORDER_GRAPHS[kind]), "test")
    assert kind in {operator.kind for operator in graph.operators}
    (output,) = Simulator(graph).invoke(*random_inputs(graph))
    tensor = graph.tensors[graph.outputs[0]]
    assert (str(output.dtype), output.shape) == (tensor.dtype, tensor.shape)
    assert len(np.unique(output)) > 1


@pytest.mark.parametrize("kind", [row.kind for row in ROWS if BORDER in row.c])
def test_c_is_generated_for_borders_that_the_table_claims(kind: str) -> None:
    graph = BORDER_GRAPHS[kind]
    check_operators(graph)
    assert any(build_program(graph, graph.outputs, None).calls)


@pytest.mark.parametrize(("kind", "dtype"), GENERATED)
def test_c_is_generated_for_what_the_table_claims(kind: str, dtype: str) -> None:
    graph = graph_of(kind, dtype)
    check_operators(graph)
    program = build_program(graph, graph.outputs, None)
    assert any(program.calls)


@pytest.mark.parametrize("kind", [row.kind for row in ROWS if row.kind in CASES and INT16 not in row.c])
def test_c_refuses_int16_that_the_table_does_not_claim(kind: str) -> None:
    with pytest.raises(UnsupportedOpError, match=r"there is no C kernel|is int16, and the C kernel of this operator"):
        check_operators(graph_of(kind, INT16))


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(row.kind, d) for row in ROWS if row.kind in CASES for d in (INT8, INT16) if d not in row.simulator],
)
def test_simulator_refuses_what_the_table_does_not_claim(kind: str, dtype: str) -> None:
    with pytest.raises(UnsupportedOpError, match=f"the simulator has no {dtype} {kind};"):
        Simulator(graph_of(kind, dtype))


@pytest.mark.parametrize("kind", [row.kind for row in ROWS if row.kind in CASES and INT8 not in row.c])
def test_c_refuses_what_the_table_does_not_claim(kind: str) -> None:
    with pytest.raises(UnsupportedOpError, match=f"there is no C kernel for {kind};"):
        check_operators(graph_of(kind, INT8))


@pytest.mark.parametrize(("kind", "dtype"), SIMULATED)
def test_copying_operators_are_those_that_refuse_another_output_scale(kind: str, dtype: str) -> None:
    """Trait COPYING; RELU6 and RELU_N1_TO_1 refuse it for another reason, and prescribed scales are not tried."""
    graph = graph_of(kind, dtype, output_scale=SCALE * 1.5)
    if Trait.COPYING in support(kind).traits:
        with pytest.raises(UnsupportedOpError, match="must share one"):
            Simulator(graph)
    elif kind not in ("RELU6", "RELU_N1_TO_1"):
        Simulator(graph)


@pytest.mark.parametrize("kind", kinds_with(Trait.RESHAPING))
def test_reshaping_operators_leave_the_bytes_alone(kind: str) -> None:
    graph = graph_of(kind, INT8)
    (codes,) = random_inputs(graph)
    (out,) = Simulator(graph).invoke(codes)
    assert out.tobytes() == codes.tobytes()


@pytest.mark.parametrize("kind", kinds_with(Trait.UNARY))
def test_unary_operators_become_one_table(kind: str) -> None:
    graph = graph_of(kind, INT8)
    (step,) = build_program(graph, graph.outputs, None).steps
    assert step.kind == "TABLE"


def test_traits_imply_each_other() -> None:
    assert set(kinds_with(Trait.CONVOLUTION)) <= set(kinds_with(Trait.WEIGHTED)) & set(kinds_with(Trait.SLIDING))
    assert set(kinds_with(Trait.RESHAPING)) <= set(kinds_with(Trait.COPYING))
    assert not set(kinds_with(Trait.NO_INT16)) & claimed("simulator", INT16)
    for trait in (Trait.IN_PLACE, Trait.PITCHED):
        assert set(kinds_with(trait)) <= claimed("c", INT8)


def test_known_operators_are_sorted_and_complete() -> None:
    kinds = [row.kind for row in known_operators()]
    assert kinds == sorted(set(kinds))
    assert {row.kind for row in ROWS} < set(kinds)  # TFLite Micro has more


def test_support_of_unknown_kind_is_an_empty_row() -> None:
    row = support("HASHTABLE")
    assert (row.reader, row.simulator, row.c, row.tflm) == (False, (), (), "")


def test_c_kernels_take_int16_wherever_the_simulator_does() -> None:
    assert [row.kind for row in known_operators() if "int16" in row.simulator and "int16" not in row.c] == []
