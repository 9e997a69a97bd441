"""Names of devices, and the tool that stands in for a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from far_device import far_device
from random_weights import random_detector

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.evaluate.detect import detect
from edgedet.net.checkpoint import Checkpoint, save_checkpoint
from edgedet.net.device import CPU, choose_device, describe_device, exact_float32, on_cpu
from edgedet.net.runtime import TorchRuntime


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as names go."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gpu", "`device` 'gpu': expected auto, cpu, cuda, cuda:N or mps"),
        ("", "expected auto, cpu"),
        ("CUDA", "expected auto, cpu"),
        ("cuda:", "expected auto, cpu"),
        ("cuda:-1", "expected auto, cpu"),
        ("cuda:٣", "expected auto, cpu"),
        ("cpu:0", "expected auto, cpu"),
        ("mps", "needs macOS on Apple silicon"),
    ],
)
def test_choose_device_wrong_name_is_an_error(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=text):
        choose_device(name)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(("built", "text"), [(None, "was built without CUDA"), ("12.8", "CUDA_VISIBLE_DEVICES")])
def test_choose_device_without_cuda_says_why(built: str | None, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", built)
    for name in ("cuda", "cuda:0"):
        with pytest.raises(ConfigError, match=f"`device` {name}: .*{text}.*, or take cpu"):
            choose_device(name)
    assert choose_device("auto") == CPU


@pytest.mark.usefixtures("two_gpus")
def test_choose_device_takes_the_gpu_of_the_process() -> None:
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("auto", 1, 2) == choose_device("cuda", 1, 2) == torch.device("cuda", 1)
    assert choose_device("cpu") == CPU
    assert describe_device(torch.device("cuda", 1)) == "cuda:1 (Some GPU)"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("name", "rank", "count", "text"),
    [
        ("cuda:2", 0, 1, r"`device` cuda:2: there is no GPU 2; found cuda:0 \(Some GPU\), cuda:1 \(Some GPU\)"),
        ("cuda:0", 1, 2, "2 processes on this machine would share one GPU; expected cuda"),
        ("auto", 2, 3, "cuda for process 2 of this machine: there is no GPU 2"),
    ],
)
def test_choose_device_gpu_that_is_not_there_is_an_error(name: str, rank: int, count: int, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        choose_device(name, rank, count)


def test_on_cpu_moves_every_tensor_and_keeps_what_is_there() -> None:
    here = torch.arange(3)
    with far_device() as device:
        state = {"a": [here.to(device), 1, None], "b": {0: (here, "text")}}
        moved = on_cpu(state)
        assert type(moved["a"][0]) is torch.Tensor
        assert moved["a"][0].tolist() == [0, 1, 2]
        assert moved["a"][1:] == [1, None]
        assert moved["b"][0][0].data_ptr() == here.data_ptr()


def test_far_device_refuses_what_a_gpu_refuses() -> None:
    with far_device() as device:
        far, near = torch.ones(3).to(device), torch.ones(3)
        assert (far * torch.tensor(2.0)).device == device  # CPU scalars mix
        assert torch.zeros_like(far).device == device
        assert torch.equal((far + far).cpu(), near + near)
        for wrong in (lambda: far + near, lambda: near[far.long()], lambda: torch.cat((far, torch.zeros(1)))):
            with pytest.raises(RuntimeError, match="one device"):
                wrong()
        with pytest.raises(RuntimeError, match="numpy"):
            far.numpy()


def test_torch_runtime_on_a_device_gives_the_detections_of_the_cpu(tiny_coco_once: Path, tmp_path: Path) -> None:
    config, split = load_model_file("rtmdet_pico_relu6").model, DataPaths(tiny_coco_once).load("valid")
    outputs = OutputSpec(split.class_names, category_ids=split.category_ids)
    weights = random_detector(config, len(split.class_names), seed=0).state_dict()
    save_checkpoint(Checkpoint(config, PreprocessSpec(96, 64), outputs, weights, {}), tmp_path / "random.pt")
    record, here = split.images[0], TorchRuntime.from_checkpoint(tmp_path / "random.pt")
    expected = detect(here, record.path, 0.001).in_image
    with far_device() as device:
        there = TorchRuntime.from_checkpoint(tmp_path / "random.pt", device)
        found = detect(there, record.path, 0.001).in_image
    assert len(found) > 0
    for one, other in ((found.boxes, expected.boxes), (found.scores, expected.scores), (found.labels, expected.labels)):
        np.testing.assert_array_equal(one, other)
    assert there.arithmetic == f"{here.arithmetic} on meta"


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_exact_float32_sums_products_of_float32(name: str) -> None:
    """TF32 would keep 11 bits of the inputs: 1 + 2^-12 would become 1."""
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU, or EDGEDET_TEST_CUDA=1 is not set")
    device = torch.device(name)
    x = torch.full((1, 8, 8, 8), 1 + 2.0**-12, device=device)
    weight = torch.ones(8, 8, 3, 3, device=device)
    with exact_float32(device):
        y = torch.nn.functional.conv2d(x, weight)
    assert torch.equal(y.cpu(), torch.full((1, 8, 6, 6), 72 * (1 + 2.0**-12)))
