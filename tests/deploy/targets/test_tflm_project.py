"""The project of target tflm: what it decodes, what it says, and with TFLM_ROOT that it runs on a real TFLite Micro."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tflm_checkout as tflm
from c_audit_modules import MODELS
from c_audit_tools import HERE

from edgedet.deploy.api import deploy

pytest.importorskip("tflite_micro", reason="needs the extra tflm")
pytestmark = pytest.mark.toolchain
AUDIT = HERE / "c_audit"


def project(kind: str, folder: Path, name: str | None = "tiny") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return deploy(MODELS[kind](folder), "tflm", folder / "project", name=name).out


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project("RTMDet head", tmp_path_factory.mktemp("tiny"))


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_named_project_has_the_name_everywhere(tiny: Path) -> None:
    for path in [path for path in tiny.iterdir() if path.suffix in (".c", ".cc", ".h")]:
        assert path.name.startswith("tiny_")
        words = path.read_text(encoding="utf-8").replace("EDGEDET_QEMU", "")
        assert not re.search(r"(?i)edgedet_|kTensorArenaBytes", words), path.name


@pytest.mark.parametrize("name", ["tiny", None])
def test_header_and_library_of_two_modules_of_one_name_do_not_link(
    name: str | None, tiny: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    """The parts that need no TFLite Micro; network.h has its names by the same rule."""
    compiler = require_tool("g++")
    prefix, stem = (name, f"{name}_") if name else ("edgedet", "")
    one = tiny if name else project("RTMDet head", tmp_path / "one", None)
    other = project("blue first", tmp_path, name)
    (tmp_path / "use.cc").write_text(
        f'#include "{stem}detect.h"\n#include "{stem}model_data.h"\n#include "{stem}network.h"\n'
        f"int main() {{ return {prefix}_model_data_bytes > 0 && {prefix}_model_data[0] > 0 &&\n"
        f"  {prefix}_prepare(nullptr, nullptr, nullptr, 0, nullptr) == EDK_ERROR_NULL ? 0 : 1; }}\n"
    )
    for header, library, links in ((other, other, True), (other, one, False)):
        includes = [[f"-I{out}", f"-I{out / 'kernels' / 'include'}"] for out in (header, library)]
        sources = [library / f"{stem}detect.c", *(library / "kernels" / "src").glob("*.c")]
        built = tflm.run("gcc", "-std=c99", "-O0", *includes[1], "-c", *sources, folder=tmp_path)
        assert built.returncode == 0, built.stderr
        built = tflm.run(compiler, "-O0", *includes[1], "-c", library / f"{stem}model_data.cc", folder=tmp_path)
        assert built.returncode == 0, built.stderr
        objects = sorted(tmp_path.glob("*.o"))
        done = tflm.run(compiler, *includes[0], "use.cc", *objects, "-o", "use", folder=tmp_path)
        assert (done.returncode == 0) == links, done.stderr
    missing = set(re.findall(rf"({prefix}_\w+?)_[0-9a-f]{{8}}\b", done.stderr))
    assert {f"{prefix}_prepare", f"{prefix}_model_data_bytes"} <= missing
    text = (one / f"{stem}network.h").read_text(encoding="utf-8")
    defined = re.findall(rf"^#define {prefix}_(network_\w+) {prefix}_\1_[0-9a-f]{{8}}$", text, re.M)
    assert {"network_open", "network_invoke", "network_output"} <= set(defined)


@pytest.mark.parametrize("kind", ["RTMDet head", "FOMO head", "YOLOv8 head", "blue first"])
def test_decode_of_the_golden_outputs_gives_the_golden_detections(
    kind: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    out = project(kind, tmp_path)
    includes = [f"-I{out}", f"-I{out / 'kernels' / 'include'}"]
    sources = [out / "tiny_detect.c", *sorted((out / "kernels" / "src").glob("*.c"))]
    command = [require_tool("gcc"), "-std=c99", "-O1", *tflm.WARNINGS.split(), *includes, "-c", *sources]
    built = tflm.run(*command, folder=tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    program = [AUDIT / "decode_golden.cc", out / "tiny_golden.cc", *sorted(tmp_path.glob("*.o"))]
    command = [
        require_tool("g++"),
        "-std=c++17",
        *tflm.WARNINGS.split(),
        *includes,
        *program,
        "-o",
        tmp_path / "decode",
    ]
    built = tflm.run(*command)
    assert (built.returncode, built.stderr) == (0, "")
    assert tflm.run(tmp_path / "decode").stdout == "PASS\n"


@pytest.mark.parametrize(
    ("compiler", "language"), [("gcc", "c99"), ("clang", "c99"), ("g++", "c++11"), ("clang++", "c++17")]
)
def test_headers_around_the_network_compile(
    tiny: Path, tmp_path: Path, require_tool: Callable[..., str], compiler: str, language: str
) -> None:
    source = tmp_path / ("all.c" if language == "c99" else "all.cc")
    names = ["tiny_network.h", "tiny_detect.h", "tiny_contract.h", *([] if language == "c99" else ["tiny_golden.h"])]
    source.write_text("".join(f'#include "{name}"\n' for name in names) + "extern const int unused;\n")
    unused = "-Wno-unused-const-variable"  # contract.h defines tables in every file that includes it
    command = [require_tool(compiler), f"-std={language}", *tflm.WARNINGS.split(), unused, "-fsyntax-only"]
    done = tflm.run(*command, f"-I{tiny}", f"-I{tiny / 'kernels' / 'include'}", source)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give the checkout of TFLite Micro with -DTFLM_ROOT=/path/to/tflite-micro"),
        (["-DTFLM_ROOT=@/tflm"], "0 libraries gen/*/lib/libtensorflow-microlite.a in"),
        (["-DTFLM_ROOT=@/tflm", "-DTFLM_LIBRARY=@/absent.a"], "which is not there: name the library"),
        (["-DTFLM_ROOT=@/tflm", "-DTFLM_LIBRARY=@/tflm/lib.a"], "no flatbuffers/flatbuffers.h in"),
        (["-DCPU=cortex-m4"], "without a toolchain file this builds for this computer: take an empty build folder and"),
        (["-DQEMU=ON"], "CPU is '' and QEMU is 'ON', but without a toolchain file"),
    ],
)
def test_cmake_says_what_is_missing(
    tiny: Path, tmp_path: Path, require_tool: Callable[..., str], options: list[str], words: str
) -> None:
    header = tmp_path / "tflm" / "tensorflow" / "lite" / "micro" / "micro_interpreter.h"
    header.parent.mkdir(parents=True)
    header.touch()
    (tmp_path / "tflm" / "lib.a").touch()
    command = [require_tool("cmake"), "-S", tiny, "-B", tmp_path / "build"]
    done = tflm.run(*command, *(option.replace("@", str(tmp_path)) for option in options))
    assert done.returncode != 0
    assert words in " ".join(done.stderr.split())


def test_project_builds_without_warnings_and_passes_on_this_computer(tiny: Path, tmp_path: Path) -> None:
    options = tflm.cmake_options()
    out = tmp_path / "project"
    shutil.copytree(tiny, out)
    done = tflm.run(tflm.build(out, options) / "tiny_selftest")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "PASS"), done.stdout + done.stderr
    assert "detections in a drawn frame" in done.stdout


def test_model_without_contracts_passes(tmp_path: Path) -> None:
    options = tflm.cmake_options()
    out = project("many operators, int8", tmp_path, None)
    done = tflm.run(tflm.build(out, options) / "selftest")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "PASS"), done.stdout + done.stderr


def test_everything_wrong_gives_its_sentence(tiny: Path, tmp_path: Path) -> None:
    options = tflm.cmake_options()
    out = tmp_path / "project"
    shutil.copytree(tiny, out)
    shutil.copy(AUDIT / "tflm_faults.cc", out / "tiny_selftest.cc")
    done = tflm.run(tflm.build(out, options) / "tiny_selftest")
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert said["before"].startswith("the network is not open: call tiny_network_open() first")
    assert said["model NULL"].startswith("the model is NULL: pass tiny_model_data")
    assert said["model misaligned"].startswith("the model lies at an address that is no multiple of 16")
    assert "it is cut off, or another file; write all of it into flash" in said["model truncated"]
    assert "TFL3 at byte 4): its place in flash is empty" in said["model erased"]
    assert "it is damaged, or of another deployment" in said["end erased"]
    assert said["arena NULL"].startswith("the arena is NULL: pass memory of ")
    assert said["arena misaligned"].endswith("declare it with alignas(16)")
    assert "make it TINY_TENSOR_ARENA_BYTES (" in said["arena tiny"]
    assert said["arena 1 KiB short"].startswith("TFLite Micro can't place the tensors in an arena of")
    assert (said["right"], said["again"], said["index"]) == ("open", "open", "1")


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "tiny_op_resolver.h",
            "if (resolver.AddMaxPool2D(tflite::Register_MAX_POOL_2D_INT8()) != kTfLiteOk)\n"
            "        return kTfLiteError;",
            "",
            "the model needs the operator MAX_POOL_2D, which tiny_op_resolver.h does not register: put its Add",
        ),
        (
            "tiny_network.cc",
            '"images", "int8", 6144u, 0.00392156886f, -128',
            '"images", "int8", 6144u, 0.00399999991f, -128',
            "input images has scale 3921569 e-9 and zero point -128 instead of 4000000 e-9 and -128: model",
        ),
    ],
)
def test_code_of_another_model_gives_its_sentence(
    tiny: Path, tmp_path: Path, file: str, old: str, new: str, words: str
) -> None:
    options = tflm.cmake_options()
    out = tmp_path / "project"
    shutil.copytree(tiny, out)
    replace_once(out / file, old, new)
    done = tflm.run(tflm.build(out, options) / "tiny_selftest")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "FAIL")
    assert f"error: {words}" in done.stdout


def test_project_passes_on_cortex_m55_with_cmsis_nn(
    tiny: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    options = [*tflm.cmake_options("TFLM_LIBRARY_M55"), "-DCPU=cortex-m55", "-DQEMU=ON"]
    require_tool("arm-none-eabi-g++")
    require_tool("qemu-system-arm")
    out = tmp_path / "project"
    shutil.copytree(tiny, out)
    folder = tflm.build(out, [f"-DCMAKE_TOOLCHAIN_FILE={out / 'cortex-m.cmake'}", *options])
    done = tflm.run("ctest", "--test-dir", folder, "-V", "--timeout", "100")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "PASS" in done.stdout


def test_a_module_of_each_target_in_one_image_give_their_golden_outputs(tiny: Path, tmp_path: Path) -> None:
    options = tflm.cmake_options()
    (tmp_path / "c99").mkdir()
    other = deploy(MODELS["RTMDet head"](tmp_path / "c99"), "c99", tmp_path / "c99" / "module", name="other").out
    main = (AUDIT / "both_targets.cc").read_text(encoding="utf-8")
    (tmp_path / "main.cc").write_text(main, encoding="utf-8")
    lines = ["cmake_minimum_required(VERSION 3.13)", "project(both C CXX)", "set(CMAKE_CXX_STANDARD 17)"]
    lines += [f"add_subdirectory({tiny} tiny)", f"add_subdirectory({other} other)"]
    lines += [f"add_executable(both main.cc {tiny / 'tiny_golden.cc'} {other / 'other_golden.c'})"]
    (tmp_path / "CMakeLists.txt").write_text("\n".join([*lines, "target_link_libraries(both tiny other)"]))
    done = tflm.run(tflm.build(tmp_path, options, "both") / "both")
    assert done.stdout == "PASS\n", done.stdout + done.stderr
