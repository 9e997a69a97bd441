from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from edgedet.diagnose.rebuild import rebuild, with_weights_of, without_rounding
from edgedet.errors import ConversionError
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.graph.graph import Quantization
from edgedet.net.checkpoint import load_checkpoint
from edgedet.quantize.fx.fake_quant import QuantConv2d
from edgedet.quantize.fx.to_graph import graph_from_fx


def outputs_of(model: nn.Module, seed: int = 3) -> torch.Tensor:
    """All outputs of one random picture, one behind the other."""
    x = torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, (1, 3, 64, 96)).astype(np.float32))
    with torch.inference_mode():
        return torch.cat([y.flatten() for y in model.eval()(x)])


def equalized(lowered: GraphModule) -> GraphModule:
    """Channels of one convolution and its reader rescaled by powers of two, as cross-layer equalization does."""
    modules = dict(lowered.named_modules(remove_duplicate=False))
    first, second = modules["bbox_head.cls_convs.0.0.conv"], None
    for node in lowered.graph.nodes:
        if (
            node.op == "call_module"
            and "cls_convs.0.1" in str(node.target)
            and isinstance(modules[str(node.target)], nn.Conv2d)
        ):
            second = modules[str(node.target)]
            break
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    factor = torch.from_numpy(np.exp2(np.arange(first.out_channels) % 3 - 2).astype(np.float32))
    with torch.no_grad():
        first.weight *= factor[:, None, None, None]
        first.bias *= factor
        second.weight /= factor[:, None, None, None] if second.groups > 1 else factor[None, :, None, None]
    return lowered


def test_rebuild_gives_the_file_again_and_the_float_function(pico: Path, maker: ModuleType) -> None:
    graph, checkpoint = read_tflite(pico / maker.MODEL), load_checkpoint(pico / maker.CHECKPOINT)
    rebuilt = rebuild(graph, checkpoint, "file")
    again = graph_from_fx(rebuilt.frozen, checkpoint.preprocess, checkpoint.outputs)
    assert again.tensors == graph.tensors
    assert again.metadata == graph.metadata
    torch.testing.assert_close(outputs_of(rebuilt.folded), outputs_of(checkpoint.build()), rtol=1e-3, atol=1e-3)
    assert not rebuilt.rescaled
    assert not rebuilt.fine_tuned
    assert 0.2 < rebuilt.weight_distance < 0.3  # uniform rounding errors: 1 / sqrt(12)
    assert {graph.tensors[i].name for i in rebuilt.tensors.values()} >= {"input", "cls_8", "box_32"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rtmdet_nano", pytest.param("rtmdet_nano_relu", marks=pytest.mark.long)])
def test_rebuild_attention_silu_and_padding_are_matched(name: str, tmp_path: Path, maker: ModuleType) -> None:
    maker.write_detector(tmp_path, name)
    graph = read_tflite(tmp_path / maker.MODEL)
    rebuilt = rebuild(graph, load_checkpoint(tmp_path / maker.CHECKPOINT), "file")
    pads = sum(op.kind == "PAD" for op in graph.operators)
    assert pads > 0
    assert len(rebuilt.tensors) == len(graph.operators) - pads + 1  # and the input
    assert not rebuilt.fine_tuned


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("rtmdet_pico_relu6", ("backbone.stage1.0.pointwise_conv.conv", "add_1")),
        pytest.param("rtmdet_nano", ("backbone.stem.1.conv", "mul_9", "mean_2"), marks=pytest.mark.long),
    ],
)
def test_rebuild_int16_layers_are_matched(
    name: str, layers: tuple[str, ...], tmp_path: Path, maker: ModuleType
) -> None:
    maker.write_detector(tmp_path, name, int16=layers)
    graph, checkpoint = read_tflite(tmp_path / maker.MODEL), load_checkpoint(tmp_path / maker.CHECKPOINT)
    rebuilt = rebuild(graph, checkpoint, "file")
    assert graph_from_fx(rebuilt.frozen, checkpoint.preprocess, checkpoint.outputs).tensors == graph.tensors
    assert any(t.dtype == "int16" for t in graph.tensors)
    torch.testing.assert_close(outputs_of(rebuilt.folded), outputs_of(checkpoint.build()), rtol=1e-3, atol=1e-3)
    assert not rebuilt.fine_tuned


