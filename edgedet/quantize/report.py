"""What came out of a quantization."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgedet.notebook import html_table, short, short_path
from edgedet.quantize.calibration.range_choice import TensorRange
from edgedet.quantize.ptq.pipeline import ERROR_MEANS, PtqOptions, Step


@dataclass(frozen=True, repr=False)
class QuantizeReport:
    """What came out of `quantize_checkpoint`."""

    model: Path
    manifest: Path
    report: Path
    sha256: str  # of the model file
    model_bytes: int
    operators: tuple[tuple[str, int], ...]  # kind and how often, most frequent first
    scale_groups: int  # groups of activations that share a scale
    method: str
    effort: str
    options: PtqOptions
    ranges: tuple[TensorRange, ...]  # of the groups that calibration decided about
    steps: tuple[Step, ...]  # with the outputs' error; none: nothing to choose
    int16: tuple[str, ...]  # layers (first of each group) whose results are int16
    calib_images_asked: int
    calib_images: int  # used
    seed: int
    seconds: tuple[tuple[str, float], ...]  # step and its wall-clock time
    notes: tuple[str, ...] = ()  # what a user should know

    def __repr__(self) -> str:
        return (
            f"<QuantizeReport {short_path(self.model)}: {self.model_bytes:,} bytes, {short(self.method, 20)}, effort "
            f"{short(self.effort, 20)}, {self.calib_images} images>"
        )

    def _repr_html_(self) -> str:
        rows = [
            ("model", f"{short_path(self.model)}, {self.model_bytes:,} bytes"),
            (
                "calibration",
                f"{self.calib_images} images, method {self.method}, effort {self.effort}, seed {self.seed}",
            ),
            ("operators", sum(count for _, count in self.operators)),
            *([("int16", ", ".join(self.int16))] if self.int16 else []),
            *(
                (f"output error, {step.name}", f"{100 * step.error:.3f} %{'' if step.kept else ', undone'}")
                for step in self.steps
            ),
            ("seconds", f"{sum(value for _, value in self.seconds):.1f}"),
        ]
        return html_table("Quantized to int8", rows, notes=(*([ERROR_MEANS] if self.steps else []), *self.notes))

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Lines for people, each with its line end."""
        operators = ", ".join(f"{kind} {count}" for kind, count in self.operators)
        seconds = ", ".join(f"{step} {value:.2f}" for step, value in self.seconds)
        methods = ", ".join(f"{method} {n}" for method, n in Counter(r.method for r in self.ranges).most_common())
        lines = [
            f"model:       {self.model} ({self.model_bytes:,} bytes, sha256 {self.sha256[:16]})",
            f"calibration: {self.calib_images} images, method {self.method}, effort {self.effort}, seed {self.seed} -> "
            f"{self.manifest}",
            f"operators:   {sum(count for _, count in self.operators)} ({operators})",
            f"scales:      {self.scale_groups} groups of activations ({methods}), weights {self.options.weights}",
            *([f"int16:       {', '.join(self.int16)}"] if self.int16 else []),
            *(
                f"step:        {step.name}: output error {100 * step.error:.3f} %{'' if step.kept else ', undone'}"
                for step in self.steps
            ),
            *([f"             {ERROR_MEANS}"] if self.steps else []),
            f"seconds:     {seconds}",
            *(f"note:        {note}" for note in self.notes),
        ]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict; paths as strings."""
        content = asdict(self)
        for key in ("model", "manifest", "report"):
            content[key] = str(content[key])
        content["operators"] = dict(self.operators)
        content["options"] = options_json(self.options)
        content["seconds"] = {step: round(value, 4) for step, value in self.seconds}
        for key in ("ranges", "steps", "int16", "notes"):
            content[key] = list(content[key])
        return content


def options_json(options: PtqOptions) -> dict[str, Any]:
    """JSON-able dict of the steps."""
    content = asdict(options)
    content["ranges"]["per_tensor"] = dict(options.ranges.per_tensor)
    content["int16"] = list(options.int16)
    return content
