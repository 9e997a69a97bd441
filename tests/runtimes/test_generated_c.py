"""0 LSB between the simulator, TFLite's reference kernels, the generated C on the host, and on emulated Cortex-M."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.build import load_split
from edgedet.errors import ConfigError, ShapeError, ToolchainError, UnsupportedOpError
from edgedet.evaluate.evaluator import EvalReport, evaluate
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.graph.metadata import contract_metadata
from edgedet.runtimes.generated_c import HostModule, QemuModule
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.qemu import BOARDS
from edgedet.runtimes.toolchain import require_program, run_program
from edgedet.simulate.simulator import Simulator

pytestmark = pytest.mark.toolchain


@pytest.fixture
def compiler(require_tool: Callable[..., str]) -> str:
    return require_tool("cc")


@pytest.fixture
def emulator(require_tool: Callable[..., str]) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")


def mixed_graph() -> g.Graph:
    """Small, odd shapes, most kinds of steps, and two inputs."""
    m = maker.GraphMaker(3)
    x, other = m.input((1, 13, 11, 3)), m.input((1, 13, 11, 5), 0.02, 4)
    a = m.conv(x, 5, (3, 3), activation="RELU6")
    a = m.add("ADD", [a, other], (1, 13, 11, 5), (0.05, -7), g.ElementwiseOptions())
    b = m.alias_scale(m.conv(a, 9, (5, 5), (1, 1), depthwise=False), a)
    joined = m.concat([b, a])
    squashed = m.add("LOGISTIC", [joined], (1, 13, 11, 14), (1 / 256, -128))
    y = m.add("MUL", [joined, squashed], (1, 13, 11, 14), (0.03, -1), g.ElementwiseOptions())
    y = m.conv(y, 14, (3, 3), (2, 2), depthwise=True)
    mean = m.add("MEAN", [y, m.constant([1, 2])], (1, 1, 1, 14), (0.02, 4), g.ReduceOptions(True))
    y = m.add("MUL", [y, mean], (1, 7, 6, 14), (0.03, 2), g.ElementwiseOptions())
    return m.graph([m.conv(y, 7, (1, 1)), mean, m.pool("MAX_POOL_2D", y, 2, 2)])


def equal(found: list[np.ndarray], expected: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("make", [mixed_graph, lambda: maker.rtmdet_like(64)])
def test_host_module_equals_the_simulator(make: Callable[[], g.Graph], compiler: str) -> None:
    graph = make()
    simulator, module = Simulator(graph), HostModule(b"", graph)
    rng = np.random.default_rng(0)
    for _ in range(5):
        codes = [rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs]
        assert equal(module(*codes), simulator.invoke(*codes))


@pytest.mark.parametrize("cpu", list(BOARDS))
@pytest.mark.parametrize("make", [mixed_graph, lambda: maker.rtmdet_like(64)])
def test_qemu_module_equals_the_simulator(make: Callable[[], g.Graph], cpu: str, emulator: None) -> None:
    graph = make()
    simulator, module = Simulator(graph), QemuModule(b"", graph, cpu)
    rng = np.random.default_rng(1)
    images = [[rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs] for _ in "ab"]
    for found, codes in zip(module.run_batch(images), images, strict=True):
        assert equal(found, simulator.invoke(*codes))
    assert 0.05 * module.macs < module.instructions() < 40 * module.macs
    assert sum(cost.instructions for cost in module.costs()) == pytest.approx(module.instructions(), rel=0.02)
    assert module.firmware.sizes.arena == module.arena_bytes
    assert module.firmware.sizes.code + module.firmware.sizes.parameters <= 35_000


def test_example_of_another_maker_is_equal_everywhere(shared_dir: Path, compiler: str, emulator: None) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    path = shared_dir / "data" / "example_15_ops_int8.tflite"
    data, graph = path.read_bytes(), read_tflite(path)
    codes = np.random.default_rng(2).integers(-128, 128, (1, 96, 96, 3)).astype(np.int8)
    reference = litert.Interpreter(
        model_content=data, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF, num_threads=1
    )
    reference.allocate_tensors()
    reference.set_tensor(reference.get_input_details()[0]["index"], codes)
    reference.invoke()
    expected = tuple(reference.get_tensor(detail["index"]) for detail in reference.get_output_details())
    assert equal(HostModule(data, graph)(codes), expected)
    for cpu in ("cortex-m4", "cortex-m55"):
        assert equal(QemuModule(data, graph, cpu)(codes), expected), cpu


@pytest.fixture(scope="module")
def blood_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of BCCD's shape with random weights; what it finds is nonsense, but a lot."""
    graph = maker.rtmdet_like(64)
    preprocess = PreprocessSpec(width=64, height=64)
    outputs = OutputSpec(class_names=("Platelets", "RBC", "WBC"))
    path = tmp_path_factory.mktemp("blood") / "blood.tflite"
    write_tflite(replace(graph, metadata=(contract_metadata(preprocess, outputs),)), path)
    return path


