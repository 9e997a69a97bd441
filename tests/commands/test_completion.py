"""The completion script, run by the shell that it is for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.commands.main import build_parser, main

pytest.importorskip("shtab")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    from edgedet.commands.completion import completion_script

    path = tmp_path_factory.mktemp("completion") / "edgedet.bash"
    path.write_text(completion_script(build_parser(), "bash"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("edgedet qu", {"quantize"}),
        ("edgedet data ", {"check", "convert", "show", "synth"}),
        ("edgedet deploy --tar", {"--target"}),
        ("edgedet deploy --target ", {"c99", "tflm"}),
        ("edgedet train rtmdet_pico", {"rtmdet_pico_relu6"}),
    ],
)
def test_bash_completes(typed: str, offered: set[str], script: Path, require_tool: Callable[..., str]) -> None:
    words = typed.split(" ")
    code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_edgedet; '
    code += 'printf "%s\\n" "${COMPREPLY[@]}"'
    argv = [require_tool("bash"), "-c", code, "bash", str(script), *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=script.parent)
    assert offered <= {line.strip() for line in done.stdout.splitlines()}, done.stderr


def test_completion_prints_the_script_of_each_shell(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    assert capfd.readouterr().out.startswith("#compdef edgedet")
    assert main(["completion", "bash"]) == 0
    assert " -F _shtab_edgedet edgedet\n" in capfd.readouterr().out
