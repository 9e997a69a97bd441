"""Boards and checks as a person reads them: for a terminal, and as docs/boards.md."""

from __future__ import annotations

from collections.abc import Sequence

from edgedet.hardware.board import ASSUMED, Board, Memory
from edgedet.hardware.check import BoardCheck, CheckReport
from edgedet.hardware.measured import measured
from edgedet.hardware.needs import ARENA, WEIGHTS

_HEAD = ("board", "processor", "MHz", "C path", "flash +external", "RAM +external", "NPU")
_CORES = {
    "cortex-m0plus": "Cortex-M0+", "cortex-m3": "Cortex-M3", "cortex-m4": "Cortex-M4", "cortex-m7": "Cortex-M7",
    "cortex-m33": "Cortex-M33", "cortex-m55": "Cortex-M55", "cortex-m85": "Cortex-M85", "riscv32": "RISC-V 32",
    "xtensa-lx7": "Xtensa LX7", "other": "other",
}  # fmt: skip


def boards_text(boards: Sequence[Board]) -> str:
    """A table; of one board everything that is known. Newline at the end."""
    if len(boards) == 1:
        return _board_text(boards[0])
    return _columns([_HEAD, *(_cells(board) for board in boards)])


def report_text(report: CheckReport) -> str:
    """A table of several boards, all about one. Newline at the end."""
    head = f"model:    {report.model}, input {report.input}, target {report.target}\n"
    if len(report.checks) == 1:
        return head + _check_text(report.checks[0])
    rows = [("board", "fits", "weights in", "arena in", "time of the network")]
    for check in report.checks:
        weights, arena = check.part(WEIGHTS), check.part(ARENA)
        fits = f"yes, {arena.left_bytes:,} left"
        if not check.fits:
            fits = f"no: {', '.join(f'{name} {size:,}' for name, size in check.missing.items())}"
        rows.append((check.board.name, fits, weights.memory.name, arena.memory.name, check.time.short()))
    broken = [check.board.name for check in report.checks if check.broken]
    lines = [head, _columns(rows)]
    if broken:
        lines.append(f"\nThe ready-made firmware for {', '.join(broken)} does not run this file; ")
        lines.append("`edgedet check MODEL --board NAME` says why.\n")
    lines.append("\nleft: of the arena's memory; no: what a memory lacks, bytes. docs/boards.md: what times rest on.\n")
    return "".join(lines)


def _check_text(check: BoardCheck) -> str:
    board = check.board
    lines = [
        f"board:    {board.file.title} ({board.name}), {_processor(board)}",
        f"verdict:  {check.verdict()}",
        "",
        _columns(
            [
                ("part", "bytes", "memory", "it has", "left there"),
                *(
                    (
                        item.need.role,
                        f"{item.need.bytes:,}",
                        item.memory.name + (" (external)" if item.memory.external else ""),
                        f"{item.memory.free_bytes:,}",
                        f"{item.left_bytes:,}" if item.left_bytes >= 0 else f"lacks {-item.left_bytes:,}",
                    )
                    for item in check.placed
                ),
            ],
            right=(1, 3, 4),
        ),
        *(f"{item.need.role + ':':<9} {item.need.basis}" for item in check.placed),
        *(f"taken:    {m.name}: {m.taken_bytes:,} bytes by {m.taken_by}" for m in _used(check) if m.taken_bytes),
        f"time:     {check.time.text()}",
    ]
    if check.idle_npu:
        lines.append(f"NPU:      {check.idle_npu}")
    if board.file.firmware.contract:
        lines.append(f"firmware: {firmware_text(check)}")
    lines += [f"to fit:   {remedy.text}" for remedy in check.remedies]
    if not check.fits and not check.remedies:
        lines.append(
            "to fit:   nothing was found; it is looked for with target c99 alone: less RAM and a smaller input where "
            "RAM lacks, and other networks of edgedet's"
        )
    return "\n".join(lines) + "\n"


def _processor(board: Board) -> str:
    clock = board.core.clock_mhz
    return f"{_CORES[board.core.name]}, {'emulated' if clock is None else f'{clock:g} MHz'}"


def _used(check: BoardCheck) -> list[Memory]:
    return list({item.memory.name: item.memory for item in check.placed}.values())


