"""edgedet in IPython, as notebooks run it: what a cell shows, and what it shows of an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy_detector import write_toy_model

import edgedet
from edgedet.errors import ConfigError

interactiveshell = pytest.importorskip("IPython.core.interactiveshell")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A shell whose files lie in a folder of their own, which is the current one, too."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.chdir(tmp_path)
    shell = interactiveshell.InteractiveShell(history_load_length=0)
    shell.history_manager.enabled = False
    return shell


def test_an_error_shows_the_users_lines_and_the_message_only(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("import edgedet\ndef opened():\n    return edgedet.load(3)\nopened()")
    text = capsys.readouterr().out
    *lines, last = text.strip().splitlines()
    assert last == "ConfigError: `model`: expected a path, as a string or Path, found int"
    assert [line.strip() for line in lines if not line.lstrip().startswith("File ")] == [
        "opened()",
        "return edgedet.load(3)",
    ]
    assert "api/load.py" not in text
    assert "api/public.py" not in text


def test_the_others_of_a_broken_picture_are_reached_as_the_message_says(
    shell: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_toy_model(tmp_path / "model_int8.tflite")
    shell.run_cell(
        "import edgedet, numpy\nfrom PIL import Image\n"
        "Image.fromarray(numpy.zeros((40, 60, 3), 'uint8')).save('a.png')\n"
        "open('b.png', 'wb').write(b'no picture')\n"
        "model = edgedet.load('model_int8.tflite')"
    )
    capsys.readouterr()
    shell.run_cell("found = model.predict('*.png')")
    (file, line, error) = capsys.readouterr().out.strip().splitlines()
    assert file.strip().startswith("File ")
    assert line.strip() == "found = model.predict('*.png')"
    assert error.startswith("BrokenPicturesError: 1 of 2 pictures can't be read: b.png: ")
    assert "`import sys; sys.last_value.results`" in error
    found = shell.run_cell("import sys; sys.last_value.results").result
    assert [one.path for one in found] == [Path("a.png")]


def test_the_stop_button_shows_the_users_lines_only(
    shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    write_toy_model(tmp_path / "model_int8.tflite")
    monkeypatch.setattr("edgedet.api.model.predict_pictures", stopped)
    shell.run_cell("import edgedet\nedgedet.load('model_int8.tflite').predict('photos')")
    *lines, last = capsys.readouterr().out.strip().splitlines()
    assert last == "Interrupted: predict was stopped"
    assert [line.strip() for line in lines[1:]] == ["edgedet.load('model_int8.tflite').predict('photos')"]


def test_own_errors_of_the_user_are_shown_as_ever(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_cell("from edgedet.errors import ConfigError\nraise ConfigError('mine')")
    assert capsys.readouterr().out.strip().splitlines()[-1] == "ConfigError: mine"
    assert ConfigError("never raised")._render_traceback_() == ["ConfigError: never raised"]


@pytest.mark.slow
def test_the_examples_notebook_runs_and_shows_no_wall_of_text(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("cv2")
    cells = json.loads((EXAMPLES / "first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
    rich, printed = [], ""
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        done = shell.run_cell("".join(cell["source"]), store_history=False)
        done.raise_error()
        text = capsys.readouterr().out
        assert len(text) < 5000
        printed += text
        if done.result is not None:
            shown, _ = shell.display_formatter.format(done.result)
            assert len(shown["text/plain"]) < 1500
            rich += [kind for kind in shown if kind != "text/plain"]
    assert {"text/html", "image/png"} <= set(rich)
    assert "target:    c99" in printed
    assert isinstance(shell.user_ns["model"], edgedet.Model)
