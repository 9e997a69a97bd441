"""The same random inputs through every exact runtime: which of them run a file, and whether they give the same bytes.

Works without contracts, on any file that the simulator runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.errors import ConfigError, EdgedetError, naming_file
from edgedet.graph.graph import Graph, Tensor
from edgedet.runtimes.generated_c import HostModule
from edgedet.runtimes.interpreters import open_reference, open_tflm
from edgedet.runtimes.protocol import Run
from edgedet.simulate.simulator import Simulator

EXACT_RUNTIMES = ("ref", "tflm", "c99")  # what the simulator is compared with


@dataclass(frozen=True)
class Parity:
    """One runtime against the simulator."""

    runtime: str
    difference: float | None  # largest of any output value, LSB (float outputs: their unit); None: it does not run
    refusal: str = ""  # why it does not run

    @property
    def exact(self) -> bool:
        """True when it ran and gave the simulator's bytes."""
        return self.difference == 0.0


def random_inputs(graph: Graph, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """One array for each input: codes over the whole range; float32 a little beyond what its QUANTIZE can hold.

    Args:
        graph: checked.
        rng: what is drawn from.
    """
    return tuple(_random(graph, index, rng) for index in graph.inputs)


def _random(graph: Graph, index: int, rng: np.random.Generator) -> np.ndarray:
    tensor = graph.tensors[index]
    if tensor.dtype != "float32":
        info = np.iinfo(tensor.dtype)
        return rng.integers(info.min, info.max, tensor.shape, dtype=tensor.dtype, endpoint=True)
    readers = [operator for operator in graph.operators if index in operator.inputs and operator.kind == "QUANTIZE"]
    low, high = _real_range(graph.tensors[readers[0].outputs[0]]) if readers else (-1.0, 1.0)
    margin = 0.1 * (high - low)
    return rng.uniform(low - margin, high + margin, tensor.shape).astype(np.float32)


def _real_range(tensor: Tensor) -> tuple[float, float]:
    """Smallest and largest number that a quantized tensor holds."""
    assert tensor.quantization is not None, f"{tensor.name} is written by QUANTIZE"
    info = np.iinfo(tensor.dtype)
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    return (info.min - zero_point) * scale, (info.max - zero_point) * scale


def compare_runtimes(
    source: str,
    data: bytes,
    graph: Graph,
    runtimes: Sequence[str] = EXACT_RUNTIMES,
    images: int = 3,
    seed: int = 0,
) -> tuple[Parity, ...]:
    """Run the simulator and others on random inputs.

    Args:
        source: name of the file, for errors.
        data: its bytes.
        graph: the same file.
        runtimes: of `EXACT_RUNTIMES`.
        images: sets of inputs, 1 or more.
        seed: of the inputs.
    Returns:
        One result for each runtime; one that does not run the file is a result, too.
    Raises:
        ConfigError: unknown runtime.
        UnsupportedOpError, ConversionError: the simulator does not run the file.
    """
    openers: dict[str, Callable[[], Run]] = {
        "ref": lambda: open_reference(source, data)[1],
        "tflm": lambda: open_tflm(source, data, graph)[1],
        "c99": lambda: HostModule(data, graph),
    }
    unknown = sorted(set(runtimes) - set(openers))
    if unknown:
        raise ConfigError(f"can't compare {', '.join(unknown)}; expected some of {', '.join(openers)}")
    rng = np.random.default_rng(seed)
    inputs = [random_inputs(graph, rng) for _ in range(images)]
    with naming_file(Path(source)):
        simulator = Simulator(graph)
    expected = [tuple(array.copy() for array in simulator.invoke(*arrays)) for arrays in inputs]
    return tuple(_compare(name, openers[name], inputs, expected) for name in runtimes)


def _compare(
    name: str, opener: Callable[[], Run], inputs: list[tuple[np.ndarray, ...]], expected: list[tuple[np.ndarray, ...]]
) -> Parity:
    try:
        run = opener()
    except EdgedetError as error:
        return Parity(name, None, str(error))
    differences = [
        largest_difference(ours, theirs)
        for arrays, outputs in zip(inputs, expected, strict=True)
        for ours, theirs in zip(outputs, run(*arrays), strict=True)
    ]
    return Parity(name, max(differences))


def largest_difference(first: np.ndarray, second: np.ndarray) -> float:
    """Largest absolute difference of two outputs; infinite when type or shape differ, or a float is no number.

    Args:
        first, second: any shape; integers or float32.
    """
    if first.dtype != second.dtype or first.shape != second.shape:
        return np.inf
    if first.tobytes() == second.tobytes():
        return 0.0
    gap = np.abs(first.astype(np.float64) - second.astype(np.float64))
    largest = float(gap.max())
    # Bytes that differ although the values are equal: -0.0 and 0.0. They are not the same output.
    return float(np.finfo(np.float32).tiny) if largest == 0.0 else (np.inf if np.isnan(largest) else largest)
