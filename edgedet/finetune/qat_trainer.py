"""One network in quantization-aware training: an epoch, the form that is exported, its state."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgedet.config import TrainConfig
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.split import CocoSplit
from edgedet.finetune.distill import distillation_loss
from edgedet.finetune.qat_modules import (
    LearnedFakeQuant,
    QatConv2d,
    freeze_ranges,
    make_trainable,
    take_ranges,
    trained_graph,
)
from edgedet.net.device import exact_float32, on_cpu
from edgedet.net.rtmdet import channels_last
from edgedet.progress import Stopwatch
from edgedet.quantize.fx.prepare import freeze
from edgedet.training.loader import Batch, BatchLoader, steps_per_epoch
from edgedet.training.log import EpochRecord, StepLosses, TrainLog
from edgedet.training.objective.losses import Losses, detection_loss, exponential_boxes, prior_grid
from edgedet.training.parallel.hardware import Hardware
from edgedet.training.runaway import LossWatch
from edgedet.training.schedule import WeightAverage, learning_rate

# Of the run, at its end: ranges are frozen, and the result is the mean of all weights since (arXiv:1803.05407). Share,
# rate and floor were compared on BCCD's validation images; differences between neighbouring choices are within noise.
FROZEN_PART = 0.6
MIN_LR_RATIO = 0.3  # final learning rate / peak; high, because the mean calms what a falling rate would
# Ranges are learned as logarithms, so this many times the rate is the largest relative change in one step.
RANGE_RATE = 20.0


class QatTrainer:
    """Trainable graph, its average, optimizer and data of one run.

    Args:
        calibrated: from `calibrate`: the start, and the form of the result.
        config: training settings; bf16 is ignored, because bfloat16 has fewer steps than int8 needs between two codes.
        preprocess: preprocessing contract.
        outputs: output contract.
        split: training images; with a teacher, their boxes are not used.
        seed: of order and augmentation.
        teacher: float network to learn from, NCHW; None: learn from the labels.
        hardware: on what to compute; its precision does not count.
    """

    def __init__(
        self,
        calibrated: GraphModule,
        config: TrainConfig,
        preprocess: PreprocessSpec,
        outputs: OutputSpec,
        split: CocoSplit,
        seed: int,
        teacher: nn.Module | None = None,
        hardware: Hardware | None = None,
    ) -> None:
        self.config, self._calibrated, self._hardware = config, calibrated, hardware or Hardware()
        device = self._hardware.device
        self.model = make_trainable(calibrated).to(device)
        self._parallel = self._hardware.processes.wrap(self.model)
        self._teacher = None if teacher is None else channels_last(teacher.eval().requires_grad_(False)).to(device)
        self.steps = steps_per_epoch(len(split.images), config.batch)
        self.total_steps = self.steps * config.epochs
        self.freeze_step = self.total_steps - int(self.total_steps * FROZEN_PART)
        self._average = _RangesThenMean(self.model, config.ema_decay, self.total_steps, self.freeze_step)
        self._optimizer = torch.optim.AdamW(_parameter_groups(self.model, config.weight_decay), lr=config.lr)
        self._watch = LossWatch("QAT", "`lr`", config.lr)
        self._loader = BatchLoader(split, preprocess, config, seed, self._hardware)
        self._log_boxes = outputs.head.coding == "log_distance"
        self._grid = prior_grid(preprocess.width, preprocess.height, outputs.strides).to(device)

    def train_epoch(self, epoch: int, log: TrainLog) -> EpochRecord:
        """Run one epoch (0-based).

        Raises:
            EdgedetError: the loss is not a number any more.
        """
        watch, losses, lr = Stopwatch(), [], 0.0
        for index, batch in enumerate(self._loader.epoch(epoch, strong=False)):
            step = epoch * self.steps + index
            lr = learning_rate(step, self.total_steps, self.config)
            losses.append(self.step(batch, step, lr))
            log.step(step, losses[-1], lr)
        total, cls, box = np.mean([(s.total, s.cls, s.box) for s in losses], axis=0).tolist()
        rate = self.steps * self.config.batch / watch.seconds()
        left_out, boxes = (float(np.sum(of)) for of in zip(*((s.left_out, s.positives) for s in losses), strict=True))
        share = left_out / (left_out + boxes) if left_out else 0.0
        return EpochRecord(epoch + 1, total, cls, box, lr, rate, left_out=share)

    def step(self, batch: Batch, step: int, lr: float) -> StepLosses:
        """One iteration of the optimizer; freezes the ranges when the last part of the run begins."""
        if step == self.freeze_step:
            freeze_ranges(self._average_graph)
            self._take_ranges(self._average_graph)
        for group in self._optimizer.param_groups:
            group["lr"] = lr * group["rate"]
        batch = batch.to(self._hardware.device)
        with exact_float32(self._hardware.device):
            losses = self._losses(self._parallel(batch.images), batch)
            self._optimizer.zero_grad(set_to_none=True)
            losses.total.backward()  # type: ignore[no-untyped-call]
        if self.config.grad_clip:
            nn.utils.clip_grad_norm_(self._optimizer.param_groups[0]["params"], self.config.grad_clip)
        scalars = losses.scalars()
        left = scalars.new_zeros(()) if losses.left_out is None else losses.left_out.double()
        found = self._hardware.processes.mean(torch.cat((scalars, left[None])))
        total, cls, box, positives, left_out = found.cpu().tolist()
        self._watch.check(step, total)
        self._optimizer.step()
        self._average.update(step)
        images = len(batch.images)
        return StepLosses(total, cls, box, positives / images, left_out / images)

    def _losses(self, outputs: Sequence[Tensor], batch: Batch) -> Losses:
        config, divisor = self.config, self._hardware.processes.divisor
        if self._log_boxes:
            outputs = exponential_boxes(outputs)
        if self._teacher is None:
            return detection_loss(
                outputs, batch.targets, self._grid, config.topk, config.cls_weight, config.box_weight, divisor
            )
        with torch.no_grad():
            wanted = self._teacher(batch.images)
            if self._log_boxes:
                wanted = exponential_boxes(wanted)
        return distillation_loss(outputs, wanted, self._grid, config.cls_weight, config.box_weight, divisor)

    def _take_ranges(self, source: GraphModule) -> None:
        """Freeze the ranges to those of a graph of the same kind."""
        take_ranges(self.model, source)
        self._parallel = self._hardware.processes.wrap(self.model)

    @property
    def _average_graph(self) -> GraphModule:
        model = self._average.model
        assert isinstance(model, GraphModule)
        return model

    @property
    def ranges_frozen(self) -> bool:
        """True in the last part of the run."""
        return all(m.range_frozen for m in self.model.modules() if isinstance(m, LearnedFakeQuant))

    def frozen(self) -> GraphModule:
        """The averaged network with integer weights: exactly what the file will hold."""
        return freeze(trained_graph(self._average_graph, self._calibrated))

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs; plain tensors of the CPU, numbers and lists."""
        state = {
            "model": self.model.state_dict(),
            "average": self._average.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "ranges_frozen": self.ranges_frozen,
        }
        result: dict[str, Any] = on_cpu(state)
        return result

    def load_state(self, state: dict[str, Any]) -> None:
        """Go back to the state at the end of an epoch, of a run on any device."""
        self.model.load_state_dict(state["model"])
        self._average.model.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        if state["ranges_frozen"]:
            self._take_ranges(self.model)

    def close(self) -> None:
        """End the processes that draw batches."""
        self._loader.close()