def test_evaluate_on_host_and_chip_gives_the_same_digits(
    blood_model: Path, bccd_dir: Path, compiler: str, emulator: None
) -> None:
    split = load_split(bccd_dir, "valid")

    def report(name: str) -> EvalReport:
        return evaluate(open_runtime(blood_model, name), split, max_images=3, per_operator=True)

    expected = report("sim")
    assert len(set(expected.ap.stats)) > 2
    for name in ("c99", "qemu:cortex-m55"):
        found = report(name)
        assert found.ap.stats == expected.ap.stats
        assert found.runtime == name
    assert not expected.details
    assert any(line.startswith("instructions per image: ") and line.endswith("mean of 3") for line in found.details)
    assert sum("CONV_2D" in line for line in found.details) > 60


def _two_concats(axis: int, hosted: bool) -> g.Graph:
    """A concatenation along height or width whose input (or output) also lies in one along the channels."""
    quantization = g.Quantization(np.array([0.1], np.float32), np.array([0], np.int64))
    long = tuple(side * (2 if i == axis else 1) for i, side in enumerate((1, 4, 4, 8)))
    if hosted:
        shapes = {"x": (1, 4, 4, 8), "y": long, "long": long, "other": long, "joined": (*long[:3], 16)}
        operators = [((0, 0), 2, axis), ((1,), 3, None), ((3, 2), 4, 3)]
        inputs, outputs = (0, 1), (4,)
    else:
        shapes = {"x": (1, 4, 4, 8), "a": (1, 4, 4, 8), "b": (1, 4, 4, 8), "joined": (1, 4, 4, 16), "long": long}
        operators = [((0,), 1, None), ((0,), 2, None), ((1, 2), 3, 3), ((1, 0), 4, axis)]
        inputs, outputs = (0,), (3, 4)
    return g.Graph(
        tuple(g.Tensor(name, shape, "int8", quantization) for name, shape in shapes.items()),
        tuple(
            g.Operator("RELU", sources, (out,))
            if along is None
            else g.Operator("CONCATENATION", sources, (out,), g.ConcatOptions(axis=along))
            for sources, out, along in operators
        ),
        inputs,
        outputs,
    )


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("hosted", [False, True])
def test_host_module_concat_along_height_or_width_beside_channels(axis: int, hosted: bool, compiler: str) -> None:
    graph = _two_concats(axis, hosted)
    rng = np.random.default_rng(0)
    codes = [rng.integers(-128, 128, graph.tensors[i].shape).astype(np.int8) for i in graph.inputs]
    assert equal(HostModule(b"", graph)(*codes), Simulator(graph).invoke(*codes))


def test_host_module_broadcast_along_one_of_two_leading_axes_is_an_error(compiler: str) -> None:
    quantization = g.Quantization(np.array([0.1], np.float32), np.array([0], np.int64))
    shapes = {"a": (2, 3, 4, 4, 8), "b": (1, 3, 4, 4, 8), "sum": (2, 3, 4, 4, 8)}
    tensors = tuple(g.Tensor(name, shape, "int8", quantization) for name, shape in shapes.items())
    graph = g.Graph(tensors, (g.Operator("ADD", (0, 1), (2,), g.ElementwiseOptions()),), (0, 1), (2,))
    with pytest.raises(UnsupportedOpError, match=r"'b' of shape .* along leading sides"):
        HostModule(b"", graph)


def test_host_module_wrong_shape_is_an_error(compiler: str) -> None:
    module = HostModule(b"", mixed_graph())
    with pytest.raises(ShapeError, match="takes int8"):
        module(np.zeros((1, 13, 11, 4), np.int8), np.zeros((1, 13, 11, 5), np.int8))
    with pytest.raises(ShapeError, match="has 2 inputs, got 1"):
        module(np.zeros((1, 13, 11, 3), np.int8))


def test_host_module_operator_without_kernel_is_an_error(compiler: str) -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 4, 4, 4))
    # The simulator does not have it either: the list must still be that of the C kernels.
    graph = m.graph([m.same("NEG", [x], (1, 4, 4, 4))])
    with pytest.raises(UnsupportedOpError, match="no C kernel for NEG; there are kernels for ABS, ADD, "):
        HostModule(b"", graph)


def test_qemu_module_unknown_processor_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="cortex-m4, cortex-m7, cortex-m55; got 'cortex-m0'"):
        QemuModule(b"", mixed_graph(), "cortex-m0")


def test_qemu_module_too_large_for_the_board_is_an_error(emulator: None) -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 1200, 1200, 3))
    with pytest.raises(ToolchainError, match=r"region `RAM' overflowed|will not fit in region"):
        QemuModule(b"", m.graph([m.conv(x, 3)]), "cortex-m4")


def test_require_program_missing_names_the_package() -> None:
    with pytest.raises(ToolchainError, match=r"no-such-program is not installed.*apt install some-package"):
        require_program(("no-such-program",), "some-package")


def test_run_program_failure_shows_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="sh failed with exit status 3: why"):
        run_program(["sh", "-c", "echo why >&2; exit 3"], tmp_path, 10.0)
    with pytest.raises(ToolchainError, match="did not finish within 0 s"):
        run_program(["sleep", "5"], tmp_path, 0.1)
