"""What the model files are made for, and what each needs on the chip, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgedet.codegen.decoders import decoder_scratch_bytes
from edgedet.codegen.memory.plan import Plan
from edgedet.codegen.program import build_program
from edgedet.config import ModelFile, available_models, load_model_file
from edgedet.contracts import OutputSpec
from edgedet.errors import ConfigError
from edgedet.graph.model import int8_model
from edgedet.graph.summary import summarize
from edgedet.net.rtmdet import STRIDES, head_width
from edgedet.quantize.skeleton import skeleton_graph, weightless_detector
from edgedet.terminal import COLUMNS

CLASSES = 3  # of the sizes, when nobody says how many


@dataclass(frozen=True, eq=False)
class ModelSizes:
    """A model at an input size."""

    name: str
    made_for: str
    file: ModelFile
    width: int  # px
    height: int
    channels: int  # of the input
    classes: int
    parameters: int  # of the float network, a shared head counted once, BatchNorms included
    macs: int  # multiply-accumulates of one inference
    arena_bytes: int  # exact RAM of the generated C: input, outputs, scratch, preprocessing and decoding included
    # Of the generated C without its code: weights, biases, multipliers, tables. Constants that happen to be equal are
    # stored once: less than 1 kB of small ones, and the codes of a shared head, where no rounding differs.
    flash_bytes: int
    operators: tuple[tuple[str, int], ...]  # of the int8 graph: kind and how often, most frequent first
    plan: Plan

    @property
    def shared_head_bytes(self) -> int:
        """Weights that are in the flash more than once, unless the codes of a shared head are equal at all strides."""
        model = self.file.model
        if not model.share_head:
            return 0
        width = head_width(model)
        taps = 9 * width + width * width if model.depthwise != "none" else 9 * width * width
        return (len(STRIDES) - 1) * 2 * model.stacked_convs * taps

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict: the sizes, and the model file's sections."""
        names = ("name", "made_for", "width", "height", "channels", "classes", "parameters", "macs", "arena_bytes")
        content = {name: getattr(self, name) for name in (*names, "flash_bytes")}
        sections = asdict(self.file)
        sections.pop("about")
        return {**content, "operators": dict(self.operators), **sections}

    def text(self) -> str:
        """All about it, for a terminal; newline at the end."""
        plan = self.plan
        operators = ", ".join(f"{kind} {count}" for kind, count in self.operators)
        largest = sorted(plan.buffers, key=lambda b: -b.size_bytes)[:3]
        lines = [
            f"{self.name}: {self.made_for or 'a model of your own'}",
            f"sizes:      {self.width}x{self.height} px, {self.channels} channels, {self.classes} classes",
            f"parameters: {self.parameters:,}",
            f"MACs:       {self.macs:,}",
            f"operators:  {sum(count for _, count in self.operators)} ({operators})",
            f"RAM:        {self.arena_bytes:,} bytes, the arena of edgedet deploy --target c99 (no plan is below "
            f"{plan.bound_bytes:,})",
            "            largest: " + ", ".join(f"{b.name} {b.size_bytes:,}" for b in largest),
            f"flash:      {self.flash_bytes:,} bytes of weights and other constants; code comes on top"
            f"{self._shared_head()}",
            *_section("model", asdict(self.file.model), skip=("name",)),
            *_section("train", asdict(self.file.train)),
            *([] if self.file.qat is None else _section("qat", asdict(self.file.qat))),
        ]
        return "\n".join(lines) + "\n"

    def _shared_head(self) -> str:
        if not self.shared_head_bytes:
            return ""
        indent = "\n" + " " * 12
        return f"{indent}up to {self.shared_head_bytes:,} less: equal codes of the shared head are stored once"


def _section(title: str, values: dict[str, Any], skip: tuple[str, ...] = ()) -> list[str]:
    """A section of the model file on lines of a terminal's width."""
    lines, line = [], f"{title}:".ljust(12)
    for key, value in values.items():
        if key in skip:
            continue
        item = f"{key} {str(value).lower() if isinstance(value, bool) else value}"
        if len(line) + len(item) > COLUMNS - 2:
            lines.append(line.rstrip())
            line = " " * 12
        line += item + ", "
    return [*lines, line.rstrip(", ")]


def model_sizes(
    name_or_path: str,
    imgsz: tuple[int, int] | None = None,
    classes: int = CLASSES,
    overrides: Sequence[str] = (),
) -> ModelSizes:
    """Sizes of one model.

    Args:
        name_or_path: name of a shipped model, or path of a TOML file.
        imgsz: (width, height) px, multiples of 32; None: the model's own.
        classes: number of classes, at least 1.
        overrides: as of `edgedet.config.load_model_file`: `channels=1` for a grey network.
    Returns:
        The sizes; the arena is the one that `edgedet deploy --target c99` plans for the trained network.
    Raises:
        ConfigError: no such model, or a size that does not fit.
        UnsupportedOpError: the architecture has no int8 form.
    """
    if classes < 1:
        raise ConfigError(f"`classes` {classes}: expected at least 1")
    file = load_model_file(name_or_path, overrides)
    preprocess = file.preprocess.spec(imgsz)
    graph = skeleton_graph(file.model, preprocess, OutputSpec(tuple(f"class_{i}" for i in range(classes))))
    model = int8_model(graph, Path(name_or_path))
    outputs = tuple(graph.outputs[position] for position in model.output_positions)
    program = build_program(graph, outputs, preprocess, detect_bytes=decoder_scratch_bytes(model))
    summary = summarize(graph)
    network = weightless_detector(file.model, classes, preprocess.channels)
    return ModelSizes(
        name=file.model.name,
        made_for=file.about.made_for,
        file=file,
        width=preprocess.width,
        height=preprocess.height,
        channels=preprocess.channels,
        classes=classes,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        macs=summary.macs,
        arena_bytes=program.plan.arena_bytes,
        flash_bytes=program.constants.nbytes,
        operators=tuple(summary.operators.items()),
        plan=program.plan,
    )


def all_model_sizes(
    imgsz: tuple[int, int] | None = None,
    classes: int = CLASSES,
    overrides: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ModelSizes, ...]:
    """Sizes of all shipped models, smallest number of MACs first.

    Args:
        imgsz, classes, overrides: as of `model_sizes`.
        progress: called with (models done, models in all).
    """
    names, found = available_models(), []
    for number, name in enumerate(names, 1):
        found.append(model_sizes(name, imgsz, classes, overrides))
        if progress is not None:
            progress(number, len(names))
    return tuple(sorted(found, key=lambda sizes: (sizes.macs, sizes.name)))


def sizes_table(rows: Sequence[ModelSizes]) -> str:
    """Aligned columns for a terminal, newline at the end."""
    head = ("model", "input", "parameters", "M MACs", "RAM, bytes", "flash, bytes", "made for")
    cells = [
        (
            row.name, f"{row.width}x{row.height}", f"{row.parameters:,}", f"{row.macs / 1e6:,.1f}",
            f"{row.arena_bytes:,}", f"{row.flash_bytes:,}", row.made_for,
        )
        for row in rows
    ]  # fmt: skip
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head) - 1)]
    lines = []
    for line in (head, *cells):
        left, *numbers = (line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:-1], widths[1:], strict=True)))
        lines.append("  ".join((left, *numbers, line[-1])).rstrip())
    return "\n".join(lines) + "\n"
