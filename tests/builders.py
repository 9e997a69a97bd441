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


def project(
    kind: str, build: str, folder: Path, name: str | None = None, target: str = "c99", image: Path | None = None
) -> Path:
    """Deploy one of MODELS with a project around it.

    Returns:
        Folder of the project.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return deploy(MODELS[kind](folder), target, folder / "project", name=name, project=build, image=image).out


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
    program = link(folder, compile_all(folder, sources, includes), language)
    done = tflm.run(program)
    assert done.returncode == 0, done.stdout
    return done.stdout.splitlines()[-1]


def compile_all(
    folder: Path, sources: list[Path], includes: list[Path], options: list[str] | None = None, prefix: str = ""
) -> list[Path]:
    """Compile C and C++ without warnings.

    Args:
        folder: for the objects.
        sources: files; their names differ.
        includes: folders of headers, as a manifest names them.
        options: of both compilers.
        prefix: of the compilers' names.
    Returns:
        The objects.
    """
    flags = ["-O0", *tflm.WARNINGS.split(), *(options or []), *(f"-I{path}" for path in includes)]
    objects = []
    for compiler, standard, suffixes in (("gcc", "c99", (".c",)), ("g++", "c++17", (".cc", ".cpp"))):
        files = [path for path in sources if path.suffix in suffixes]
        if files:
            done = tflm.run(f"{prefix}{compiler}", f"-std={standard}", *flags, "-c", *files, folder=folder)
            assert (done.returncode, done.stderr) == (0, "")
            objects += [folder / f"{path.stem}.o" for path in files]
    return objects


def link(folder: Path, objects: list[Path], language: str, libraries: tuple[Path, ...] = ()) -> Path:
    """Link without warnings; the program."""
    done = tflm.run(language, *objects, *libraries, "-o", "program", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "program"


def builders_python(program: str) -> Path:
    """The interpreter of the environment that a Python program was installed into."""
    return Path(program).resolve().parent / "python"


def require_folder(variable: str, what: str) -> Path:
    """A checkout that an environment variable names; skips the test where it is not set."""
    if variable not in os.environ:
        pytest.skip(f"{variable} is not set: no {what} to build with")
    return Path(os.environ[variable])
