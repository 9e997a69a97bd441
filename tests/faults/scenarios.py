"""The commands that are interrupted, what is there before, and how they go on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from random_weights import random_detector

from edgedet.commands.main import main
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.net.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

TRAIN = ("--epochs", "2", "--batch", "4")
PTQ = ("--effort", "fast", "--calib-images", "2")
QAT = ("--method", "qat", "--calib-images", "2", "--check-runtime", "sim")
SMALL = ("--set", "deepen=0.1", "stacked_convs=1")
FOREIGN = (*["--preset", "mmdet", "--activation", "silu", "--classes", "mask,no_mask", "--imgsz", "64"],)


class Inputs:
    """The smallest things that the commands take; each is made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def data(self) -> Path:
        """A data set."""
        return self._made(self._folder / "data", "data", "synth", "--images", 10, "--seed", 3)

    @cached_property
    def relu(self) -> Path:
        """A checkpoint."""
        return self._checkpoint("rtmdet_pico_relu6")

    @cached_property
    def silu(self) -> Path:
        """A checkpoint."""
        return self._checkpoint("rtmdet_nano_half")

    @cached_property
    def foreign(self) -> Path:
        """A checkpoint as MMDetection writes them."""
        path = self._folder / "foreign.pth"
        torch.save({"state_dict": load_checkpoint(self.silu).weights}, path)
        return path

    @cached_property
    def models(self) -> tuple[Path, Path]:
        """Two int8 files."""
        first, second = (
            self._made(self._folder / f"q{seed}", "quantize", self.relu, "--data", self.data, *PTQ, "--seed", seed)
            for seed in (0, 1)
        )
        return first / "model_int8.tflite", second / "model_int8.tflite"

    def _checkpoint(self, model: str) -> Path:
        file = load_model_file(model, SMALL[1:])
        weights = {k: v.contiguous() for k, v in random_detector(file.model, 2, seed=0).state_dict().items()}
        path = self._folder / f"{model}.pt"
        outputs = OutputSpec(("mask", "no_mask"))
        save_checkpoint(Checkpoint(file.model, file.preprocess.spec((64, 64)), outputs, weights, {}), path)
        return path

    def _made(self, out: Path, *argv: object) -> Path:
        arguments = [*(str(argument) for argument in argv), "--out", str(out)]
        with (self._folder / "log").open("a") as log, redirect_stdout(log), redirect_stderr(log):
            code = main(arguments)
        if code:
            raise SystemExit(f"{arguments}: exit code {code}; {log.name}")
        return out


@dataclass(frozen=True)
class Scenario:
    """One command."""

    name: str
    argv: tuple[str, ...]
    out: str = "out"  # name of what it writes
    before: tuple[str, ...] = ()  # command whose result is there already
    grows: bool = False  # a run with epochs, of which a part may be there; goes on with --resume


NAMES = (
    "writing of a model, its manifest and report",
    "writing of a deployment",
    "writing of a checkpoint",
    "data synth",
    "data convert",
    "import",
    "train",
    "quantize (PTQ)",
    "quantize --method qat",
    "substitute",
    "deploy over an earlier one",
    "predict over an earlier run",
    "export",
)


def make_scenario(name: str, inputs: Inputs) -> Scenario:
    """One of NAMES; `OUT` stands for what is written."""

    def data() -> tuple[str, ...]:
        return "--data", str(inputs.data), "--out", "OUT"

    match name:
        case "writing of a model, its manifest and report":
            return Scenario(name, ("writer", "model", "OUT", "1"), before=("writer", "model", "OUT", "0"))
        case "writing of a deployment":
            return Scenario(name, ("writer", "deployment", "OUT", "1"), before=("writer", "deployment", "OUT", "0"))
        case "writing of a checkpoint":
            old = ("writer", "checkpoint", "OUT", "0")
            return Scenario(name, ("writer", "checkpoint", "OUT", "1"), out="out.pt", before=old)
        case "data synth":
            return Scenario(name, ("data", "synth", "--out", "OUT", "--images", "3", "--seed", "1"))
        case "data convert":
            return Scenario(name, ("data", "convert", str(inputs.data), "--to", "yolo", "--out", "OUT"))
        case "import":
            return Scenario(name, ("import", str(inputs.foreign), *FOREIGN, "--out", "OUT"), out="out.pt")
        case "train":
            size = ("--imgsz", "64", *SMALL)
            return Scenario(name, ("train", "rtmdet_pico_relu6", *data(), *size, *TRAIN), grows=True)
        case "quantize (PTQ)":
            return Scenario(name, ("quantize", str(inputs.relu), *data(), *PTQ))
        case "quantize --method qat":
            return Scenario(name, ("quantize", str(inputs.relu), *data(), *QAT, *TRAIN), grows=True)
        case "substitute":
            argv = ("substitute", str(inputs.silu), *data(), "--activation", "relu6", *TRAIN)
            return Scenario(name, argv, grows=True)
        case "deploy over an earlier one":
            argv = ("deploy", "--target", "c99", "--out", "OUT")
            return Scenario(name, (*argv, str(inputs.models[1])), before=(*argv, str(inputs.models[0])))
        case "predict over an earlier run":
            images = [str(path) for path in sorted(inputs.data.rglob("*.jpg"))[:3]]
            argv = ("predict", str(inputs.models[0]), *images, "--out", "OUT", "--score-threshold")
            return Scenario(name, (*argv, "0.2"), before=(*argv, "0.3"))
        case "export":
            return Scenario(name, ("export", str(inputs.relu), "--format", "onnx", "--out", "OUT"), out="out.onnx")
    raise SystemExit(f"{name}: expected one of {', '.join(NAMES)}")


def prepare(scenario: Scenario, folder: Path, saved: Path) -> Path:
    """An empty work folder with what is there before the command; gives the path of OUT."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if saved.is_dir():
        shutil.copytree(saved, folder / scenario.out)
    elif saved.exists():
        shutil.copyfile(saved, folder / scenario.out)
    return folder / scenario.out


def command(argv: tuple[str, ...], out: Path) -> list[str]:
    """With the path in the place of OUT."""
    return [str(out) if argument == "OUT" else argument for argument in argv]


Chooser = Callable[[str], list[int]]


def every_call(most_writes: int) -> Chooser:
    """Every system call but writes of data, of which the first, the last and some between are taken."""

    def choose(calls: str) -> list[int]:
        writes = [place for place, kind in enumerate(calls, 1) if kind == "w"]
        step = max(1, -(-len(writes) // most_writes))
        kept = {*writes[::step], *writes[-1:]}
        return [place for place, kind in enumerate(calls, 1) if kind != "w" or place in kept]

    return choose
