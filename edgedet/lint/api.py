"""Lint a file: read it in the way of its kind, apply every rule, sort what they find."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import ConfigError, ConversionError
from edgedet.graph.flatbuffer import parse_tflite
from edgedet.graph.metadata import METADATA_NAME
from edgedet.graph.tflite.flatbuffer_read import outside_bytes
from edgedet.lint.finding import SEVERITIES, LintReport, Rule, Subject
from edgedet.lint.rules_file import FILE_RULES
from edgedet.lint.rules_int16 import INT16_RULES
from edgedet.lint.rules_operators import OPERATOR_RULES
from edgedet.lint.rules_outputs import OUTPUT_RULES
from edgedet.lint.rules_scales import SCALE_RULES

RULES: tuple[Rule, ...] = (*FILE_RULES, *SCALE_RULES, *OUTPUT_RULES, *OPERATOR_RULES, *INT16_RULES)
CHECKPOINT_SUFFIXES = (".pt", ".pth")


def lint(path: Path) -> LintReport:
    """Look for what will hurt on the chip.

    Args:
        path: `.tflite` of any maker, checkpoint of edgedet (`.pt`, needs torch), or `.onnx` (needs onnx).
    Returns:
        The findings, errors first.
    Raises:
        ConfigError: another kind of file.
        EdgedetError: the file can't be read.
    """
    return lint_subject(read_subject(path))


def lint_subject(subject: Subject) -> LintReport:
    """Apply every rule.

    Args:
        subject: what to look at.
    """
    findings = [finding for rule in RULES for finding in rule(subject)]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return LintReport(subject.source, subject.format, tuple(findings))


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
        data = path.read_bytes()
    except OSError as error:
        raise ConversionError(f"{path}: can't be read ({error.strerror}); give the path of a .tflite file") from error
    graph = parse_tflite(data, str(path))
    has_contract = any(name == METADATA_NAME for name, _ in graph.metadata)
    return Subject(str(path), "tflite", graph, has_contract, outside_bytes(data))
