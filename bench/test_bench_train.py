"""Training speed, augmentation included: images/s = batch * steps / time. Mark: 40 images/s on 2 cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.coco.build import load_split
from edgedet.training.trainer import Trainer

BCCD = Path(__file__).resolve().parents[2] / "shared" / "data" / "bccd"
BATCH = 32


@pytest.mark.skipif(not BCCD.is_dir(), reason=f"{BCCD} is not there")
@pytest.mark.parametrize("name", ["rtmdet_nano_ncadc_relu6", "rtmdet_nano", "rtmdet_pico_relu6"])
def test_train_epoch_192_batch_32(benchmark, name: str) -> None:
    file = load_model_file(name, (f"batch={BATCH}",))
    split = load_split(BCCD, "train")
    outputs = OutputSpec(split.class_names)
    trainer = Trainer(file, file.preprocess.spec((192, 192)), outputs, split, seed=0)
    step = 0

    def epoch() -> list[float]:
        nonlocal step
        losses = []
        for batch in trainer.batches(step):
            losses.append(trainer.step(batch, step, lr=1e-3).total)
            step += 1
        return losses

    first = epoch()  # warms the image cache and oneDNN's primitives
    last = benchmark.pedantic(epoch, rounds=3)
    assert last[-1] < first[0], "the loss must fall, or what is timed is not training"
    benchmark.extra_info["images_per_second"] = round(len(last) * BATCH / benchmark.stats["median"], 1)


@pytest.mark.skipif(not BCCD.is_dir(), reason=f"{BCCD} is not there")
@pytest.mark.parametrize(("bf16", "channels_last"), [(False, False), (False, True), (True, False), (True, True)])
def test_train_step_bf16_and_channels_last(benchmark, bf16: bool, channels_last: bool) -> None:
    """What bf16 autocast and channels_last bring: one iteration on a fixed batch."""
    file = load_model_file("rtmdet_nano_ncadc_relu6", (f"batch={BATCH}",))
    file = replace(file, train=replace(file.train, bf16=bf16, channels_last=channels_last))
    split = load_split(BCCD, "train")
    trainer = Trainer(file, file.preprocess.spec((192, 192)), OutputSpec(split.class_names), split, seed=0)
    batch = next(trainer.batches(0))
    first = trainer.step(batch, 0, lr=1e-3).total
    last = benchmark.pedantic(lambda: trainer.step(batch, 1, lr=1e-3).total, rounds=5, warmup_rounds=1)
    assert last < first
