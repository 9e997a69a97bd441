"""Imported networks against a slow reference of the originals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from openmmlab import NANO_SSCMA, S_MMYOLO, TINY_MMDET, Layout, random_state, reference_outputs, save_foreign

from edgedet.errors import CheckpointError, ConfigError
from edgedet.exchange.checkpoints.api import ImportRequest, import_checkpoint, list_keys
from edgedet.exchange.checkpoints.architecture import Choices
from edgedet.exchange.checkpoints.contracts import InputChoices
from edgedet.net.checkpoint import load_checkpoint

# Sums of float32 in another order, over some 60 layers: measured at most 4e-6.
TOLERANCE = 1e-5


def _import(tmp_path: Path, layout: Layout, state: dict[str, torch.Tensor], **content: object) -> ImportRequest:
    path = tmp_path / "foreign.pth"
    save_foreign(path, layout, state, **content)  # type: ignore[arg-type]
    return ImportRequest(path, tmp_path / "own.pt")


@pytest.mark.parametrize(
    "layout",
    [
        TINY_MMDET,
        S_MMYOLO,
        NANO_SSCMA,
        replace(TINY_MMDET, exp=True),
        replace(NANO_SSCMA, activation="ReLU", attention=True, eps=1e-3),
        replace(TINY_MMDET, share=False, classes=4, eps=1e-3),
    ],
    ids=["tiny-mmdet", "s-mmyolo", "nano-sscma", "exp", "nano-relu-eps", "separate-4-classes-eps"],
)
def test_import_checkpoint_gives_the_outputs_of_the_reference(tmp_path: Path, layout: Layout) -> None:
    state = random_state(layout)
    report = import_checkpoint(_import(tmp_path, layout, state))
    assert ("boxes:    exponentials" in report.text()) == layout.exp
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference_outputs(layout, state, x)
        found = load_checkpoint(tmp_path / "own.pt").build()(x)
    assert [tuple(f.shape) for f in found] == [tuple(e.shape) for e in expected]
    for f, e in zip(found, expected, strict=True):
        assert float(e.std()) > 1e-2  # not faded: the comparison sees every layer
        assert float((f - e).abs().max()) <= TOLERANCE * max(1.0, float(e.abs().max()))


def _bare(tmp_path: Path, state: dict[str, torch.Tensor]) -> ImportRequest:
    """A file that holds nothing but weights, with everything said that it does not say."""
    torch.save(state, tmp_path / "bare.pth")
    return ImportRequest(
        tmp_path / "bare.pth",
        tmp_path / "own.pt",
        class_names=("a", "b", "c"),
        inputs=InputChoices(preset="sscma", imgsz=(96, 64)),
        network=Choices(activation="relu6"),
    )


@pytest.fixture(scope="module")
def nano() -> dict[str, torch.Tensor]:
    return dict(random_state(NANO_SSCMA))


def test_import_checkpoint_bare_weights_with_wrappers_and_shared_convolutions_left_out(tmp_path: Path) -> None:
    layout = replace(NANO_SSCMA, share=True)
    state = random_state(layout)
    kept = {f"module.{k}": v for k, v in state.items() if ".1.0.conv.w" not in k and "num_batches" not in k}
    kept |= {"module.data_preprocessor.mean": torch.zeros(3, 1, 1), "steps": torch.tensor(3)}
    removed = [k for k in state if "head" in k and ".1.0.conv.w" in k]
    kept |= {f"module.{k}": v for k, v in state.items() if ".1.0.conv.w" in k and k not in removed}
    report = import_checkpoint(_bare(tmp_path, kept))
    assert report.keys("unused") == ("module.data_preprocessor.mean", "steps")
    assert {name for name in report.keys("filled") if name.endswith("conv.weight")} == {
        "bbox_head.cls_convs.1.0.conv.weight",
        "bbox_head.reg_convs.1.0.conv.weight",
    }
    assert "steps" in report.text()
    checkpoint = load_checkpoint(tmp_path / "own.pt")
    assert checkpoint.model_config.share_head
    assert checkpoint.outputs.class_names == ("a", "b", "c")
    spec = checkpoint.preprocess
    assert spec.interpolation == "bilinear"
    assert (spec.width, spec.height, spec.channel_order, spec.mean, spec.std) == (
        96,
        64,
        "BGR",
        (0.0, 0.0, 0.0),
        (255.0, 255.0, 255.0),
    )


@pytest.mark.parametrize("table", ["state_dict", "ema_state_dict"])
def test_import_checkpoint_takes_the_table_asked_for(tmp_path: Path, nano: dict[str, torch.Tensor], table: str) -> None:
    request = _import(tmp_path, NANO_SSCMA, nano, classes=("x", "y", "z"))
    report = import_checkpoint(replace(request, weights=None if table == "state_dict" else table))
    name = "bbox_head.rtm_cls.0.bias"
    found = report.checkpoint.weights[name]
    expected = nano["bbox_head.head_module.rtm_cls.0.bias"]
    assert torch.equal(found, expected if table == "state_dict" else expected + 1)
    assert report.checkpoint.outputs.class_names == ("x", "y", "z")
    assert report.checkpoint.model_config.name == "rtmdet_nano_ncadc_relu6"
    assert "not ema_state_dict" in report.text() or table == "ema_state_dict"


def _changed(state: dict[str, torch.Tensor], change: str) -> dict[str, torch.Tensor]:
    state = dict(state)
    if change == "missing":
        del state["backbone.stage2.1.blocks.1.conv2.pointwise_conv.bn.bias"]
        del state["neck.out_layers.0.conv.weight"]
    elif change == "unknown":
        state["neck.extra.weight"] = torch.ones(2)
    elif change == "shape":
        state["neck.downsample_layers.1.conv.weight"] = torch.ones(3, 3, 3, 3)
    elif change == "nan":
        state["backbone.stem.0.conv.weight"] = torch.full((8, 3, 3, 3), torch.nan)
    elif change == "objectness":
        state["bbox_head.rtm_obj.0.weight"] = torch.ones(1, 64, 1, 1)
    elif change == "backbone only":
        state = {name: value for name, value in state.items() if name.startswith("backbone.")}
    elif change == "no tensor":
        state["backbone.stem.0.conv.weight"] = 3  # type: ignore[assignment]
    elif change == "depth":
        state = {n: v for n, v in state.items() if not n.startswith("backbone.stage2.1.blocks.1.")}
    return state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"the file lacks .*blocks\.1\.conv2\.pointwise_conv\.bn\.bias.*out_convs\.0\.conv\.weight"),
        ("unknown", r"no place for neck\.extra\.weight"),
        ("shape", r"another shape for neck\.downsample_layers\.1\.conv\.weight \(3, 3, 3, 3\)"),
        ("nan", r"backbone\.stem\.0\.conv\.weight holds NaN"),
        ("objectness", "an objectness branch"),
        ("backbone only", r"no weights named neck\.\*, bbox_head\.\*"),
        ("no tensor", "expected a tensor, found 3"),
        ("depth", r"\[1, 1, 2, 1\] CSPNeXt blocks"),
    ],
)
def test_import_checkpoint_what_does_not_fit_is_refused_and_nothing_written(
    tmp_path: Path, nano: dict[str, torch.Tensor], change: str, message: str
) -> None:
    request = _bare(tmp_path, _changed(nano, change))
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(request)
    assert not request.out.exists()


def test_list_keys_shows_every_key_and_its_fate(tmp_path: Path, nano: dict[str, torch.Tensor]) -> None:
    rows = list_keys(_bare(tmp_path, _changed(_changed(nano, "missing"), "unknown") | {"other": torch.ones(1)}))
    fates = {row.source or row.name: row.fate for row in rows}
    assert fates["neck.out_convs.0.conv.weight"] == "missing"
    assert (fates["neck.extra.weight"], fates["other"]) == ("unknown", "unused")
    assert sum(fate == "used" for fate in fates.values()) == len(nano) - 2


def test_import_checkpoint_own_checkpoint_is_refused(tmp_path: Path, nano: dict[str, torch.Tensor]) -> None:
    import_checkpoint(_bare(tmp_path, nano))
    with pytest.raises(CheckpointError, match="checkpoint of edgedet already"):
        import_checkpoint(ImportRequest(tmp_path / "own.pt", tmp_path / "again.pt"))


def test_import_checkpoint_onto_itself_is_refused_and_the_file_kept(
    tmp_path: Path, nano: dict[str, torch.Tensor]
) -> None:
    request = _bare(tmp_path, nano)
    before = request.checkpoint.read_bytes()
    with pytest.raises(ConfigError, match="is the file to import"):
        import_checkpoint(replace(request, out=tmp_path / "." / request.checkpoint.name))
    assert request.checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ({"network": Choices()}, "which activation.*`activation`"),
        ({"inputs": InputChoices(imgsz=(64, 64))}, "`preset`"),
        ({"class_names": None}, "names 0 classes, its head has 3; give `class_names`"),
        ({"class_names": ("a", "b")}, "you give 2 classes"),
        ({"weights": "ema_state_dict"}, "no `weights` 'ema_state_dict'"),
    ],
)
def test_import_checkpoint_what_nobody_says_is_asked_for(
    tmp_path: Path, nano: dict[str, torch.Tensor], left_out: dict[str, object], message: str
) -> None:
    request = _bare(tmp_path, nano)
    with pytest.raises(CheckpointError, match=message):
        import_checkpoint(replace(request, **left_out))  # type: ignore[arg-type]
