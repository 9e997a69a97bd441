"""What each of two processes does for test_processes.py: two_processes.py DATA OUT short|long, started by torchrun."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from random_weights import random_detector

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.errors import DataError, EdgedetError
from edgedet.evaluate.evaluator import evaluate
from edgedet.finetune.qat import QatRequest, qat_checkpoint
from edgedet.net.checkpoint import Checkpoint, save_checkpoint
from edgedet.net.runtime import TorchRuntime
from edgedet.training.loop import TrainRequest, TrainResult, train
from edgedet.training.parallel.hardware import Hardware
from edgedet.training.parallel.processes import launched, process_group
from edgedet.training.trainer import Trainer

SMALL = ("batch=4", "threads=1", "bf16=false", "deepen=0.1", "stacked_convs=1", "widen=0.07", "eval_interval=1")
SPEC = PreprocessSpec(64, 32)


def first_gradient(split: CocoSplit) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Loss, gradient and BatchNorm statistics of the first step, computed in float64 but for the loss itself."""
    file, processes = load_model_file("rtmdet_pico_relu6", SMALL), launched()
    trainer = Trainer(file, SPEC, OutputSpec(split.class_names), split, 0, hardware=Hardware(processes=processes))
    trainer.model.double()
    trainer._parallel = processes.wrap(trainer.model)
    batch = next(trainer.batches(0))
    loss = trainer.step(replace(batch, images=batch.images.double()), 0, 1e-3).total
    gradient = torch.cat([parameter.grad.flatten() for parameter in trainer.model.parameters()])
    statistics = torch.cat([v.flatten() for k, v in trainer.model.state_dict().items() if "running" in k])
    return loss, gradient, statistics


def detections(split: CocoSplit) -> str:
    """AP table of a random network, images shared among the processes."""
    model = random_detector(load_model_file("rtmdet_pico_relu6", SMALL).model, 2, seed=0)
    runtime = TorchRuntime(model, SPEC, OutputSpec(split.class_names, category_ids=split.category_ids))
    return evaluate(runtime, split, share=launched()).ap.table


def request(data: Path, out: Path, epochs: int = 2) -> TrainRequest:
    return TrainRequest(
        "rtmdet_pico_relu6", DataPaths(data), out, (64, 32), epochs, 4, SMALL[1:], quiet=True, device="cpu"
    )


def losses(result: TrainResult) -> list[tuple[float | None, ...]]:
    return [(record.loss, record.cls, record.box, record.ap) for record in result.history]


def interrupted(data: Path, out: Path) -> list[tuple[float | None, ...]]:
    """A run that all processes leave after one epoch and resume."""
    epoch_of = Trainer.train_epoch

    def stop(self: Trainer, epoch: int, log: object) -> object:
        if epoch == 1:
            raise EdgedetError("stopped")
        return epoch_of(self, epoch, log)

    Trainer.train_epoch = stop
    try:
        train(request(data, out))
    except (EdgedetError, SystemExit):  # the first process says it, the other goes without a word
        pass
    finally:
        Trainer.train_epoch = epoch_of
    return losses(train(replace(request(data, out), resume=True)))


def qat(data: Path, out: Path) -> tuple[str, float, list[float]]:
    """A short QAT run; every process gets the report."""
    config = load_model_file("rtmdet_pico_relu6", SMALL).model
    checkpoint = out.parent / f"random{launched().rank}.pt"
    weights = random_detector(config, 2, seed=0).state_dict()
    save_checkpoint(Checkpoint(config, SPEC, OutputSpec(("red", "green")), weights, {}), checkpoint)
    report = qat_checkpoint(
        QatRequest(
            checkpoint, DataPaths(data), out, epochs=1, batch=4, calib_images=4, threads=1, runtime="sim", quiet=True,
            device="cpu",
        )
    )  # fmt: skip
    history = json.loads((out / "history.json").read_text())
    return report.sha256, report.ap_file, [history[0][key] for key in ("loss", "cls", "box")]


def step_and_evaluation(data: Path) -> dict[str, object]:
    """The first step and a table, as this process finds them."""
    with process_group(launched(), torch.device("cpu")):
        loss, gradient, statistics = first_gradient(load_split(data, "train"))
        table = detections(load_split(data, "valid"))
    return {"loss": loss, "gradient": gradient.tolist(), "statistics": statistics.tolist(), "table": table}


def whole_runs(data: Path, out: Path) -> dict[str, object]:
    """Trainings and a QAT run."""
    return {
        "whole": losses(train(request(data, out / "whole"))),
        "interrupted": interrupted(data, out / "interrupted"),
        "qat": qat(data, out / "qat"),
    }


def fail(data: Path, out: Path) -> None:
    """The second process can't read an image in the middle of the second epoch."""
    epoch_of = Trainer.train_epoch

    def stop(self: Trainer, epoch: int, log: object) -> object:
        if epoch == 1 and launched().rank == 1:
            raise DataError("1.png: is gone")
        return epoch_of(self, epoch, log)

    Trainer.train_epoch = stop
    try:
        train(request(data, out, epochs=3))
    except EdgedetError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    source, folder, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    found = whole_runs(source, folder) if what == "long" else step_and_evaluation(source)
    (folder / f"found{launched().rank}.json").write_text(json.dumps(found))
    if what == "short":
        fail(source, folder / "failed")