class _RangesThenMean(WeightAverage):
    """Moving average of weights and ranges until the ranges are frozen to it; then the mean of all weights since.

    Args:
        model: the graph being trained.
        decay: of the moving average; 0: no averaging at all.
        steps: iterations of the whole run.
        freeze_step: first iteration with frozen ranges.
    """

    def __init__(self, model: GraphModule, decay: float, steps: int, freeze_step: int) -> None:
        super().__init__(model, copy.deepcopy(model), decay, steps)
        self._mean_from = freeze_step if decay else steps

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after iteration `step` (0-based)."""
        if step < self._mean_from:
            super().update(step)
        else:
            torch._foreach_lerp_(self._target, self._source, 1 / (step - self._mean_from + 1))


def _parameter_groups(model: GraphModule, weight_decay: float) -> list[dict[str, Any]]:
    """Weights with decay, biases without, and the logarithms of the ranges at a rate of their own."""
    convs = [module.conv for module in model.modules() if isinstance(module, QatConv2d)]
    ranges = [module.log_gain for module in model.modules() if isinstance(module, LearnedFakeQuant)]
    return [
        {"params": [conv.weight for conv in convs], "weight_decay": weight_decay, "rate": 1.0},
        {"params": [conv.bias for conv in convs], "weight_decay": 0.0, "rate": 1.0},
        {"params": ranges, "weight_decay": 0.0, "rate": RANGE_RATE},
    ]
