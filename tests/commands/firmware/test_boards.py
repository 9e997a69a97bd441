"""`edgedet boards`, `edgedet check`, `edgedet deploy --board`, and the same from Python."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
from pathlib import Path

import pytest

import edgedet
from edgedet.commands.main import build_parser, main
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.deploy.preflight import boards_of, check
from edgedet.errors import ConfigError
from edgedet.graph.flatbuffer import write_tflite
from edgedet.hardware.board import all_boards, available_boards
from edgedet.hardware.text import markdown
from edgedet.quantize.skeleton import skeleton_graph
from edgedet.resources import resource_dir

REPO = Path(__file__).resolve().parents[3]
SMALL = """title = "Small"
chip = "none"
core = {name = "cortex-m4", clock_mhz = 50.0}
[[memory]]
name = "flash"
kind = "flash"
bytes = 1000000
holds = ["code", "weights"]
[[memory]]
name = "ram"
kind = "ram"
bytes = 2000
holds = ["arena", "stack"]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def page(mark: str) -> str:
    text = (REPO / "docs" / "boards.md").read_text(encoding="utf-8")
    return text.partition(f"<!-- {mark}: begin -->\n")[2].partition(f"<!-- {mark}: end -->")[0]


def test_boards_table_and_one_board(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards"]) == 0
    table = capsys.readouterr().out
    assert all(f"\n{name} " in table for name in available_boards())
    assert max(map(len, table.splitlines())) <= 100
    assert all(not line.startswith(" ") for line in table.splitlines()), "a row is wrapped"
    assert main(["boards", "grove_vision_ai_v2"]) == 0
    text = capsys.readouterr().out
    assert "ethos-u55-64" in text
    assert "alloc: 1,138,688 bytes" in text
    assert "sscma-micro" in text


def test_boards_json_is_what_python_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boards", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps([b.to_json() for b in edgedet.boards()]))
    assert main(["boards", "--json", "-", "nano_33_ble"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "nano_33_ble"


def test_boards_page_is_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert page("boards") == markdown(all_boards()), "run: python bench/boards_page.py"
    assert main(["boards", "--markdown"]) == 0
    assert capsys.readouterr().out == page("boards")
    assert main(["boards", "--markdown", "nano_33_ble"]) == 2


@pytest.mark.long
def test_boards_page_has_the_four_networks_on_all_boards() -> None:
    spec = importlib.util.spec_from_file_location("boards_page", REPO / "bench" / "boards_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(module.MODELS) == 4
    assert page("models") == module.models_table(module.MODELS, all_boards()), "run: python bench/boards_page.py"


def test_check_fits_ends_with_0_and_says_where(toy_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(toy_model), "--board", "nano_33_ble"]) == 0
    out = capsys.readouterr().out
    assert "verdict:  fits: " in out
    assert "of ram are left beside the arena" in out
    # A filter that no network has: no number is better than a wrong one.
    assert "no estimate: no step like CONV_2D 8x8 stride 8 was measured on cortex-m4" in " ".join(out.split())


def test_check_gives_time_with_its_basis_and_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = load_model_file("rtmdet_pico_relu6")
    graph = skeleton_graph(file.model, file.preprocess.spec((96, 96)), OutputSpec(("a", "b")))
    write_tflite(graph, tmp_path / "pico.tflite")
    argv = ["check", str(tmp_path / "pico.tflite"), "--board", "nano_33_ble", "--json", str(tmp_path / "r.json")]
    assert main(argv) == 0
    out = " ".join(capsys.readouterr().out.split())
    time = json.loads((tmp_path / "r.json").read_text())["boards"][0]["time"]
    low, high = time["milliseconds"]
    assert f"time: about {low:,.0f} to {high:,.0f} ms; " in out
    assert f"{time['instructions'] / 1e6:,.1f} M instructions (within {100 * time['error']:.0f} %)" in out
    assert "no waits for memory are in it; never compared with a chip" in out
    assert 0 < time["error"] < 0.2
    # 64 MHz, between one and two cycles an instruction.
    assert time["instructions"] / 64e3 < low < high < 2 * time["instructions"] / 64e3


def test_check_does_not_fit_ends_with_1_and_says_by_how_much(
    toy_model: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(toy_model), "--board", str(small), "--json", "-"]) == 1
    out, err = capsys.readouterr()
    value = json.loads(out)
    (board,) = value["boards"]
    sizes = {part["role"]: part["bytes"] for part in board["parts"]}
    assert board["missing"] == {"ram": sizes["arena"] + sizes["stack"] - 2000}
    assert f"ram lacks {sizes['arena'] + sizes['stack'] - 2000:,} bytes for arena and stack" in err
    assert (value["fits"], board["fits"]) == (False, False)


def test_check_all_is_a_row_for_each_board(toy_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(toy_model), "--board", "all"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{name} " in out for name in available_boards())
    assert "The ready-made firmware for grove_vision_ai_v2, xiao_esp32s3 does not run this file" in out
    assert len(out.split("\n\n")[0].splitlines()) == 2 + len(available_boards()), "a row is wrapped"
    assert max(map(len, out.splitlines())) <= 100


def test_check_names_the_broken_rules_and_the_npu(toy_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(toy_model), "--board", "grove_vision_ai_v2"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "it wants a square input" in out
    assert "outputs of rank 3" in out
    assert "edgedet export MODEL --format sscma" in out
    assert f"`edgedet check {toy_model} --board grove_vision_ai_v2 --target ethos-u55-64` compiles for it" in out


def test_board_with_an_idle_npu_gets_the_command_that_uses_it(
    toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    own = tmp_path / "my board.toml"
    shutil.copy(resource_dir("firmware_export") / "boards" / "grove_vision_ai_v2.toml", own)
    argv = ["deploy", str(toy_model), "--target", "c99", "--out", str(tmp_path / "module"), "--board", str(own)]
    assert main([*argv, "--json", str(tmp_path / "r.json")]) == 0
    board = json.loads((tmp_path / "r.json").read_text())["board"]
    command = f"edgedet deploy {toy_model} --board '{own}' --target ethos-u55-64"
    sentence = f"Ethos-U55, 64 MACs per cycle: not in the time above; `{command}` compiles for it, with Vela's estimate"
    assert board["idle_npu"] == sentence
    assert f"NPU: {sentence}" in " ".join(capsys.readouterr().out.split())
    args = build_parser().parse_args(shlex.split(command)[1:])
    assert (args.board, args.target) == (str(own), "ethos-u55-64")

    checks = check(toy_model, boards_of("all")).checks
    idle = {found.board.name: found.idle_npu for found in checks if found.idle_npu}
    assert set(idle) == {one.name for one in all_boards() if one.file.npu is not None}
    assert "Vela does not compile for it" in idle["stm32n6570_dk"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["check", "MODEL", "--board", "nicla-vision"], "did you mean 'nicla_vision'"),
        (["check", "MODEL", "--board", "absent.toml"], "absent.toml: no such file"),
        (["check", "ABSENT", "--board", "all"], "absent.tflite"),
        (["check", "model.pt", "--board", "all"], "found a checkpoint"),
        (["check", "MODEL"], "--board"),
        (["check", "MODEL", "--board", "all", "--ram", "1"], "the limit is 1 bytes of RAM"),
        (["boards", "rp2040"], "did you mean 'rpi_pico'"),
        (
            ["deploy", "MODEL", "--board", "rpi_pico", "--target", "ethos-u55-64"],
            "(RP2040) has no such NPU, found none",
        ),
        (
            ["deploy", "MODEL", "--board", "alif_e7_dk", "--target", "ethos-u55-64"],
            "DevKit has no such NPU, found ethos-u55-256",
        ),
    ],
)
def test_wrong_words_end_with_2_and_one_line(
    argv: list[str], message: str, toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"MODEL": str(toy_model), "ABSENT": str(tmp_path / "absent.tflite")}
    try:
        code = main([places.get(word, word) for word in argv])
    except SystemExit as end:  # of argparse
        code = int(end.code or 0)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_deploy_board_writes_when_it_fits(toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    out = tmp_path / "module"
    argv = ["deploy", str(toy_model), "--target", "c99", "--out", str(out), "--board", "nicla_vision"]
    assert main([*argv, "--json", str(tmp_path / "r.json")]) == 0
    assert "board:     Arduino Nicla Vision: fits: " in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["board"]["board"] == "nicla_vision"
    assert (out / "model.c").is_file()


def test_deploy_board_writes_nothing_when_it_does_not_fit(
    toy_model: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    out = tmp_path / "module"
    assert main(["deploy", str(toy_model), "--target", "c99", "--out", str(out), "--board", str(small)]) == 2
    err = capsys.readouterr().err
    assert "does not fit: ram lacks " in err
    assert "edgedet check " in err
    assert not out.exists()
    assert main(["deploy", str(toy_model), "--out", str(out), "--board", "niclavision"]) == 2
    assert "did you mean 'nicla_vision'" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["tflm"])
def test_check_tflm_uses_its_arena(target: str, toy_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tflite_micro")
    assert main(["check", str(toy_model), "--board", "nrf5340dk", "--target", target]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "measured with TFLite Micro on this computer" in out
    assert "assumed: 103,880 bytes" in out
    assert "no estimate: TFLite Micro's instructions follow from its build" in out


def test_python_check_and_deploy(
    toy_model: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = edgedet.load(toy_model)
    report = model.check("nicla_vision")
    assert report.fits
    assert "verdict:  fits" in str(report)
    assert len(model.check().checks) == len(edgedet.boards())
    with pytest.raises(ConfigError, match="does not fit"):
        model.deploy("c99", tmp_path / "out", board=str(small))
