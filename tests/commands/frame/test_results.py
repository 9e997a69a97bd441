"""`--json`: alone on standard output, or in a file, the same for both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgedet.commands.frame.parser import leaves
from edgedet.commands.main import build_parser, main


def test_every_command_has_json() -> None:
    parsers = list(leaves(build_parser()))
    assert len(parsers) > 20
    assert [parser.prog for parser in parsers if "--json" not in parser._option_string_actions] == []


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("evaluate", "MODEL", "--data", "DATA"), "ap"),
        (("predict", "MODEL", "DATA/valid", "--out", "OUT"), "images"),
        (("lint", "MODEL"), "findings"),
        (("convert", "MODEL", "--out", "OUT.tflite"), "operators"),
        (("contract", "MODEL"), "preprocess"),
        (("deploy", "MODEL", "--target", "c99", "--out", "OUT"), "arena_bytes"),
        (("check", "MODEL", "--board", "nicla_vision"), "fits"),
        (("data", "check", "DATA"), "splits"),
        (("data", "convert", "DATA", "--out", "OUT"), "images"),
        (("models", "rtmdet_pico_relu6", "--imgsz", "64"), "parameters"),
        (("data", "show", "DATA", "--out", "OUT.png", "--images", "2"), "pictures"),
        (("data", "synth", "--out", "OUT", "--images", "4"), "images"),
        (("completion", "bash"), "script"),
    ],
)
def test_json_alone_on_stdout_and_in_a_file(
    command: tuple[str, ...],
    key: str,
    toy_model: Path,
    toy_data: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("jinja2")

    def run(folder: Path, target: str) -> str:
        places = {"MODEL": str(toy_model), "DATA": str(toy_data), "OUT": str(folder / "out")}
        argv = list(command)
        for word, path in places.items():
            argv = [arg.replace(word, path) for arg in argv]
        assert main([*argv, f"--json={target}"]) == 0
        return capfd.readouterr().out

    value = json.loads(run(tmp_path / "a", "-"))
    assert key in value
    shown = run(tmp_path / "b", str(tmp_path / "value.json"))
    assert len(shown) > 10
    kept = json.loads((tmp_path / "value.json").read_text())
    assert kept.keys() == value.keys()


def test_bare_json_does_not_take_the_model_for_its_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for argv in (["models", "--json", "rtmdet_pico_relu6"], ["models", "--json", "-", "rtmdet_pico_relu6"]):
        assert main([*argv, "--imgsz", "64"]) == 0
        assert json.loads(capfd.readouterr().out)["name"] == "rtmdet_pico_relu6"
    assert main(["operators", "ADD", "--json"]) == 0
    assert [row["kind"] for row in json.loads(capfd.readouterr().out)] == ["ADD"]


def test_error_leaves_stdout_empty(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(tmp_path / "absent.tflite"), "--json", "-"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")


def test_quiet_json_shows_nothing_else(toy_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(toy_model), "-q", "--json", "-"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)
    assert err == ""


def test_json_never_takes_the_place_of_another_file(
    toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json *.jpg`: the shell makes the first photo its argument."""
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"\xff\xd8\xff\xe0 a photo")
    assert main(["data", "check", str(toy_data), "--json", str(photo)]) == 2
    assert f"error: --json {photo}: is another file, no JSON" in capsys.readouterr().err
    assert photo.read_bytes() == b"\xff\xd8\xff\xe0 a photo"
