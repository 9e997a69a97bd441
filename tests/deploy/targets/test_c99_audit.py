"""Generated C under MSan, TSan, a fuzzer and two analyzers. All modules and all kernels: bench/reliability_c.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import c_audit_tools as tools
import graph_maker as maker
import numpy as np
import pytest
from c_audit_modules import make_module

from edgedet.deploy.api import deploy
from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import write_tflite

pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_module("RTMDet head", tmp_path_factory.mktemp("audit") / "detector")


def assert_good(outcome: tools.Outcome) -> None:
    assert outcome.good, outcome.text


def test_generated_c_reads_no_uninitialised_memory(
    detector: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("clang")
    assert_good(tools.sanitize(detector, "MSan (clang)", tmp_path))


def test_generated_c_runs_in_two_threads_with_an_arena_each(
    detector: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    assert_good(tools.run_threads(detector, tmp_path, require_tool("clang", "gcc")))


def test_edgedet_run_gives_a_status_for_any_frame_and_pointers(
    detector: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("clang")
    outcome = tools.fuzz(detector, tmp_path, 3)
    assert_good(outcome)
    assert tools.executed_runs(outcome) > 100


def test_generated_c_is_clean_for_clang_tidy(detector: Path, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("clang-tidy")
    assert_good(
        tools.analyze_with_clang_tidy(tools.module_sources(detector), tools.include_options(detector), tmp_path)
    )


def test_generated_c_is_clean_for_the_analyzer_of_gcc(
    detector: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("gcc")
    assert_good(tools.analyze_with_gcc(tools.module_sources(detector), tools.include_options(detector), tmp_path))


def scaled_graph(kind: str, scale: float) -> g.Graph:
    """One weighted operator whose output has a scale."""
    m = maker.GraphMaker(1)
    x = m.input((1, 4, 4, 4))
    if kind == "FULLY_CONNECTED":
        weights = m.tensor((4, 64), "int8", maker.quantization(0.01), np.ones((4, 64), np.int8))
        flat = m.same("RESHAPE", [x, m.constant([1, 64])], (1, 64), g.ReshapeOptions((1, 64)))
        return m.graph([m.add(kind, [flat, weights, -1], (1, 4), (scale, 0), g.FullyConnectedOptions())])
    y = m.transpose_conv(x, 4) if kind == "TRANSPOSE_CONV" else m.conv(x, 4, depthwise=kind == "DEPTHWISE_CONV_2D")
    old = m.tensors[y]
    m.tensors[y] = g.Tensor(old.name, old.shape, old.dtype, maker.quantization(scale))
    return m.graph([y])


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"])
def test_deploy_c99_scales_that_shift_out_of_range_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    for scale in (1e-14, 1e-36):  # multipliers of 2^33 or more, and of 2^109
        write_tflite(scaled_graph(kind, scale), path)
        with pytest.raises(UnsupportedOpError, match=rf"{kind}.*below 2\^31"):
            deploy(path, "c99", tmp_path / "module")
        assert not (tmp_path / "module").exists()
