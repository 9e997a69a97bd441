from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from openmmlab import NANO_SSCMA, random_state, save_foreign
from random_weights import random_detector

from edgedet.commands.main import main
from edgedet.config import ModelConfig, load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.paths import DataPaths
from edgedet.errors import CheckpointError, ConfigError
from edgedet.net.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedet.training import loop
from edgedet.training.loop import TrainRequest, TrainResult, train
from edgedet.training.schedule import parameter_groups
from edgedet.training.warm_start import WarmStart, make_start, warm_model_file, warm_preprocess

PICO = load_model_file("rtmdet_pico_relu6").model
INPUT = PreprocessSpec(64, 64, "BGR", mean=(1.0, 2.0, 3.0), std=(50.0, 60.0, 70.0))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of pico for the classes green, blue."""
    return _saved(tmp_path_factory.mktemp("ckpt") / "pico.pt", PICO)


def _saved(path: Path, model: ModelConfig, classes: tuple[str, ...] = ("green", "blue")) -> Path:
    weights = random_detector(model, len(classes), seed=3).state_dict()
    save_checkpoint(Checkpoint(model, INPUT, OutputSpec(classes), dict(weights), {}), path)
    return path


def test_make_start_classes_of_equal_names_keep_their_rows(pretrained: Path) -> None:
    start = make_start(WarmStart(pretrained), PICO, INPUT, OutputSpec(("red", "green", "amber")), seed=0)
    before = load_checkpoint(pretrained).weights
    assert start.weights is not None
    for level in range(3):
        name = f"bbox_head.rtm_cls.{level}"
        assert torch.equal(start.weights[f"{name}.weight"][1], before[f"{name}.weight"][0])
        assert torch.equal(start.weights[f"{name}.bias"][1], before[f"{name}.bias"][0])
        # The others begin with RetinaNet's prior probability of 0.01.
        assert torch.allclose(start.weights[f"{name}.bias"][[0, 2]].sigmoid(), torch.tensor(0.01))
    others = [name for name in before if not name.startswith("bbox_head.rtm_cls.")]
    assert all(torch.equal(start.weights[name], before[name]) for name in others)
    text = "\n".join(start.notes)
    assert "class rows kept: green" in text
    assert "predictors of classes red, amber" in text


def test_make_start_remake_head_takes_nothing_of_it(pretrained: Path) -> None:
    start = make_start(WarmStart(pretrained, remake_head=True), PICO, INPUT, OutputSpec(("green", "blue")), seed=0)
    before = load_checkpoint(pretrained).weights
    assert start.weights is not None
    same = {name for name in before if torch.equal(start.weights[name], before[name])}
    assert not any(name.startswith("bbox_head.") and name.endswith("conv.weight") for name in same)
    assert all(name in same for name in before if name.startswith(("backbone.", "neck.")))


def test_make_start_linear_boxes_of_an_exponential_head_are_fresh(tmp_path: Path) -> None:
    path = _saved(tmp_path / "exp.pt", replace(PICO, exp_boxes=True))
    start = make_start(WarmStart(path), PICO, INPUT, OutputSpec(("green", "blue")), seed=0)
    assert start.weights is not None
    assert torch.equal(start.weights["bbox_head.rtm_reg.0.bias"], torch.full((4,), 2.0))
    assert "exp_boxes True -> False" in "\n".join(start.notes)
    assert "re-made: bbox_head.rtm_reg.0" in "\n".join(start.notes)


@pytest.mark.parametrize(
    ("freeze", "last"),
    [("stem", "backbone.stem"), ("stage2", "backbone.stage2"), ("backbone", "backbone.stage4"), ("neck", "neck")],
)
def test_make_start_freeze_takes_everything_before(pretrained: Path, freeze: str, last: str) -> None:
    start = make_start(WarmStart(pretrained, freeze), PICO, INPUT, OutputSpec(("green",)), seed=0)
    assert (start.frozen[0], start.frozen[-1]) == ("backbone.stem", last)
    assert any(note.startswith("frozen: backbone.stem") for note in start.notes)


@pytest.mark.parametrize(
    ("model", "warm", "message"),
    [
        (load_model_file("rtmdet_nano_ncadc_relu6").model, {}, "which rtmdet_nano_ncadc_relu6 can't start from"),
        (PICO, {"freeze": "stage9"}, "`freeze` 'stage9': expected one of stem, stage1, .*, backbone, neck"),
    ],
)
def test_make_start_what_does_not_fit_is_an_error(
    pretrained: Path, model: ModelConfig, warm: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_start(WarmStart(pretrained, **warm), model, INPUT, OutputSpec(("green",)), seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5])
def test_warm_start_backbone_lr_scale_out_of_range_is_an_error(scale: float) -> None:
    with pytest.raises(ConfigError, match="`backbone_lr_scale`"):
        WarmStart(Path("a.pt"), backbone_lr_scale=scale)


def test_parameter_groups_backbone_with_its_own_rate_and_frozen_in_none() -> None:
    model = random_detector(PICO, 2, seed=0)
    model.freeze(("backbone.stem",))
    groups = parameter_groups(model, 0.05, backbone_lr_scale=0.1)
    assert [(g["lr_scale"], g["weight_decay"]) for g in groups] == [(1.0, 0.05), (1.0, 0.0), (0.1, 0.05), (0.1, 0.0)]
    slow = {id(p) for g in groups[2:] for p in g["params"]}  # type: ignore[attr-defined]
    stages = [
        p for n, p in model.named_parameters() if n.startswith("backbone.") and not n.startswith("backbone.stem.")
    ]
    assert slow == {id(p) for p in stages}


def _request(data: Path, out: Path, start: WarmStart | None, model: str | None = None) -> TrainRequest:
    overrides = ("train.bf16=false", "train.eval_interval=1", "train.threads=1", "train.close_mosaic=1.0")
    return TrainRequest(model, DataPaths(data), out, epochs=2, batch=4, overrides=overrides, quiet=True, start=start)


@pytest.fixture(scope="module")
def whole(tiny_coco_once: Path, tmp_path_factory: pytest.TempPathFactory, pretrained: Path) -> TrainResult:
    """A run of two epochs, uninterrupted."""
    warm = WarmStart(pretrained, "stage3", 0.1)
    return train(_request(tiny_coco_once, tmp_path_factory.mktemp("whole") / "run", warm))


def test_train_from_checkpoint_keeps_frozen_parts_and_the_contract(pretrained: Path, whole: TrainResult) -> None:
    before, after = load_checkpoint(pretrained), load_checkpoint(whole.last)
    assert after.preprocess == before.preprocess
    assert after.outputs.class_names == ("red", "green")
    for name, value in before.weights.items():
        if name.startswith(("backbone.stem.", "backbone.stage1.", "backbone.stage2.", "backbone.stage3.")):
            assert torch.equal(after.weights[name], value), name
        elif name.endswith(".bn.running_mean"):
            assert not torch.equal(after.weights[name], value), name


def test_train_from_checkpoint_resumed_equals_uninterrupted(
    tiny_coco_once: Path, tmp_path: Path, pretrained: Path, whole: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = _request(tiny_coco_once, tmp_path / "parts", WarmStart(pretrained, "stage3", 0.1))
    save = loop._save

    def stop_after_one(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_save", stop_after_one)
    with pytest.raises(KeyboardInterrupt):
        train(request)
    monkeypatch.undo()
    resumed = train(replace(request, resume=True))
    assert [r.loss for r in resumed.history] == [r.loss for r in whole.history]
    with pytest.raises(ConfigError, match=r"freeze stage3.*freeze None"):
        train(replace(request, resume=True, start=WarmStart(pretrained)))


def test_warm_preprocess_is_the_checkpoints_but_for_what_an_override_changes(pretrained: Path) -> None:
    checkpoint = load_checkpoint(pretrained)
    for overrides, imgsz, expected in (
        ((), None, INPUT),
        (("train.lr=0.1",), (96, 64), replace(INPUT, width=96)),
        (("preprocess.channels=1",), None, PreprocessSpec(64, 64, "GRAY", mean=(0.0,), std=(255.0,))),
    ):
        file = warm_model_file(checkpoint, None, overrides, pretrained)
        assert warm_preprocess(checkpoint, file, None, imgsz) == expected


def test_train_from_imported_checkpoint(tiny_coco_once: Path, tmp_path: Path) -> None:
    layout = replace(NANO_SSCMA, classes=2)
    save_foreign(tmp_path / "f.pth", layout, random_state(layout), ("red", "person"))
    arguments = ["--imgsz", "64", "--out", str(tmp_path / "own.pt")]
    assert main(["import", str(tmp_path / "f.pth"), *arguments]) == 0
    result = train(replace(_request(tiny_coco_once, tmp_path / "run", WarmStart(tmp_path / "own.pt")), epochs=1))
    after = load_checkpoint(result.last)
    assert after.model_config == load_checkpoint(tmp_path / "own.pt").model_config
    assert (after.preprocess.channel_order, after.preprocess.std) == ("BGR", (255.0, 255.0, 255.0))


def test_train_without_model_or_start_says_so(tiny_coco_once: Path, tmp_path: Path, pretrained: Path) -> None:
    with pytest.raises(ConfigError, match="which `model`"):
        train(_request(tiny_coco_once, tmp_path / "run", None))
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        train(_request(tiny_coco_once, tmp_path / "run", WarmStart(tmp_path / "gone.pt")))
    other = _saved(tmp_path / "own_name.pt", replace(PICO, name="mine"))
    with pytest.raises(ConfigError, match=r"'mine' is none of the shipped models.*`model`"):
        train(_request(tiny_coco_once, tmp_path / "run", WarmStart(other)))
    assert not (tmp_path / "run").exists()


def test_train_command_start_options_without_from(
    tiny_coco_once: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", "rtmdet_pico_relu6", "--data", str(tiny_coco_once), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--freeze", "stem"]) == 2
    assert "belong to --from" in capsys.readouterr().err
    assert main(["train", "--data", str(tiny_coco_once), "--out", str(tmp_path / "run")]) == 2
    assert "--from" in capsys.readouterr().err
