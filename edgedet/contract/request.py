"""What a caller says about a file, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgedet.contracts import OutputSpec, PreprocessSpec


@dataclass(frozen=True)
class ContractRequest:
    """What to attach to a file; None: keep what its contract says, else find it, else take the head's usual value."""

    model: Path  # int8 .tflite of any maker
    out: Path | None = None  # file to write; None: only show and check
    head: str | None = None  # see head_spec.HEADS
    classes: tuple[str, ...] | None = None  # names, without the background
    category_ids: tuple[int, ...] | None = None  # COCO category id of each class
    strides: tuple[int, ...] | None = None  # of the levels, ascending
    anchors: tuple[float, ...] | None = None  # as HeadSpec.anchors
    anchor_source: str | None = None  # "coco": YOLO's usual nine; "ssd": computed from the strides
    ssd_scales: tuple[float, ...] | None = None  # of computed anchors: smallest, largest, in input sides
    ssd_ratios: tuple[float, ...] | None = None  # of computed anchors: width / height
    boxes: str | None = None  # coding, see head_spec.CODINGS
    scores: str | None = None  # see head_spec.SCORES
    unit: str | None = None  # of decoded boxes, see head_spec.UNITS
    offset: float | None = None  # of the priors, cells
    outputs: tuple[tuple[str, str], ...] = ()  # (role, name of the tensor), where shapes leave it open
    layout: str | None = None  # "sscma": outputs of equal shape are in SSCMA's order
    mean: tuple[float, ...] | None = None  # one for all channels or one each, px units
    std: tuple[float, ...] | None = None
    channels: str | None = None  # RGB, BGR or GRAY
    resize: str | None = None  # letterbox or stretch
    pad_value: int | None = None  # 0..255
    score_threshold: float | None = None
    nms_iou: float | None = None
    max_detections: int | None = None
    class_thresholds: tuple[float, ...] | None = None  # a score threshold of each class
    agnostic: bool | None = None  # True: a box has its best class only, and suppresses those of all classes

    def describes_head(self) -> bool:
        """True when something about the layout or coding of the outputs is said."""
        said = (
            "head",
            "strides",
            "anchors",
            "anchor_source",
            "ssd_scales",
            "ssd_ratios",
            "boxes",
            "scores",
            "unit",
            "offset",
            "layout",
        )
        return any(getattr(self, name) is not None for name in said) or bool(self.outputs)

    def changes(self) -> bool:
        """True when anything besides the paths is said."""
        return any(getattr(self, f.name) not in (None, ()) for f in fields(self) if f.name not in ("model", "out"))


@dataclass(frozen=True)
class ContractReport:
    """The contracts of a file, where each came from, and what was checked."""

    model: Path
    written: Path | None
    preprocess: PreprocessSpec
    outputs: OutputSpec
    tensors: tuple[tuple[str, str, tuple[int, ...], str], ...]  # (role, name, shape, dtype) in contract order
    notes: tuple[str, ...]  # what was found or assumed
    input_name: str
    input_dtype: str
    c_decoder: str  # `levels`, `rows`, `cells`, or "": C does not decode the outputs; see graph/c_decoder.py
    why_no_c_decoder: str

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict: both contracts as the file holds them, and the tensors that they speak of."""
        names = ("role", "name", "shape", "dtype")
        return {
            "model": str(self.model),
            "written": None if self.written is None else str(self.written),
            "preprocess": self.preprocess.to_json(),
            "outputs": self.outputs.to_json(),
            "tensors": [dict(zip(names, tensor, strict=True)) for tensor in self.tensors],
            "notes": list(self.notes),
            "c_decoder": self.c_decoder,
            "why_no_c_decoder": self.why_no_c_decoder,
        }

    def text(self) -> str:
        """Lines for a person."""
        p, o = self.preprocess, self.outputs
        lines = [
            f"input      {self.input_name} {self.input_dtype}: {p.width}x{p.height} px, {p.channel_order}, {p.resize}, "
            f"mean {_numbers(p.mean)}, std {_numbers(p.std)}",
            f"head       {o.head.kind}: boxes {o.head.coding}, scores {o.head.scores}"
            + (f", strides {', '.join(map(str, o.strides))}" if o.strides else ""),
        ]
        if o.head.anchors:
            lines.append(f"anchors    {len(o.head.anchors) // (4 if o.head.coding == 'ssd' else 2)}")
        lines += [f"output     {role:<9} {name} {dtype} {shape}" for role, name, shape, dtype in self.tensors]
        lines.append(f"classes    {len(o.class_names)}: {', '.join(o.class_names[:8])}{_more(o.class_names)}")
        least = f"{o.score_threshold:g}"
        if o.class_thresholds:
            least = ", ".join(f"{v:g} {n}" for n, v in zip(o.class_names, o.class_thresholds, strict=True))
        agnostic = " over all classes" if o.head.agnostic else ""
        lines.append(
            f"decoding   score above {least}, NMS IoU {o.nms_iou:g}{agnostic}, at most {o.max_detections} objects"
        )
        if self.c_decoder:
            lines.append("in C       yes: `edgedet deploy --target c99` writes edgedet_run(), from image to detections")
        elif o.head.kind != "none":
            lines.append(f"in C       no, decoded in Python only: {self.why_no_c_decoder}")
        lines += [f"note       {note}" for note in self.notes]
        lines.append("check      the contracts fit the file's tensors")
        if self.written is not None:
            lines.append(f"wrote      {self.written}")
        return "\n".join(lines) + "\n"


def _numbers(values: tuple[float, ...]) -> str:
    chosen = values[:1] if len(set(values)) == 1 else values
    return ",".join(f"{value:g}" for value in chosen)


def _more(names: tuple[str, ...]) -> str:
    return ", ..." if len(names) > 8 else ""
