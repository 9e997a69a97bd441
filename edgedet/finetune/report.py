"""What came out of a training with fake quantization."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from edgedet.evaluate.figures.reading import Sentence
from edgedet.finetune.settings import Lessons
from edgedet.notebook import html_table, short_path
from edgedet.texts import counted


@dataclass(frozen=True, repr=False)
class QatReport:
    """What came out of `qat_checkpoint`. All APs are of the same images."""

    model: Path
    report: Path
    sha256: str  # of the model file
    model_bytes: int
    ap_of: str  # what the APs are measured against
    ap_float: float  # of the checkpoint
    ap_start: float  # of the fake-quantized network before training (PTQ)
    ap_qat: float  # of the fake-quantized network after training, as printed
    ap_file: float  # of the file
    ap_tolerance: float  # accepted difference of the last two
    arithmetic: str  # that the file was measured with
    refused: bool  # the file's AP is too low: it does not have the name of a model
    epochs: int
    batch: int
    lr: float
    distill: bool
    int16: tuple[str, ...]  # layers (first of each group) whose results are int16
    train_images: int
    seed: int
    seconds: tuple[tuple[str, float], ...]  # step and its wall-clock time; of this process only, when resumed
    notes: tuple[str, ...] = ()  # what a user should know
    operators: tuple[tuple[str, int], ...] = ()  # kind and how often, most frequent first
    reading: tuple[Sentence, ...] = ()  # what stands out in the curves of loss and AP
    lessons: Lessons | None = field(default=None, repr=False, compare=False)  # of the training, for its page

    def __repr__(self) -> str:
        return f"<QatReport {short_path(self.model)}: AP {self.ap_file:.3f}, float {self.ap_float:.3f}>"

    def _repr_html_(self) -> str:
        epochs = counted(self.epochs, "epoch")
        rows = [
            ("model", f"{short_path(self.model)}, {self.model_bytes:,} bytes{', refused' if self.refused else ''}"),
            ("trained", f"{epochs} on {self.train_images} images, batch {self.batch}, lr {self.lr:g}"),
            ("AP, float", f"{self.ap_float:.4f}"),
            ("AP, fake-quantized, start", f"{self.ap_start:.4f}"),
            ("AP, fake-quantized, trained", f"{self.ap_qat:.4f}"),
            ("AP, file", f"{self.ap_file:.4f}"),
        ]
        reading = (sentence.text() for sentence in self.reading)
        return html_table("Quantized to int8, by qat", rows, notes=(self.ap_of, *reading, *self.notes))

    def text(self) -> str:
        """Lines for people, each with its line end."""
        seconds = ", ".join(f"{step} {value:.1f}" for step, value in self.seconds)
        teacher = "the float model's outputs" if self.distill else "labels"
        epochs = counted(self.epochs, "epoch")
        return (
            f"model:   {self.model} ({self.model_bytes:,} bytes, sha256 {self.sha256[:16]})\n"
            f"trained: {epochs} on {self.train_images} images, from {teacher}, batch {self.batch}, "
            f"lr {self.lr:g}, seed {self.seed}\n"
            + (f"int16:   {', '.join(self.int16)}\n" if self.int16 else "")
            + f"AP:      {self.ap_of}\n"
            f"  float                     {self.ap_float:.4f}\n"
            f"  fake-quantized, start     {self.ap_start:.4f}\n"
            f"  fake-quantized, trained   {self.ap_qat:.4f}\n"
            f"  file                      {self.ap_file:.4f}  ({self.arithmetic})\n"
            f"  file - trained           {self.ap_file - self.ap_qat:+.4f}  (accepted: {self.ap_tolerance:.4f})\n"
            + "".join(f"note:    {note}\n" for note in self.notes)
            + "".join(f"reading: {sentence.text()}\n" for sentence in self.reading)
            + f"seconds: {seconds} (in all {sum(value for _, value in self.seconds):.0f})\n"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict; paths as strings."""
        content = asdict(replace(self, lessons=None))
        del content["lessons"]
        content |= {"method": "qat", "model": str(self.model), "report": str(self.report)}
        content |= {"int16": list(self.int16), "notes": list(self.notes), "operators": dict(self.operators)}
        content["seconds"] = {step: round(value, 4) for step, value in self.seconds}
        return content

    __str__ = text
