"""Targets ethos-u...: what the folder holds, and with TFLM_LIBRARY_ETHOS_U that a real TFLite Micro takes it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import graph_maker
import pytest
import tflm_checkout as tflm

from edgedet.commands.main import main
from edgedet.deploy.api import DeployReport, deploy
from edgedet.deploy.preflight import boards_of, check, options_for
from edgedet.errors import ConfigError, ConversionError, UnsupportedOpError
from edgedet.graph.flatbuffer import parse_tflite, write_tflite
from edgedet.graph.metadata import METADATA_NAME
from edgedet.hardware.board import load_board
from edgedet.npu.cores import NpuOptions, npu_setup

pytest.importorskip("tflite_micro", reason="needs the extra tflm")
pytest.importorskip("ethosu", reason="needs the extra vela (ethos-u-vela)")
GROVE = NpuOptions(preset="grove-vision-ai-v2")
WARNINGS = tflm.WARNINGS.split()


@pytest.fixture(scope="module")
def deployed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DeployReport:
    out = tmp_path_factory.mktemp("npu") / "firmware"
    return deploy(tiny_model, "ethos-u55-64", out, name="tiny", npu=GROVE)


def test_deploy_puts_every_operator_on_the_npu(deployed: DeployReport) -> None:
    assert [(use.kind, use.count, use.method) for use in deployed.operators] == [("CUSTOM (ethos-u)", 1, "AddEthosU")]
    assert deployed.npu is not None
    assert deployed.npu.on_cpu == ()
    assert "NPU:       16 of 16 operators, none on the CPU\n" in deployed.text()
    assert "(Vela's, not measured)" in deployed.text()
    assert deployed.npu.figures.clock_hz == 400e6
    assert deployed.arena_bytes % 16 == 0
    assert 0 < deployed.arena_bytes - deployed.npu.figures.sram_bytes < 4096


def test_deploy_resolver_registers_nothing_else(deployed: DeployReport) -> None:
    text = (deployed.out / "tiny_op_resolver.h").read_text()
    assert re.findall(r"resolver\.(\w+)\(", text) == ["AddEthosU"]
    assert "constexpr int kTinyOperatorKinds = 1;" in text


def test_deploy_has_one_program_and_names_every_source_that_cmake_compiles(deployed: DeployReport) -> None:
    sources = [path for path in deployed.out.iterdir() if path.suffix in (".c", ".cc")]
    mains = [path.name for path in sources if "int main(" in path.read_text(encoding="utf-8")]
    assert mains == ["tiny_selftest.cc"]
    text = (deployed.out / "CMakeLists.txt").read_text()
    assert set(re.findall(r"\btiny_\w+\.cc?\b", text)) == {path.name for path in sources}


def test_deploy_compiled_file_keeps_contracts_and_is_the_array(deployed: DeployReport, tiny_model: Path) -> None:
    data = (deployed.out / "tiny_model_vela.tflite").read_bytes()
    body = (deployed.out / "tiny_model_data.cc").read_text().split("= {", 1)[1].split("};", 1)[0]
    assert bytes(int(item, 16) for item in re.findall(r"0x([0-9a-f]{2}),", body)) == data
    before = dict(parse_tflite(tiny_model.read_bytes(), "tiny").metadata)
    assert dict(parse_tflite(data, "compiled").metadata)[METADATA_NAME] == before[METADATA_NAME]
    entry = json.loads((deployed.out / "manifest.json").read_text())
    assert entry["files"]["tiny_model_vela.tflite"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert entry["npu"]["operators_on_cpu"] == []
    assert entry["golden"]["checked"].endswith("; not on an NPU")


def test_deploy_golden_vectors_and_contract_are_those_of_the_file_before_vela(
    deployed: DeployReport, tiny_model: Path, tmp_path: Path
) -> None:
    plain = deploy(tiny_model, "tflm", tmp_path / "tflm", name="tiny")
    for name in ("tiny_golden.cc", "tiny_golden.h", "tiny_detect.c", "tiny_detect.h"):
        # Each module has its own hash in the linker's names.
        ours, theirs = (
            re.sub(r"_[0-9a-f]{8}$", "", (out / name).read_text(), flags=re.M) for out in (deployed.out, plain.out)
        )
        assert ours == theirs, name
    # Positions are those of the compiled file, under the same names.
    text = (deployed.out / "tiny_contract.h").read_text()
    rows = dict(re.findall(r'^    \{"(\w+)", TINY_(?:CLS|BOX), (\d+),', text, re.MULTILINE))
    graph = parse_tflite((deployed.out / "tiny_model_vela.tflite").read_bytes(), "compiled")
    assert rows == {graph.tensors[index].name: str(i) for i, index in enumerate(graph.outputs)}


def test_deploy_repeats_byte_for_byte(deployed: DeployReport, tiny_model: Path, tmp_path: Path) -> None:
    again = deploy(tiny_model, "ethos-u55-64", tmp_path / "again", name="tiny", npu=GROVE)
    for path in deployed.files:
        name = path.relative_to(deployed.out)
        assert (again.out / name).read_bytes() == path.read_bytes(), name


def test_deploy_names_operators_on_the_cpu_and_registers_them(tmp_path: Path) -> None:
    write_tflite(graph_maker.every_operator(), tmp_path / "every.tflite")
    report = deploy(tmp_path / "every.tflite", "ethos-u85-256", tmp_path / "out")
    assert (
        "NPU:       19 of 22 operators\nCPU:       DEPTH_TO_SPACE 1, SPACE_TO_DEPTH 1, STRIDED_SLICE 1\n"
        in report.text()
    )
    assert "STRIDED_SLICE 't31': StridedSlice with unsupported negative stride" in report.text()
    text = (report.out / "op_resolver.h").read_text()
    found = re.findall(r"resolver\.(\w+)\(", text)
    assert found == ["AddEthosU", "AddDepthToSpace", "AddSpaceToDepth", "AddStridedSlice"]


def test_deploy_refusals_leave_nothing(deployed: DeployReport, tiny_model: Path, tmp_path: Path) -> None:
    compiled = deployed.out / "tiny_model_vela.tflite"
    out = tmp_path / "out"
    with pytest.raises(UnsupportedOpError, match=r"give the \.tflite from before the compiler"):
        deploy(compiled, "ethos-u55-64", out)
    with pytest.raises(ConfigError, match=r"the limit is 1,000 bytes.*`optimise` size"):
        deploy(tiny_model, "ethos-u55-64", out, ram_bytes=1000)
    with pytest.raises(ConfigError, match="options of an NPU with target tflm"):
        deploy(tiny_model, "tflm", out, npu=NpuOptions())
    (tmp_path / "cut.tflite").write_bytes(tiny_model.read_bytes()[:3000])
    with pytest.raises(ConversionError):
        deploy(tmp_path / "cut.tflite", "ethos-u55-64", out)
    assert not out.exists()


def test_deploy_command_with_preset_needs_no_target(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, result = tmp_path / "out", tmp_path / "r.json"
    command = ["deploy", str(tiny_model), "--preset", "grove-vision-ai-v2", "--out", str(out), "--json", str(result)]
    assert main(command) == 0
    assert "board:     Seeed Grove Vision AI V2: fits" in capsys.readouterr().out
    content = json.loads(result.read_text())
    assert (content["target"], content["npu"]["estimate"]["clock_hz"]) == ("ethos-u55-64", 400e6)
    assert "WE2_device.h" in (out / "npu_board.c").read_text()
    # A scenario_app of the board's SDK, whose model lies in the flash by itself.
    assert "SCENARIO_APP_SUPPORT_LIST := $(APP_TYPE) $(APP_TYPE)/kernels/src" in (out / "edgedet.mk").read_text()
    selftest = (out / "selftest.cc").read_text()
    assert "reinterpret_cast<const void *>(EDGEDET_MODEL_ADDRESS)" in selftest
    assert "edgedet_model_data" not in selftest


def test_contract_command_says_that_the_file_is_compiled(
    deployed: DeployReport, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["contract", str(deployed.out / "tiny_model_vela.tflite")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "note compiled by Vela for Arm Ethos-U: only that accelerator runs it" in said
    assert "the contracts fit the file's tensors" in said


def test_deploy_board_knows_its_npu(tiny_model: Path, tmp_path: Path) -> None:
    by_board = deploy(tiny_model, "ethos-u55-64", tmp_path / "out", board="grove_vision_ai_v2")
    manifest, text = (tmp_path / "out" / "manifest.json").read_bytes(), by_board.text()
    by_preset = deploy(tiny_model, "ethos-u55-64", tmp_path / "out", npu=GROVE)
    assert (tmp_path / "out" / "manifest.json").read_bytes() == manifest  # every figure and every file
    assert by_preset.text() == text
    assert by_preset.to_json() == by_board.to_json()
    board = load_board("grove_vision_ai_v2")
    assert f"at {board.core.clock_mhz:g} MHz (Vela's, not measured)" in text
    assert by_board.board is not None
    assert by_board.board.part("arena").memory.free_bytes == 1053 * 1024

    checked = check(tiny_model, [board], target="ethos-u55-64").checks[0]
    assert checked.to_json() == by_board.board.to_json()
    assert by_board.npu is not None
    assert checked.time.milliseconds == (by_board.npu.figures.milliseconds,) * 2
    with pytest.raises(ConfigError, match=r"target ethos-u55-128: .* has no such NPU, found ethos-u55-64"):
        deploy(tiny_model, "ethos-u55-128", tmp_path / "other", board="grove_vision_ai_v2")
    assert not (tmp_path / "other").exists()


def test_options_for_a_board_have_its_preset() -> None:
    grove, alif = load_board("grove_vision_ai_v2"), load_board("alif_e7_dk")
    assert options_for(grove, None) == options_for(grove, GROVE) == GROVE
    assert options_for(grove, NpuOptions(optimise="size")) == NpuOptions(preset=GROVE.preset, optimise="size")
    with pytest.raises(ConfigError, match="which a board may have named, brings system and memory mode"):
        npu_setup("ethos-u55-64", options_for(grove, NpuOptions(memory_mode="Sram_Only")))
    assert options_for(alif, None) == options_for(None, None) == NpuOptions()
    with pytest.raises(ConfigError, match=r"preset grove-vision-ai-v2 is not one of Alif .*, whose file names none"):
        options_for(alif, GROVE)


def test_check_of_all_boards_takes_those_with_the_npu(tiny_model: Path) -> None:
    report = check(tiny_model, boards_of("all"), target="ethos-u55-256")
    assert [one.board.name for one in report.checks] == ["alif_e7_dk"]
    assert "clock and memory are those of Ethos_U55_High_End_Embedded, not known for this board" in str(report)
    with pytest.raises(ConfigError, match=r"none of \d+ boards has this NPU; they have ethos-u55-256, ethos-u55-64"):
        check(tiny_model, boards_of("all"), target="ethos-u85-256")
    with pytest.raises(ConfigError, match="Arduino Nano 33 BLE has no such NPU, found none"):
        check(tiny_model, boards_of("nano_33_ble"), target="ethos-u55-256")


def test_deploy_command_failing_vela_exits_with_2_and_no_traceback(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["deploy", str(tiny_model), "--target", "ethos-u55-64", "--vela", "/bin/false", "--out", str(out)]) == 2
    said = capfd.readouterr()
    assert said.err.startswith("error: /bin/false, asked for its version, gave")
    assert said.err.count("\n") == 1
    assert not out.exists()


@pytest.mark.toolchain
@pytest.mark.parametrize(("compiler", "language"), [("gcc", "c99"), ("g++", "c++11")])
def test_npu_header_compiles(
    deployed: DeployReport, tmp_path: Path, require_tool: Callable[..., str], compiler: str, language: str
) -> None:
    source = tmp_path / ("all.c" if language == "c99" else "all.cc")
    source.write_text('#include "tiny_npu.h"\nextern const int unused;\n')
    command = [require_tool(compiler), f"-std={language}", *WARNINGS, "-fsyntax-only", f"-I{deployed.out}", source]
    done = tflm.run(*command)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.toolchain
def test_cmake_on_this_computer_says_that_it_has_no_npu(
    deployed: DeployReport, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    root = tmp_path / "tflm"
    for name in (
        "tensorflow/lite/micro/micro_interpreter.h",
        "flatbuffers/flatbuffers.h",
        "fixedpoint/fixedpoint.h",
        "a.a",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    options = [f"-DTFLM_ROOT={root}", f"-DTFLM_LIBRARY={root / 'a.a'}", f"-DTFLM_INCLUDES={root}"]
    done = tflm.run(require_tool("cmake"), "-S", deployed.out, "-B", tmp_path / "build", *options)
    assert done.returncode != 0
    assert "compiled for ethos-u55-64, which this computer does not have" in " ".join(done.stderr.split())


@pytest.mark.toolchain
def test_project_allocates_on_cortex_m55_and_misses_the_npu(
    tiny_model: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    """QEMU has the processor but no NPU: all but the inference is run."""
    options = [*tflm.cmake_options("TFLM_LIBRARY_ETHOS_U"), "-DCPU=cortex-m55", "-DQEMU=ON"]
    for tool in ("arm-none-eabi-g++", "qemu-system-arm"):
        require_tool(tool)
    if "ETHOSU_INCLUDE" in os.environ:
        options.append(f"-DETHOSU_INCLUDE={os.environ['ETHOSU_INCLUDE']}")
    out = deploy(tiny_model, "ethos-u55-64", tmp_path / "out").out
    registers = "-DNPU_OPTIONS=EDGEDET_NPU_REGISTERS=0x48102000"  # Corstone-300's
    folder = tflm.build(out, ["-DCMAKE_TOOLCHAIN_FILE=cortex-m.cmake", registers, *options])
    done = tflm.run("ctest", "--test-dir", folder, "-V", "--timeout", "60")
    words = done.stdout
    used, given = (int(number) for number in re.search(r"arena: (\d+) of (\d+) bytes in use", words).groups())
    assert used <= given
    assert "error: the driver finds no Ethos-U55 at that address" in words
    assert "FAIL" in words
