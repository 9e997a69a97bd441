"""Two processes under torchrun, connected by gloo, against one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.data.coco.build import load_split
from edgedet.errors import ConfigError
from edgedet.net.checkpoint import load_checkpoint
from edgedet.training.parallel.processes import ALONE, Processes, launched

sys.path.insert(0, str(Path(__file__).parent))

import two_processes

REPO = Path(__file__).resolve().parents[3]


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Two processes of a script, or of a module after -m; killed with its children when it hangs."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    with subprocess.Popen(
        [*command, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=400)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="module")
def ended(tiny_coco_once: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a step, an evaluation and a run that ends with an error, and the end."""
    out = tmp_path_factory.mktemp("two")
    return out, torchrun(two_processes.__file__, tiny_coco_once, out, "short")


@pytest.fixture(scope="module")
def both(ended: tuple[Path, Any]) -> list[dict[str, Any]]:
    """What each process found in a step and an evaluation."""
    out, done = ended
    assert (out / "found1.json").is_file(), done.stderr
    return [json.loads((out / f"found{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def runs(tiny_coco_once: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of whole runs, and what each process found."""
    out = tmp_path_factory.mktemp("runs")
    done = torchrun(two_processes.__file__, tiny_coco_once, out, "long")
    assert done.returncode == 0, done.stderr
    return out, [json.loads((out / f"found{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_two_processes_take_the_step_of_one_with_the_whole_batch(both, tiny_coco_once: Path) -> None:
    """In float64, so that only the order of sums differs: BatchNorms over a few values make an untrained network
    magnify rounding by 10^5 and more, which hides mistakes in float32. The loss itself is float32 in both.
    """
    loss, gradient, statistics = two_processes.first_gradient(load_split(tiny_coco_once, "train"))
    for found in both:
        assert found["loss"] == pytest.approx(loss, rel=1e-6)  # eight roundings of float32
        difference = np.linalg.norm(np.array(found["gradient"]) - gradient.numpy())
        assert difference < 1e-6 * float(gradient.norm())  # the loss's float32 gradients; 1e-10 was measured
        np.testing.assert_allclose(found["statistics"], statistics.numpy(), atol=1e-10)
    assert both[0]["gradient"] == both[1]["gradient"]


@pytest.mark.slow
def test_two_processes_evaluate_as_one(both, tiny_coco_once: Path) -> None:
    expected = two_processes.detections(load_split(tiny_coco_once, "valid"))
    assert [found["table"] for found in both] == [expected, expected]


@pytest.mark.long
def test_two_processes_resume_as_if_they_had_not_been_interrupted(runs) -> None:
    out, (first, second) = runs
    assert first["whole"] == first["interrupted"] == second["whole"] == second["interrupted"]
    whole, resumed = (load_checkpoint(out / name / "last.pt") for name in ("whole", "interrupted"))
    for name, value in whole.weights.items():
        assert np.array_equal(value.numpy(), resumed.weights[name].numpy())
    assert len(list((out / "whole" / "tensorboard").iterdir())) == 1  # one writer


@pytest.mark.long
def test_two_processes_qat_gives_the_losses_of_one(runs, tiny_coco_once: Path, tmp_path: Path) -> None:
    out, (first, second) = runs
    assert first["qat"] == second["qat"]
    _, _, expected = two_processes.qat(tiny_coco_once, tmp_path / "qat")
    # float32 sums of another order move a few values to the neighbouring code, and few objects match few priors.
    assert first["qat"][2] == pytest.approx(expected, rel=0.01)
    assert (out / "qat" / "model_int8.tflite").is_file()


@pytest.mark.slow
def test_two_processes_end_when_one_fails(ended) -> None:
    out, done = ended[0] / "failed", ended[1]
    assert done.returncode != 0
    assert done.stderr.count("error: process 1 of 2: 1.png: is gone") == 1
    checkpoint = load_checkpoint(out / "last.pt")  # of the epoch before
    assert checkpoint.info["epoch"] == 1
    assert {path.name for path in out.iterdir()} == {"best.pt", "last.pt", "history.json", "tensorboard"}


@pytest.mark.long
def test_two_processes_say_once_what_both_find(tiny_coco_once: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ("--data", tiny_coco_once, "--imgsz", "64x32", "--batch", 3, "--device", "cpu", "--out", out)
    done = torchrun("-m", "edgedet", "train", "rtmdet_pico_relu6", *options)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert errors == [
        "error: --batch 3: expected a multiple of the 2 processes, which take equal parts of it; for example 4"
    ]
    assert not out.exists()


def test_launched_reads_torchruns_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched() == ALONE
    for name, value in (("WORLD_SIZE", "4"), ("RANK", "3"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert launched() == Processes(3, 4, 1, 2)
    monkeypatch.delenv("LOCAL_RANK")
    with pytest.raises(ConfigError, match=r"LOCAL_RANK=not set.*start them with torchrun"):
        launched()


def test_share_of_and_mine_divide_without_a_rest() -> None:
    parts = [Processes(rank, 3).mine(list(range(8))) for rank in range(3)]
    assert sorted(place for part in parts for place in part) == list(range(8))
    assert Processes(1, 3).share_of(6) == 2
    with pytest.raises(ConfigError, match="for example 6"):
        Processes(0, 3).share_of(7)
