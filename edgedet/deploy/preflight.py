"""Whether a model fits a board, before anything is written: for `check`, and inside `deploy --board`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from edgedet.codegen.program import Program
from edgedet.deploy.targets.c99 import load_any
from edgedet.deploy.targets.npu_report import NpuReport
from edgedet.deploy.targets.product import Product
from edgedet.errors import ConfigError, naming_file, require_one_of
from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model
from edgedet.hardware.board import Board, all_boards, load_board
from edgedet.hardware.check import BoardCheck, CheckReport, check_needs
from edgedet.hardware.needs import ARENA, CODE, STACK, WEIGHTS, c99_needs
from edgedet.hardware.placement import Need
from edgedet.hardware.remedies import remedies
from edgedet.hardware.speed import Time, works_of
from edgedet.head_spec import HeadSpec
from edgedet.npu.cores import ARM_CONFIG, NPU_TARGETS, NpuOptions, npu_setup
from edgedet.runtimes.c_program import make_program

ALL = "all"
TARGETS = ("c99", "tflm", *NPU_TARGETS)
# TFLite Micro with CMSIS-NN and the nano detector, without the model: docs/chip.md.
_TFLM_CODE_BYTES = 103_880
_TFLM_STACK_BYTES = 4_096
_NO_TIME = "TFLite Micro's instructions follow from its build; nothing here measures them"
_ARENA_BASIS = "measured with TFLite Micro on this computer, and a margin for CMSIS-NN"
_NPU_ARENA_BASIS = "Vela's plan, and an allowance for TFLite Micro's own data"


def boards_of(name: str) -> tuple[Board, ...]:
    """Boards by name: one, one of a file, or `all`."""
    return all_boards() if name == ALL else (load_board(name),)


def check(
    model: Path,
    boards: Sequence[Board],
    *,
    target: str = "c99",
    ram_bytes: int | None = None,
    log: Callable[[str], None] | None = None,
) -> CheckReport:
    """Check a model against boards.

    Args:
        model: int8 `.tflite` of any maker.
        boards: at least one; for a single board, ways to make it fit are looked for.
        target: c99: planned and measured; tflm: the arena as TFLite Micro takes it on this computer, its code and stack
            are assumed; one of NPU_TARGETS: compiled by Vela for each board's clock and memory, of several boards those
            with that NPU.
        ram_bytes: largest arena, as `deploy --ram`.
        log: is told what is tried.
    Returns:
        The report.
    Raises:
        ConfigError: no boards, an unknown target, or an arena above `ram_bytes`.
        ConversionError, UnsupportedOpError, ToolchainError: as `deploy`.
    """
    require_one_of("target", target, TARGETS)
    if not boards:
        raise ConfigError("no board given; `edgedet boards` lists them")
    if target != "c99":
        checks = _check_interpreted(model, boards, target, ram_bytes)
        checks = tuple(with_idle_npu(found, "check", model, target) for found in checks)
        return CheckReport(model.name, target, _input_text(read_tflite(model)), checks)
    loaded, contracts, _ = load_any(model)
    with naming_file(model):
        made = make_program(loaded.graph, contracts, ram_bytes)
    found = []
    for board in boards:
        result = _check_program(board, made.program, contracts, loaded.graph)
        if len(boards) == 1 and not result.fits:
            result = with_remedies(result, loaded.graph, contracts, log)
        found.append(with_idle_npu(result, "check", model, target))
    return CheckReport(model.name, target, _input_text(loaded.graph), tuple(found))


def _check_interpreted(
    model: Path, boards: Sequence[Board], target: str, ram_bytes: int | None
) -> tuple[BoardCheck, ...]:
    """Target tflm, and what Vela makes of the file for each setting of the NPU among the boards."""
    from edgedet.codegen.module_name import UNNAMED
    from edgedet.deploy.targets.ethos_u import deploy_ethos_u
    from edgedet.deploy.targets.tflm import deploy_tflm

    graph = read_tflite(model)
    if target == "tflm":
        product = deploy_tflm(model, ram_bytes, None, 0, UNNAMED)
        return tuple(_check_tflm(board, product, graph) for board in boards)
    fitting = [board for board in boards if board.file.npu is not None and board.file.npu.vela == target]
    if len(boards) == 1:
        _require_npu(boards[0], target)
    elif not fitting:
        has = sorted({board.file.npu.vela for board in boards if board.file.npu is not None and board.file.npu.vela})
        raise ConfigError(f"target {target}: none of {len(boards)} boards has this NPU; they have {', '.join(has)}")
    setups = [npu_setup(target, options_for(board, None)) for board in fitting]
    products = {setup: deploy_ethos_u(model, ram_bytes, None, 0, UNNAMED, setup) for setup in dict.fromkeys(setups)}
    return tuple(_check_tflm(board, products[setup], graph) for board, setup in zip(fitting, setups, strict=True))


def with_remedies(
    check: BoardCheck, graph: Graph, model: Int8Model | None, log: Callable[[str], None] | None = None
) -> BoardCheck:
    """The check, with what would make the model fit as target c99."""
    needs = [item.need for item in check.placed]
    return replace(check, remedies=remedies(check.board, graph, model, needs, log))


def with_idle_npu(check: BoardCheck, command: str, model: Path, target: str) -> BoardCheck:
    """The check, with the board's NPU where the target leaves it idle.

    Args:
        check: of a board.
        command: of edgedet that is to be given again with another target.
        model, target: that it was made with.
    """
    npu = check.board.file.npu
    if npu is None or target in NPU_TARGETS:
        return check
    hint = "Vela does not compile for it"
    if npu.vela:
        hint = (
            f"`edgedet {command} {shlex.quote(str(model))} --board {shlex.quote(check.board.word)} "
            f"--target {npu.vela}` compiles for it, with Vela's estimate"
        )
    return replace(check, idle_npu=f"{npu.name}: not in the time above; {hint}")


def board_of(name: str, target: str) -> Board:
    """The board that a deployment is for.

    Raises:
        ConfigError: no such board, or it lacks the NPU of a target ethos-u...
    """
    board = load_board(name)
    if target in NPU_TARGETS:
        _require_npu(board, target)
    return board


def _require_npu(board: Board, target: str) -> None:
    npu = board.file.npu
    if npu is None or npu.vela != target:
        there = "none" if npu is None else npu.vela or npu.name
        raise ConfigError(
            f"target {target}: {board.file.title} has no such NPU, found {there}; take its target, c99 or tflm"
        )


def board_with(preset: str) -> Board:
    """The board that an NPU's preset belongs to."""
    return next(board for board in all_boards() if board.file.npu is not None and board.file.npu.preset == preset)


