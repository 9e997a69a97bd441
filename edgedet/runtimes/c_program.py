"""The one way from a graph to C: for `deploy`, for the compiled module on this computer, and for emulated chips."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.codegen.decoders import decoder_scratch_bytes
from edgedet.codegen.emit.compute import check_operators
from edgedet.codegen.module_name import UNNAMED, ModuleName
from edgedet.codegen.program import Program, build_program
from edgedet.codegen.render import GoldenVectors, render_c99
from edgedet.codegen.templates import require_jinja2
from edgedet.graph.check import check_graph
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model
from edgedet.graph.prepare.fold_shapes import fold_shapes
from edgedet.simulate.simulator import Simulator


@dataclass(frozen=True, eq=False)
class CProgram:
    """A network that both the simulator and the C kernels can run, planned and ready to become text."""

    program: Program
    simulator: Simulator  # of the same graph
    model: Int8Model | None  # with its contracts; None: no edgedet_run()

    @property
    def output_positions(self) -> tuple[int, ...]:
        """Position among graph.outputs of each output of the generated interface."""
        return _output_positions(self.simulator.graph, self.model)

    def texts(self, model_sha256: str, golden: GoldenVectors | None, name: ModuleName = UNNAMED) -> dict[str, str]:
        """Path -> text of every file; arguments and errors of `render_c99`."""
        return render_c99(self.program, self.model, model_sha256, golden, name)


def make_program(graph: Graph, model: Int8Model | None, ram_bytes: int | None = None, seed: int = 0) -> CProgram:
    """Check a graph, plan its memory and generate its kernel calls.

    Args:
        graph: checked.
        model: the same file with contracts that C follows; None: edgedet_run() is left out.
        ram_bytes: largest arena that is allowed; None: any.
        seed: of the planner's search.
    Returns:
        The program; the same arguments give the same bytes.
    Raises:
        UnsupportedOpError: an operator has no kernel, or none for its options.
        ConfigError: the arena does not fit `ram_bytes`.
        ToolchainError: Jinja2 is missing.
    """
    require_jinja2("c99")
    graph = fold_shapes(graph)
    check_graph(graph, "this model")
    check_operators(graph)
    simulator = Simulator(graph)  # names what it does not support; the generator relies on its checks
    outputs = tuple(graph.outputs[position] for position in _output_positions(graph, model))
    preprocess = None if model is None else model.preprocess
    detect_bytes = 0 if model is None else decoder_scratch_bytes(model)
    return CProgram(build_program(graph, outputs, preprocess, ram_bytes, seed, detect_bytes), simulator, model)


def _output_positions(graph: Graph, model: Int8Model | None) -> tuple[int, ...]:
    return tuple(range(len(graph.outputs))) if model is None else tuple(model.output_positions)
