"""The file that SSCMA writes for our own network, after one command."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sscma_like import sscma_like
from toy_detector import write_toy_model

from edgedet.commands.main import main
from edgedet.data.paths import DataPaths
from edgedet.evaluate.evaluator import evaluate
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.graph.graph import ConcatOptions, Operator
from edgedet.graph.model import load_int8_model
from edgedet.runtimes.open import open_runtime

SSCMA_ORDER = ("cls_8", "cls_16", "cls_32", "box_8", "box_16", "box_32")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Path:
    path = tmp_path_factory.mktemp("sscma") / "sscma.tflite"
    write_tflite(sscma_like(read_tflite(toy_model), SSCMA_ORDER), path)
    return path


def test_sscma_file_evaluates_to_the_same_ap(foreign: Path, toy_model: Path, toy_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "with_contract.tflite"
    assert main(["contract", str(foreign), "--layout", "sscma", "--classes", "red,green,blue", "--out", str(out)]) == 0
    split = DataPaths(toy_data).load("valid")
    ours, theirs = (evaluate(open_runtime(path), split).ap for path in (toy_model, out))
    assert ours.ap > 0.05
    assert (ours.stats, ours.table) == (theirs.stats, theirs.table)
    model = load_int8_model(out)
    assert [model.graph.tensors[model.graph.outputs[p]].name for p in model.output_positions] == [
        f"Identity_{i}" for i in (0, 3, 1, 4, 2, 5)
    ]
    assert model.has_c_decoder


@pytest.mark.toolchain
def test_sscma_file_deploys_with_run(foreign: Path, tmp_path: Path) -> None:
    out = tmp_path / "with_contract.tflite"
    argv = ["contract", str(foreign), "--head", "rtmdet", "--classes", "red,green,blue", "--out", str(out)]
    assert main(argv) == 0
    folder = tmp_path / "c99"
    assert main(["deploy", str(out), "--target", "c99", "--out", str(folder)]) == 0
    done = subprocess.run(["make", "-C", str(folder), "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "PASS" in done.stdout
    assert "edgedet_run(" in (folder / "run.h").read_text()


def test_sscma_four_classes_are_ambiguous_until_the_order_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ours = write_toy_model(tmp_path / "ours.tflite", classes=4)
    graph = sscma_like(read_tflite(ours), SSCMA_ORDER)
    foreign, out = tmp_path / "sscma.tflite", tmp_path / "out.tflite"
    write_tflite(graph, foreign)
    names = ",".join(load_int8_model(ours).outputs.class_names)
    argv = ["contract", str(foreign), "--classes", names, "--out", str(out)]
    assert main([*argv, "--head", "rtmdet"]) == 2
    message = capfd.readouterr().err
    assert "several ways" in message
    assert "cls_8=Identity_0, box_8=Identity_3" in message
    assert "cls_8=Identity_3, box_8=Identity_0" in message or "--layout sscma" in message
    assert "--layout sscma" in message
    assert "--outputs" in message
    assert not out.exists()
    assert main([*argv, "--layout", "sscma"]) == 0
    x = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
    raw = [(lambda r: [a.reshape(-1) for a in r.invoke(r.prepare(x))])(open_runtime(path)) for path in (ours, out)]
    assert all(np.array_equal(a, b) for a, b in zip(*raw, strict=True))


def test_sscma_outputs_named_one_by_one(tmp_path: Path) -> None:
    ours = write_toy_model(tmp_path / "ours.tflite", classes=4)
    mixed = ("box_32", "cls_8", "box_16", "cls_32", "box_8", "cls_16")
    foreign, out = tmp_path / "sscma.tflite", tmp_path / "out.tflite"
    write_tflite(sscma_like(read_tflite(ours), mixed), foreign)
    named = ",".join(f"{role}=Identity_{i}" for i, role in enumerate(mixed))
    argv = ["contract", str(foreign), "--head", "rtmdet", "--classes", "a,b,c,d", "--outputs", named, "--out", str(out)]
    assert main(argv) == 0
    model = load_int8_model(out)
    assert [mixed[p] for p in model.output_positions] == list(model.outputs.tensor_names)


def test_lost_metadata_of_our_own_file_comes_back(toy_model: Path, tmp_path: Path) -> None:
    graph = read_tflite(toy_model)
    bare, out = tmp_path / "bare.tflite", tmp_path / "out.tflite"
    write_tflite(replace(graph, metadata=()), bare)
    argv = ["contract", str(bare), "--head", "rtmdet", "--classes", "red,green,blue", "--out", str(out)]
    assert main(argv) == 0
    assert out.read_bytes() == toy_model.read_bytes()


def test_levels_laid_end_to_end_evaluate_to_the_same_ap(toy_model: Path, toy_data: Path, tmp_path: Path) -> None:
    graph = sscma_like(read_tflite(toy_model), SSCMA_ORDER)
    tensors, operators, outputs = list(graph.tensors), list(graph.operators), []
    for name, part in (("scores", graph.outputs[:3]), ("boxes", graph.outputs[3:])):
        shape = (1, sum(tensors[i].shape[1] for i in part), tensors[part[0]].shape[2])
        tensors.append(replace(tensors[part[0]], name=name, shape=shape))
        outputs.append(len(tensors) - 1)
        operators.append(Operator("CONCATENATION", tuple(part), (outputs[-1],), ConcatOptions(1)))
    joined = replace(graph, tensors=tuple(tensors), operators=tuple(operators), outputs=tuple(outputs))
    foreign, out = tmp_path / "joined.tflite", tmp_path / "out.tflite"
    write_tflite(joined, foreign)
    assert main(["contract", str(foreign), "--head", "rtmdet", "--classes", "red,green,blue", "--out", str(out)]) == 0
    split = DataPaths(toy_data).load("valid")
    ours, theirs = (evaluate(open_runtime(path), split).ap for path in (toy_model, out))
    assert ours.stats == theirs.stats
