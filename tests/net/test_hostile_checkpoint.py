"""Checkpoints that a stranger made: every kind of value where another is meant, and sizes without bound."""

from __future__ import annotations

import copy
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.errors import CheckpointError
from edgedet.net.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedet.net.families import build_detector

WEIGHT = "bbox_head.rtm_reg.0.bias"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a sound file holds."""
    file = load_model_file("rtmdet_pico_relu6")
    torch.manual_seed(0)
    weights = build_detector(file.model, 2).state_dict()
    path = tmp_path_factory.mktemp("sound") / "c.pt"
    save_checkpoint(Checkpoint(file.model, file.preprocess.spec((64, 64)), OutputSpec(("a", "b")), weights, {}), path)
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def _odd_tensors() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "number": 3,
            "text": "x" * 1000,
            "quantized": torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8),
            "sparse": torch.zeros(4).to_sparse(),
            "compressed rows": torch.zeros(4, 4).to_sparse_csr(),
            "meta": torch.zeros(4, device="meta"),
            "nested": torch.nested.nested_tensor([torch.zeros(1), torch.zeros(2)]),
            "complex": torch.zeros(4, dtype=torch.complex64),
            "float8": torch.zeros(4).to(torch.float8_e4m3fn),
            "truth values": torch.zeros(4, dtype=torch.bool),
            "whole numbers": torch.zeros(4, dtype=torch.int64),
            "repeated": torch.zeros(1).expand(4),
            "infinite": torch.full((4,), float("inf")),
        }


ODD = _odd_tensors()


@pytest.mark.parametrize("kind", ODD)
def test_load_checkpoint_odd_tensor_names_file_and_key(content: dict[str, Any], tmp_path: Path, kind: str) -> None:
    changed = {**content, "state_dict": {**content["state_dict"], WEIGHT: ODD[kind]}}
    torch.save(changed, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=rf"c\.pt: {WEIGHT}") as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert len(str(caught.value)) < 400


PLACES = (
    ("format",),
    ("version",),
    ("spec",),
    ("info",),
    ("state_dict",),
    ("spec", "model"),
    ("spec", "model", "widen"),
    ("spec", "model", "stacked_convs"),
    ("spec", "model", "activation"),
    ("spec", "preprocess", "width"),
    ("spec", "preprocess", "mean"),
    ("spec", "outputs", "class_names"),
    ("spec", "outputs", "max_detections"),
)


def _bomb() -> list[Any]:
    """A small pickle that is without end as text."""
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    return value


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_load_checkpoint_any_value_anywhere_is_one_error(
    content: dict[str, Any], tmp_path: Path, place: tuple[str, ...]
) -> None:
    odd = [torch.zeros(3), torch.zeros(()), True, 10**30, float("nan"), "\ud800", "y" * 10**6, [1, "a"], _bomb(), None]
    for value in odd:
        changed = copy.deepcopy({**content, "state_dict": {}})
        table: Any = changed
        for name in place[:-1]:
            table = table[name]
        table[place[-1]] = value
        torch.save(changed, tmp_path / "c.pt")
        with pytest.raises(CheckpointError, match=r"c\.pt: ") as caught:
            load_checkpoint(tmp_path / "c.pt")
        assert len(str(caught.value)) < 600
        str(caught.value).encode()


def test_load_checkpoint_compressed_members_are_refused_unread(tmp_path: Path) -> None:
    torch.save({"format": "edgedet-checkpoint", "x": torch.zeros(50_000_000)}, tmp_path / "large.pt")
    with zipfile.ZipFile(tmp_path / "large.pt") as large, zipfile.ZipFile(tmp_path / "c.pt", "w") as small:
        for name in large.namelist():
            small.writestr(name, large.read(name), compress_type=zipfile.ZIP_DEFLATED)
    (tmp_path / "large.pt").unlink()
    assert (tmp_path / "c.pt").stat().st_size < 1_000_000
    with pytest.raises(CheckpointError, match=r"c\.pt: holds compressed members, 200,\d+,\d+ bytes in a file of"):
        load_checkpoint(tmp_path / "c.pt")


def test_load_checkpoint_long_values_are_refused_unread(tmp_path: Path) -> None:
    torch.save({"format": "edgedet-checkpoint", "x": "z" * (65 << 20)}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"values besides tensors take .* expected at most 67,108,864"):
        load_checkpoint(tmp_path / "c.pt")


def test_load_checkpoint_largest_network_asked_for_takes_no_memory(content: dict[str, Any], tmp_path: Path) -> None:
    spec = content["spec"]
    model = {**spec["model"], "widen": 2.0, "deepen": 2.0, "stacked_convs": 4, "depthwise": "none"}
    torch.save({**content, "spec": {**spec, "model": model}}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="lacks weights"):
        load_checkpoint(tmp_path / "c.pt")
