from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from edgedet.config import available_models, load_model_file, read_toml
from edgedet.errors import ConfigError
from edgedet.model_keys import OTHER_KEYS
from edgedet.resources import resource_dir


@pytest.mark.parametrize("name", available_models())
def test_load_model_file_shipped_toml_is_complete(name: str) -> None:
    file = load_model_file(name)
    assert file.model.name == name
    assert file.about.made_for
    spec = file.preprocess.spec()
    assert (spec.width, spec.height) == (file.preprocess.imgsz,) * 2


def test_available_models_are_all_sizes_and_variants() -> None:
    nano = [
        "nano",
        "nano_half",
        "nano_half_ncadc_relu6",
        "nano_half_relu",
        "nano_ncadc_relu6",
        "nano_relu",
        "nano_relu_q",
    ]
    names = [*"lmsx", "mnv4", "tiny", "pico_relu6", *nano]
    assert available_models() == tuple(sorted(f"rtmdet_{name}" for name in names))


def test_load_model_file_unknown_name_says_what_was_meant() -> None:
    with pytest.raises(
        ConfigError, match=r"no model 'rtmdet_nanno' \(did you mean 'rtmdet_nano'\?\): expected the path"
    ):
        load_model_file("rtmdet_nanno")
    with pytest.raises(ConfigError, match=r"no model 'yolo': expected the path of a .toml file or one of rtmdet_l, "):
        load_model_file("yolo")


def test_load_model_file_own_file_needs_neither_about_nor_recipe(tmp_path: Path) -> None:
    text = (resource_dir("models") / "rtmdet_nano.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text[: text.index("[about]")] + text[text.index("[model]") :])
    file = load_model_file(str(path))
    assert (file.about.made_for, file.qat) == ("", None)
    assert file.model == load_model_file("rtmdet_nano").model


def test_load_model_file_recipe_is_checked_like_every_section(tmp_path: Path) -> None:
    recipe = load_model_file("rtmdet_nano_relu_q", ("qat.epochs=7",)).qat
    assert recipe is not None
    assert recipe.epochs == 7
    with pytest.raises(ConfigError, match=r"qat: epochs: expected int, got 1.5"):
        load_model_file("rtmdet_nano_relu_q", ("qat.epochs=1.5",))


def test_rtmdet_nano_relu_q_is_rtmdet_nano_relu_with_a_recipe() -> None:
    plain, with_recipe = load_model_file("rtmdet_nano_relu"), load_model_file("rtmdet_nano_relu_q")
    assert replace(with_recipe.model, name=plain.model.name) == plain.model
    assert (with_recipe.preprocess, with_recipe.train) == (plain.preprocess, plain.train)
    recipes = [name for name in available_models() if load_model_file(name).qat is not None]
    assert recipes == ["rtmdet_nano_relu_q"]


def test_load_model_file_path_equals_name() -> None:
    path = resource_dir("models") / "rtmdet_nano.toml"
    assert load_model_file(str(path)) == load_model_file("rtmdet_nano")


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.lr=0.5", "train", "lr", 0.5),
        ("lr=1", "train", "lr", 1.0),
        ("activation=relu6", "model", "activation", "relu6"),
        ('model.activation="hardswish"', "model", "activation", "hardswish"),
        ("bf16=false", "train", "bf16", False),
        ("mean=[1, 2, 3]", "preprocess", "mean", (1.0, 2.0, 3.0)),
        ("channels=1", "preprocess", "channels", 1),
    ],
)
def test_load_model_file_override_sets_one_key(override: str, section: str, key: str, value: object) -> None:
    changed, base = load_model_file("rtmdet_nano", (override,)), load_model_file("rtmdet_nano")
    assert getattr(getattr(changed, section), key) == value
    others = [s for s in ("model", "preprocess", "train") if s != section]
    assert all(getattr(changed, s) == getattr(base, s) for s in others)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nope=1", "'nope' is unknown; known keys: about.made_for, model.name"),
        ("chanels=1", r"'chanels' is unknown \(did you mean 'preprocess.channels'\?\); known keys: "),
        ("learning_rate=1", r"did you mean 'train.lr'\?"),
        ("leaning_rate=1", r"did you mean 'train.lr'\?"),
        ("train.leaning_rate=1", r"did you mean 'train.lr'\?"),
        ("model.lr=1", r"'model.lr' is unknown \(did you mean 'train.lr'\?\)"),
        ("trian.lr=1", r"did you mean 'train.lr'\?"),
        ("trian.wight_decay=1", r"did you mean 'train.weight_decay'\?"),
        ("Train.LR=1", r"did you mean 'train.lr'\?"),
        ("batch-size=4", r"did you mean 'train.batch'\?"),
        ("preprocess.depthwise=all", r"did you mean 'model.depthwise'\?"),
        ("model.chanels=1", r"'model.chanels' is unknown \(did you mean 'preprocess.channels'\?\); known keys: "),
        ("model.lr=1", "'model.lr' is unknown"),
        ("lr", "expected key=value, for example"),
        ("=3", "expected key=value"),
        ("epochs=1.5", "train: epochs: expected int, got 1.5"),
        ("channel_attention=1", "channel_attention: expected bool, got 1"),
        ("activation=gelu", "activation must be one of silu, relu, relu6, hardswish; got 'gelu'"),
        ("backbone=resnet", "backbone must be one of cspnext, mobilenetv4_conv_small; got 'resnet'"),
        ("mean=[0, 1]", r"preprocess.mean: expected 3 values or equal ones, got \[0.0, 1.0\]"),
        ("mean=7", "mean: expected a list, got 7"),
        ("channels=2", r"channels must be 3 \(RGB\) or 1 \(grey\), got 2"),
        ("scale_min=3.0", "scale_min 3.0 is larger"),
        ("widen=0.0", r"widen in \[0.03125, 2\]"),
        ("widen=0.03", r"widen in \[0.03125, 2\]"),
        ("threads=-1", "threads must be 0 or more, got -1"),
        ("grad_clip=-1", "grad_clip must be 0 or more"),
        ("weight_decay=-0.1", "weight_decay must be 0 or more"),
        ("hsv_h=5", "hsv_h must be in 0..1, got 5.0"),
        ("lr=nan", "lr: expected a finite number, got nan"),
        ("scale_max=inf", "scale_max: expected a finite number, got inf"),
    ],
)
def test_load_model_file_bad_override_names_the_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_model_file("rtmdet_nano", (override,))


