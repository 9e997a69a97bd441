"""A detector in one of its forms: checkpoint, int8 file, ONNX file."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.opening import open_model
from edgedet.api.public import public
from edgedet.api.runs import folder_of_run, run_name
from edgedet.contracts import AS_IN_CONTRACT, NmsChoice
from edgedet.errors import ConfigError
from edgedet.fileio import PathLike, as_path
from edgedet.notebook import short_path
from edgedet.typed import shown

if TYPE_CHECKING:
    from edgedet.contracts import OutputSpec, PreprocessSpec
    from edgedet.finetune.report import QatReport
    from edgedet.quantize.report import QuantizeReport
    from edgedet.runtimes.protocol import Runtime
    from edgedet.training.loop import TrainResult

    Report = QuantizeReport | QatReport | TrainResult

CHECKPOINT, INT8, ONNX = "checkpoint", "int8", "onnx"
_WORDS = {CHECKPOINT: "a checkpoint", INT8: "an int8 file", ONNX: "an ONNX file"}


@dataclass(frozen=True, eq=False, repr=False)
class ModelFile:
    """A model's file, which is opened when something first needs it."""

    path: Path  # its file
    kind: str = ""  # checkpoint | int8 | onnx
    runtime_name: str | None = None  # as `load` was told; None: the usual one
    device: str | None = None
    nms: NmsChoice = AS_IN_CONTRACT  # other limits of decoding than the contract's
    report: Report | None = None  # what the step that made it reports; None: it was loaded
    send: str | None = None  # what a board gets: tensor or image; None: tensor

    def __post_init__(self) -> None:
        if not isinstance(self.path, Path) or self.kind not in _WORDS:
            raise ConfigError(f"Model({shown(self.path)}): models are opened by `edgedet.load(path)`")

    @cached_property
    def runtime(self) -> Runtime:
        """The opened model: `prepare`, `invoke` and `decode` single pictures.

        Raises:
            EdgedetError: the file can't be run; the message says what is missing.
        """
        return open_model(self.path, self.runtime_name, self.device, self.nms, self.send)

    @public
    def close(self) -> None:
        """Give back what runs it, above all the port of a board; it is opened again when something needs it."""
        from edgedet.runtimes.on_device import DeviceRuntime

        opened = self.__dict__.pop("runtime", None)  # where cached_property keeps it
        if isinstance(opened, DeviceRuntime):
            opened.device.close()

    @property
    def outputs(self) -> OutputSpec:
        """What the outputs mean: class names, thresholds, head."""
        return self.runtime.outputs

    @property
    def preprocess(self) -> PreprocessSpec:
        """How a picture becomes the network's input."""
        return self.runtime.preprocess

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels."""
        return self.outputs.class_names

    def __repr__(self) -> str:
        return f"<Model {short_path(self.path)} ({self.kind})>"

    def _folder(self, out: PathLike | None, kind: str, what: str) -> AbstractContextManager[Path]:
        """Where results go: a new run, reserved meanwhile, when nobody says where."""
        return folder_of_run(None if out is None else as_path(out, "out"), kind, run_name(self.path, what))

    def _require(self, *kinds: str, to: str, instead: str) -> None:
        """Raises ConfigError where the file is of no such kind, with what to do instead."""
        if self.kind not in kinds:
            raise ConfigError(f"{self.path}: can't {to} {_WORDS[self.kind]}; {instead}")
