"""One network being trained: an epoch, a validation, its state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgedet.config import ModelFile
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.preprocess import to_rgb
from edgedet.errors import EdgedetError
from edgedet.evaluate.detect import detect
from edgedet.evaluate.evaluator import evaluate
from edgedet.evaluate.predict import draw_detections
from edgedet.net.device import exact_float32, on_cpu
from edgedet.net.families import build_detector
from edgedet.net.rtmdet import channels_last
from edgedet.net.runtime import TorchRuntime
from edgedet.progress import Stopwatch
from edgedet.terminal import printable
from edgedet.training.course import planned_course
from edgedet.training.loader import Batch, BatchLoader, steps_per_epoch
from edgedet.training.log import EpochRecord, StepLosses, TrainLog
from edgedet.training.objective.losses import Losses, detection_loss, prior_grid
from edgedet.training.parallel.hardware import Hardware, autocast
from edgedet.training.runaway import LossWatch
from edgedet.training.schedule import WeightAverage, learning_rate, parameter_groups

_PICTURES = 4  # with boxes, to TensorBoard at each validation


class Trainer:
    """Network, average, optimizer and data of one run.

    Args:
        file: model and training settings.
        preprocess: preprocessing contract.
        outputs: output contract.
        split: training images.
        seed: of weights, order and augmentation.
        weights: state dict to start from; None: fresh weights.
        frozen: parts of the network that stay as they are, see `RTMDet.freeze`.
        backbone_lr_scale: learning rate of the backbone, relative to the others'.
        hardware: on what to compute.
    """

    def __init__(
        self,
        file: ModelFile,
        preprocess: PreprocessSpec,
        outputs: OutputSpec,
        split: CocoSplit,
        seed: int,
        weights: dict[str, Tensor] | None = None,
        frozen: tuple[str, ...] = (),
        backbone_lr_scale: float = 1.0,
        hardware: Hardware | None = None,
    ) -> None:
        self.config, self._hardware = file.train, hardware or Hardware()
        self._preprocess, self._outputs, self._seed = preprocess, outputs, seed
        self.dtype = self._hardware.dtype(self.config.bf16)
        device, processes = self._hardware.device, self._hardware.processes
        if self.config.threads:  # else torch's own choice, which respects OMP_NUM_THREADS
            torch.set_num_threads(self.config.threads)
        torch.manual_seed(seed)
        # Drawn on the CPU: the same weights on every device.
        network = build_detector(file.model, len(outputs.class_names), preprocess.channels)
        if weights is not None:
            network.load_state_dict(weights)
        network.freeze(frozen)
        average = channels_last(build_detector(file.model, len(outputs.class_names), preprocess.channels))
        average.load_state_dict(network.state_dict())
        network.to(device)
        self.model = processes.share_batch_norms(channels_last(network) if self.config.channels_last else network)
        self._parallel = processes.wrap(self.model)
        self._steps = steps_per_epoch(len(split.images), self.config.batch)
        total = self._steps * self.config.epochs
        self._average = WeightAverage(self.model, average.to(device), self.config.ema_decay, total)
        groups = parameter_groups(self.model, self.config.weight_decay, backbone_lr_scale)
        self._optimizer = torch.optim.AdamW(groups, lr=self.config.lr, fused=True)
        # float16 ends at 6e-8: without a factor, small gradients would be 0.
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self._loader = BatchLoader(split, preprocess, self.config, seed, self._hardware)
        self._watch = LossWatch("training", "train.lr (in a substitution, `lr`)", self.config.lr)
        self.course = planned_course(self.config)  # the caller may set another one before an epoch
        self._grid = prior_grid(preprocess.width, preprocess.height, outputs.strides).to(device)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Augmented batches of one epoch (0-based), this process's part of each."""
        return self._loader.epoch(epoch, strong=epoch < self.course.weak_from)

    def train_epoch(self, epoch: int, log: TrainLog) -> EpochRecord:
        """Run one epoch (0-based).

        Raises:
            EdgedetError: the loss ran away, see `LossWatch`.
        """
        self.model.train()
        watch, losses, lr = Stopwatch(), [], 0.0
        steps, hold, planned = (
            self._steps * epochs for epochs in (self.course.epochs, self.course.hold, self.config.epochs)
        )
        for index, batch in enumerate(self.batches(epoch)):
            step = epoch * self._steps + index
            lr = learning_rate(step, steps, self.config, hold, planned)
            losses.append(self.step(batch, step, lr))
            log.step(step, losses[-1], lr)
        total, cls, box = np.mean([(s.total, s.cls, s.box) for s in losses], axis=0).tolist()
        rate = self._steps * self.config.batch / watch.seconds()
        return EpochRecord(epoch + 1, total, cls, box, lr, rate)

    def step(self, batch: Batch, step: int, lr: float) -> StepLosses:
        """One iteration of the optimizer."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        batch = batch.to(self._hardware.device)
        with exact_float32(self._hardware.device):
            with autocast(self._hardware.device, self.dtype):
                outputs = self._parallel(batch.images)
            losses = self._losses(outputs, batch)
            self._optimizer.zero_grad(set_to_none=True)
            self._scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        largest = self.config.grad_clip or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), largest)
        found = torch.cat((self._hardware.processes.mean(losses.scalars()), norm.double()[None]))
        total, cls, box, positives, size = found.cpu().tolist()
        # With a factor, an infinite gradient is skipped, and the next factor is half as large; below 1 that is no help.
        too_large = not np.isfinite(size) and not (self._scaler.is_enabled() and self._scaler.get_scale() >= 1)
        self._watch.check(step, total, size if too_large else 0.0)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._average.update(step)
        return StepLosses(total, cls, box, positives / len(batch.images))

    def _losses(self, outputs: Sequence[Tensor], batch: Batch) -> Losses:
        config, divisor = self.config, self._hardware.processes.divisor
        return detection_loss(
            outputs, batch.targets, self._grid, config.topk, config.cls_weight, config.box_weight, divisor
        )

    def validate(self, epoch: int, split: CocoSplit, log: TrainLog) -> float:
        """COCO AP of the averaged weights, through the same code as `edgedet evaluate --runtime torch`."""
        runtime = TorchRuntime(self._average.model, self._preprocess, self._outputs)
        report = evaluate(runtime, split, share=self._hardware.processes, compare_plain=False)
        log.evaluation((epoch + 1) * self._steps, report, self._pictures(runtime, split))
        return report.ap.ap

    def _pictures(self, runtime: TorchRuntime, split: CocoSplit) -> Iterator[tuple[str, np.ndarray]]:
        for record in split.images[:_PICTURES]:
            found = detect(runtime, record.path, None)
            shown = to_rgb(found.pixels, self._preprocess)
            yield printable(record.path.stem), draw_detections(shown, found.in_input, self._outputs.class_names)

    def averaged_weights(self) -> dict[str, Tensor]:
        """The weights to use, contiguous.

        Raises:
            EdgedetError: one of them is not a number any more.
        """
        weights = {name: value.contiguous() for name, value in on_cpu(self._average.model.state_dict()).items()}
        broken = [name for name, value in weights.items() if not bool(torch.isfinite(value).all())]
        if broken:
            raise EdgedetError(
                f"{broken[0]} holds NaN or infinity: training diverged; lower train.lr (now {self.config.lr})"
            )
        return weights

    def state(self) -> dict[str, Any]:
        """What `load_state` needs besides the averaged weights; tensors of the CPU."""
        state = {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}
        if self._scaler.is_enabled():
            state["scaler"] = self._scaler.state_dict()
        result: dict[str, Any] = on_cpu(state)
        return result

    def load_state(self, averaged: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Go back to the state at the end of an epoch, of a run on any device."""
        self._average.model.load_state_dict(averaged)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._scaler.is_enabled() and "scaler" in state:
            self._scaler.load_state_dict(state["scaler"])

    def close(self) -> None:
        """End the processes that draw batches."""
        self._loader.close()
