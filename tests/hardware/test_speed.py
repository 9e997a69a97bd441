"""Estimated instructions, against counts that the fit has not seen."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedet.codegen.program import Program
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.model import Int8Model, int8_model
from edgedet.hardware.board import Board, BoardFile, Core, Memory
from edgedet.hardware.measured import measured
from edgedet.hardware.speed import Work, estimate, instructions_of, works_of
from edgedet.quantize.skeleton import skeleton_graph
from edgedet.runtimes.c_program import make_program


def network(name: str, side: int) -> tuple[Int8Model, Program]:
    file = load_model_file(name)
    graph = skeleton_graph(file.model, file.preprocess.spec((side, side)), OutputSpec(("a", "b", "c")))
    model = int8_model(graph, Path(name), serialize(graph))
    return model, make_program(graph, model).program


def on(core: str, clock_mhz: float | None) -> Board:
    memories = (
        Memory("flash", "flash", 1 << 24, ("code", "weights")),
        Memory("ram", "ram", 1 << 20, ("arena", "stack")),
    )
    return Board("b", BoardFile("B", "chip", Core(core, "", clock_mhz), memories))


@pytest.mark.toolchain
@pytest.mark.parametrize("core", ["cortex-m4", pytest.param("cortex-m55", marks=pytest.mark.long)])
def test_instructions_of_a_size_that_was_not_measured_are_within_the_error(core: str) -> None:
    from edgedet.runtimes.generated_c import QemuModule

    model, program = network("rtmdet_pico_relu6", 128)
    module = QemuModule(model.data, model.graph, core)
    rng = np.random.default_rng(0)
    (source,) = model.graph.inputs
    module(rng.integers(-128, 128, model.graph.tensors[source].shape).astype(np.int8))
    counted = sum(cost.instructions for cost in module.costs())
    time = estimate(works_of(program), on(core, 100.0))
    assert time.instructions is not None
    assert abs(time.instructions / counted - 1) <= time.error


def test_instructions_of_trained_networks_are_within_the_error(repo_dir: Path) -> None:
    """docs/chip.md holds counts of trained networks, made by another script."""
    page = (repo_dir / "docs" / "chip.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (rtmdet_\w+)_(192) \| (cortex-\S+) \| ([\d.]+) \|", page, re.MULTILINE)
    assert len(rows) == 8
    works = {name: works_of(network(name, 192)[1]) for name in ("rtmdet_pico_relu6",)}
    seen = 0
    for name, _, core, millions in rows:
        costs = measured().core(core)
        if name in works and costs is not None:
            found, unknown = instructions_of(works[name], costs)
            assert not unknown
            assert abs(found / (float(millions) * 1e6) - 1) <= costs.instructions_error
            seen += 1
    assert seen == 2


def test_estimate_adds_up_by_hand() -> None:
    core = measured().core("cortex-m4")
    assert core is not None
    step = replace(core.steps[0], name="ADD", per_mac=2.0, per_output=3.0, per_call=10.0)
    costs = replace(
        measured(), cores=(replace(core, steps=(step,), instructions_error=0.5, cycles_per_instruction=(2.0, 1.0)),)
    )
    time = estimate([Work("ADD", "ADD", 100, 20), Work("ADD", "ADD", 0, 10)], on("cortex-m4", 1.0), costs=costs)
    assert time.instructions == 2 * 100 + 3 * 30 + 2 * 10
    assert time.cycles == (310 * 0.5 * 1.0, 310 * 1.5 * 2.0)
    assert time.milliseconds == (0.155, 0.93)


def test_estimate_without_a_basis_gives_no_numbers() -> None:
    works = [Work("SOMETHING", "SOMETHING", 1, 1)]
    assert estimate(works, on("cortex-m4", 64.0)).text() == (
        "no estimate: no step like SOMETHING was measured on cortex-m4"
    )
    conv = [Work("CONV_2D 3x3 stride 1", "CONV_2D", 1000, 10)]
    assert estimate(conv, on("cortex-m85", 480.0)).instructions is None
    emulated = estimate(conv, on("cortex-m4", None))
    assert emulated.instructions is not None
    assert emulated.milliseconds is None
    assert "external: it will take longer" in estimate(conv, on("cortex-m4", 64.0), ["qspi"]).text()


def test_step_class_that_was_not_measured_counts_as_its_kind_in_small_parts() -> None:
    core = measured().core("cortex-m4")
    assert core is not None
    assert core.step("CONV_2D 9x9 stride 1") is None
    cost = core.step("CONV_2D")
    assert cost is not None
    odd, rest = Work("CONV_2D 9x9 stride 1", "CONV_2D", 1000, 10), Work("CONV_2D 3x3 stride 1", "CONV_2D", 19_000, 10)
    found, unknown = instructions_of([odd, rest], core)
    assert unknown == ()
    alone = cost.per_mac * 1000 + cost.per_output * 10 + cost.per_call
    assert found == pytest.approx(alone + instructions_of([rest], core)[0], rel=1e-12)  # sums in another order
    # Where it is most of the network, an average of other filters says nothing.
    assert instructions_of([odd], core)[1] == ("CONV_2D 9x9 stride 1",)
