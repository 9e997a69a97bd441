"""A model as a C program: steps, plan, constants and kernel calls, before any text of a file."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.codegen.c_source import C_TYPES
from edgedet.codegen.emit.compute import SHARING, calls_of, scratch_bytes
from edgedet.codegen.memory.patch_search import PatchReport, plan_within
from edgedet.codegen.memory.plan import Plan
from edgedet.codegen.step_context import Call, Constants, StepContext
from edgedet.codegen.steps import Step, lower
from edgedet.contracts import PreprocessSpec
from edgedet.data.pictures.preprocess import fitted_size
from edgedet.errors import UnsupportedOpError
from edgedet.graph.graph import Graph, NoOptions

PREPROCESS, DETECT = "PREPROCESS", "DETECT"  # kinds of the steps of edgedet_run() around the network
CAMERA_WIDTH, CAMERA_HEIGHT = 640, 480  # px; a frame of this size always fits the scratch of edgedet_run()


@dataclass(frozen=True, eq=False)
class Program:
    """Everything that the files are rendered from."""

    graph: Graph  # with the tensors of the patches behind those of the file
    steps: tuple[Step, ...]
    plan: Plan
    constants: Constants
    calls: tuple[tuple[Call, ...], ...]  # per step
    outputs: tuple[int, ...]  # tensor indices, in the order of edgedet_output_at()
    preprocess_scratch: tuple[int, int]  # (offset, bytes) in the arena; (0, 0) without contracts
    detect_scratch: tuple[int, int]
    patches: PatchReport | None  # the first steps run patch by patch


def build_program(
    graph: Graph,
    outputs: tuple[int, ...],
    preprocess: PreprocessSpec | None,
    ram_bytes: int | None = None,
    seed: int = 0,
    detect_bytes: int = 0,
) -> Program:
    """Lower, plan and generate the calls.

    Args:
        graph: checked, and accepted by `check_operators` and the `Simulator`.
        outputs: tensor indices in the order of the generated interface.
        preprocess: input contract; None: the program has no edgedet_run().
        ram_bytes: largest arena that is allowed; where the plan is larger, the first steps run patch by patch. None:
            any.
        seed: of the planner's search.
        detect_bytes: scratch of the kernel that decodes the outputs, where there is an input contract.
    Returns:
        The program.
    Raises:
        UnsupportedOpError: an operator has no kernel for its options, or an input or output has a type without C.
        ConfigError: not even with patches does the arena fit `ram_bytes`.
    """
    _check_ends(graph)

    def around(steps: tuple[Step, ...]) -> tuple[Step, ...]:
        if preprocess is None:
            return steps
        before = Step((), PREPROCESS, (), graph.inputs, NoOptions())
        return (before, *steps, Step((), DETECT, graph.outputs, (), NoOptions()))

    def scratch(whole: Graph, step: Step) -> int:
        if step.kind == PREPROCESS:
            assert preprocess is not None
            return preprocess_scratch_bytes(preprocess, CAMERA_WIDTH, CAMERA_HEIGHT)
        return detect_bytes if step.kind == DETECT else scratch_bytes(whole, step)

    graph, steps, plan, patches = plan_within(ram_bytes, graph, lower(graph), around, scratch, SHARING, seed)
    constants = Constants()
    calls = []
    for number, step in enumerate(steps):
        coded = step.operators and number not in plan.elided
        calls.append(tuple(calls_of(StepContext(graph, step, plan, constants))) if coded else ())
    last = len(steps) - 1
    return Program(
        graph=graph,
        steps=steps,
        plan=plan,
        constants=constants,
        calls=tuple(calls),
        outputs=outputs,
        preprocess_scratch=_free_block(plan, 0) if preprocess is not None else (0, 0),
        detect_scratch=_free_block(plan, last) if preprocess is not None else (0, 0),
        patches=patches,
    )


def preprocess_scratch_bytes(spec: PreprocessSpec, image_width: int, image_height: int) -> int:
    """`edk_preprocess_scratch_bytes()` for a frame, or `edk_preprocess_gray_scratch_bytes()` of a grey network.

    Args:
        spec: input contract.
        image_width: px.
        image_height: px.
    """
    placement = fitted_size(image_width, image_height, spec)
    new_width, new_height = placement.new_width, placement.new_height

    def taps(n_in: int, n_out: int) -> int:
        return min(-(-2 * max(n_in, n_out) // n_out), n_in)

    coefficients = new_width * (taps(image_width, new_width) + 1) + taps(image_height, new_height)
    return 2 * coefficients + spec.channels * image_width


def _check_ends(graph: Graph) -> None:
    made = {index for operator in graph.operators for index in operator.outputs}
    for role, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for index in indices:
            tensor = graph.tensors[index]
            if tensor.dtype not in C_TYPES:
                raise UnsupportedOpError(
                    f"model {role} {tensor.name!r} is {tensor.dtype}; C is generated for inputs and outputs of "
                    f"{', '.join(C_TYPES)}. Convert the model with int8 inference input and output types"
                )
            if role == "output" and index not in made:
                raise UnsupportedOpError(f"model output {tensor.name!r} is a constant or an input, not computed")


def _free_block(plan: Plan, step: int) -> tuple[int, int]:
    """(offset, bytes) of the largest block that no tensor takes at a step."""
    taken = sorted(
        (buffer.offset, buffer.end)
        for buffer in plan.buffers
        if buffer.first <= step <= buffer.last and buffer.kind != "scratch"
    )
    best, position = (0, 0), 0
    for start, end in [*taken, (plan.arena_bytes, plan.arena_bytes)]:
        begin = -(-position // 16) * 16
        if start - begin > best[1]:
            best = (begin, start - begin)
        position = max(position, end)
    return best
