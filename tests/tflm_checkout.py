"""A TFLite Micro that the user built, for tests of target tflm; not a test itself.

Environment: TFLM_ROOT: its checkout. TFLM_LIBRARY, TFLM_LIBRARY_M55: libtensorflow-microlite.a for this computer and,
with CMSIS-NN, for Cortex-M55, where they are not where its own build puts them. TFLM_INCLUDES: folders of its third
parties, likewise.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

WARNINGS = "-Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror"


def cmake_options(library: str = "TFLM_LIBRARY") -> list[str]:
    """Options that name TFLite Micro; skips the test where it is not there."""
    root = os.environ.get("TFLM_ROOT", "")
    if not root:
        pytest.skip("TFLM_ROOT is not set: no checkout of TFLite Micro to build against")
    if library != "TFLM_LIBRARY" and library not in os.environ:
        pytest.skip(f"{library} is not set: TFLite Micro was not built for that processor")
    options = [f"-DTFLM_ROOT={root}"]
    for option, variable in (("TFLM_LIBRARY", library), ("TFLM_INCLUDES", "TFLM_INCLUDES")):
        if variable in os.environ:
            options.append(f"-D{option}={os.environ[variable]}")
    return options


def compile_options(library: str = "TFLM_LIBRARY") -> tuple[list[str], Path]:
    """For a compiler that is called without CMake: options as TFLite Micro was built, and its library."""
    found = dict(option.removeprefix("-D").split("=", 1) for option in cmake_options(library))
    root = Path(found["TFLM_ROOT"])
    downloads = root / "tensorflow/lite/micro/tools/make/downloads"
    theirs = [str(downloads / name) for name in ("flatbuffers/include", "gemmlowp", "ruy")]
    folders = [str(root), *(found["TFLM_INCLUDES"].split(";") if "TFLM_INCLUDES" in found else theirs)]
    options = ["-DTF_LITE_STATIC_MEMORY", *(word for folder in folders for word in ("-isystem", folder))]
    built = Path(found["TFLM_LIBRARY"]) if "TFLM_LIBRARY" in found else next(root.glob("gen/*/lib/*microlite.a"))
    return options, built


def build(project: Path, options: list[str], target: str = "") -> Path:
    """Configure and build with warnings as errors.

    Returns:
        The build folder.
    """
    flags = [f"-DCMAKE_{language}_FLAGS_RELEASE=-O2 {WARNINGS}" for language in ("C", "CXX")]
    folder = project / "build"
    for command in (
        ["cmake", "-S", str(project), "-B", str(folder), *flags, *options],
        ["cmake", "--build", str(folder), *(["--target", target] if target else [])],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def run(*command: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program that may fail."""
    return subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
