"""Damage `.tflite` files at random: the reader must refuse them with an EdgedetError, or give a graph that holds.

    python tests/graph/fuzz_flatbuffer.py --seconds 600 --seed 1 [MODEL.tflite ...]

Without models it takes generated ones. A graph that was accepted is summarized, its contracts are read, and it is
written and read again, which must give the same bytes; lint looks at it, and the simulator is built. Another exception,
an error that repeats the text of one of Python's or a library's exceptions, or more than 10 s of processor time or 4 GB
of memory for one file, is a finding: it is printed once for each place in the code, its file is
kept in --out, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import math
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType

import numpy as np

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import EdgedetError
from edgedet.graph import graph as g
from edgedet.graph.check import check_graph
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.metadata import contract_metadata, read_contracts
from edgedet.graph.prepare.load import prepare_tflite, to_int8
from edgedet.graph.summary import summarize
from edgedet.lint.api import lint_subject
from edgedet.lint.finding import Subject
from edgedet.simulate.simulator import Simulator

LIMIT_SECONDS = 10.0
GRAPH_SHARE = 0.4  # of the damaged files that are sound flatbuffers of contradicting graphs
LIMIT_BYTES = 4 << 30
LARGEST_CELLS = 20_000_000  # of all tensors together, to be simulated
EXTREMES = (0, 1, 2, 3, 4, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4)


def _module(name: str, levels_up: int) -> ModuleType:
    """A file of the tests, which have no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[levels_up] / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # for its dataclasses
    spec.loader.exec_module(module)
    return module


graph_damage = _module("graph_damage", 0)


@dataclass(frozen=True, eq=False)
class Seed:
    """A sound file and where its structure lies, as opposed to weights, whose bytes may be anything."""

    name: str
    data: bytes
    structure: np.ndarray  # int64 (n,), positions of bytes outside large constants
    graph: g.Graph


@dataclass
class Outcome:
    """What the damaged files led to."""

    runs: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    findings: dict[str, str] = field(default_factory=dict)  # place in the code -> traceback and file


class _TooSlow(BaseException):
    """Not an Exception, so that no handler of the reader takes it for damage."""


def make_seed(name: str, data: bytes) -> Seed:
    graph = parse_tflite(data, name)
    base = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    structural = np.ones(len(data), bool)
    for tensor in graph.tensors:
        if tensor.data is not None and tensor.data.nbytes > 64:
            start = tensor.data.__array_interface__["data"][0] - base
            structural[start : start + tensor.data.nbytes] = False
    return Seed(name, data, np.flatnonzero(structural), graph)


def generated_seeds() -> list[Seed]:
    """One operator of every kind, and small detectors of random weights, with contracts, one and four classes."""
    maker, kinds = _module("graph_maker", 1), _module("operator_graphs", 1)
    seeds = [make_seed(kind, serialize(kinds.graph_of(kind, "int8"))) for kind in kinds.CASES]
    for classes in (1, 4):
        m = maker.GraphMaker(classes)
        x = m.conv(m.input((1, 64, 32, 3), name="image"), 8, stride=(4, 4), activation="RELU6")
        x = m.conv(x, 8, (5, 5), stride=(4, 4), depthwise=True, activation="RELU")
        small = m.pool("MAX_POOL_2D", x, 5, 2)
        wide = m.same("RESIZE_NEAREST_NEIGHBOR", [small, m.constant([4, 2])], (1, 4, 2, 8), g.ResizeOptions())
        x = m.concat([x, wide])
        x = m.add("ADD", [x, x], m.tensors[x].shape, (0.03, -7), g.ElementwiseOptions())
        results = [m.conv(x, classes, (1, 1), name="cls_16"), m.conv(x, 4, (1, 1), name="box_16")]
        outputs = OutputSpec(class_names=tuple(f"class {i}" for i in range(classes)), strides=(16,))
        graph = m.graph(results, (contract_metadata(PreprocessSpec(32, 64), outputs),))
        read_contracts(graph, "generated")
        seeds.append(make_seed(f"generated {classes}", serialize(graph)))
    return seeds


def damage(rng: np.random.Generator, seed: Seed, others: list[Seed]) -> bytes:
    """A copy of a file with one to a few things wrong, in its bytes or in what they say."""
    if rng.random() < GRAPH_SHARE and seed.graph.operators:
        try:
            return serialize(graph_damage.damage_graph(rng, seed.graph))
        except EdgedetError:  # such a graph can't be written
            pass
    data = bytearray(seed.data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4, 16]))):
        if len(data) < 8:
            break
        _damage_once(rng, data, seed, others)
    return bytes(data)


