"""report.html of a deployment: does it fit, what lies in the arena, which operators, what was made of what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgedet.codegen.memory.picture import plan_picture
from edgedet.hardware.text import firmware_text
from edgedet.page.blocks import Page, Section, Table, number, words
from edgedet.page.render import render

if TYPE_CHECKING:
    from edgedet.deploy.api import DeployReport

_DRAWN = "Each box is a tensor: from left to right the steps during which it lives, upwards its bytes."
# Of the manifest -> part of an arena of TFLite Micro.
_PARTS = {
    "head_bytes": "activations",
    "tail_bytes": "TFLite Micro's own",
    "margin_bytes": "margin for scratch",
    "total_bytes": "arena",
}
_SIMD = {"simd": "with SIMD", "plain": "without"}
_IN_MEMORY = ("memory",)  # what is said of an NPU that belongs there


def deploy_page(report: DeployReport, manifest: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """The page, without times and paths of the machine: the same deployment gives the same bytes.

    Args:
        report: what is told in the terminal.
        manifest: of the folder.
        texts: path inside the folder -> text.
    Returns:
        HTML that needs nothing else.
    """
    name, npu = str(manifest["model"]["name"]), report.npu
    flash = "constants, bytes" if report.in_browser else "constants in flash, bytes"
    operators = ("operators", str(sum(use.count for use in report.operators)))
    if npu is not None:
        operators = ("operators on the NPU", f"{npu.on_npu} of {npu.on_npu + len(npu.on_cpu)}")
    facts = (
        ("target", report.target),
        (flash, f"{report.constant_bytes:,}"),
        ("arena, bytes", f"{report.arena_bytes:,}"),
        operators,
    )
    board = () if report.board is None else (_board(report),)
    parts = (*board, _memory(report, manifest), _operators(report), _files(manifest), _origin(report, manifest, texts))
    following = Section("What comes next", (f"{_from_here(report.next_text('.'))}.",))
    return render(Page(f"{name} for {report.target}", _verdict(report), facts, (*parts, following), about=""))


def _from_here(text: str) -> str:
    """What is to be done, of somebody who is in the folder."""
    subject = ". goes "
    return f"This folder goes {text.removeprefix(subject)}" if text.startswith(subject) else f"In this folder: {text}"


def _verdict(report: DeployReport) -> str:
    if report.board is not None:
        return f"{report.board.board.file.title}: {report.board.verdict()}."
    proof = "the self-test compares every output byte with the golden ones; it has not run on a chip yet"
    if report.in_browser:
        proof = "its self-test compares every output byte with the golden ones when the page opens"
        return f"Compiled to one page for browsers; {proof}."
    if report.unchecked:
        return f"Written; {proof}. The golden outputs are TFLite Micro's alone: {report.unchecked}."
    return f"Written; {proof}."


def _board(report: DeployReport) -> Section:
    """What lies in which memory of the board, and how long a picture takes there."""
    assert report.board is not None
    rows = tuple(
        (words(item.need.role), number(item.need.bytes, 0), words(item.memory.name), number(item.memory.free_bytes, 0),
         number(item.left_bytes, 0), words(item.need.basis))
        for item in report.board.placed
    )  # fmt: skip
    head = ("part", "bytes", "memory", "it has, bytes", "left there, bytes", "by")
    texts = [f"Time: {report.board.time.text()}."]
    if report.board.board.file.firmware.contract:
        texts.append(f"Firmware: {firmware_text(report.board)}.")
    return Section("Board", tuple(texts), tables=(Table(head, rows),))


def _memory(report: DeployReport, manifest: Mapping[str, Any]) -> Section:
    """RAM: the planned arena drawn, or of what it consists and how it was measured."""
    if report.plan is not None:
        sentences = tuple(f"{label}: {text}".capitalize() for label, text in _labelled(report.memory_lines()))
        return Section("Memory", (*sentences, _DRAWN), charts=(plan_picture(report.plan, "arena"),))
    arena = manifest["arena"]
    rows = tuple((words(part), number(arena[key], 0)) for key, part in _PARTS.items() if key in arena)
    said = [] if report.npu is None else [text for label, text in _labelled(report.npu.lines()) if label in _IN_MEMORY]
    by, estimated = arena.get("measured_with", ""), "nothing: "
    how = f"not measured: {by.removeprefix(estimated)}" if by.startswith(estimated) else f"measured with the {by}"
    measured = (f"The arena was {how}.",) if by else ()
    return Section(
        "Memory", (*measured, *(f"By Vela: {text}." for text in said)), tables=(Table(("part", "bytes"), rows),)
    )


def _operators(report: DeployReport) -> Section:
    rows = tuple((words(use.kind), number(use.count, 0)) for use in report.operators)
    tables = [Table(("operator", "how many"), rows)]
    if report.npu is not None:
        said = [pair for pair in _labelled(report.npu.lines()) if pair[0] not in _IN_MEMORY]
        tables.insert(0, Table((), tuple((words(label), words(text)) for label, text in said)))
    return Section("Operators", tables=tuple(tables))


def _labelled(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Label and text of `label:  text`; lines that begin with blanks belong to the one before."""
    found = list[tuple[str, str]]()
    for line in lines:
        label, _, text = line.partition(":")
        if line.startswith(" "):
            found[-1] = (found[-1][0], f"{found[-1][1]}; {line.strip()}")
        else:
            found.append((label, text.strip()))
    return found


def _files(manifest: Mapping[str, Any]) -> Section:
    rows = tuple(
        (words(path), number(entry["bytes"], 0), words(entry["sha256"][:16]))
        for path, entry in manifest["files"].items()
    )
    return Section("Files", tables=(Table(("file", "bytes", "SHA-256, beginning"), rows),))


def _origin(report: DeployReport, manifest: Mapping[str, Any], texts: Mapping[str, str]) -> Section:
    source = report.model_bytes if report.npu is None else report.npu.source_bytes
    rows = [("model", f"{manifest['model']['name']}, {source:,} bytes"), ("its SHA-256", manifest["model"]["sha256"])]
    if report.npu is not None:
        rows.append(("compiled by Vela", f"{report.model_bytes:,} bytes, SHA-256 {manifest['model_data']['sha256']}"))
    if "compiler" in manifest:
        made = manifest["compiler"]
        sizes = ", ".join(f"{_SIMD.get(n, n)} {entry['bytes']:,} bytes" for n, entry in made["modules"].items())
        rows.append(("compiler", f"{made['version']}, WebAssembly: {sizes}"))
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    rows += [
        ("golden vectors", _golden(report, manifest)),
        ("decoder", _decoder(report, texts)),
        ("project", report.project or "none: the module alone"),
        ("versions", versions),
    ]
    told = (*(f"Changed: {note}." for note in report.notes), *(f"Kept: {line}." for line in report.kept))
    return Section("What was made of what", told, tables=(Table((), tuple((words(a), words(b)) for a, b in rows)),))


def _golden(report: DeployReport, manifest: Mapping[str, Any]) -> str:
    golden = manifest["golden"]
    checked = golden.get("checked") or (f"outputs of the {golden['from']}" if "from" in golden else "")
    return f"{report.golden_source}; {checked}" if checked else report.golden_source


def _decoder(report: DeployReport, texts: Mapping[str, str]) -> str:
    """What makes detections of the outputs on the chip."""
    if report.decoder:
        return report.decoder
    if not report.has_contract:
        return "none: the file carries no contracts"
    written = [path for path in texts if path.rpartition("/")[2].endswith("detect.c")]
    return f"{written[0]}, the same detections as in Python" if written else "none in C: contract.h has what is needed"
