"""Every key has a meaning and a unit that are true, and docs/settings.md is what the code says."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from edgedet import config
from edgedet.commands.main import main
from edgedet.config import available_models, load_model_file
from edgedet.errors import ConfigError
from edgedet.resources import resource_dir
from edgedet.settings import Setting, known_settings, settings_markdown, settings_text
from edgedet.terminal import COLUMNS

SETTINGS = known_settings()
RANGE = re.compile(r"(-?[\d.e]+)\.\.(-?[\d.e]+\d|\d)")


def toml_keys(name: str) -> set[str]:
    tables = tomllib.loads((resource_dir("models") / f"{name}.toml").read_text(encoding="utf-8"))
    return {f"{section}.{key}" for section, keys in tables.items() for key in keys}


def model_with(setting: Setting) -> str:
    return setting.values[-1][0]


def test_document_is_what_the_code_says(repo_dir: Path) -> None:
    text = (repo_dir / "docs" / "settings.md").read_text(encoding="utf-8")
    assert text == settings_markdown(), "run: edgedet settings --markdown > docs/settings.md"


def test_every_key_of_every_model_file_is_there() -> None:
    assert {setting.key for setting in SETTINGS} == set().union(*map(toml_keys, available_models()))


def test_every_field_has_its_own_meaning() -> None:
    meanings = [(setting.section, setting.meaning) for setting in SETTINGS]
    assert len(set(meanings)) == len(meanings)
    assert all(len(setting.meaning) > 5 and setting.unit for setting in SETTINGS)


@pytest.mark.parametrize("setting", [s for s in SETTINGS if RANGE.search(s.unit)], ids=lambda s: s.key)
def test_range_is_the_one_that_is_checked(setting: Setting) -> None:
    low, high = (float(number) for number in RANGE.search(setting.unit).groups())  # type: ignore[union-attr]
    whole = setting.kind == "whole number"

    def accepts(value: float) -> bool:
        text = str(int(value)) if whole else repr(value)
        # scale_min may not lie above scale_max, so that both are set.
        more = [f"train.{name}={text}" for name in ("scale_min", "scale_max") if setting.name.startswith("scale_")]
        try:
            load_model_file(model_with(setting), [f"{setting.key}={text}", *more]).preprocess.spec()
        except ConfigError:
            return False
        return True

    step = 1 if whole else 1e-3
    assert accepts(low)
    assert accepts(high) == ("below" not in setting.unit)
    assert not accepts(low - step)
    assert not accepts(high + max(step, high * 1e-3 if not whole else 1))


@pytest.mark.parametrize("setting", [s for s in SETTINGS if " | " in s.unit], ids=lambda s: s.key)
def test_choices_are_those_that_are_accepted(setting: Setting) -> None:
    for choice in setting.unit.split(" | "):
        overrides = [f"{setting.key}={choice}", "backbone=cspnext"][: 1 if setting.name == "backbone" else 2]
        load_model_file(model_with(setting), overrides).preprocess.spec()
    with pytest.raises(ConfigError, match=setting.name):
        load_model_file(model_with(setting), [f"{setting.key}=4"]).preprocess.spec()
    named = {"activation": config.ACTIVATIONS, "padding": config.PADDINGS, "depthwise": config.DEPTHWISE}
    if setting.name in named:
        assert tuple(setting.unit.split(" | ")) == named[setting.name]


def test_default_names_the_exceptions() -> None:
    lr = next(setting for setting in SETTINGS if setting.key == "train.lr")
    assert lr.default().startswith("0.002; ")
    assert "0.006 in rtmdet_pico_relu6" in lr.default()
    assert dict(lr.values)["rtmdet_s"] == "0.001"


def test_own_file_of_a_user_shows_its_values(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = (resource_dir("models") / "rtmdet_pico_relu6.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("lr = 0.006", "lr = 0.123"))
    assert main(["settings", str(path)]) == 0
    shown = capfd.readouterr().out
    assert "train.lr = 0.123\n    peak learning rate" in shown
    assert "qat." not in shown
    assert max(map(len, shown.splitlines())) <= COLUMNS
    assert main(["settings", str(path), "--json"]) == 0
    value = json.loads(capfd.readouterr().out)
    assert {"key", "kind", "meaning", "unit", "values"} == value[0].keys()
    assert next(row for row in value if row["key"] == "train.lr")["values"] == {str(path): "0.123"}


def test_text_of_all_models_has_every_key() -> None:
    text = settings_text(SETTINGS)
    assert all(f"{setting.key} = " in text for setting in SETTINGS)
    assert len(SETTINGS) >= sum(len(fields(cls)) for cls in (config.ModelConfig, config.TrainConfig))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rtmdet_pico_relu"], "did you mean 'rtmdet_pico_relu6'?"),
        (["rtmdet_nano", "--markdown"], "--markdown is of all models, found rtmdet_nano; leave it out"),
    ],
)
def test_wrong_words(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", *words]) == 2
    assert message in capfd.readouterr().err
