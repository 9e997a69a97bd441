"""What lint says: findings, and the subject that they are about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from edgedet.graph.graph import Graph, OpaqueOptions, Operator, Tensor
from edgedet.notebook import html_table, short_path

SEVERITIES = ("error", "warning", "info")
FORMATS = ("tflite", "checkpoint", "onnx")
_SMALLEST_PICTURE = 16  # px; fewer columns than this are channels
EXAMPLES = 3  # places that are named; the others are counted


@dataclass(frozen=True)
class Finding:
    """One thing that will hurt, in one or more places."""

    code: str  # kebab-case, stable
    severity: str  # error: wrong or does not run; warning: costs accuracy, memory or time; info: good to know
    where: tuple[str, ...]  # names of tensors or operators
    why: str
    fix: str
    command: str = ""  # of edgedet, where it has one for the fix

    def __post_init__(self) -> None:
        assert self.severity in SEVERITIES, self.severity

    def text(self) -> str:
        """Lines for a terminal, each with its end."""
        places = ", ".join(self.where[:EXAMPLES])
        more = f" and {len(self.where) - EXAMPLES} more" if len(self.where) > EXAMPLES else ""
        lines = [f"{self.severity}: {self.code}: {places}{more}", f"  why: {self.why}", f"  fix: {self.fix}"]
        if self.command:
            lines.append(f"  run: {self.command}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, repr=False)
class LintReport:
    """All findings about one file, the worst first."""

    source: str
    format: str  # one of FORMATS
    findings: tuple[Finding, ...]

    def count(self, severity: str) -> int:
        """Findings of one severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.count(severity)} {severity}" for severity in SEVERITIES)
        return f"<LintReport {short_path(self.source)}: {counts}>"

    def _repr_html_(self) -> str:
        rows = [
            (finding.severity, finding.code, ", ".join(finding.where[:EXAMPLES]), finding.why, finding.fix)
            for finding in self.findings
        ]
        return html_table(repr(self)[1:-1], rows, ("severity", "finding", "where", "why", "fix"))

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """The whole report, each line with its end."""
        counts = ", ".join(f"{self.count(severity)} {severity}" for severity in SEVERITIES)
        return "".join(finding.text() for finding in self.findings) + f"{self.source}: {counts}\n"

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Subject:
    """A network in the form that the rules look at: NHWC, TFLite's operators, whatever the file was.

    For a checkpoint it is the graph that its int8 file will have; its scales mean nothing. For ONNX, operators that
    TFLite lacks keep their ONNX name, tensors are float32, and padding stands in PADs where it is not TFLite's SAME.
    """

    source: str
    format: str  # one of FORMATS
    graph: Graph
    has_contract: bool = True  # False: a .tflite without edgedet's metadata
    outside_bytes: int = 0  # of constants behind the flatbuffer of a .tflite
    producers: dict[int, Operator] = field(init=False)
    readers: dict[int, list[Operator]] = field(init=False)

    def __post_init__(self) -> None:
        producers = {index: op for op in self.graph.operators for index in op.outputs}
        readers: dict[int, list[Operator]] = {}
        for op in self.graph.operators:
            for index in dict.fromkeys(op.inputs):
                readers.setdefault(index, []).append(op)
        object.__setattr__(self, "producers", producers)
        object.__setattr__(self, "readers", readers)

    @cached_property
    def is_int8(self) -> bool:
        """True for a file with scales that mean something; a float file gets other advice."""
        activations = (t for t in self.graph.tensors if t.data is None and t.quantization is not None)
        return self.format == "tflite" and any(t.dtype in ("int8", "uint8", "int16") for t in activations)

    @property
    def checkpoint(self) -> str:
        """The checkpoint in command lines."""
        return self.source if self.format == "checkpoint" else "CKPT"

    def tensor(self, index: int) -> Tensor:
        """Tensor by index."""
        return self.graph.tensors[index]

    def name(self, op: Operator) -> str:
        """What an operator is called in findings: the tensor that it writes."""
        return self.graph.tensors[op.outputs[0]].name if op.outputs else op.kind

    def of_kind(self, *kinds: str) -> list[Operator]:
        """Operators of these kinds, in order; without those whose options or operands have no meaning."""
        return [op for op in self.graph.operators if op.kind in kinds and not isinstance(op.options, OpaqueOptions)]

    def origin(self, index: int) -> int:
        """The tensor that an int8 or int16 copy of it was made from: QUANTIZE is looked through."""
        while (op := self.producers.get(index)) is not None and op.kind == "QUANTIZE":
            index = op.inputs[0]
        return index

    def activations(self, op: Operator) -> list[Tensor]:
        """Inputs that are no constants."""
        return [self.tensor(i) for i in op.inputs if i >= 0 and self.tensor(i).data is None]

    @staticmethod
    def is_nchw(tensor: Tensor) -> bool:
        """Whether a tensor of four axes is a picture with its channels (1 or 3) in front of rows and columns."""
        return len(tensor.shape) == 4 and tensor.shape[1] in (1, 3) and min(tensor.shape[2:]) >= _SMALLEST_PICTURE

    @classmethod
    def is_picture(cls, tensor: Tensor) -> bool:
        """Whether a tensor of four axes is a picture, with its channels at the end or in front."""
        shape = tensor.shape
        last = len(shape) == 4 and shape[3] in (1, 3) and min(shape[1:3]) >= _SMALLEST_PICTURE
        return last or cls.is_nchw(tensor)

    def names(self, ops: Iterable[Operator]) -> tuple[str, ...]:
        """`name` of each."""
        return tuple(self.name(op) for op in ops)


Rule = Callable[[Subject], list[Finding]]