def test_load_model_file_unknown_and_missing_keys_name_file_and_key(tmp_path: Path) -> None:
    text = (resource_dir("models") / "rtmdet_nano.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("deepen =", "deppen ="))
    with pytest.raises(
        ConfigError, match=r"mine\.toml: model: unknown keys deppen \(did you mean 'model.deepen'\?\); expected "
    ):
        load_model_file(str(path))
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("lr ")))
    with pytest.raises(ConfigError, match=r"mine\.toml: train: missing keys lr"):
        load_model_file(str(path))
    path.write_text("model = [")
    with pytest.raises(ConfigError, match="not a valid TOML file"):
        load_model_file(str(path))
    path.write_text("model = 3\npreprocess = 3\ntrain = 3")
    with pytest.raises(ConfigError, match="expected a table, got 3"):
        load_model_file(str(path))


def test_preprocess_config_spec_gives_each_channel_its_mean() -> None:
    grey = load_model_file("rtmdet_nano", ("channels=1", "mean=[5, 5, 5]", "std=[127.5]")).preprocess.spec((64, 32))
    assert (grey.channel_order, grey.mean, grey.std) == ("GRAY", (5.0,), (127.5,))
    colour = load_model_file("rtmdet_nano", ("mean=[5]", "std=[1, 2, 3]")).preprocess.spec()
    assert (colour.channel_order, colour.mean, colour.std) == ("RGB", (5.0, 5.0, 5.0), (1.0, 2.0, 3.0))
    with pytest.raises(ConfigError, match="std: expected 1 values or equal ones"):
        load_model_file("rtmdet_nano", ("channels=1", "std=[1, 2, 3]"))


def test_load_model_file_of_before_channels_is_rgb(tmp_path: Path) -> None:
    text = (resource_dir("models") / "rtmdet_nano.toml").read_text()
    path = tmp_path / "old.toml"
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("channels =")))
    assert load_model_file(str(path)) == load_model_file("rtmdet_nano")


def test_shipped_tomls_hold_the_same_keys() -> None:
    tables = [tomllib.loads(p.read_text()) for p in sorted(resource_dir("models").glob("*.toml"))]
    keys = [{(section, key) for section in table if section != "qat" for key in table[section]} for table in tables]
    assert all(k == keys[0] for k in keys)


def test_other_tools_names_lead_to_keys_that_there_are() -> None:
    table = read_toml(resource_dir("models") / "rtmdet_nano_relu_q.toml")
    known = {key for section in table.values() for key in section} | {"channels"}
    assert set(OTHER_KEYS.values()) <= known
    assert not set(OTHER_KEYS) & known


def test_key_of_a_toml_in_the_words_of_another_tool_or_section_names_the_key(tmp_path: Path) -> None:
    text = (resource_dir("models") / "rtmdet_nano.toml").read_text()
    path = tmp_path / "mine.toml"
    for new, key in (("[train]\nlearning_rate = 0.1", "train.lr"), ("[model]\nmosaic = 0.1", "train.mosaic")):
        section = new.partition("\n")[0]
        path.write_text(text.replace(section, new))
        with pytest.raises(ConfigError, match=rf"mine\.toml: {section[1:-1]}: unknown keys .*did you mean '{key}'"):
            load_model_file(str(path))
