"""Substitution alone against the network it came from, then whole runs on a tiny data set."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_weights import random_detector, random_pictures
from torch import Tensor, nn

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.paths import DataPaths
from edgedet.errors import CheckpointError, ConfigError, DataError
from edgedet.finetune.substitute import Cost, SubstituteReport, SubstituteRequest, measure_cost, substitute_checkpoint
from edgedet.finetune.swap import measure_batch_norms, prepare_substituted, substitute, substituted_config
from edgedet.net.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedet.net.layers import ChannelAttention
from edgedet.quantize.calibration.range_choice import require_layers
from edgedet.quantize.fx.int16 import layer_quants
from edgedet.quantize.fx.prepare import prepare_model

CLASSES = ("red", "green")


@pytest.fixture(scope="module")
def silu() -> Checkpoint:
    """SiLU and channel attention."""
    file = load_model_file("rtmdet_nano", ("deepen=0.1",))
    model = random_detector(file.model, 2, seed=0)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    return Checkpoint(file.model, file.preprocess.spec((96, 64)), OutputSpec(CLASSES), weights, {})


@pytest.fixture(scope="module")
def batches() -> list[Tensor]:
    pixels = random_pictures(16, 96, 64, seed=3) / np.float32(255)
    return list(torch.from_numpy(pixels).permute(0, 3, 1, 2).split(8))


def outputs(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        return model(x)


def test_substitute_same_activation_changes_statistics_only(silu: Checkpoint, batches: list[Tensor]) -> None:
    same = substitute(silu, "silu", True, batches)
    assert same.model_config.activation == "silu"
    for name, value in same.weights.items():
        if "running_" not in name and "num_batches" not in name:
            assert torch.equal(value, silu.weights[name]), name


@pytest.mark.parametrize("activation", ["relu", "relu6", "hardswish"])
def test_substitute_carries_the_weights_over(silu: Checkpoint, batches: list[Tensor], activation: str) -> None:
    before = {name: value.clone() for name, value in silu.weights.items()}
    new = substitute(silu, activation, True, batches)
    assert new.model_config == replace(silu.model_config, name=f"rtmdet_nano_{activation}", activation=activation)
    kinds = {type(m) for m in new.build().modules()}
    assert nn.SiLU not in kinds
    assert {"relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish}[activation] in kinds
    assert all(torch.isfinite(output).all() for output in outputs(new.build(), batches[0]))
    assert all(torch.equal(value, silu.weights[name]) for name, value in before.items())


def test_substitute_hardswish_stays_near_silu(silu: Checkpoint, batches: list[Tensor]) -> None:
    new = substitute(silu, "hardswish", True, batches)
    for old, found in zip(outputs(silu.build(), batches[0]), outputs(new.build(), batches[0]), strict=True):
        assert np.corrcoef(old.flatten(), found.flatten())[0, 1] > 0.8


def test_substitute_without_attention_is_exact_where_attention_is_constant(silu: Checkpoint, batches) -> None:
    weights = dict(silu.weights)
    for name in weights:
        if name.endswith(".attention.fc.weight"):
            weights[name] = torch.zeros_like(weights[name])  # then the bias alone decides each channel's factor
    constant = replace(silu, weights=weights)
    new = substitute(constant, "silu", False, batches)
    assert not any(isinstance(module, ChannelAttention) for module in new.build().modules())
    assert not any(".attention." in name for name in new.weights)
    # With the same BatchNorm statistics in both, only the rounding of float32 products is left.
    reference = constant.build()
    measure_batch_norms(reference, batches)
    for old, found in zip(outputs(reference, batches[0]), outputs(new.build(), batches[0]), strict=True):
        torch.testing.assert_close(found, old, rtol=1e-3, atol=1e-3)


def test_substitute_attention_that_is_not_there_is_an_error(silu: Checkpoint, batches: list[Tensor]) -> None:
    bare = substitute(silu, "relu", False, batches)
    with pytest.raises(ConfigError, match="no channel attention"):
        substitute(bare, "relu", True, batches)


def test_substituted_config_names_only_what_changed(silu: Checkpoint) -> None:
    old = silu.model_config
    names = [substituted_config(old, *new).name for new in (("silu", True), ("silu", False), ("relu6", False))]
    assert names == ["rtmdet_nano", "rtmdet_nano_nca", "rtmdet_nano_relu6_nca"]


def test_prepare_substituted_has_the_layers_of_the_substituted_network(silu: Checkpoint, batches) -> None:
    made = prepare_model(substitute(silu, "relu", False, batches).build(), silu.preprocess)
    assert layer_quants(prepare_substituted(silu, "relu", False)).keys() == layer_quants(made).keys()
    same = layer_quants(prepare_substituted(silu, None, True))
    assert same.keys() == layer_quants(prepare_model(silu.build(), silu.preprocess)).keys() != layer_quants(made).keys()


def test_require_layers_two_calibrators_for_one_scale(silu: Checkpoint) -> None:
    prepared = prepare_substituted(silu, "relu", False)
    members: dict[str, list[str]] = {}
    for layer, quant in layer_quants(prepared).items():
        if not quant.fixed:
            members.setdefault(quant.name, []).append(layer)
    first, second, *_ = next(layers for layers in members.values() if len(layers) > 1)
    require_layers(prepared, ("auto",), ((first, "kl"), (second, "kl")))
    with pytest.raises(ConfigError, match=f"{second}=mse: {first} has kl already, and both share one scale"):
        require_layers(prepared, (), ((first, "kl"), (second, "mse")))


def test_measure_batch_norms_equals_the_statistics_of_the_batches() -> None:
    rng = np.random.default_rng(0)
    data = [torch.from_numpy(rng.normal(3, 2, (8, 4, 5, 6)).astype(np.float32)) for _ in range(3)]
    norm = nn.BatchNorm2d(4).eval()
    measure_batch_norms(norm, data)
    expected = np.mean([batch.mean((0, 2, 3)).numpy() for batch in data], axis=0)
    np.testing.assert_allclose(norm.running_mean.numpy(), expected, rtol=1e-5)
    assert not norm.training
    assert norm.momentum == 0.1


def test_measure_cost_relu_without_attention_is_cheaper(silu: Checkpoint, batches: list[Tensor]) -> None:
    before = measure_cost(silu, batches[:1])
    after = measure_cost(substitute(silu, "relu6", False, batches), batches[:1])
    assert {"LOGISTIC", "MUL", "MEAN"} <= {kind for kind, _ in before.operators}
    assert not {"LOGISTIC", "MUL", "MEAN"} & {kind for kind, _ in after.operators}
    assert after.operator_count < before.operator_count
    assert after.macs < before.macs  # the attention's 1x1 convolutions
    assert after.peak_activation_bytes <= before.peak_activation_bytes
    if before.arena_bytes is not None:
        assert after.arena_bytes is not None
        assert after.peak_activation_bytes < after.arena_bytes < before.arena_bytes


@pytest.fixture
def request_(tiny_coco_once: Path, tmp_path: Path) -> SubstituteRequest:
    file = load_model_file("rtmdet_pico_relu6", ("deepen=0.1", "stacked_convs=1", "activation=silu"))
    weights = random_detector(file.model, 2, seed=0).state_dict()
    checkpoint = Checkpoint(
        file.model, file.preprocess.spec((96, 64)), OutputSpec(CLASSES, category_ids=(1, 2)), weights, {}
    )
    save_checkpoint(checkpoint, tmp_path / "silu.pt")
    return SubstituteRequest(
        tmp_path / "silu.pt", DataPaths(tiny_coco_once), tmp_path / "run", activation="relu", epochs=2, batch=4,
        images=8, threads=1, quiet=True,
    )  # fmt: skip


def test_substitute_checkpoint_tunes_and_reports(request_: SubstituteRequest) -> None:
    report = substitute_checkpoint(request_)
    tuned = load_checkpoint(report.checkpoint)
    assert tuned.model_config.activation == "relu"
    assert tuned.info["epoch"] == 2
    assert report.ap_tuned == tuned.info["ap"]
    assert json.loads((request_.out / "substitute.json").read_text()) == json.loads(json.dumps(report.to_json()))
    text = report.text()
    assert f"{report.cost_before.macs:,}" in text
    assert str(report.checkpoint) in text
    with pytest.raises(ConfigError, match="`resume`"):
        substitute_checkpoint(request_)
    with pytest.raises(ConfigError, match=r"other settings \(model\."):
        substitute_checkpoint(replace(request_, resume=True, activation="relu6"))
    assert substitute_checkpoint(replace(request_, resume=True)).ap_tuned == report.ap_tuned


def test_substitute_checkpoint_one_value_a_channel_is_refused(
    request_: SubstituteRequest, silu: Checkpoint, tmp_path: Path
) -> None:
    spec = replace(silu.preprocess, width=32, height=32)
    save_checkpoint(replace(silu, preprocess=spec), tmp_path / "small.pt")
    with pytest.raises(ConfigError, match="`imgsz` 32 with `batch` 1"):
        substitute_checkpoint(replace(request_, checkpoint=tmp_path / "small.pt", batch=1))
    assert not request_.out.exists()


def test_substitute_checkpoint_bad_input_writes_nothing(request_: SubstituteRequest, tmp_path: Path) -> None:
    loaded = load_checkpoint(request_.checkpoint)
    save_checkpoint(replace(loaded, outputs=OutputSpec(("green", "red"))), tmp_path / "turned.pt")
    for error, text, bad in (
        (CheckpointError, "no such checkpoint", replace(request_, checkpoint=tmp_path / "none.pt")),
        (DataError, "green", replace(request_, checkpoint=tmp_path / "turned.pt")),
        (ConfigError, "no data set", replace(request_, data=DataPaths())),
    ):
        with pytest.raises(error, match=text):
            substitute_checkpoint(bad)
        assert not request_.out.exists()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"activation": "gelu"}, "`activation` 'gelu'"),
        ({"activation": None}, "nothing to substitute"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_substitute_request_wrong_option_is_an_error(request_: SubstituteRequest, changes: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        replace(request_, **changes)


def test_substitute_report_of_a_network_that_finds_nothing_says_so() -> None:
    cost = Cost((), 0, 0, None, 0)
    report = SubstituteReport(Path("best.pt"), "relu6", False, 0.3, 0.1, 0.002, 1, cost, cost)
    assert "note: The model finds next to nothing (AP 0.002)" in report.text()
    assert "note" not in replace(report, ap_tuned=0.28).text()
