"""Lint a file: read it in the way of its kind, apply every rule, sort what they find."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgedet.errors import ConfigError, ConversionError
from edgedet.fileio import read_bytes
from edgedet.graph.check import refuse_compiled
from edgedet.graph.flatbuffer import parse_tflite
from edgedet.graph.metadata import METADATA_NAME
from edgedet.graph.tflite.flatbuffer_read import outside_bytes
from edgedet.lint.finding import SEVERITIES, Finding, LintReport, Rule, Subject
from edgedet.lint.rules_file import FILE_RULES
from edgedet.lint.rules_int16 import INT16_RULES
from edgedet.lint.rules_operators import OPERATOR_RULES
from edgedet.lint.rules_outputs import OUTPUT_RULES
from edgedet.lint.rules_scales import SCALE_RULES
from edgedet.npu.cores import NpuOptions, npu_setup

RULES: tuple[Rule, ...] = (*FILE_RULES, *SCALE_RULES, *OUTPUT_RULES, *OPERATOR_RULES, *INT16_RULES)
CHECKPOINT_SUFFIXES = (".pt", ".pth")


def lint(path: Path, target: str | None = None, npu: NpuOptions | None = None) -> LintReport:
    """Look for what will hurt on the chip.

    Args:
        path: `.tflite` of any maker, checkpoint of edgedet (`.pt`, needs torch), or `.onnx` (needs onnx).
        target: an NPU (`edgedet.npu.cores.NPU_TARGETS`), for an int8 `.tflite`: the file and variants of it are
            compiled to see what costs cycles there, which takes some seconds. None: no NPU.
        npu: memory around it.
    Returns:
        The findings, errors first.
    Raises:
        ConfigError: another kind of file, or options of an NPU without one.
        EdgedetError: the file can't be read, or Vela is missing or refuses it.
    """
    subject = read_subject(path)
    if target is None:
        if npu is not None:
            raise ConfigError("options of an NPU without `target`; name one, for example ethos-u55-64")
        return lint_subject(subject)
    from edgedet.lint.rules_npu import npu_findings, require_int8

    setup = npu_setup(target, npu or NpuOptions())
    require_int8(subject)
    refuse_compiled(subject.graph, str(path))
    found = (*lint_subject(subject).findings, *npu_findings(subject, path.read_bytes(), setup))
    return LintReport(subject.source, subject.format, _worst_first(found))


def lint_subject(subject: Subject) -> LintReport:
    """Apply every rule.

    Args:
        subject: what to look at.
    """
    findings = [finding for rule in RULES for finding in rule(subject)]
    return LintReport(subject.source, subject.format, _worst_first(findings))


def _worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def read_subject(path: Path) -> Subject:
    """Read a file; as `lint`.

    Args:
        path: the file; its suffix decides.
    """
    match path.suffix.lower():
        case ".tflite":
            return _tflite_subject(path)
        case ".onnx":
            from edgedet.exchange.onnx_read import onnx_graph

            return Subject(str(path), "onnx", onnx_graph(path))
        case suffix if suffix in CHECKPOINT_SUFFIXES:
            from edgedet.lint.checkpoint import checkpoint_subject

            return checkpoint_subject(path)
    raise ConfigError(f"{path}: expected a .tflite, .onnx or a checkpoint (.pt), found {path.suffix or 'no suffix'}")


def _tflite_subject(path: Path) -> Subject:
    try:
        data = read_bytes(path)
    except OSError as error:
        raise ConversionError(f"{path}: can't be read ({error.strerror}); give the path of a .tflite file") from error
    graph = parse_tflite(data, str(path))
    has_contract = any(name == METADATA_NAME for name, _ in graph.metadata)
    return Subject(str(path), "tflite", graph, has_contract, outside_bytes(data))
