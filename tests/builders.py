"""What tests of projects share: projects to build, and builders where they are; not a test itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tflm_checkout as tflm
from c_audit_modules import MODELS

from edgedet.deploy.api import deploy

PICTURE = "PASS: the stored picture gives what it must give"
GOLDEN = "PASS: the golden inputs give the golden outputs"
BOARD = Path(__file__).parent / "arduino_board"  # this computer, as a board of the Arduino IDE


def project(kind: str, build: str, folder: Path, name: str | None = None, target: str = "c99") -> Path:
    """Deploy one of MODELS with a project around it.

    Returns:
        Folder of the project.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return deploy(MODELS[kind](folder), target, folder / "project", name=name, project=build).out


def compile_and_run(folder: Path, sources: list[Path], includes: list[Path], language: str = "gcc") -> str:
    """Compile a program without warnings and run it.

    Args:
        folder: for the program.
        sources: C files, and C++ files where `language` is g++.
        includes: folders of headers, as a manifest names them.
        language: the compiler that links.
    Returns:
        The last line that it printed.
    """
    flags = ["-O0", *tflm.WARNINGS.split(), *(f"-I{path}" for path in includes)]
    objects = []
    for compiler, standard, suffixes in (("gcc", "c99", (".c",)), ("g++", "c++17", (".cc", ".cpp"))):
        files = [path for path in sources if path.suffix in suffixes]
        if files:
            done = tflm.run(compiler, f"-std={standard}", *flags, "-c", *files, folder=folder)
            assert (done.returncode, done.stderr) == (0, "")
            objects += [f"{path.stem}.o" for path in files]
    done = tflm.run(language, *objects, "-o", "program", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    done = tflm.run(folder / "program")
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()[-1]


def builders_python(program: str) -> Path:
    """The interpreter of the environment that a Python program was installed into."""
    return Path(program).resolve().parent / "python"


def require_folder(variable: str, what: str) -> Path:
    """A checkout that an environment variable names; skips the test where it is not set."""
    if variable not in os.environ:
        pytest.skip(f"{variable} is not set: no {what} to build with")
    return Path(os.environ[variable])
