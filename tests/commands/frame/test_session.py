"""-q, -v, --log-file and --no-color."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from edgedet.commands.frame.session import _Lines
from edgedet.commands.main import main


def test_quiet_shows_results_alone(toy_model: Path, toy_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    argv = ["evaluate", str(toy_model), "--data", str(toy_data)]
    assert main(argv) == 0
    loud = capfd.readouterr()
    assert "evaluate: 6/6 images" in loud.err
    assert main(["-q", *argv]) == main([*argv, "--quiet"]) == 0
    quiet = capfd.readouterr()
    assert quiet.err == ""
    assert quiet.out.startswith(loud.out.partition("ms per image")[0])


def test_verbose_says_what_ran_and_where_it_failed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(tmp_path / "absent.tflite"), "-v"]) == 2
    error = capfd.readouterr().err
    assert re.match(r"edgedet \S+, Python 3\.", error)
    assert f"edgedet lint {tmp_path / 'absent.tflite'} -v" in error
    assert "Traceback" in error
    assert re.search(r"[\d.]+ s, at most \d+ MiB of memory", error)
    assert error.splitlines()[-1].startswith("error: ")


def test_log_file_holds_what_was_shown_with_the_time(
    toy_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "new" / "run.log"
    for _ in range(2):
        assert main(["convert", str(toy_model), "--log-file", str(log)]) == 0
    shown = capfd.readouterr()
    lines = log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    kept = [line[20:] for line in lines]
    assert [line for line in kept if line in shown.out.splitlines()] == [x for x in shown.out.splitlines() if x.strip()]
    assert sum(line.startswith("edgedet ") for line in kept) == 2  # the second run is appended
    assert shown.err == ""  # details only in the log


def test_log_file_that_cannot_be_written_is_refused_first(
    toy_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(toy_model), "--log-file", str(tmp_path)]) == 2
    assert f"--log-file {tmp_path}: is a folder" in capfd.readouterr().err


def test_log_keeps_lines_as_the_terminal_leaves_them(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        lines = _Lines(file)
        lines.write("\x1b[2Kbar 1/3")
        lines.write("\r\x1b[2K\x1b[1mepoch 1\x1b[0m\nbar 2/3")
        lines.write("\r\x1b[2Kno end")
        lines.finish()
    assert [line[20:] for line in (tmp_path / "log").read_text().splitlines()] == ["epoch 1", "no end"]


def test_no_color_reaches_rich_and_ends_with_the_command(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("edgedet.commands.files.convert.show", lambda text: seen.append(os.environ.get("NO_COLOR")))
    assert main(["convert", str(toy_model), "--no-color"]) == main(["convert", str(toy_model)]) == 0
    assert seen == ["1", None]
    assert "NO_COLOR" not in os.environ


def test_log_file_keeps_what_a_bar_left_and_no_more(tmp_path: Path) -> None:
    from edgedet.commands.frame.session import _Lines

    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        lines = _Lines(file)
        for step in range(1000):
            lines.write(f"\rstep {step} of 1000")
            assert len(lines._open) < 40
        lines.write("\r\nend")
        lines.finish()
    assert [line[20:] for line in (tmp_path / "log").read_text().splitlines()] == ["step 999 of 1000", "end"]


def test_devnull_takes_log_and_json(capfd: pytest.CaptureFixture[str]) -> None:
    argv = ["models", "rtmdet_pico_relu6", "--imgsz", "64", "--log-file", os.devnull, f"--json={os.devnull}"]
    assert main(argv) == 0
    assert Path(os.devnull).is_char_device()
    assert "rtmdet_pico_relu6" in capfd.readouterr().out
