from __future__ import annotations

import torch
from torch import Tensor, nn

from edgedet.config import load_model_file
from edgedet.net.families import build_detector
from edgedet.net.layers import ConvModule
from edgedet.net.mobilenetv4 import MobileNetV4ConvSmall, UniversalInvertedBottleneck

CONFIG = load_model_file("rtmdet_mnv4").model


def test_backbone_with_its_classifier_has_the_published_size() -> None:
    # The paper goes on with 1x1 to 960 and BatchNorm, pooling, 1x1 to 1280 and BatchNorm, 1000 classes, and says 3.8 M
    # parameters and 0.2 G MACs at 224x224; timm's model of the same name has 3,774,024 parameters.
    macs = [7 * 7 * 128 * 960, 960 * 1280, 1280 * 1000]

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        macs.append(output.numel() * module.weight[0].numel())

    with torch.device("meta"):
        backbone = MobileNetV4ConvSmall(CONFIG, 3).eval()
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(count)
        features = backbone(torch.zeros(1, 3, 224, 224))
    assert [tuple(f.shape) for f in features] == [(1, 64, 28, 28), (1, 96, 14, 14), (1, 128, 7, 7)]
    classifier = 128 * 960 + 2 * 960 + 960 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert sum(p.numel() for p in backbone.parameters()) + classifier == 3_774_024
    assert round(sum(macs) / 1e9, 1) == 0.2


def test_backbone_has_the_blocks_of_the_paper() -> None:
    blocks = [m for m in MobileNetV4ConvSmall(CONFIG, 3).modules() if isinstance(m, UniversalInvertedBottleneck)]
    kernels = [[m.conv.kernel_size[0] for m in block.layers if isinstance(m, ConvModule)] for block in blocks]
    extra_dw, ib, conv_next = [5, 1, 5, 1], [1, 3, 1], [3, 1, 1]
    assert kernels[:6] == [extra_dw, ib, ib, ib, ib, conv_next]
    assert kernels[6:] == [[3, 1, 3, 1], [5, 1, 5, 1], [1, 5, 1], [1, 5, 1], ib, ib]
    assert [block.add_identity for block in blocks] == [False, *[True] * 5] * 2


def test_bottleneck_activates_expansion_and_middle_only() -> None:
    first = next(m for m in MobileNetV4ConvSmall(CONFIG, 3).modules() if isinstance(m, UniversalInvertedBottleneck))
    assert [type(layer.activate) for layer in first.layers] == [nn.Identity, nn.ReLU, nn.ReLU, nn.Identity]
    assert [layer.conv.stride[0] for layer in first.layers] == [1, 1, 2, 1]


def test_bottleneck_identity_adds_its_input() -> None:
    torch.manual_seed(0)
    block = MobileNetV4ConvSmall(CONFIG, 3).stage3[1].eval()
    x = torch.randn(1, 96, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(block(x), x + block.layers(x), rtol=0, atol=0)


def test_build_detector_mnv4_has_the_neck_of_its_backbone_and_takes_grey() -> None:
    with torch.device("meta"):
        detector = build_detector(CONFIG, 2, in_channels=1)
    assert detector.backbone.stem[0].conv.weight.shape == (32, 1, 3, 3)
    # Reductions go to the width of the next finer map; the head has its own.
    assert [layer.conv.weight.shape[:2] for layer in detector.neck.reduce_layers] == [(96, 128), (64, 96)]
    assert [layer.conv.weight.shape[:2] for layer in detector.neck.out_convs] == [(64, 64), (64, 96), (64, 128)]