def test_rebuild_foreign_int16_operators_are_an_error(pico: Path, maker: ModuleType) -> None:
    graph = read_tflite(pico / maker.MODEL)
    box = next(i for i in graph.outputs if graph.tensors[i].name == "box_8")
    scale = graph.tensors[box].quantization.scale / 128
    wide = dataclasses.replace(
        graph.tensors[box], dtype="int16", quantization=Quantization(scale, np.zeros(1, np.int64), 0)
    )
    broken = dataclasses.replace(graph, tensors=(*graph.tensors[:box], wide, *graph.tensors[box + 1 :]))
    with pytest.raises(ConversionError, match=r"not an int16 file of .*output of the network"):
        rebuild(broken, load_checkpoint(pico / maker.CHECKPOINT), "file")


def test_rebuild_equalized_file_finds_the_gains(tmp_path: Path, maker: ModuleType) -> None:
    maker.write_detector(tmp_path, "rtmdet_nano_relu", equalized)
    checkpoint = load_checkpoint(tmp_path / maker.CHECKPOINT)
    rebuilt = rebuild(read_tflite(tmp_path / maker.MODEL), checkpoint, "file")
    assert rebuilt.rescaled
    changed = {name: gain for name, gain in rebuilt.gains.items() if (gain != 1).any()}
    assert all("cls_convs_0_0" in name or "fake_quants" in name for name in changed)
    gain = next(gain for name, gain in changed.items() if "cls_convs_0_0" in name)
    np.testing.assert_array_equal(gain, np.exp2(np.arange(len(gain)) % 3 - 2))
    assert rebuilt.weight_distance < 0.3
    torch.testing.assert_close(outputs_of(rebuilt.scaled), outputs_of(rebuilt.folded), rtol=1e-4, atol=1e-4)


def test_rebuild_retrained_weights_are_called_fine_tuned(pico: Path, tmp_path: Path, maker: ModuleType) -> None:
    def trained(lowered: GraphModule) -> GraphModule:
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in lowered.parameters():
                parameter += 0.03 * parameter.std() * torch.randn(parameter.shape, generator=generator)
        return lowered

    maker.write_detector(tmp_path, change=trained)
    rebuilt = rebuild(read_tflite(tmp_path / maker.MODEL), load_checkpoint(pico / maker.CHECKPOINT), "file")
    assert rebuilt.fine_tuned
    assert not rebuilt.rescaled


def test_with_weights_of_and_without_rounding_mix_the_two_networks(pico: Path, maker: ModuleType) -> None:
    rebuilt = rebuild(read_tflite(pico / maker.MODEL), load_checkpoint(pico / maker.CHECKPOINT), "file")
    float_weights = with_weights_of(rebuilt.frozen, rebuilt.scaled)
    float_activations = without_rounding(rebuilt.frozen)
    path = next(path for path, module in rebuilt.frozen.named_modules() if isinstance(module, QuantConv2d))
    weight = [m.get_submodule(path).weight for m in (rebuilt.frozen, float_weights, float_activations, rebuilt.folded)]
    assert torch.equal(weight[0], weight[2])
    assert torch.equal(weight[1], weight[3])
    assert not torch.equal(weight[0], weight[1])
    results = [outputs_of(m) for m in (rebuilt.folded, float_weights, float_activations, rebuilt.frozen)]
    errors = [float((r - results[0]).abs().mean()) for r in results]
    assert errors[0] == 0
    assert 0 < errors[1] < 2 * errors[3]
    assert 0 < errors[2] < 2 * errors[3]


def test_rebuild_wrong_pair_says_so(pico: Path, tmp_path: Path, maker: ModuleType) -> None:
    checkpoint, graph = load_checkpoint(pico / maker.CHECKPOINT), read_tflite(pico / maker.MODEL)
    maker.write_detector(tmp_path, "rtmdet_nano_relu")
    with pytest.raises(ConversionError, match=r"other\.tflite: .*quantized from"):
        rebuild(read_tflite(tmp_path / maker.MODEL), checkpoint, "other.tflite")
    index = graph.tensor_index("cls_8")
    renamed = tuple(dataclasses.replace(t, name="scores") if i == index else t for i, t in enumerate(graph.tensors))
    with pytest.raises(ConversionError, match=r"file: tensor 'scores' .*'cls_8'.*quantized from"):
        rebuild(dataclasses.replace(graph, tensors=renamed), checkpoint, "file")
    write_tflite(graph, tmp_path / "same.tflite")
    rebuild(read_tflite(tmp_path / "same.tflite"), checkpoint, "file")
