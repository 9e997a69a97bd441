"""Files of other makers through everything: convert, round trip, lint, simulator, both targets.

The files and their origins: README.md beside them. Everything that TFLite Micro runs must run here, byte for byte;
what does not is refused with its reason.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edgedet.commands.main import main
from edgedet.deploy.api import DeployReport, deploy
from edgedet.errors import ConfigError, EdgedetError, UnsupportedOpError
from edgedet.graph.flatbuffer import parse_tflite, read_tflite, serialize
from edgedet.graph.graph import Graph
from edgedet.graph.prepare.load import LoadedFile, load_tflite
from edgedet.runtimes.parity import Parity, compare_runtimes, random_inputs
from edgedet.simulate.simulator import Simulator

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "tflite"
ENOUGH = 0.7  # share of the planned arena that patches must get along with


@dataclass(frozen=True)
class Expected:
    """What must happen to one file."""

    tflm: bool = True  # TFLite Micro runs it
    # LSB: largest difference of LiteRT 2.3.0's reference kernels; None: LiteRT refuses the file.
    ref: float | None = 0.0
    refused: str = ""  # what the simulator's error says; empty: it runs
    # Fits ENOUGH of its arena patch by patch; why not, says the table of docs/results.md.
    patched: bool = True


FILES = {
    "coral_split_concat": Expected(patched=False),
    "derived_dead_channel_conv": Expected(patched=False),
    "derived_fc_litert_vs_tflm": Expected(ref=1.0, patched=False),
    "gd32_yolov10_front": Expected(tflm=False),
    "mit_mcunet_detection": Expected(patched=False),
    "mlperf_ad_fullint": Expected(ref=4.0, patched=False),
    "mlperf_ad_int8io": Expected(ref=2.0, patched=False),
    "mlperf_kws": Expected(patched=False),
    "mlperf_resnet_quant": Expected(),
    "mlperf_vww": Expected(),
    "seeed_fomo_mnv2": Expected(),
    "seeed_modelassistant_test_int8": Expected(patched=False),
    "tflm_hello_world_int8": Expected(patched=False),
    "tflm_keyword_scrambled_8bit": Expected(refused="SVDF"),
    "tflm_micro_speech": Expected(patched=False),
    "tflm_person_detect": Expected(ref=None),
    "tflm_person_detect_vela": Expected(tflm=False, refused="before"),
}
RUNNING = [name for name, expected in FILES.items() if not expected.refused]
REFUSED = [name for name, expected in FILES.items() if expected.refused]

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER} is absent: no files of other makers here")


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.tflite"


@cache
def graph_of(name: str) -> Graph:
    return read_tflite(path_of(name))


@cache
def loaded(name: str) -> LoadedFile:
    """Ready to run: uint8 converted, shapes folded."""
    return load_tflite(path_of(name))


@cache
def parity_of(name: str, runtime: str) -> Parity:
    file = loaded(name)
    (parity,) = compare_runtimes(name, file.data, file.graph, (runtime,), images=2)
    return parity


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], DeployReport]:
    """Target c99 of a file, made once."""

    @cache
    def deploy_once(name: str) -> DeployReport:
        return deploy(path_of(name), "c99", tmp_path_factory.mktemp(name) / "out")

    return deploy_once


def run(folder: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_file_of_the_folder_has_its_expectation() -> None:
    assert {path.stem for path in FOLDER.glob("*.tflite")} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_convert_shows_every_file(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(path_of(name))]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert all(operator.kind in out for operator in graph_of(name).operators)


@pytest.mark.parametrize("name", FILES)
def test_round_trip_keeps_every_file(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "again.tflite"
    assert main(["convert", str(path_of(name)), "--out", str(out)]) == 0
    again = read_tflite(out)
    assert again.operators == graph_of(name).operators  # versions, too
    assert again.tensors == graph_of(name).tensors
    assert (again.inputs, again.outputs) == (graph_of(name).inputs, graph_of(name).outputs)
    assert serialize(again) == out.read_bytes()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", FILES)
def test_lint_judges_every_file(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(path_of(name))]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "float-model" not in out, "every one of these files is quantized"
    assert ("no-tflm-kernel" in out) <= (not FILES[name].tflm), "TFLite Micro runs it"


@pytest.mark.parametrize("name", REFUSED)
def test_simulator_refuses_by_name(name: str) -> None:
    with pytest.raises(UnsupportedOpError, match=FILES[name].refused):
        Simulator(graph_of(name))


@pytest.mark.parametrize("name", REFUSED)
def test_target_c99_refuses_by_name_and_writes_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOpError, match=FILES[name].refused):
        deploy(path_of(name), "c99", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in RUNNING if FILES[name].tflm])
def test_simulator_equals_tflite_micro(name: str) -> None:
    pytest.importorskip("tflite_micro")
    assert parity_of(name, "tflm") == Parity("tflm", 0.0)


@pytest.mark.parametrize("name", RUNNING)
def test_simulator_against_litert_reference_kernels(name: str) -> None:
    pytest.importorskip("ai_edge_litert.interpreter")
    found = parity_of(name, "ref")
    expected = FILES[name].ref
    if expected is None:
        assert found.difference is None
    elif expected == 0.0:
        assert found == Parity("ref", 0.0)
    else:
        # LiteRT 2.3.0 rounds once where TFLite Micro rounds twice (docs/arithmetic.md).
        assert found.difference is not None
        scale = 1.0
        if graph_of(name).tensors[graph_of(name).outputs[0]].dtype == "float32":
            scale = _scale_before_output(graph_of(name))
        assert found.difference <= expected * scale * (1 + 1e-6)


def _scale_before_output(graph: Graph) -> float:
    """Scale of the codes that a float output was made from."""
    maker = next(operator for operator in graph.operators if graph.outputs[0] in operator.outputs)
    quantization = graph.tensors[maker.inputs[0]].quantization
    assert quantization is not None
    return float(quantization.scale[0])


def test_uint8_file_gives_litert_s_codes_less_128() -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    file, whole = loaded("coral_split_concat"), graph_of("coral_split_concat")
    assert file.notes
    interpreter = litert.Interpreter(
        model_path=str(path_of("coral_split_concat")),
        experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    inputs = random_inputs(whole, np.random.default_rng(0))
    for detail, codes in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], codes)
    interpreter.invoke()
    found = Simulator(file.graph).invoke(*((codes ^ 0x80).view(np.int8) for codes in inputs))
    for detail, codes in zip(interpreter.get_output_details(), found, strict=True):
        assert np.array_equal(interpreter.get_tensor(detail["index"]), codes.view(np.uint8) ^ 0x80)


@pytest.mark.toolchain
@pytest.mark.parametrize("name", RUNNING)
def test_simulator_equals_generated_c(name: str, require_tool: Callable[..., str]) -> None:
    require_tool("cc")
    assert parity_of(name, "c99") == Parity("c99", 0.0)


@pytest.mark.parametrize("name", [name for name in FILES if FILES[name].tflm and not FILES[name].refused])
def test_target_tflm_deploys(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    report = deploy(path_of(name), "tflm", tmp_path / "out")
    assert report.arena is not None
    assert report.arena.total_bytes >= report.arena.measured_bytes > 0
    resolver = (tmp_path / "out" / "op_resolver.h").read_text(encoding="utf-8")
    assert all(use.method in resolver for use in report.operators)
    assert (tmp_path / "out" / "golden.cc").is_file()
    assert not (tmp_path / "out" / "contract.h").exists()


@pytest.mark.parametrize("name", [name for name in FILES if not FILES[name].tflm])
def test_target_tflm_says_why_not(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    with pytest.raises(EdgedetError) as caught:
        deploy(path_of(name), "tflm", tmp_path / "out")
    assert "contract" not in str(caught.value)
    assert "metadata" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.toolchain
@pytest.mark.parametrize("name", RUNNING)
def test_target_c99_passes_its_self_test(
    name: str, deployed: Callable[[str], DeployReport], require_tool: Callable[..., str]
) -> None:
    require_tool("cc")
    folder = deployed(name).out
    strict = "CFLAGS=-O0 -Wall -Wextra -Wconversion -Wshadow -Werror"
    assert run(folder, "make", "-s", strict, "build/selftest") == (0, "")
    assert run(folder, "build/selftest") == (0, "PASS\n")


@pytest.mark.toolchain
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] if name == "tflm_person_detect" else [])
        for name in RUNNING
        if FILES[name].patched
    ],
)
def test_target_c99_with_less_memory_passes_its_self_test(
    name: str, deployed: Callable[[str], DeployReport], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("cc")
    limit = int(ENOUGH * deployed(name).arena_bytes)
    report = deploy(path_of(name), "c99", tmp_path / "out", ram_bytes=limit)
    assert report.arena_bytes <= limit
    assert report.patches is not None
    assert run(tmp_path / "out", "make", "-s", "CFLAGS=-O0", "build/selftest") == (0, "")
    assert run(tmp_path / "out", "build/selftest") == (0, "PASS\n")


@pytest.mark.parametrize("name", [name for name in RUNNING if not FILES[name].patched])
def test_target_c99_with_too_little_memory_says_what_fits(
    name: str, deployed: Callable[[str], DeployReport], tmp_path: Path
) -> None:
    limit = int(ENOUGH * deployed(name).arena_bytes)
    with pytest.raises(ConfigError, match=rf"limit is {limit:,} bytes .* smallest arena .* is [\d,]+ bytes"):
        deploy(path_of(name), "c99", tmp_path / "out", ram_bytes=limit)
    assert not (tmp_path / "out").exists()


def test_round_trip_computes_the_same() -> None:
    """A file that was read and written gives the same outputs in every runtime, so one is enough."""
    graph = graph_of("tflm_hello_world_int8")
    again = parse_tflite(serialize(graph), "again")
    inputs = random_inputs(graph, np.random.default_rng(0))
    for first, second in zip(Simulator(graph).invoke(*inputs), Simulator(again).invoke(*inputs), strict=True):
        assert np.array_equal(first, second)