def options_for(board: Board | None, options: NpuOptions | None) -> NpuOptions:
    """Options of the NPU on a board: with the board's preset.

    Args:
        board: with the NPU; None: any.
        options: of the user; None: none.
    Returns:
        The options; the same for a board as for its preset.
    Raises:
        ConfigError: the preset is one of another board.
    """
    options = options or NpuOptions()
    if board is None or board.file.npu is None:
        return options
    own = board.file.npu.preset
    if options.preset is not None and options.preset != own:
        raise ConfigError(
            f"preset {options.preset} is not one of {board.file.title}, whose file names {own or 'none'} (`npu.preset` "
            "there); leave preset or board out"
        )
    return replace(options, preset=own or None)


def require_fit(board: Board, product: Product, target: str, model: Path) -> BoardCheck:
    """Check a deployment in memory.

    Args:
        board: it is for.
        product: made, not written.
        target, model: that it was made with.
    Raises:
        ConfigError: it does not fit.
    """
    found = with_idle_npu(_check_product(board, product, model), "deploy", model, target)
    if not found.fits:
        raise ConfigError(
            f"{model} on {board.name}: {found.verdict()}; `edgedet check {shlex.quote(str(model))} --board "
            f"{shlex.quote(board.word)} --target {target}` looks for what would make it fit. Nothing was written"
        )
    return found


def _check_product(board: Board, product: Product, model: Path) -> BoardCheck:
    if product.program is None:
        return _check_tflm(board, product, read_tflite(model))
    return _check_program(board, product.program, product.model, load_any(model)[0].graph)


def _check_program(board: Board, program: Program, model: Int8Model | None, graph: Graph) -> BoardCheck:
    """Generated C; `graph`: as the file holds it."""
    needs = c99_needs(program, model, board.core.name)
    return check_needs(board, needs, works_of(program), graph, _is_foreign(model))


def _is_foreign(model: Int8Model | None) -> bool:
    """Whether a network is built otherwise than those that the costs were fitted to."""
    return model is None or model.outputs.head != HeadSpec()


def _check_tflm(board: Board, product: Product, graph: Graph) -> BoardCheck:
    code = f"assumed: {_TFLM_CODE_BYTES:,} bytes, what TFLite Micro with CMSIS-NN took with one network (docs/chip.md)"
    needs = (
        Need(ARENA, product.arena_bytes, _ARENA_BASIS if product.npu is None else _NPU_ARENA_BASIS),
        Need(WEIGHTS, product.model_bytes, "exact: the model"),
        Need(CODE, _TFLM_CODE_BYTES, code),
        Need(STACK, _TFLM_STACK_BYTES, "assumed: nothing was measured"),
    )
    return check_needs(board, needs, _NO_TIME if product.npu is None else _npu_time(product.npu), graph)


def _npu_time(npu: NpuReport) -> Time:
    """Vela's estimate of a network; its operators on the processor are in no estimate."""
    figures, setup = npu.figures, npu.setup
    basis = f"Vela's estimate for {setup.target} at {figures.clock_hz / 1e6:g} MHz, never compared with a chip"
    if setup.config == ARM_CONFIG:
        basis += f"; clock and memory are those of {setup.system_config}, not known for this board"
    if npu.on_cpu:
        basis += f"; without {len(npu.on_cpu)} operators that stay on the processor"
    return Time(
        None, 0.0, (figures.cycles, figures.cycles), (figures.milliseconds, figures.milliseconds), basis
    )  # fmt: skip


def _input_text(graph: Graph) -> str:
    shapes = ("x".join(map(str, graph.tensors[index].shape)) for index in graph.inputs)
    return ", ".join(shapes)
