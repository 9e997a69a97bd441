"""What can be done with a detector: predict, evaluate, quantize, deploy, check, inspect, lint, export."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgedet.api.dataset import Data, as_dataset, known_split
from edgedet.api.judged_model import JudgedModel
from edgedet.api.model_file import CHECKPOINT, INT8, ONNX
from edgedet.api.predictions import Predictions, predict_pictures
from edgedet.api.public import public
from edgedet.api.sources import Source
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.evaluate.evaluator import COCO_SCORE_THRESHOLD
from edgedet.fileio import PathLike, as_path
from edgedet.progress import show_progress
from edgedet.typed import (
    require_given,
    require_one,
    require_threshold,
    require_truth,
    require_whole,
)

if TYPE_CHECKING:
    from edgedet.deploy.api import DeployReport
    from edgedet.evaluate.evaluator import EvalReport
    from edgedet.evaluate.video import VideoReport
    from edgedet.exchange.export.api import ExportReport
    from edgedet.npu.cores import NpuOptions


@dataclass(frozen=True, eq=False, repr=False)
class Model(JudgedModel):
    """A detector; `load`, `train` and `quantize` make it. It is opened when something first needs it.

    A checkpoint is evaluated, quantized and exported; an int8 file is evaluated, checked, inspected and deployed; both
    predict. An ONNX file is quantized. Every report can be printed, and shows itself in a notebook.

    Attributes:
        path: its file.
        kind: checkpoint, int8 or onnx.
        report: what `train` or `quantize` says about it: `model.report.best_ap`, `print(chip.report)`; None: it was
            loaded.
        class_names: names of the classes, in the order of their labels.
        outputs, preprocess: what the outputs mean, and how a picture becomes the network's input.
        runtime: `prepare`, `invoke` and `decode` single pictures.
    """

    @public
    def predict(
        self,
        source: Source,
        *,
        score_threshold: float | None = None,
        out: PathLike | None = None,
        skip_broken: bool = False,
    ) -> Predictions:
        """Find objects in pictures.

        Args:
            source: a file, a folder (with its sub-folders), a pattern such as `photos/*.jpg`, a picture in memory
                (uint8 (H, W, 3) RGB, (H, W) grey, or of Pillow), or a list of these.
            score_threshold: 0 <= t < 1; None: the model's own.
            out: folder for pictures with boxes and detections.json, of files only; None: nothing is written.
            skip_broken: files that can't be read are left out with a warning; else they are an error, at the end.
        Returns:
            A list with a `Detections` for each picture, in the order of `source`, files of folders and patterns by
            name; its `broken` names the files that were left out.
        Raises:
            BrokenPicturesError: some of several pictures can't be read; its `results` are what was found in the others,
                and with `out` they are written.
            DataError: the only picture, or each of them, is missing or damaged, or there are none.
            ConfigError: a threshold out of range, or `out` with pictures in memory.
        """
        require_threshold(score_threshold=score_threshold)
        require_truth(skip_broken=skip_broken)
        folder = None if out is None else as_path(out, "out")
        return predict_pictures(self, source, score_threshold, folder, skip_broken)

    @public
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
            `report.video`, `report.detections` (its JSON), `report.frames`, `report.objects`, `report.median_ms` of a
            frame; of a video that is cut short what could be decoded, and `report.missing_frames`.
        Raises:
            DataError: no such video or camera, or nothing in it can be decoded.
            ConfigError: a threshold out of range, or a window where there is no display.
        """
        from edgedet.evaluate.video import predict_video

        require_whole(1, frames=frames)
        require_threshold(score_threshold=score_threshold)
        require_truth(window=window)
        if isinstance(source, bool):  # an int to Python
            raise ConfigError(f"`source` {source}: expected a path, or the number of a camera")
        if isinstance(source, int):
            require_whole(source=source)
        name = str(source) if isinstance(source, int) else str(as_path(source, "source"))
        folder = as_path(out, "out")
        with show_progress("predict", "frames") as progress:
            return predict_video(self.runtime, name, folder, score_threshold, frames, progress, window)

    @public
    def evaluate(
        self,
        data: Data,
        *,
        split: str = "valid",
        images: int | None = None,
        score_threshold: float = COCO_SCORE_THRESHOLD,
        operating_point: str = "f1",
        out: PathLike | None = None,
        skip_broken: bool = False,
    ) -> EvalReport:
        """Measure COCO AP; `print(report)` shows pycocotools' table, `report.ap.ap` is the AP.

        Args:
            data: folder of a data set, or what `open_dataset` gave.
            split: train, valid or test.
            images: only the first so many; None: all.
            score_threshold: detections below are dropped; 0.001 gives COCO AP.
            operating_point: propose score thresholds for f1, precision=P or recall=R.
            out: folder for evaluate.json and report.html; None: nothing is written.
            skip_broken: leave out images that can't be decoded, and name them in the report; else they are an error.
        Returns:
            The report: `report.ap.ap`, `report.ap.ap50`, one of `report.ap.per_class` for each class, ms per image in
            `report.timings`, what stands out in `report.reading`.
        Raises:
            DataError: no such split, a damaged picture, or no class in common.
            ConfigError: an argument that does not fit, or `out` holds another run.
        """
        from edgedet.api.steps.evaluating import Evaluation, evaluate_model

        folder = None if out is None else as_path(out, "out")
        asked = Evaluation(known_split(split, "split"), images, score_threshold, operating_point, folder)
        return evaluate_model(self, as_dataset(data, skip_broken), asked)

    @public
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
        skip_broken: bool = False,
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
            skip_broken: leave out pictures that can't be decoded, and name them in the report; else they are an error.
        Returns:
            The int8 model; `print(chip.report)` says what was done.
        Raises:
            ConfigError: the model is int8 already, or an option that does not fit.
            EdgedetError: data or network can't be used; the message says where and why.
        """
        from edgedet.api.steps.quantizing import Quantization, layers_of, quantize

        self._require(CHECKPOINT, ONNX, to="quantize", instead="an int8 file is what `quantize` makes")
        if method == "qat":
            self._require(CHECKPOINT, to="quantize by qat", instead="ONNX files are quantized by method ptq")
        asked = Quantization(
            method, None if images is None else as_path(images, "images"), calib_images, effort, epochs, batch, lr,
            distill, layers_of(int16), seed, operating_point,
        )  # fmt: skip
        require_truth(skip_broken=skip_broken)
        paths = DataPaths(skip_broken=skip_broken) if data is None else as_dataset(data, skip_broken).paths
        with self._folder(out, "quantize", "int8") as folder:
            report = quantize(self.path, paths, folder, asked)
        return Model(report.model, INT8, report=report)

    @public
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
            name: what symbols and files begin with, so that several modules fit one image: lower-case letters, digits
                and underscores.
            project: build files and an example around the module: make, cmake, esp-idf, arduino, platformio, zephyr or
                cmsis-pack; None: the module alone.
            npu: board or memory around the NPU, of targets ethos-u...: `edgedet.npu.cores.NpuOptions(preset=...)`;
                None: what stands for a microcontroller.
            board: name of a board (`edgedet.boards()`), or path of its TOML: the model must fit there.
        Returns:
            The report: `report.out`, `report.files`, `report.arena_bytes`, `print(report)`.
        Raises:
            ConfigError: not an int8 file, an unknown target, a name that C does not take, more RAM than allowed, or
                a board that it does not fit.
        """
        from edgedet.codegen.module_name import module_name
        from edgedet.deploy.api import TARGETS, deploy
        from edgedet.deploy.projects.layout import PROJECTS
        from edgedet.hardware.board import load_board
        from edgedet.npu.cores import require_npu_options

        self._require(INT8, to="deploy", instead="make it int8 with quantize() first")
        require_one("target", target, TARGETS)
        module_name(name)  # raises
        require_npu_options(npu)
        if project is not None:
            require_one("project", project, PROJECTS)
        if board is not None:
            load_board(board)  # raises
        require_whole(1, ram_bytes=ram_bytes)
        require_given(seed=seed)
        require_whole(seed=seed)
        picture = None if image is None else as_path(image, "image")
        with self._folder(out, "deploy", target) as folder:
            return deploy(
                self.path, target, folder, ram_bytes=ram_bytes, image=picture, seed=seed, name=name, project=project,
                npu=npu, board=board,
            )  # fmt: skip

    @public
    def export(self, format: str, out: PathLike, *, image: PathLike | None = None) -> ExportReport:
        """Write a file of another format, checked on a picture before it gets its name.

        Args:
            format: of a checkpoint onnx, savedmodel, tflite-float32, tflite-float16, torchscript, executorch, openvino
                or hailo; of an int8 file onnx-qdq or sscma.
            out: file or folder, not existing yet.
            image: picture for the check; None: one is drawn.
        Returns:
            What was written, and what the check found.
        Raises:
            ConfigError: no such format, one that is not made from this kind of file, or `out` exists.
            ToolchainError: a package that the format needs is missing; the message has the command that installs it.
        """
        from edgedet.exchange.export.api import ExportRequest, export

        picture = None if image is None else as_path(image, "image")
        return export(ExportRequest(self.path, format, as_path(out, "out"), picture))
