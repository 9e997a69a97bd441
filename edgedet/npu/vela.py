"""Arm's compiler Vela, in a process of its own: it may crash on a file, and its words are not for a terminal."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import ConversionError, ToolchainError, missing_extra
from edgedet.npu.cores import ARM_CONFIG, NpuSetup
from edgedet.npu.figures import NpuFigures, VelaOutput, read_figures
from edgedet.npu.vela_file import vela_text

TIMEOUT_S = 900
_STEM = "model"  # of the files in Vela's folder: no name of the user reaches its command line
_NO_SECTION = re.compile(r"Section ((?:System_Config|Memory_Mode)\.\S+) not found in Vela config file")
_ITS_OPTIONS = re.compile(r"Incorrect argument to CLI option|Invalid configuration of ")
_CPU_ONLY = re.compile(r"operator: (\w+), ofm: '(.*)'\s*\nReason: (.*(?:\n(?![ \t]*\n).+)*)")


@dataclass(frozen=True, eq=False)
class Compiled:
    """What Vela made of a file."""

    data: bytes  # `.tflite` with operators CUSTOM (ethos-u)
    version: str  # of Vela
    figures: NpuFigures


def vela_command(setup: NpuSetup) -> list[str]:
    """How Vela is started.

    Raises:
        ToolchainError: it is not installed, or the program that was named is not there.
    """
    if setup.vela is not None:
        if not setup.vela.is_file():
            raise ToolchainError(f"{setup.vela}: no such program; expected the one of an environment with ethos-u-vela")
        return [str(setup.vela.absolute())]
    if importlib.util.find_spec("ethosu") is None or importlib.util.find_spec("ethosu.vela") is None:
        raise missing_extra("ethos-u-vela", "vela")
    return [sys.executable, "-m", "ethosu.vela"]


def vela_version(setup: NpuSetup) -> str:
    """Version of the Vela that would run, for reports."""
    if setup.vela is None:
        return importlib.metadata.version("ethos-u-vela")
    done = _run([*vela_command(setup), _flag("version")], setup, None)
    words = done.stdout.split()
    if done.returncode or len(words) != 1:
        raise ToolchainError(
            f"{setup.vela}, asked for its version, gave {_words(done)!r}; expected the program of ethos-u-vela"
        )
    return words[0]


def compile_for_npu(data: bytes, source: str, setup: NpuSetup) -> Compiled:
    """Compile an int8 file for Ethos-U.

    Args:
        data: bytes of a `.tflite` that edgedet has read and checked.
        source: name of its file, for errors.
        setup: NPU and memory.
    Returns:
        The compiled file, and Vela's figures: estimates of the compiler, not measurements.
    Raises:
        ToolchainError: Vela is missing, crashed or wrote something else than expected.
        ConversionError: Vela refuses the file.
    """
    command, version = vela_command(setup), vela_version(setup)
    with tempfile.TemporaryDirectory(prefix="edgedet-vela-") as name:
        folder = Path(name)
        (folder / f"{_STEM}.tflite").write_bytes(data)
        config = setup.config
        if config != ARM_CONFIG:
            config = f"{_STEM}.ini"
            (folder / config).write_text(vela_text(Path(setup.config)), encoding="utf-8")
        options = {
            "accelerator-config": setup.target,
            "config": str(folder / config) if config != ARM_CONFIG else config,
            "system-config": setup.system_config,
            "memory-mode": setup.memory_mode,
            "optimise": setup.optimise.capitalize(),
            "output-dir": "out",
        }
        flags = [_flag(f"{name}={value}") for name, value in options.items()]
        done = _run([*command, f"{_STEM}.tflite", *flags, _flag("verbose-performance")], setup, folder)
        compiled = folder / "out" / f"{_STEM}_vela.tflite"
        if done.returncode or not compiled.is_file():
            raise _failure(done, source, version)
        output = VelaOutput(
            summary=_only(folder / "out", f"{_STEM}_summary_*.csv", version),
            layers=_only(folder / "out", f"{_STEM}_per-layer.csv", version),
            reasons={match[2]: " ".join(match[3].split()) for match in _CPU_ONLY.finditer(done.stdout)},
        )
        result = compiled.read_bytes()
    return Compiled(result, version, read_figures(output, version))


def _flag(text: str) -> str:
    """An option of Vela's command line."""
    return f"--{text}"


def _run(command: list[str], setup: NpuSetup, folder: Path | None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(
            f"Vela did not end within {TIMEOUT_S} s; take a smaller model, or `optimise` performance"
        ) from error
    except OSError as error:
        raise ToolchainError(
            f"{command[0]} can't be started: {error.strerror}; expected the program of ethos-u-vela"
        ) from error


def _failure(done: subprocess.CompletedProcess[str], source: str, version: str) -> ToolchainError | ConversionError:
    if done.returncode < 0:
        return ToolchainError(
            f"{source}: Vela {version} crashed (signal {-done.returncode}); take another version of ethos-u-vela, or "
            "another model"
        )
    if not done.returncode:
        return ToolchainError(f"{source}: Vela {version} wrote no compiled file; take the version in constraints.txt")
    words = _words(done)
    if (section := _NO_SECTION.search(words)) is not None:  # Vela of another environment, with another file
        return ToolchainError(
            f"Vela {version} has no section [{section[1]}] in its file {ARM_CONFIG}; take another one"
        )
    if _ITS_OPTIONS.search(words) is not None:
        return ToolchainError(f"Vela {version} refuses its configuration, not the model: {words}")
    return ConversionError(f"{source}: Vela {version} refuses the model: {words}")


def _words(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that says something, of a traceback its message."""
    lines = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
    if not lines:
        return f"exit status {done.returncode}, without a word"
    return re.sub(r"^[\w.]+(Error|Exception): ", "", lines[-1])[:300]


def _only(folder: Path, pattern: str, version: str) -> str:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ToolchainError(
            f"Vela {version} wrote {len(found)} files {pattern} instead of one; take the version in constraints.txt"
        )
    return found[0].read_text(encoding="utf-8", errors="replace")  # names in it may be anything
