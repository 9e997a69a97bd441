"""The generated module: builds with nothing but a C compiler, equals the simulator, and notices when it does not."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest
from c_structs import CImage
from fomo_like import heat_map
from graph_maker import every_operator

from edgedet.codegen.program import preprocess_scratch_bytes
from edgedet.data.pictures.preprocess import resize_to_input
from edgedet.deploy.api import MANIFEST, DeployReport, deploy
from edgedet.errors import ConfigError, ConversionError, EdgedetError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.graph.model import load_int8_model
from edgedet.graph.tflite.flatbuffer_write import build as build_unchecked
from edgedet.numerics.decode import decode_int8, dequantize_output
from edgedet.numerics.heads.decode import decode_outputs
from edgedet.runtimes.open import open_runtime

STRICT = "-O1 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wmissing-prototypes -Wundef -Werror"
# clang's -Weverything without: declarations first (C89), holes in structs, spans of C++ instead of pointers.
EVERYTHING = "-Weverything -Wno-declaration-after-statement -Wno-padded -Wno-unknown-warning-option"
WARNINGS = {"gcc": STRICT, "clang": f"{STRICT} {EVERYTHING} -Wno-unsafe-buffer-usage"}
PROGRAMS = ("selftest.c", "device_main.c")  # with a main() each
SANITIZERS = {
    "gcc": "-fsanitize=address,undefined",
    # edk_types.h promises a left shift that wraps.
    "clang": "-fsanitize=address,undefined,integer,implicit-conversion -fno-sanitize=unsigned-shift-base",
}


@pytest.fixture(scope="module")
def tiny_c99(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DeployReport:
    return deploy(tiny_model, "c99", tmp_path_factory.mktemp("c99") / "module")


def build(folder: Path, flags: str, *targets: str) -> None:
    done = subprocess.run(
        ["make", "-s", f"CFLAGS={flags}", *targets], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def selftest(folder: Path, flags: str = "-O1") -> tuple[int, str]:
    build(folder, flags, "build/selftest")
    done = subprocess.run([folder / "build" / "selftest"], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def copied(report: DeployReport, folder: Path) -> Path:
    return Path(shutil.copytree(report.out, folder / "copy"))


POOLS = {"edgedet_weights": np.int8, "edgedet_words": np.int32, "edgedet_indices": np.int16}


def find_constants(source: str, pool: str) -> re.Match[str]:
    """The numbers of an array as C writes them, commas between."""
    found = re.search(rf"{pool}\[.*?\{{\s*(.*?),?\s*\}};", source, re.DOTALL)
    assert found is not None
    return found


def constants_of(folder: Path, pool: str) -> np.ndarray:
    source = (folder / "model_data.c").read_text(encoding="utf-8")
    return np.array(find_constants(source, pool)[1].split(","), POOLS[pool])


def flip_bits(folder: Path, pool: str, position: int, mask: int) -> None:
    """Change one byte of an array in model_data.c; position: of the byte in little-endian memory."""
    source, numbers = (folder / "model_data.c").read_text(encoding="utf-8"), constants_of(folder, pool)
    numbers.view(np.uint8)[position] ^= mask
    found = find_constants(source, pool)
    changed = source[: found.start(1)] + ",".join(map(str, numbers.tolist())) + source[found.end(1) :]
    (folder / "model_data.c").write_text(changed, encoding="utf-8")


@pytest.mark.toolchain
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_deploy_c99_builds_without_warnings_and_passes(
    tiny_c99: DeployReport, tmp_path: Path, require_tool: Callable[..., str], compiler: str
) -> None:
    folder = copied(tiny_c99, tmp_path)
    build(folder, WARNINGS[compiler], f"CC={require_tool(compiler)}", "build/selftest")
    done = subprocess.run([folder / "build" / "selftest"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "PASS\n")


@pytest.mark.toolchain
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_deploy_c99_self_test_is_clean_under_sanitizers(
    tiny_c99: DeployReport, tmp_path: Path, require_tool: Callable[..., str], compiler: str
) -> None:
    folder, flags = copied(tiny_c99, tmp_path), f"-g -O1 {SANITIZERS[compiler]} -fno-sanitize-recover=all"
    build(folder, flags, f"CC={require_tool(compiler)}", "build/selftest")
    done = subprocess.run([folder / "build" / "selftest"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "PASS\n", "")


@pytest.mark.toolchain
def test_deploy_c99_make_alone_prints_pass_and_fails_where_the_self_test_does(
    tiny_c99: DeployReport, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("cc")
    folder = copied(tiny_c99, tmp_path)
    make = [require_tool("make"), "CFLAGS=-O1"]
    done = subprocess.run(make, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "PASS")
    flip_bits(folder, "edgedet_weights", 5, 0x40)
    done = subprocess.run(make, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "FAIL" in done.stdout.splitlines()
    chosen = subprocess.run([*make, "-n", "RUN=emulator -x"], cwd=folder, capture_output=True, text=True, check=True)
    assert chosen.stdout.splitlines()[-1] == "emulator -x ./build/selftest"


# Cortex-M55 at -Os is where GCC 12 needs the generated Makefile's help.
@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("arm-none-eabi-gcc", "-Os -mcpu=cortex-m55 -mfloat-abi=hard"),
        ("arm-none-eabi-gcc", "-Os -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"),
        ("clang", "-O2 -mcpu=cortex-m4 -mfloat-abi=hard"),
        ("clang", "-O2 -mcpu=cortex-m33 -mfloat-abi=hard"),
    ],
)
def test_deploy_c99_makefile_builds_for_chips(
    tiny_c99: DeployReport, tmp_path: Path, require_tool: Callable[..., str], compiler: str, flags: str
) -> None:
    folder, program = copied(tiny_c99, tmp_path), require_tool(compiler)
    if compiler == "clang":
        program += " --target=arm-none-eabi -mthumb -isystem /usr/lib/arm-none-eabi/include"
    build(folder, f"{flags} -mthumb -Wall -Wextra -Werror", f"CC={program}", "build/libedgedet.a")
    assert (folder / "build" / "libedgedet.a").read_bytes().startswith(b"!<arch>\n")


@pytest.mark.toolchain
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_deploy_c99_headers_compile_as_cpp11(
    tiny_c99: DeployReport, tmp_path: Path, require_tool: Callable[..., str], compiler: str
) -> None:
    headers = [path.name for path in sorted(tiny_c99.out.glob("*.h"))]
    (tmp_path / "all.cc").write_text("".join(f'#include "{name}"\n' for name in headers))
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror", "-fsyntax-only"]
    includes = [f"-I{tiny_c99.out}", f"-I{tiny_c99.out / 'kernels' / 'include'}"]
    done = subprocess.run(
        [require_tool(compiler), *flags, *includes, "all.cc"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.toolchain
def test_deploy_c99_builds_with_cmake(tiny_c99: DeployReport, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    cmake = require_tool("cmake")
    folder = copied(tiny_c99, tmp_path)
    for command in ([cmake, "-S", ".", "-B", "build"], [cmake, "--build", "build"]):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert subprocess.run([folder / "build" / "selftest"], capture_output=True, check=False).stdout == b"PASS\n"


@pytest.mark.toolchain
@pytest.mark.parametrize("option", ["-DCPU=cortex-m4", "-DQEMU=ON"])
def test_deploy_c99_cmake_for_a_processor_without_a_toolchain_file_stops_at_once(
    option: str, tiny_c99: DeployReport, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    command = [require_tool("cmake"), "-S", tiny_c99.out, "-B", tmp_path / "build", option]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "the module alone has none: give yours with -DCMAKE_TOOLCHAIN_FILE=FILE" in " ".join(done.stderr.split())


@pytest.mark.toolchain
def test_deploy_c99_flipped_weight_fails_and_names_the_outputs(
    tiny_c99: DeployReport, tiny_model: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("cc")
    folder = copied(tiny_c99, tmp_path)
    graph = read_tflite(tiny_model)
    weights = graph.tensors[graph.tensor_index("cls_16/weights")].data
    assert weights is not None
    # The last layer before output cls_16: no other output may differ.
    codes = constants_of(folder, "edgedet_weights")
    start = next(i for i in range(len(codes)) if np.array_equal(codes[i : i + weights.size], weights.ravel()))
    flip_bits(folder, "edgedet_weights", start, 0xFF)
    status, text = selftest(folder)
    assert status == 1
    assert text.endswith("FAIL\n")
    assert "FAIL edgedet_weights: the checksum" in text
    assert re.findall(r"FAIL output \d \((\w+)\)", text) == ["cls_16"]


@pytest.fixture(scope="module")
def built_module(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., str]) -> Path:
    """A module that uses all three pools, compiled; a changed file alone is compiled again."""
    require_tool("cc")
    folder = tmp_path_factory.mktemp("built")
    out = deploy(foreign(folder, every_operator()), "c99", folder / "module").out
    assert selftest(out) == (0, "PASS\n")
    return out


@pytest.mark.toolchain
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_deploy_c99_flipped_bit_of_any_constant_fails_its_checksum(
    built_module: Path, tmp_path: Path, pool: str, place: float
) -> None:
    folder = Path(shutil.copytree(built_module, tmp_path / "copy"))
    size_bytes = constants_of(folder, pool).nbytes
    # One bit of the first, a middle and the last byte: also where no output of this one input shows it.
    flip_bits(folder, pool, round(place * (size_bytes - 1)), 1)
    status, text = selftest(folder)
    assert status == 1
    assert re.findall(r"FAIL (\w+): the checksum is wrong", text) == [pool]
    assert text.endswith("FAIL\n")


@pytest.mark.toolchain
def test_deploy_c99_flipped_bias_fails_its_checksum_and_the_output_behind_it(
    tiny_c99: DeployReport, tiny_model: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("cc")
    folder = copied(tiny_c99, tmp_path)
    graph = read_tflite(tiny_model)
    operator = next(o for o in graph.operators if graph.tensors[o.outputs[0]].name == "cls_16")
    source, weights, bias = (graph.tensors[index] for index in operator.inputs)
    assert source.quantization is not None
    assert weights.data is not None
    assert bias.data is not None
    # As the generator stores it: with the input's zero point folded in.
    zero_point = int(source.quantization.zero_point[0])
    folded = bias.data - zero_point * weights.data.reshape(len(bias.data), -1).astype(np.int32).sum(axis=1)
    words = constants_of(folder, "edgedet_words")
    start = next(i for i in range(len(words)) if np.array_equal(words[i : i + folded.size], folded))
    flip_bits(folder, "edgedet_words", 4 * start + 2, 1)  # by 2^16
    status, text = selftest(folder)
    assert status == 1
    assert "FAIL edgedet_words: the checksum is wrong" in text
    assert re.findall(r"FAIL output \d \((\w+)\)", text) == ["cls_16"]


@pytest.mark.toolchain
def test_deploy_c99_flipped_golden_byte_alone_fails(
    tiny_c99: DeployReport, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("cc")
    folder = copied(tiny_c99, tmp_path)
    source = (folder / "golden.c").read_text(encoding="utf-8")
    head, _, tail = source.partition("golden_output_3[")
    first = re.search(r"\{\n\s*(-?\d+),", tail)
    assert first is not None
    other = str(-1 - int(first[1]))
    (folder / "golden.c").write_text(
        head + "golden_output_3[" + tail[: first.start(1)] + other + tail[first.end(1) :], encoding="utf-8"
    )
    status, text = selftest(folder)
    assert status == 1
    assert "FAIL output 3 (box_16): 1 of " in text
    assert f"first at 0: expected {other}, found {first[1]}" in text


def test_deploy_c99_writes_only_needed_kernels_and_a_truthful_manifest(tiny_c99: DeployReport) -> None:
    names = {path.relative_to(tiny_c99.out).as_posix() for path in tiny_c99.files}
    assert names == {path.relative_to(tiny_c99.out).as_posix() for path in tiny_c99.out.rglob("*") if path.is_file()}
    assert {"model.c", "model.h", "run.c", "contract.h", "Makefile", "CMakeLists.txt", "plan.txt", "plan.svg"} <= names
    assert "kernels/src/edk_conv_s8.c" in names
    assert "kernels/src/edk_mean_s8.c" not in names
    manifest = json.loads((tiny_c99.out / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["arena"]["bytes"] == tiny_c99.arena_bytes
    assert tiny_c99.arena_bytes <= 1.05 * manifest["arena"]["bound_bytes"]
    assert "edgedet_run" in (tiny_c99.out / "run.h").read_text(encoding="utf-8")


def test_deploy_c99_twice_gives_the_same_bytes(tiny_c99: DeployReport, tiny_model: Path, tmp_path: Path) -> None:
    again = deploy(tiny_model, "c99", tmp_path / "again")
    for path in tiny_c99.files:
        name = path.relative_to(tiny_c99.out)
        assert (again.out / name).read_bytes() == path.read_bytes(), name


@pytest.fixture(scope="module")
def fomo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return heat_map(tmp_path_factory.mktemp("fomo"))


class Detection(ctypes.Structure):
    _fields_ = [("box", ctypes.c_float * 4), ("score", ctypes.c_float), ("label", ctypes.c_int32)]


@pytest.mark.toolchain
@pytest.mark.parametrize("fixture", ["tiny_model", "mean_std_model", "grey_model", "bgr_model", "fomo_model"])
@pytest.mark.parametrize("size", [(64, 32), (77, 131), (640, 480)])
def test_edgedet_run_equals_the_host_from_image_to_boxes(
    request: pytest.FixtureRequest,
    fixture: str,
    size: tuple[int, int],
    tmp_path: Path,
    require_tool: Callable[..., str],
) -> None:
    cc = require_tool("cc")
    path = request.getfixturevalue(fixture)
    out = deploy(path, "c99", tmp_path / "module").out
    sources = [str(p.relative_to(out)) for p in out.rglob("*.c") if p.name not in PROGRAMS]
    command = [cc, "-std=c99", "-O2", "-shared", "-fPIC", "-I.", "-Ikernels/include", "-o", "m.so", *sources]
    subprocess.run(command, cwd=out, check=True)
    library = ctypes.CDLL(str(out / "m.so"))
    model = load_int8_model(path)
    rng = np.random.default_rng(size[0])
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    runtime = open_runtime(path, "sim")
    resized, placement = resize_to_input(pixels, model.preprocess)
    raw = runtime.invoke(runtime.prepare(resized))
    if fixture == "fomo_model":
        real = dequantize_output(raw[0], model.scales[0], model.zero_points[0])
        expected = decode_outputs([real], model.outputs, (model.preprocess.width, model.preprocess.height))
    else:
        expected = decode_int8(raw, model.scales, model.zero_points, model.outputs)
    image = CImage(pixels.ctypes.data, size[0], size[1], 3 * size[0], 0)
    arena = np.zeros(read_arena_bytes(out) + 16, np.uint8)
    base = arena.ctypes.data + -arena.ctypes.data % 16
    room, count = (Detection * 100)(), ctypes.c_int32()
    status = library.edgedet_run(
        ctypes.byref(image),
        ctypes.c_void_p(base),
        ctypes.c_size_t(read_arena_bytes(out)),
        room,
        100,
        ctypes.byref(count),
    )
    assert status == 0
    assert count.value == len(expected) > 0
    found = room[: count.value]
    np.testing.assert_array_equal(
        np.array([list(d.box) for d in found]).reshape(-1, 4), placement.to_image(expected.boxes)
    )
    np.testing.assert_array_equal([d.score for d in found], expected.scores)
    np.testing.assert_array_equal([d.label for d in found], expected.labels)


@pytest.mark.toolchain
def test_deploy_c99_grey_network_takes_the_frames_of_a_grey_camera(
    grey_model: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    cc = require_tool("cc")
    out = deploy(grey_model, "c99", tmp_path / "module").out
    assert not (out / "kernels/src/edk_preprocess.c").exists(), "colour code in a grey module"
    sources = [str(p.relative_to(out)) for p in out.rglob("*.c") if p.name not in PROGRAMS]
    command = [cc, "-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC", "-I.",
               "-Ikernels/include", "-o", "m.so", *sources]  # fmt: skip
    subprocess.run(command, cwd=out, check=True)
    library = ctypes.CDLL(str(out / "m.so"))
    library.edgedet_input_at.restype = ctypes.c_void_p
    model = load_int8_model(grey_model)
    pixels = np.random.default_rng(1).integers(0, 256, (480, 640, 1), dtype=np.uint8)
    resized, _ = resize_to_input(pixels, model.preprocess)
    image = CImage(pixels.ctypes.data, 640, 480, 640, 3)
    arena = np.zeros(read_arena_bytes(out) + 16, np.uint8)
    base = ctypes.c_void_p(arena.ctypes.data + -arena.ctypes.data % 16)
    size = ctypes.c_size_t(read_arena_bytes(out))
    assert library.edgedet_prepare(ctypes.byref(image), base, size, None) == 0
    found = ctypes.string_at(library.edgedet_input_at(base, 0), resized.size)
    assert found == open_runtime(grey_model, "sim").prepare(resized).tobytes()


def read_arena_bytes(out: Path) -> int:
    found = re.search(r"EDGEDET_ARENA_BYTES (\d+)u", (out / "model.h").read_text(encoding="utf-8"))
    assert found is not None
    return int(found[1])


def foreign(tmp_path: Path, graph: g.Graph, name: str = "foreign.tflite") -> Path:
    path = tmp_path / name
    write_tflite(graph, path)
    return path


def batch_of_two() -> g.Graph:
    m = maker.GraphMaker(6)
    y = m.conv(m.input((2, 6, 5, 4)), 4, activation="RELU")
    y = m.concat([y, m.alias_scale(m.conv(y, 3, depthwise=False), y)])
    y = m.add("ADD", [y, m.conv(y, 7, (1, 1))], (2, 6, 5, 7), (0.05, 3), g.ElementwiseOptions())
    return m.graph([m.pool("MAX_POOL_2D", y, 2, 2)])


@pytest.mark.toolchain
@pytest.mark.parametrize("make", [every_operator, batch_of_two])
def test_deploy_c99_foreign_graph_passes_its_self_test(
    make: Callable[[], g.Graph], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("cc")
    report = deploy(foreign(tmp_path, make()), "c99", tmp_path / "module")
    assert not report.has_contract
    assert "no edgedet_run()" in " ".join(report.text().split())
    assert not (report.out / "run.c").exists()
    assert selftest(report.out, STRICT) == (0, "PASS\n")


@pytest.mark.toolchain
def test_deploy_c99_example_of_another_maker_passes(
    shared_dir: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("cc")
    report = deploy(shared_dir / "data" / "example_15_ops_int8.tflite", "c99", tmp_path / "module")
    assert selftest(report.out, STRICT) == (0, "PASS\n")
    assert report.arena_bytes <= 1.05 * 110_592


def broken_files(tmp_path: Path, tiny_model: Path) -> dict[str, tuple[Path, type[EdgedetError], str]]:
    data = tiny_model.read_bytes()
    graph = read_tflite(tiny_model)
    truncated = tmp_path / "truncated.tflite"
    truncated.write_bytes(data[: len(data) // 2])
    m = maker.GraphMaker(1)
    x = m.input((1, 4, 4, 4))
    odd = foreign(tmp_path, m.graph([m.same("NEG", [x], (1, 4, 4, 4))]), "odd")
    nan = tmp_path / "nan.tflite"
    scale = np.float32(0.031).tobytes()
    assert scale in data
    nan.write_bytes(data.replace(scale, np.float32(np.nan).tobytes()))
    cyclic = tmp_path / "cyclic.tflite"
    operators = list(graph.operators)
    operators[0] = replace(operators[0], inputs=(operators[1].outputs[0], *operators[0].inputs[1:]))
    cyclic.write_bytes(build_unchecked(replace(graph, operators=tuple(operators))))
    return {
        "truncated": (truncated, ConversionError, "truncated.tflite"),
        "operator": (odd, UnsupportedOpError, "no C kernel for NEG; there are kernels for ABS, ADD, "),
        "nan": (nan, ConversionError, "scale must be finite and positive"),
        "cyclic": (cyclic, ConversionError, "without cycles"),
        "missing": (tmp_path / "none.tflite", ConversionError, "check the path"),
    }


def test_deploy_c99_operator_without_kernel_lists_the_operators_with_one(tmp_path: Path) -> None:
    """NEG is unknown to the simulator, too, which must not answer first: its list is another one."""
    m = maker.GraphMaker(1)
    x = m.conv(m.input((1, 4, 4, 4)), 4)
    path = foreign(tmp_path, m.graph([m.add("NEG", [x], (1, 4, 4, 4), m.params(x), name="scores")]))
    with pytest.raises(UnsupportedOpError) as error:
        deploy(path, "c99", tmp_path / "out")
    place, _, listed = str(error.value).partition(": there is no C kernel for NEG; there are kernels for ")
    assert place == f"{path}: operator 1 (NEG, writes 'scores')"
    # The graph of the test above has one of each operator that needs a kernel; LOGISTIC and QUANTIZE become tables.
    kernels = {operator.kind for operator in every_operator().operators} | {"LOGISTIC", "QUANTIZE"}
    assert kernels <= set(listed.split(", "))
    assert "NEG" not in listed.split(", ")


def test_deploy_c99_operator_without_kernel_that_no_output_needs_is_left_out(tmp_path: Path) -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 4, 4, 4))
    m.same("MEAN", [x, m.constant([1, 3])], (1, 4), g.ReduceOptions())  # axes that are apart
    report = deploy(foreign(tmp_path, m.graph([m.conv(x, 4)])), "c99", tmp_path / "out")
    assert report.plan is not None
    assert report.plan.kinds == ("CONV_2D",)


@pytest.mark.parametrize("kind", ["truncated", "operator", "nan", "cyclic", "missing"])
def test_deploy_c99_broken_file_is_an_error_and_leaves_nothing(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    path, error, words = broken_files(tmp_path, tiny_model)[kind]
    folder = tmp_path / "parent"
    with pytest.raises(error, match=re.escape(words)):
        deploy(path, "c99", folder / "out")
    assert not folder.exists()


def test_deploy_c99_ram_limit_below_the_smallest_arena_says_how_much_is_needed(
    tiny_c99: DeployReport, tiny_model: Path, tmp_path: Path
) -> None:
    need = tiny_c99.arena_bytes
    assert deploy(tiny_model, "c99", tmp_path / "fits", ram_bytes=need).arena_bytes == need
    with pytest.raises(
        ConfigError, match=f"limit is {need - 1:,} bytes of RAM, but the smallest arena .* {need:,} bytes"
    ):
        deploy(tiny_model, "c99", tmp_path / "out", ram_bytes=need - 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["c99", "tflm"])
def test_main_deploy_without_jinja2_names_the_extra_of_the_target(
    target: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgedet.commands.main import main

    monkeypatch.setitem(sys.modules, "jinja2", None)  # what an import of it then finds: nothing
    assert main(["deploy", str(tiny_model), "--target", target, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        f'error: jinja2 is not installed, but this step needs it: pip install "edgedet[{target}]"\n'
    )
    assert not (tmp_path / "out").exists()


def test_deploy_c99_image_without_contracts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="carries no preprocessing contract"):
        deploy(foreign(tmp_path, batch_of_two()), "c99", tmp_path / "out", image=tmp_path / "photo.png")


def test_deploy_c99_hostile_names_stay_inside_strings_and_comments(tmp_path: Path) -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 4, 4, 4), name='in*/ #error "??/\n\\')
    out = deploy(foreign(tmp_path, m.graph([m.conv(x, 3, name='*/ int main(void) {"\\')])), "c99", tmp_path / "m").out
    text = (out / "model.c").read_text(encoding="utf-8")
    assert "*/ int" not in re.sub(r'"(\\.|[^"\\])*"', '""', text)
    assert "#error" not in re.sub(r'"(\\.|[^"\\])*"', '""', text)


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("fixture", "function"), [("tiny_model", "edk_preprocess"), ("grey_model", "edk_preprocess_gray")]
)
def test_preprocess_scratch_bytes_equals_the_kernel(
    request: pytest.FixtureRequest, fixture: str, function: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    cc = require_tool("cc")
    path = request.getfixturevalue(fixture)
    out = deploy(path, "c99", tmp_path / "module").out
    kernels = sorted((out / "kernels" / "src").glob("edk_p*.c"))
    subprocess.run([cc, "-shared", "-fPIC", "-Ikernels/include", "-o", "k.so", *kernels], cwd=out, check=True)
    library = ctypes.CDLL(str(out / "k.so"))

    class Params(ctypes.Structure):
        _fields_ = [
            ("width", ctypes.c_int32),
            ("height", ctypes.c_int32),
            ("resize", ctypes.c_int),
            ("pad", ctypes.c_uint8),
            ("table", ctypes.c_void_p),
        ]

    scratch_bytes = getattr(library, f"{function}_scratch_bytes")
    scratch_bytes.restype = ctypes.c_size_t
    spec = load_int8_model(path).preprocess
    for resize in (0, 1):
        spec = replace(spec, resize=("letterbox", "stretch")[resize])
        for size in ((640, 480), (33, 900), (1, 1), (64, 32)):
            params = Params(spec.width, spec.height, resize, 114, None)
            assert scratch_bytes(ctypes.byref(params), *size) == preprocess_scratch_bytes(spec, *size)


def test_main_deploy_c99_prints_arena_and_files(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgedet.commands.main import main

    out = tmp_path / "module"
    assert main(["deploy", str(tiny_model), "--target", "c99", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"arena:     {read_arena_bytes(out):,} bytes, input, outputs and scratch included" in printed
    assert f"`make -C {out}`" in printed
    assert len(printed.splitlines()) < 15
    assert main(["deploy", str(tiny_model), "--target", "c99", "--out", str(out), "--ram", "100"]) == 2
    assert "the limit is 100 bytes of RAM, but the smallest arena" in capsys.readouterr().err
