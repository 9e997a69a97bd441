"""report.html of a deployment: does it fit, what lies in the arena, which operators, what was made of what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgedet.page.blocks import Page, Section, Table, number, words
from edgedet.page.render import render

if TYPE_CHECKING:
    from edgedet.deploy.api import DeployReport

_PLAN = "plan.svg"


def deploy_page(report: DeployReport, manifest: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """The page, without times and paths of the machine: the same deployment gives the same bytes.

    Args:
        report: what is told in the terminal.
        manifest: of the folder.
        texts: path inside the folder -> text, among them the drawing of the arena, where there is one.
    Returns:
        HTML that needs nothing else.
    """
    name = str(manifest["model"]["name"])
    facts = (
        ("target", report.target),
        ("constants in flash, bytes", f"{report.constant_bytes:,}"),
        ("arena, bytes", f"{report.arena_bytes:,}"),
        ("operators", str(sum(use.count for use in report.operators))),
    )
    parts = [_arena(report, texts), _operators(report), _files(manifest), _origin(report, manifest)]
    return render(Page(f"{name} for {report.target}", _verdict(report), facts, tuple(parts), report.notes))


def _verdict(report: DeployReport) -> str:
    if report.board is not None:
        return f"{report.board.board.file.title}: {report.board.verdict()}."
    proof = "the self-test compares every output byte with the golden ones; it has not run on a chip yet"
    if report.unchecked:
        return f"Written; {proof}. The golden outputs are TFLite Micro's alone: {report.unchecked}."
    return f"Written; {proof}."


def _arena(report: DeployReport, texts: Mapping[str, str]) -> Section:
    """RAM: the planned arena drawn, or how it was measured."""
    sentences = [line.strip() for line in report.memory_lines()]
    drawing = tuple(text for path, text in texts.items() if path.rpartition("/")[2].endswith(_PLAN))[:1]
    if drawing:
        sentences.append("Each box is a tensor: from left to right the steps during which it lives, upwards its bytes.")
    return Section("Memory", tuple(sentences), charts=drawing)


def _operators(report: DeployReport) -> Section:
    rows = tuple((words(use.kind), number(use.count, 0)) for use in report.operators)
    texts = () if report.npu is None else tuple(line.strip() for line in report.npu.lines())
    return Section("Operators", texts, tables=(Table(("operator", "how many"), rows),))


def _files(manifest: Mapping[str, Any]) -> Section:
    rows = tuple(
        (words(path), number(entry["bytes"], 0), words(entry["sha256"][:16]))
        for path, entry in manifest["files"].items()
    )
    return Section("Files", tables=(Table(("file", "bytes", "SHA-256, beginning"), rows),))


def _origin(report: DeployReport, manifest: Mapping[str, Any]) -> Section:
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    rows = (
        ("model", f"{manifest['model']['name']}, {report.model_bytes:,} bytes"),
        ("SHA-256", manifest["model"]["sha256"]),
        ("golden vectors", report.golden_source),
        ("decoder", report.decoder or "none: the file carries no contracts"),
        ("project", report.project or "none: the module alone"),
        ("versions", versions),
    )
    return Section("What was made of what", tables=(Table(("", ""), tuple((words(a), words(b)) for a, b in rows)),))
