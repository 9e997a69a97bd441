"""int8 ends in the place of float32, uint8 and int16 ones: the same codes inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import border_graphs as borders
import numpy as np
import pytest

from edgedet.commands.main import main
from edgedet.deploy.api import deploy
from edgedet.errors import ConfigError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.graph.prepare.int8_ends import with_int8_ends
from edgedet.graph.prepare.load import to_int8
from edgedet.numerics.affine import dequantize
from edgedet.simulate.simulator import Simulator


def float_network() -> g.Graph:
    m = borders.BorderMaker(2)
    x = m.cast(m.end((1, 9, 7, 3), "float32"), "int8", 0.02, -3)
    return m.graph([m.cast(m.conv(x, 4), "float32")])


def test_float_ends_become_int8_with_the_same_codes() -> None:
    graph = float_network()
    changed = with_int8_ends(graph)
    assert [operator.kind for operator in changed.operators] == ["CONV_2D"]
    for before, after in ((graph.inputs, changed.inputs), (graph.outputs, changed.outputs)):
        assert changed.tensors[after[0]].name == graph.tensors[before[0]].name
        assert changed.tensors[after[0]].dtype == "int8"
    assert len({tensor.name for tensor in changed.tensors}) == len(changed.tensors)
    codes = np.random.default_rng(0).integers(-128, 128, (1, 9, 7, 3)).astype(np.int8)
    (inside,) = Simulator(changed).invoke(codes)
    (real,) = Simulator(graph).invoke(dequantize(codes, 0.02, -3))
    affine = changed.tensors[changed.outputs[0]].quantization
    assert affine is not None
    np.testing.assert_array_equal(dequantize(inside, affine.scale[0], affine.zero_point[0]), real)


def test_ends_that_are_used_otherwise_stay() -> None:
    """A tensor that two operators read, one that is an output twice over, and ends that are int8 already."""
    graph = borders.detector_with_borders()
    changed = with_int8_ends(graph)
    assert [changed.tensors[index].dtype for index in changed.inputs] == ["int8", "int8", "int8"]
    # The first output's tensor is an output itself, and only one of two casts of one tensor can take its place.
    assert [changed.tensors[index].dtype for index in changed.outputs] == ["float32", "int8", "int16", "int8"]
    m = borders.BorderMaker(0)
    x = m.end((1, 4), "float32")
    two = m.graph([m.cast(x, "int8", 0.1), m.cast(x, "int8", 0.2)])
    assert with_int8_ends(two) is two
    through = borders.one_cast((1, 4), ("float32", 0.0, 0), ("int8", 0.1, 0))
    assert with_int8_ends(through) is through


def test_signatures_follow() -> None:
    graph = float_network()
    named = g.Signature("serving_default", (("x", graph.inputs[0]),), (("y", graph.outputs[0]),))
    plan = ("OfflineMemoryAllocation", b"by number of tensor")
    changed = with_int8_ends(replace(graph, signatures=(named,), metadata=(plan, ("other", b"kept"))))
    assert changed.metadata == (("other", b"kept"),)
    assert changed.signatures[0].inputs == (("x", changed.inputs[0]),)
    assert changed.signatures[0].outputs == (("y", changed.outputs[0]),)


def test_int8_network_is_left_alone() -> None:
    graph = with_int8_ends(float_network())
    assert to_int8(graph, "test") == (graph, ())


def test_convert_int8_of_a_float_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tflite(float_network(), tmp_path / "float.tflite")
    assert main(["convert", str(tmp_path / "float.tflite"), "--int8", "--out", str(tmp_path / "int8.tflite")]) == 0
    assert "is int8 instead of float32: real = (code - -3) * 0.0199999996" in " ".join(capsys.readouterr().out.split())
    changed = read_tflite(tmp_path / "int8.tflite")
    assert not any(tensor.dtype == "float32" for tensor in changed.tensors)
    assert (changed.inputs, [operator.kind for operator in changed.operators]) == ((0,), ["CONV_2D"])


def test_real_file_of_a_quarter_of_the_input(shared_dir: Path, tmp_path: Path) -> None:
    """The input of mit_mcunet_detection: 245,760 bytes of floats, 61,440 of codes."""
    graph = read_tflite(shared_dir / "data" / "tflite" / "mit_mcunet_detection.tflite")
    write_tflite(to_int8(graph, "test")[0], tmp_path / "int8.tflite")
    arena = deploy(tmp_path / "int8.tflite", "c99", tmp_path / "whole").arena_bytes
    limited = deploy(tmp_path / "int8.tflite", "c99", tmp_path / "out", ram_bytes=7 * arena // 10)
    assert limited.arena_bytes <= 7 * arena // 10


def test_ram_limit_names_the_float_ends(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    write_tflite(float_network(), tmp_path / "float.tflite")
    with pytest.raises(ConfigError, match=r"float32 inputs and outputs take 't0' 756 bytes, 't\d' 1,008 bytes; a file"):
        deploy(tmp_path / "float.tflite", "c99", tmp_path / "out", ram_bytes=500)
