"""A detector in one of its forms: checkpoint, int8 file, ONNX file; and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgedet.api.dataset import Data, as_dataset
from edgedet.api.detections import Detections
from edgedet.api.opening import open_model, progress_bar
from edgedet.api.runs import file_of, folder_of_run, refuse_other_run, run_name
from edgedet.api.sources import Source, find_pictures
from edgedet.contracts import AS_IN_CONTRACT, NmsChoice
from edgedet.data.check.whole import whole_splits
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.evaluate.detect import detect
from edgedet.evaluate.evaluator import COCO_SCORE_THRESHOLD, evaluate
from edgedet.evaluate.figures.operating_point import Aim
from edgedet.evaluate.predict import predict
from edgedet.fileio import PathLike, as_path
from edgedet.progress import Progress, show_progress
from edgedet.typed import require_threshold, require_whole

if TYPE_CHECKING:
    from edgedet.contracts import Detections as Found
    from edgedet.contracts import OutputSpec, PreprocessSpec
    from edgedet.deploy.api import DeployReport
    from edgedet.diagnose.inspect import Inspection
    from edgedet.evaluate.evaluator import EvalReport
    from edgedet.evaluate.video import VideoReport
    from edgedet.exchange.export.api import ExportReport
    from edgedet.finetune.qat import QatReport
    from edgedet.hardware.check import CheckReport
    from edgedet.lint.finding import LintReport
    from edgedet.npu.cores import NpuOptions
    from edgedet.quantize.api import QuantizeReport
    from edgedet.runtimes.device_figures import DeviceMs
    from edgedet.runtimes.protocol import Runtime
    from edgedet.training.loop import TrainResult

    Report = QuantizeReport | QatReport | TrainResult

CHECKPOINT, INT8, ONNX = "checkpoint", "int8", "onnx"
_WORDS = {CHECKPOINT: "a checkpoint", INT8: "an int8 file", ONNX: "an ONNX file"}


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A detector; `load`, `train` and `quantize` make it. It is opened when something first needs it."""

    path: Path  # its file
    kind: str  # checkpoint | int8 | onnx
    runtime_name: str | None = None  # as `load` was told; None: the usual one
    device: str | None = None
    nms: NmsChoice = AS_IN_CONTRACT  # other limits of decoding than the contract's
    report: Report | None = None  # what the step that made it reports; None: it was loaded
    send: str | None = None  # what a board gets: tensor or image; None: tensor

    @cached_property
    def runtime(self) -> Runtime:
        """The opened model: `prepare`, `invoke` and `decode` single pictures.

        Raises:
            EdgedetError: the file can't be run; the message says what is missing.
        """
        return open_model(self.path, self.runtime_name, self.device, self.nms, self.send)

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

    def predict(
        self, source: Source, *, score_threshold: float | None = None, out: PathLike | None = None
    ) -> list[Detections]:
        """Find objects in pictures.

        Args:
            source: a file, a folder (with its sub-folders), a pattern such as `photos/*.jpg`, a picture in memory
                (uint8 (H, W, 3) RGB, (H, W) grey, or of Pillow), or a list of these.
            score_threshold: 0 <= t < 1; None: the model's own.
            out: folder for pictures with boxes and detections.json, of files only; None: nothing is written.
        Returns:
            For each picture what was found, in the order of `source`, files of folders and patterns by name.
        Raises:
            DataError: a picture is missing or damaged, or there are none.
            ConfigError: a threshold out of range, or `out` with pictures in memory.
        """
        pictures = find_pictures(source)
        require_threshold(score_threshold=score_threshold)
        if not pictures:
            raise ConfigError("`source` is an empty list; expected at least one picture")
        with progress_bar("predict", len(pictures)) as progress:
            if out is None:
                return self._detect_all(pictures, score_threshold, progress)
            files = [picture for picture in pictures if isinstance(picture, Path)]
            if len(files) < len(pictures):
                raise ConfigError(
                    "`out` names pictures after their files, but `source` holds pictures in memory; use draw()"
                )
            predictions = predict(self.runtime, files, as_path(out, "out"), score_threshold, progress)
        return [self._detections(p.detections, p.image, (p.width, p.height), p.device_ms) for p in predictions]

    def predict_video(
        self,
        source: PathLike | int,
        out: PathLike,
        *,
        score_threshold: float | None = None,
        frames: int | None = None,
        window: bool = False,
    ) -> VideoReport:
        """Find objects in a video or what a camera sees; write OUT/NAME.mp4 with boxes and OUT/NAME.json.

        Args:
            source: path of a video, or the number of a camera, 0 for the first.
            out: folder, created when absent.
            score_threshold: 0 <= t < 1; None: the model's own.
            frames: end after so many, 1 or more; None: the whole video, or until Ctrl-C.
            window: show every frame with its boxes; q, Esc or closing it ends the recording.
        Returns:
            Paths, frames, objects, median milliseconds of a frame.
        Raises:
            DataError: no such video or camera, or nothing in it can be decoded.
            ConfigError: a threshold out of range, or a window where there is no display.
        """
        from edgedet.evaluate.video import predict_video

        require_whole(1, frames=frames)
        require_threshold(score_threshold=score_threshold)
        if isinstance(source, bool):  # an int to Python
            raise ConfigError(f"`source` {source}: expected a path, or the number of a camera")
        name = str(source) if isinstance(source, int) else str(as_path(source, "source"))
        with show_progress("predict", "frames") as progress:
            folder = as_path(out, "out")
            return predict_video(self.runtime, name, folder, score_threshold, frames, progress, window)

    def evaluate(
        self,
        data: Data,
        *,
        split: str = "valid",
        images: int | None = None,
        score_threshold: float = COCO_SCORE_THRESHOLD,
        operating_point: str = "f1",
        out: PathLike | None = None,
    ) -> EvalReport:
        """Measure COCO AP; `print(report)` shows pycocotools' table, `report.ap.ap` is the AP.

        Args:
            data: folder of a data set, or what `open_dataset` gave.
            split: train, valid or test.
            images: only the first so many; None: all.
            score_threshold: detections below are dropped; 0.001 gives COCO AP.
            operating_point: propose score thresholds for f1, precision=P or recall=R.
            out: folder for evaluate.json and report.html; None: nothing is written.
        Returns:
            AP in all its parts, ms per image, which arithmetic ran.
        Raises:
            DataError: no such split, a damaged picture, or no class in common.
        """
        from edgedet.api.pages import evaluation_settings, finish_evaluate, tell

        require_whole(1, images=images)
        dataset = as_dataset(data)
        chosen = whole_splits((dataset.split(split),), dataset.paths.skip_broken, most=images)[0]
        folder = None if out is None else as_path(out, "out")
        if folder is not None:
            refuse_other_run(folder, "evaluate")
        with progress_bar("evaluate", len(chosen.images[:images])) as progress:
            report = evaluate(
                self.runtime,
                chosen,
                max_images=images,
                score_threshold=score_threshold,
                progress=progress,
                model_path=self.path,
                aim=Aim.parse(operating_point),
            )
        if folder is not None:
            opened = (self.runtime_name, self.send, self.device)
            measured = (images, split, operating_point, score_threshold)
            said = evaluation_settings(dataset.paths, opened, self.nms, measured)
            tell(finish_evaluate(folder, self.path, self.runtime, chosen, report, said), quiet=True)
        return report

    def quantize(
        self,
        data: Data | None = None,
        out: PathLike | None = None,
        *,
        method: str = "ptq",
        images: PathLike | None = None,
        calib_images: int = 128,
        effort: str = "normal",
        epochs: int = 5,
        batch: int = 16,
        lr: float = 3e-4,
        distill: bool = False,
        int16: Sequence[str] = (),
        seed: int = 0,
        operating_point: str | None = None,
    ) -> Model:
        """Make an int8 file of a checkpoint or an ONNX file.

        Args:
            data: folder of a data set, or what `open_dataset` gave: its training split calibrates (ptq), trains (qat).
            out: folder for model_int8.tflite and its papers; None: runs/NAME_int8-1 and so on.
            method: `ptq`, or `qat`: train on with fake quantization.
            images: folder of pictures without labels, in place of the data set's; qat needs `distill` for it.
            calib_images: how many pictures calibrate the ranges.
            effort: of ptq: fast, normal or best.
            epochs: of qat.
            batch: of qat.
            lr: of qat, peak learning rate.
            distill: qat learns from the float model's outputs instead of the labels.
            int16: layers whose result is int16; ("auto",): where it helps.
            seed: decides which pictures, and everything else that is random.
            operating_point: fit a score threshold of each class on the training split, for f1, precision=P or recall=R,
                and write them into the file's contract; None: one threshold for all, as before.
        Returns:
            The int8 model; its `report` says what was done.
        Raises:
            ConfigError: the model is int8 already, or an option that does not fit.
            EdgedetError: data or network can't be used; the message says where and why.
        """
        from edgedet.api.quantizing import Quantization, quantize

        self._require(CHECKPOINT, ONNX, to="quantize", instead="an int8 file is what `quantize` makes")
        if method == "qat":
            self._require(CHECKPOINT, to="quantize by qat", instead="ONNX files are quantized by method ptq")
        asked = Quantization(
            method, None if images is None else as_path(images, "images"), calib_images, effort, epochs, batch, lr,
            distill, tuple(int16), seed, operating_point,
        )  # fmt: skip
        with self._folder(out, "quantize", "int8") as folder:
            report = quantize(self.path, DataPaths() if data is None else as_dataset(data).paths, folder, asked)
        return Model(report.model, INT8, report=report)

    def deploy(
        self,
        target: str,
        out: PathLike | None = None,
        *,
        ram_bytes: int | None = None,
        image: PathLike | None = None,
        seed: int = 0,
        name: str | None = None,
        project: str | None = None,
        npu: NpuOptions | None = None,
        board: str | None = None,
    ) -> DeployReport:
        """Write the sources that run an int8 file on a chip, with a self-test.

        Args:
            target: `c99` (plain C without an interpreter), `tflm` (TensorFlow Lite Micro), `web` (the C in a page for
                browsers), or `ethos-u55-64` and the like: TensorFlow Lite Micro with the network compiled for Arm's
                NPU.
            out: folder; None: runs/NAME_c99-1 and so on.
            ram_bytes: largest arena that is allowed; None: any.
            image: picture of the self-test; None: a drawn one.
            seed: of the drawn picture.
            name: what symbols and files begin with, so that several modules fit one image.
            project: kind of project, for example `make` or `cmake`, with build files and an example around the module;
                None: the module alone.
            npu: board or memory around the NPU, of targets ethos-u...; None: what stands for a microcontroller.
            board: name of a board (`edgedet.boards()`), or path of its TOML: the model must fit there.
        Returns:
            What was written.
        Raises:
            ConfigError: not an int8 file, an unknown target, a name that C does not take, more RAM than allowed, or
                a board that it does not fit.
        """
        from edgedet.deploy.api import deploy

        self._require(INT8, to="deploy", instead="make it int8 with quantize() first")
        picture = None if image is None else as_path(image, "image")
        with self._folder(out, "deploy", target) as folder:
            return deploy(
                self.path, target, folder, ram_bytes=ram_bytes, image=picture, seed=seed, name=name, project=project,
                npu=npu, board=board,
            )  # fmt: skip

    def check(self, board: str = "all", *, target: str = "c99", ram_bytes: int | None = None) -> CheckReport:
        """Say whether an int8 file fits boards, how fast it may run there, and what would make it fit.

        Args:
            board: name of a board (`edgedet.boards()`), path of its TOML, or `all`; ways to make it fit are looked
                for when it is one.
            target: `c99` (planned and measured), `tflm` (code and stack are assumed), or `ethos-u55-64` and the like
                (compiled by Vela, with its estimate).
            ram_bytes: largest arena, as of `deploy`.
        Returns:
            The report; `report.fits`, `print(report)`, one of `report.checks` for each board.
        Raises:
            ConfigError: not an int8 file, or no such board.
        """
        from edgedet.deploy.preflight import boards_of, check

        self._require(INT8, to="check", instead="make it int8 with quantize() first")
        return check(self.path, boards_of(board), target=target, ram_bytes=ram_bytes)

    def inspect(self, against: PathLike | Model, data: Data, *, images: int = 32, seed: int = 0) -> Inspection:
        """Compare every layer of an int8 file with the checkpoint that it was made from.

        Args:
            against: that checkpoint.
            data: folder of a data set, or what `open_dataset` gave; pictures of its validation split are used.
            images: how many.
            seed: decides which.
        """
        from edgedet.diagnose.inspect import InspectRequest, inspect_model

        self._require(INT8, to="inspect", instead="make it int8 with quantize() first")
        checkpoint = against.path if isinstance(against, Model) else file_of(as_path(against, "against"))
        return inspect_model(InspectRequest(self.path, checkpoint, as_dataset(data).valid, images, seed=seed))

    def lint(self, *, target: str | None = None, npu: NpuOptions | None = None) -> LintReport:
        """Say what in the file will hurt on the chip.

        Args:
            target: an NPU, `ethos-u55-64` and the like: what costs cycles there, too. None: no NPU.
            npu: board or memory around it.
        """
        from edgedet.lint.api import lint

        return lint(self.path, target, npu)

    def export(self, format: str, out: PathLike, *, image: PathLike | None = None) -> ExportReport:
        """Write a file of another format, checked on a picture before it gets its name.

        Args:
            format: onnx, onnx-qdq, openvino, ...; `edgedet export --help` lists them.
            out: file or folder, not existing yet.
            image: picture for the check; None: one is drawn.
        """
        from edgedet.exchange.export.api import ExportRequest, export

        picture = None if image is None else as_path(image, "image")
        return export(ExportRequest(self.path, format, as_path(out, "out"), picture))

    def __repr__(self) -> str:
        return f"<Model {self.path} ({self.kind})>"

    def _detect_all(
        self, pictures: Sequence[Path | np.ndarray], threshold: float | None, progress: Progress | None
    ) -> list[Detections]:
        found = []
        for picture in pictures:
            found.append(self._detect(picture, threshold))
            if progress is not None:
                progress(len(found), len(pictures))
        return found

    def _detect(self, picture: Path | np.ndarray, threshold: float | None) -> Detections:
        found = detect(self.runtime, picture, threshold)
        return self._detections(found.in_image, picture, found.image_size, found.device_ms)

    def _detections(
        self, found: Found, picture: Path | np.ndarray, size: tuple[int, int], ms: DeviceMs | None
    ) -> Detections:
        path, pixels = (None, picture) if isinstance(picture, np.ndarray) else (picture, None)
        return Detections(
            found.boxes, found.scores, found.labels, self.class_names, path, size, self.outputs.category_ids, ms, pixels
        )  # fmt: skip

    def _folder(self, out: PathLike | None, kind: str, what: str) -> AbstractContextManager[Path]:
        """Where results go: a new run, reserved meanwhile, when nobody says where."""
        return folder_of_run(None if out is None else as_path(out, "out"), kind, run_name(self.path, what))

    def _require(self, *kinds: str, to: str, instead: str) -> None:
        if self.kind not in kinds:
            raise ConfigError(f"{self.path}: can't {to} {_WORDS[self.kind]}; {instead}")
