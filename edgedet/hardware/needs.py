"""What the generated C of a model needs: exact where the generator decides it, measured where the compiler does."""

from __future__ import annotations

from edgedet.codegen.kernel_files import kernel_files
from edgedet.codegen.program import Program
from edgedet.codegen.render import run_functions
from edgedet.graph.model import Int8Model
from edgedet.hardware.measured import CoreCosts, Measured, measured
from edgedet.hardware.placement import Need
from edgedet.resources import resource_dir

CODE, WEIGHTS, ARENA, STACK = "code", "weights", "arena", "stack"
SMALL_BYTES = 1_500  # so much too much is computed for networks of a few operators: the fit is to some hundred calls


def c99_needs(program: Program, model: Int8Model | None, core: str, costs: Measured | None = None) -> tuple[Need, ...]:
    """What the module of `deploy --target c99` needs.

    Args:
        program: planned.
        model: with its contracts; None: without edgedet_run().
        core: name of the processor.
        costs: measurements; None: those that travel with edgedet.
    Returns:
        Arena, weights, code, stack. The code has the largest error that was seen on top; start-up code, C library and
        the rest of a firmware are not in it.
    """
    costs = costs or measured()
    found, note = _costs_of(core, costs)
    size, missing = _code_bytes(program, model, found, costs)
    code = round(size * (1 + found.code_error))
    within = f"within {100 * found.code_error:.1f} % and {SMALL_BYTES:,} bytes"
    basis = f"computed from kernels compiled with GCC -O2{note}, {within}"
    if missing:
        basis += f"; {', '.join(missing)} not measured, counted as the largest kernel"
    return (
        Need(ARENA, program.plan.arena_bytes, "exact: planned"),
        Need(WEIGHTS, program.constants.nbytes, "exact"),
        Need(CODE, code, basis),
        Need(STACK, found.stack_bytes, f"of edgedet_run() and all that it calls, GCC -O2{note}"),
    )


def _costs_of(core: str, costs: Measured) -> tuple[CoreCosts, str]:
    """(measurements, what to say of them): of the processor, or of the one with the most code."""
    found = costs.core(core)
    if found is not None:
        return found, f" for {core}"
    largest = max(costs.cores, key=lambda item: sum(kernel.bytes for kernel in item.kernels))
    return largest, f" for {largest.name}, because nothing was measured on {core}"


def _code_bytes(
    program: Program, model: Int8Model | None, core: CoreCosts, costs: Measured
) -> tuple[float, tuple[str, ...]]:
    """(code and parameters, kernels that were not measured)."""
    calls = [call for calls in program.calls for call in calls]
    functions = {call.kernel for call in calls if call.params_type}
    if model is not None:
        functions |= run_functions(model)
    files = kernel_files(resource_dir("kernels"), sorted(functions))
    names = [path.removeprefix("src/").removesuffix(".c") for path in files if path.endswith(".c")]
    sizes = {name: core.kernel_bytes(name) for name in names}
    largest = max(kernel.bytes for kernel in core.kernels)
    total = float(sum(largest if size is None else size for size in sizes.values()))
    total += core.model_bytes + core.call_bytes * len(calls)
    structs = {(call.params_type, call.params) for call in calls if call.params_type}
    widest = max(struct.bytes for struct in costs.params)
    total += sum(costs.params_bytes(name) or widest for name, _ in structs)
    if model is not None:
        total += core.run_bytes
    return total, tuple(name for name, size in sizes.items() if size is None)
