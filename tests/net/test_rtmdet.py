from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from edgedet.config import available_models, load_model_file
from edgedet.net.families import build_detector
from edgedet.net.layers import ConvModule, SPPBottleneck


def _macs(model: nn.Module, width: int, height: int) -> int:
    total = 0

    def count(module: nn.Conv2d, _inputs: tuple, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    device = next(model.parameters()).device
    with torch.no_grad():
        model(torch.zeros(1, 3, height, width, device=device))
    return total


@pytest.mark.parametrize("name", available_models())
@pytest.mark.parametrize("classes", [1, 4])
def test_build_detector_shipped_toml_gives_contract_shapes(name: str, classes: int) -> None:
    with torch.no_grad(), torch.device("meta"):  # shapes only
        outputs = build_detector(load_model_file(name).model, classes).eval()(torch.zeros(2, 3, 64, 96))
    expected = [(2, channels, 64 // s, 96 // s) for s in (8, 16, 32) for channels in (classes, 4)]
    assert [tuple(o.shape) for o in outputs] == expected


# M parameters and G MACs at 640x640 and 80 classes, from MMDetection's table of RTMDet (configs/rtmdet/README.md).
PUBLISHED = {
    "rtmdet_tiny": (4.8, 8.1),
    "rtmdet_s": (8.89, 14.8),
    "rtmdet_m": (24.71, 39.27),
    "rtmdet_l": (52.3, 80.23),
    "rtmdet_x": (94.86, 141.67),
}


@pytest.mark.parametrize(("name", "parameters", "macs"), [(name, *figures) for name, figures in PUBLISHED.items()])
def test_build_detector_published_size_has_the_published_figures(name: str, parameters: float, macs: float) -> None:
    with torch.device("meta"):
        model = build_detector(load_model_file(name).model, 80).eval()
        found = _macs(model, 640, 640) / 1e9
    # 4.896 M of tiny was published as 4.8; the others are rounded.
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(
        parameters, abs=0.1 if name == "rtmdet_tiny" else 0.016
    )
    # The published count has a share of normalizations and activations.
    assert 0.99 * macs < found < macs


def test_build_detector_nano_has_half_the_width_in_its_half_variants() -> None:
    for name in ("rtmdet_nano", "rtmdet_nano_relu", "rtmdet_nano_ncadc_relu6"):
        whole = load_model_file(name).model
        half = load_model_file(name.replace("nano", "nano_half")).model
        assert replace(whole, name=half.name, widen=whole.widen / 2) == half


def test_build_detector_ncadc_relu6_has_the_reference_size() -> None:
    # 2,436,733 parameters and 333.1 M MACs at 192x192, 3 classes: SSCMA's network (shared/facts.md).
    model = build_detector(load_model_file("rtmdet_nano_ncadc_relu6").model, 3).eval()
    assert sum(p.numel() for p in model.parameters()) == 2_436_733
    assert _macs(model, 192, 192) == 333_137_664


def test_build_detector_pico_stays_below_30_m_macs() -> None:
    file = load_model_file("rtmdet_pico_relu6")
    assert file.preprocess.imgsz == 160
    assert _macs(build_detector(file.model, 3).eval(), 160, 160) <= 30_000_000


def test_build_detector_names_follow_mmdetection() -> None:
    names = set(build_detector(load_model_file("rtmdet_nano").model, 3).state_dict())
    assert {
        "backbone.stem.0.conv.weight",
        "backbone.stage1.0.conv.weight",
        "backbone.stage1.1.blocks.0.conv2.depthwise_conv.bn.running_mean",
        "backbone.stage1.1.attention.fc.bias",
        "backbone.stage4.1.conv2.conv.weight",
        "neck.reduce_layers.0.conv.weight",
        "neck.top_down_blocks.1.short_conv.conv.weight",
        "neck.bottom_up_blocks.0.final_conv.bn.bias",
        "neck.out_convs.2.conv.weight",
        "bbox_head.cls_convs.2.1.bn.weight",
        "bbox_head.rtm_reg.0.bias",
    } <= names


def test_build_detector_shared_head_shares_convolutions_not_norms() -> None:
    head = build_detector(load_model_file("rtmdet_nano").model, 3).bbox_head
    assert head.cls_convs[0][1].conv.weight is head.cls_convs[2][1].conv.weight
    assert head.cls_convs[0][1].bn.weight is not head.cls_convs[2][1].bn.weight
    separate = build_detector(load_model_file("rtmdet_nano_ncadc_relu6").model, 3).bbox_head
    assert separate.cls_convs[0][1].conv.weight is not separate.cls_convs[2][1].conv.weight


def test_conv_module_same_padding_pads_bottom_and_right_only() -> None:
    config = load_model_file("rtmdet_pico_relu6").model
    module = ConvModule(config, 1, 1, 3, 2).eval()
    with torch.no_grad():
        module.conv.weight.copy_(torch.arange(1.0, 10.0).reshape(1, 1, 3, 3))
        x = torch.zeros(1, 1, 4, 4)
        x[0, 0, 3, 3] = 0.25
        y = module(x)
    # Output cell (1, 1) covers rows 2..4: pixel (3, 3) meets the kernel's centre (weight 5); 1e-5: BatchNorm's epsilon.
    torch.testing.assert_close(y, torch.tensor([[[[0.0, 0.0], [0.0, 1.25]]]]), rtol=1e-4, atol=0)


def test_spp_bottleneck_chained_pools_equal_5_9_13() -> None:
    torch.manual_seed(0)
    module = SPPBottleneck(load_model_file("rtmdet_nano").model, 8).eval()
    x = torch.randn(1, 8, 7, 9)
    with torch.no_grad():
        y = module.conv1(x)
        pools = [nn.functional.max_pool2d(y, k, 1, k // 2) for k in (5, 9, 13)]
        expected = module.conv2(torch.cat((y, *pools), 1))
        assert torch.equal(module(x), expected)


def test_build_detector_exp_boxes_gives_the_exponential_of_the_box_convolutions() -> None:
    config = load_model_file("rtmdet_pico_relu6").model
    torch.manual_seed(0)
    linear = build_detector(config, 2).eval()
    exponential = build_detector(replace(config, exp_boxes=True), 2).eval()
    exponential.load_state_dict(linear.state_dict())
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for number, (plain, raised) in enumerate(zip(linear(x), exponential(x), strict=True)):
            assert torch.equal(raised, plain.exp() if number % 2 else plain)