def firmware_text(check: BoardCheck) -> str:
    """Whether ready-made firmware for the board, where there is any, takes the file."""
    contract = check.board.file.firmware.contract
    if not check.broken:
        return f"{contract}, ready-made firmware for this board, takes this file"
    return (
        f"{contract}, ready-made firmware for this board, does not run this file and says nothing: it wants "
        f"{'; '.join(check.broken)}. `edgedet export MODEL --format sscma` writes a file that it takes, where that is "
        "possible; firmware of your own around the generated sources has no such rules"
    )


def _board_text(board: Board) -> str:
    core, file = board.core, board.file
    lines = [
        f"{board.name}: {file.title}",
        f"chip:     {file.chip}",
        f"core:     {_processor(board)}, path {core.path} of the C kernels",
        f"          {core.source}",
    ]
    for memory in board.memories:
        where = ", external" if memory.external else ""
        lines.append(
            f"{memory.kind + ':':<9} {memory.name}: {memory.bytes:,} bytes{where}, for {', '.join(memory.holds)}"
        )
        lines.append(f"          {memory.source}")
        if memory.taken_bytes:
            lines.append(f"          {memory.taken_bytes:,} bytes are taken: {memory.taken_by}")
            lines.append(f"          {memory.taken_source}")
    if file.npu is not None:
        lines += [
            f"NPU:      {file.npu.name}"
            + (f" (Vela: {file.npu.vela}{file.npu.preset and f', preset {file.npu.preset}'})" if file.npu.vela else ""),
            f"          {file.npu.source}",
        ]
    if file.firmware.contract:
        lines += [f"firmware: {file.firmware.contract}", f"          {file.firmware.source}"]
    return "\n".join(lines) + "\n"


def _cells(board: Board) -> tuple[str, ...]:
    clock = board.core.clock_mhz
    npu = board.file.npu
    return (
        board.name, _CORES[board.core.name], "-" if clock is None else f"{clock:g}", board.core.path,
        _sizes(board, "flash"), _sizes(board, "ram"), npu.vela.removeprefix("ethos-") or npu.name if npu else "-",
    )  # fmt: skip


def _sizes(board: Board, kind: str) -> str:
    """Free KiB inside, and outside behind a plus, there in MiB from 10 on."""
    inside = sum(m.free_bytes for m in board.memories if m.kind == kind and not m.external) >> 10
    outside = sum(m.free_bytes for m in board.memories if m.kind == kind and m.external) >> 10
    more = f"+{outside >> 10}M" if outside >= 10 << 10 else f"+{outside:,}"
    return " ".join(([f"{inside:,}"] if inside else []) + ([more] if outside else [])) or "-"


def _columns(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _assumed(boards: Sequence[Board]) -> list[str]:
    return [
        f"{board.name}, {figure}: {source.removeprefix(ASSUMED)}"
        for board in boards
        for figure, source in board.sources()
        if source.startswith(ASSUMED)
    ]


def markdown(boards: Sequence[Board]) -> str:
    """docs/boards.md, the generated part."""
    lines = ["| " + " | ".join(_HEAD) + " |", "| " + " | ".join("---" for _ in _HEAD) + " |"]
    lines += ["| " + " | ".join(_cells(board)) + " |" for board in boards]
    lines += ["", "Figures without a document, marked in their files:", ""]
    lines += [f"- {text}" for text in _assumed(boards)]
    lines += ["", "What was measured (`bench/board_costs.py`, " + _wrapped_tools() + "):", ""]
    lines += [
        "| processor | code within | instructions within | of other makers' networks | stack, bytes | cycles per "
        "instruction |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for core in measured().cores:
        cycles = core.cycles_per_instruction
        shown = f"{min(cycles):.2f} to {max(cycles):.2f}" if cycles else "not modelled"
        lines.append(
            f"| {_CORES[core.name]} | {100 * core.code_error:.1f} % | {100 * core.instructions_error:.1f} % | "
            f"{100 * core.foreign_error:.1f} % | "
            f"{core.stack_bytes:,} | {shown} |"
        )
    return "\n".join(lines) + "\n"


def _wrapped_tools() -> str:
    return f"commit {measured().commit}; {measured().tools}"