def _damage_once(rng: np.random.Generator, data: bytearray, seed: Seed, others: list[Seed]) -> None:
    at = int(rng.choice(seed.structure)) if rng.random() < 0.9 else int(rng.integers(len(data)))
    at = min(at, len(data) - 1)
    aligned = at & ~3
    match int(rng.integers(10)):
        case 0 | 1:
            data[at] ^= 1 << int(rng.integers(8))
        case 2:
            data[at] = int(rng.integers(256))
        case 3 | 4:  # an absurd number, of 1, 2, 4 or 8 bytes
            width = int(rng.choice([1, 2, 4, 8]))
            start = at - at % width
            if start + width <= len(data):
                data[start : start + width] = (int(rng.choice(EXTREMES)) % 256**width).to_bytes(width, "little")
        case 5:  # another offset of the same file
            source = int(rng.choice(seed.structure)) & ~3
            if source + 4 <= len(data) and aligned + 4 <= len(data):
                data[aligned : aligned + 4] = data[source : source + 4]
        case 6:  # a little more or less
            if aligned + 4 <= len(data):
                value = int.from_bytes(data[aligned : aligned + 4], "little") + int(rng.integers(-64, 65))
                data[aligned : aligned + 4] = (value % 2**32).to_bytes(4, "little")
        case 7:
            del data[at if rng.random() < 0.5 else len(data) - int(rng.integers(1, 65)) :]
        case 8:  # bytes lost, doubled or added
            length = int(rng.integers(1, 33))
            data[at : at + length * int(rng.integers(2))] = rng.bytes(length) if rng.random() < 0.5 else b""
        case _:  # a piece of another file
            other = others[int(rng.integers(len(others)))]
            length = int(rng.integers(4, 257)) & ~3
            start = int(rng.choice(other.structure)) & ~3
            piece = other.data[start : start + length]
            data[aligned : aligned + len(piece)] = piece


def read_all(data: bytes) -> None:
    """Everything that happens to a file before it is run."""
    graph = parse_tflite(data, "fuzz")
    summarize(graph).to_text()
    lint_subject(Subject("fuzz.tflite", "tflite", graph)).text()
    for step in (_write_again, _prepare, _contracts, _to_int8):
        try:
            step(data, graph)
        except EdgedetError as error:  # each step by itself: what one refuses, another may take
            require_own_words(error)


def _write_again(data: bytes, graph: g.Graph) -> None:
    written = serialize(graph)
    # Bytes, not graphs: a scale that is no number differs from itself.
    assert serialize(parse_tflite(written, "written again")) == written, "the graph changed in a write and read"


def _prepare(data: bytes, graph: g.Graph) -> None:
    prepared = prepare_tflite(data, "fuzz").graph
    check_graph(prepared, "fuzz")
    cells = sum(math.prod(tensor.shape) for tensor in prepared.tensors)
    if cells <= LARGEST_CELLS:  # a damaged shape may be sound and too large for this test's memory
        Simulator(prepared)


def _contracts(data: bytes, graph: g.Graph) -> None:
    read_contracts(graph, "fuzz")


def _to_int8(data: bytes, graph: g.Graph) -> None:
    to_int8(graph, "fuzz")


def require_own_words(error: EdgedetError) -> None:
    """Raise AssertionError when an error of ours repeats the text of an exception of Python or of a library."""
    cause, message = error.__cause__ or error.__context__, str(error)
    if cause is None or type(cause).__module__.startswith("edgedet."):
        return
    text = str(cause)
    assert len(text) < 4 or text not in message, f"the message holds the text of {type(cause).__name__}: {message}"


def _stop(number: int, frame: FrameType | None) -> None:
    raise _TooSlow(f"more than {LIMIT_SECONDS} s")


def fuzz(seeds: list[Seed], seconds: float, seed: int, out: Path) -> Outcome:
    """Damage files and read them until the time is over."""
    rng = np.random.default_rng(seed)
    outcome = Outcome()
    signal.signal(signal.SIGVTALRM, _stop)
    # As much time for each model, whatever its size.
    share = np.array([1.0 / len(parse_tflite(s.data, s.name).operators) for s in seeds])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = damage(rng, seeds[int(rng.choice(len(seeds), p=share / share.sum()))], seeds)
        outcome.runs += 1
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_SECONDS)
        try:
            read_all(data)
            outcome.accepted += 1
        except EdgedetError as error:
            outcome.refused[type(error).__name__] += 1
            try:
                require_own_words(error)
            except AssertionError as leak:
                _keep(outcome, leak, data, out)
        except (Exception, RecursionError, MemoryError, _TooSlow) as error:
            _keep(outcome, error, data, out)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return outcome


def _keep(outcome: Outcome, error: BaseException, data: bytes, out: Path) -> None:
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}"
    if place in outcome.findings:
        return
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"finding_{hashlib.sha256(data).hexdigest()[:12]}.tflite"
    path.write_bytes(data)
    outcome.findings[place] = f"{path}\n{''.join(traceback.format_exception(error))}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="sound .tflite files")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz_findings"), help="folder for the files of findings")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    seeds = [make_seed(path.name, path.read_bytes()) for path in options.models] + generated_seeds()
    outcome = fuzz(seeds, options.seconds, options.seed, options.out)
    refused = ", ".join(f"{name} {count}" for name, count in outcome.refused.most_common())
    sys.stdout.write(
        f"{outcome.runs} damaged files of {len(seeds)} models: {outcome.accepted} accepted, "
        f"{refused or 'none refused'}, {len(outcome.findings)} findings\n"
    )
    for place, text in outcome.findings.items():
        sys.stdout.write(f"\n{place}\n{text}")
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())
