"""Modules with a name: several in one image, and none taken for another."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import c_audit_tools as tools
import numpy as np
import pytest
from c_audit_modules import MODELS

from edgedet.deploy.api import deploy
from edgedet.errors import ConfigError
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.resources import resource_dir
from edgedet.runtimes.qemu import BOARDS

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror")
MAIN = tools.HERE / "c_audit" / "two_modules.c"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    names = {"faces": "RTMDet head", "cells": "FOMO head"}
    return {name: MODELS[kind](tmp_path_factory.mktemp(name)) for name, kind in names.items()}


@pytest.fixture(scope="module")
def modules(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("modules")
    return {name: deploy(path, "c99", folder / name, name=name).out for name, path in models.items()}


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def sources(modules: dict[str, Path]) -> list[str]:
    """C files of all modules; a kernel that several have once."""
    found = {path.name: str(path) for out in modules.values() for path in sorted(out.rglob("*.c"))}
    return [path for name, path in found.items() if not name.endswith(("selftest.c", "device_main.c"))]


def includes(modules: dict[str, Path]) -> list[str]:
    return [option for out in modules.values() for option in tools.include_options(out)]


def test_named_module_has_the_name_everywhere(modules: dict[str, Path]) -> None:
    own = [path for path in modules["faces"].iterdir() if path.suffix in (".c", ".h")]
    assert {path.name for path in own} >= {"faces_model.c", "faces_run.h", "faces_contract.h", "faces_selftest.c"}
    assert all(path.name.startswith("faces_") for path in own)
    for path in own:
        text = path.read_text(encoding="utf-8")
        assert "edgedet_" not in text, path.name
        assert "EDGEDET_" not in text, path.name


@pytest.mark.toolchain
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_two_modules_in_one_image_give_their_golden_outputs_in_turns(
    modules: dict[str, Path], tmp_path: Path, require_tool: Callable[..., str], compiler: str
) -> None:
    command = [require_tool(compiler), "-std=c99", "-O1", *WARNINGS, *includes(modules), str(MAIN), *sources(modules)]
    built = run([*command, "-o", "two"], tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    assert run([str(tmp_path / "two")], tmp_path).stdout == "PASS\n"


@pytest.mark.toolchain
def test_one_model_twice_in_one_image_gives_its_golden_outputs_in_turns(
    models: dict[str, Path], modules: dict[str, Path], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    twice = {"faces": modules["faces"], "cells": deploy(models["faces"], "c99", tmp_path / "cells", name="cells").out}
    command = [require_tool("gcc"), "-std=c99", "-O1", "-DSAME_MODEL=1", *WARNINGS, *includes(twice), str(MAIN)]
    built = run([*command, *sources(twice), "-o", "twice"], tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    assert run([str(tmp_path / "twice")], tmp_path).stdout == "PASS\n"


@pytest.mark.toolchain
def test_two_modules_on_cortex_m4_give_their_golden_outputs_in_turns(
    modules: dict[str, Path], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    board, start = BOARDS["cortex-m4"], resource_dir("firmware_export") / "qemu"
    command = [require_tool("arm-none-eabi-gcc"), *board.flags, "-mthumb", "-std=gnu99", "-O2", "-ffunction-sections"]
    command += ["-DON_CHIP", '-DFACES_ARENA_ATTR=__attribute__((section(".arena")))']
    command += ["-DCELLS_ARENA_ATTR=FACES_ARENA_ATTR", *includes(modules), f"-I{start}", str(MAIN), *sources(modules)]
    command += [str(start / "startup.c"), str(start / "semihosting.c"), f"-L{start}", "-T", board.linker_script]
    command += ["-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,--gc-sections", "-o", "two.elf"]
    built = run(command, tmp_path)
    assert built.returncode == 0, built.stderr
    emulator = [require_tool("qemu-system-arm"), "-M", board.machine, "-nographic", "-monitor", "none"]
    emulator += ["-serial", "none", "-semihosting-config", "enable=on,target=native", "-kernel", "two.elf"]
    done = subprocess.run(emulator, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, (done.stdout + done.stderr).strip()) == (0, "PASS")


@pytest.mark.toolchain
def test_two_modules_share_their_kernels_in_one_cmake_project(
    modules: dict[str, Path], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    golden = [str(out / f"{name}_golden.c") for name, out in modules.items()]
    lines = ["cmake_minimum_required(VERSION 3.13)", "project(two C)", "set(CMAKE_C_STANDARD 99)"]
    lines += [f"add_subdirectory({out} {name})" for name, out in modules.items()]
    lines += [f"add_executable(two {MAIN} {' '.join(golden)})", "target_link_libraries(two faces cells)"]
    (tmp_path / "CMakeLists.txt").write_text("\n".join(lines))
    cmake = require_tool("cmake")
    for command in ([cmake, "-S", ".", "-B", "build"], [cmake, "--build", "build"]):
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert run([str(tmp_path / "build" / "two")], tmp_path).stdout == "PASS\n"
    assert len(list((tmp_path / "build").rglob("libedgedet_kernels.a"))) == 1


@pytest.mark.toolchain
def test_header_and_library_of_two_modules_of_one_name_do_not_link(
    models: dict[str, Path], modules: dict[str, Path], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    cc = require_tool("cc")
    graph = read_tflite(models["faces"])
    index = next(i for i, tensor in enumerate(graph.tensors) if tensor.data is not None)
    changed = np.array(graph.tensors[index].data)
    changed.flat[0] += 1
    tensors = list(graph.tensors)
    tensors[index] = type(tensors[index])(**{**vars(tensors[index]), "data": changed})
    write_tflite(type(graph)(**{**vars(graph), "tensors": tuple(tensors)}), tmp_path / "other.tflite")
    other = deploy(tmp_path / "other.tflite", "c99", tmp_path / "other", name="faces").out
    (tmp_path / "use.c").write_text(
        '#include "faces_run.h"\nint main(void) { return faces_invoke(NULL, NULL, 0) == EDK_ERROR_NULL ? 0 : 1; }\n'
    )
    for header, library, links in ((other, other, True), (other, modules["faces"], False)):
        command = [cc, "-std=c99", *tools.include_options(header), "use.c", "-o", "use"]
        for path in sources({"faces": library}):  # each with its own headers, as in its own build
            name = f"{library.name}_{Path(path).stem}.o"
            built = run([cc, "-std=c99", "-O0", *tools.include_options(library), "-c", path, "-o", name], tmp_path)
            assert built.returncode == 0, built.stderr
            command.append(name)
        done = run(command, tmp_path)
        assert (done.returncode == 0) == links, done.stderr
    assert "faces_invoke" in done.stderr


@pytest.mark.toolchain
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("standard", ["c++11", "c++17"])
def test_two_named_modules_headers_compile_as_cpp(
    modules: dict[str, Path], tmp_path: Path, require_tool: Callable[..., str], compiler: str, standard: str
) -> None:
    headers = [path.name for out in modules.values() for path in sorted(out.glob("*.h"))]
    (tmp_path / "all.cc").write_text("".join(f'#include "{name}"\n' for name in headers))
    command = [require_tool(compiler), f"-std={standard}", *WARNINGS, "-fsyntax-only", *includes(modules), "all.cc"]
    done = run(command, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.toolchain
def test_weights_go_where_the_macro_says(
    modules: dict[str, Path], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    attribute = '-DFACES_WEIGHTS_ATTR=__attribute__((section(".qspi")))'
    data = str(modules["faces"] / "faces_model_data.c")
    command = [require_tool("gcc"), "-std=c99", attribute, *tools.include_options(modules["faces"]), "-c", data]
    assert run([*command, "-o", "data.o"], tmp_path).returncode == 0
    assert ".qspi" in run([require_tool("objdump"), "-h", "data.o"], tmp_path).stdout


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Faces",
        "2faces",
        "a-b",
        "a__b",
        "int",
        "edk_x",
        "x" * 33,
        'a"',
        "../a",
        "ä",
        "test",
        "edgedet_kernels",
        "m",
        "con",
    ],
)
def test_deploy_a_name_that_c_does_not_take_is_refused(models: dict[str, Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="lower-case letters, digits and single underscores"):
        deploy(models["cells"], "c99", tmp_path / "out", name=name)
    assert not (tmp_path / "out").exists()
