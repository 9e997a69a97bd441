"""The commands of docs/firmware.md, as they stand there; each section in a folder with a model and a photo."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.commands.main import main

pytest.importorskip("jinja2", reason="needs the extra c99")
pytestmark = pytest.mark.toolchain
PAGE = Path(__file__).resolve().parents[2] / "docs" / "firmware.md"
NOT_HERE = {"git", "idf.py", "arduino-cli", "pio", "west", "cpackget"}  # the page says that they were not run
TFLM = {"CMake, TFLite Micro", "Ethos-U"}  # sections whose builds need a checkout of TFLite Micro
THEIR_MAKE = "tensorflow/lite/micro/tools/make/Makefile"
EXPECTED = {  # what ran of each section, in order
    "Plain Makefile": ["edgedet", "make", "make"],
    "CMake, TFLite Micro": ["edgedet", "cmake", "cmake", "ctest", "cmake", "cmake", "ctest"],
    "ESP-IDF": ["edgedet"],
    "Arduino": ["edgedet"],
    "PlatformIO": ["edgedet"],
    "Zephyr": ["edgedet"],
    "CMSIS-Pack": ["edgedet", "zip"],
    "Ethos-U": ["edgedet", "cmake", "cmake"],
    "Grove Vision AI V2": ["edgedet"],
}


def sections() -> dict[str, list[list[str]]]:
    """Title -> commands, split at `&&`, of the indented blocks."""
    found = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        lines = re.sub(r" \\\n", " ", text).splitlines()
        commands = [piece for line in lines if line.startswith("    ") for piece in line.strip().split(" && ")]
        found[title] = [shlex.split(command.replace("$PWD", "@PWD"), comments=True) for command in commands]
    return found


def runs_here(words: list[str]) -> bool:
    return words[0] not in NOT_HERE and THEIR_MAKE not in words


def library_of(words: list[str]) -> str:
    """The environment variable that names TFLite Micro's library for a command."""
    if any("NPU_OPTIONS" in word for word in words):
        return "TFLM_LIBRARY_ETHOS_U"
    return "TFLM_LIBRARY_M4" if any("cortex-m4" in word for word in words) else "TFLM_LIBRARY"


def with_paths(words: list[str]) -> list[str]:
    """The paths that the page leaves open, as the environment of the tests names them."""
    if words[0] != "cmake" or "--build" in words:
        return words
    words = [word.replace("@PWD", str(Path.cwd())) for word in words]
    words = [word.replace("/path/to/tflite-micro", os.environ["TFLM_ROOT"]) for word in words]
    words = [word for word in words if not word.startswith("-DTFLM_LIBRARY=")]
    extras = (("TFLM_LIBRARY", library_of(words)), ("TFLM_INCLUDES",) * 2, ("ETHOSU_INCLUDE",) * 2)
    return words + [f"-D{option}={os.environ[name]}" for option, name in extras if name in os.environ]


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if words[0] == "edgedet":
        code = main(words[1:])
        assert code == 0, capsys.readouterr()
        return
    done = subprocess.run(with_paths(words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    if words[0] in ("make", "ctest"):
        assert "PASS: the stored picture gives what it must give" in done.stdout


@pytest.mark.parametrize("title", EXPECTED)
def test_commands_of_the_section_run_as_they_stand(
    title: str,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    require_tool: Callable[..., str],
) -> None:
    needed = {"Ethos-U": "vela", "Grove Vision AI V2": "vela", "CMake, TFLite Micro": "tflm"}
    if title in needed:
        pytest.importorskip({"vela": "ethosu", "tflm": "tflite_micro"}[needed[title]])
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_model, "model_int8.tflite")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).save("photo.jpg")
    commands = sections()[title]
    ran = []
    for words in filter(runs_here, commands):
        if title in TFLM and words[0] != "edgedet":
            for variable in ("TFLM_ROOT", *{library_of(command) for command in commands if "-S" in command}):
                if variable not in os.environ:
                    pytest.skip(f"{variable} is not set: no TFLite Micro to build against")
        if words[0] == "cd":
            monkeypatch.chdir(words[1])
            continue
        if words[0] != "edgedet":
            require_tool(words[0])
        if any("cortex-m" in word for word in words):
            require_tool("arm-none-eabi-gcc")
            require_tool("qemu-system-arm")
        run(words, capsys)
        ran.append(words[0])
    assert ran == EXPECTED[title]


def test_every_section_with_commands_is_walked() -> None:
    found = {title: commands for title, commands in sections().items() if commands}
    assert set(found) == set(EXPECTED)
    outside = {words[0] for commands in found.values() for words in commands if not runs_here(words)}
    assert outside == {*NOT_HERE, "make"}
    said = PAGE.read_text(encoding="utf-8").replace("\n", " ")
    assert "`git clone`, TFLite Micro's own `make`, `idf.py`, `arduino-cli`, `pio`, `west` and `cpackget`" in said
