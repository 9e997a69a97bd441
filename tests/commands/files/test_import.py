from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from openmmlab import NANO_SSCMA, random_state, save_foreign

from edgedet.commands.files import import_
from edgedet.commands.main import main
from edgedet.exchange.checkpoints import contracts, names
from edgedet.net.checkpoint import load_checkpoint


def test_import_choices_are_those_of_the_package() -> None:
    assert tuple(contracts.PRESETS) == import_.PRESETS
    assert names.TABLES == import_.TABLES


def test_import_foreign_checkpoint_writes_one_that_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_foreign(tmp_path / "f.pth", NANO_SSCMA, random_state(NANO_SSCMA))
    assert (
        main(["import", str(tmp_path / "f.pth"), "--channels", "RGB", "--imgsz", "64", "--out", str(tmp_path / "o.pt")])
        == 0
    )
    assert load_checkpoint(tmp_path / "o.pt").preprocess.channel_order == "RGB"
    assert "rtmdet_nano_ncadc_relu6" in capsys.readouterr().out
    assert main(["import", str(tmp_path / "f.pth"), "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(random_state(NANO_SSCMA))
    assert all(line.startswith("used ") for line in listed)


def test_import_json_is_alone_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_foreign(tmp_path / "f.pth", NANO_SSCMA, random_state(NANO_SSCMA))
    assert main(["import", str(tmp_path / "f.pth"), "--list", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == len(err.splitlines()) == len(random_state(NANO_SSCMA))
    target = tmp_path / "o.pt"
    assert main(["import", str(tmp_path / "f.pth"), "--imgsz", "64", "--out", str(target), "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert (json.loads(out)["out"], json.loads(out)["model"]) == (str(target), "rtmdet_nano_ncadc_relu6")
    assert f"next: `edgedet lint {target}`" in " ".join(err.splitlines())


def test_import_bare_weights_asks_by_the_name_of_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(random_state(NANO_SSCMA), tmp_path / "f.pth")
    command = ["import", str(tmp_path / "f.pth"), "--out", str(tmp_path / "o.pt")]
    for option, value in (("--activation", "relu6"), ("--classes", "a,b,c"), ("--preset", "sscma")):
        assert main(command) == 2
        assert option in capsys.readouterr().err
        assert not (tmp_path / "o.pt").exists()
        command += [option, value]
    assert main(command) == 0


@pytest.mark.parametrize("arguments", [[], ["--list", "--out", "x.pt"]])
def test_import_either_out_or_list(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(tmp_path / "f.pth"), *arguments]) == 2
    assert "either --out" in capsys.readouterr().err
