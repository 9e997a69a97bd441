"""The generated C as a runtime: compiled on the host, or for a microcontroller that QEMU emulates."""

from __future__ import annotations

import ctypes
import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.codegen.memory.offsets import ALIGNMENT
from edgedet.codegen.render import constant_files
from edgedet.codegen.steps import macs_of
from edgedet.errors import ShapeError, ToolchainError
from edgedet.graph.graph import Graph, Tensor
from edgedet.graph.model import Int8Model
from edgedet.graph.tflite.dtypes import tensor_bytes
from edgedet.runtimes.c_program import make_program
from edgedet.runtimes.qemu import Firmware, board_of, build_firmware, run_firmware
from edgedet.runtimes.toolchain import require_program, run_program

# No contraction of floats: the decoder must round like the reference. -O3 and the host's vectors change no integer.
HOST_FLAGS = ("-std=c99", "-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared")
_COMPILE_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class StepCost:
    """Instructions of one step, mean over images."""

    kind: str
    output: str  # tensor
    instructions: float
    macs: int


class _Module:
    """Generated sources in a temporary folder that lives as long as this object."""

    def __init__(self, data: bytes, graph: Graph, model: Int8Model | None = None) -> None:
        made = make_program(graph, model)
        self.graph, self.program = made.simulator.graph, made.program
        self._folder = tempfile.TemporaryDirectory(prefix="edgedet-c99-")
        self.folder = Path(self._folder.name)
        texts = made.texts(hashlib.sha256(data).hexdigest(), None)
        for name, text in texts.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for name, content in constant_files(self.program).items():
            (self.folder / name).write_bytes(content)
        self.sources = [name for name in texts if name.endswith(".c")]

    def check(self, q_inputs: Sequence[np.ndarray]) -> None:
        """Raises ShapeError when an input is not what the graph takes."""
        if len(q_inputs) != len(self.graph.inputs):
            raise ShapeError(f"the model has {len(self.graph.inputs)} inputs, got {len(q_inputs)} arrays")
        for index, array in zip(self.graph.inputs, q_inputs, strict=True):
            tensor = self.graph.tensors[index]
            if array.shape != tensor.shape or array.dtype != np.dtype(tensor.dtype):
                raise ShapeError(
                    f"input {tensor.name!r} takes {tensor.dtype} {tensor.shape}, got {array.dtype.name} {array.shape}"
                )

    def output_arrays(self, flat: np.ndarray) -> list[np.ndarray]:
        """Outputs as the module lays them end to end, as arrays in the order of the file."""
        ends = np.cumsum([tensor_bytes(self.graph.tensors[index]) for index in self.program.outputs])
        parts = dict(zip(self.program.outputs, np.split(flat, ends[:-1]), strict=True))
        return [_as_array(parts[index], self.graph.tensors[index]) for index in self.graph.outputs]


def _as_array(memory: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Copy of the bytes of a tensor, int8 (bytes,), as an array of its own type."""
    return memory.copy().view(tensor.dtype).reshape(tensor.shape)


class HostModule:
    """The generated C, compiled for this machine and loaded; not to be shared between threads."""

    def __init__(self, data: bytes, graph: Graph) -> None:
        """Generate, compile, load.

        Args:
            data: bytes of the file, for their hash.
            graph: int8, checked.
        Raises:
            ToolchainError: no C compiler, or it fails.
            UnsupportedOpError: an operator has no C kernel.
        """
        compiler = require_program(("cc", "gcc", "clang"), "gcc")
        self._module = _Module(data, graph)
        folder = self._module.folder
        command = [compiler, *HOST_FLAGS, "-I.", "-Ikernels/include", "-o", "module.so", *self._module.sources, "-lm"]
        run_program(command, folder, _COMPILE_TIMEOUT_S)
        self.compiler = Path(compiler).name
        library = ctypes.CDLL(str(folder / "module.so"))
        self._invoke = library.edgedet_invoke
        self._invoke.restype = ctypes.c_int
        size = self._module.program.plan.arena_bytes
        memory = np.empty(size + ALIGNMENT, np.int8)
        start = -memory.ctypes.data % ALIGNMENT
        self._arena = memory[start : start + size]

    @property
    def arena_bytes(self) -> int:
        """Of the planned arena."""
        return self._module.program.plan.arena_bytes

    def __call__(self, *q_inputs: np.ndarray) -> list[np.ndarray]:
        """Run the network.

        Args:
            q_inputs: one per input, of its type.
        Returns:
            Outputs in the order of the file, each of its type.
        """
        self._module.check(q_inputs)
        arrays = [np.ascontiguousarray(array) for array in q_inputs]
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]
        arena = self._arena.ctypes.data_as(ctypes.c_void_p)
        status = self._invoke(*pointers, arena, ctypes.c_size_t(self._arena.size))
        if status:
            raise ToolchainError(f"edgedet_invoke() returned status {status}; please report this model")
        plan, graph = self._module.program.plan, self._module.graph
        outputs = []
        for index in graph.outputs:
            tensor, start = graph.tensors[index], plan.address(index)
            outputs.append(_as_array(self._arena[start : start + tensor_bytes(tensor)], tensor))
        return outputs


class QemuModule:
    """The generated C on an emulated microcontroller; counts instructions."""

    def __init__(
        self, data: bytes, graph: Graph, cpu: str, flags: Sequence[str] = (), model: Int8Model | None = None
    ) -> None:
        """Generate, compile, link.

        Args:
            data: bytes of the file, for their hash.
            graph: int8, checked.
            cpu: cortex-m4, cortex-m7 or cortex-m55.
            flags: further compiler flags.
            model: the same file with its contracts: decoding on the chip is measured, too.
        Raises:
            ConfigError: unknown processor.
            ToolchainError: a program is missing, or the module does not fit the board.
            UnsupportedOpError: an operator has no C kernel.
        """
        board = board_of(cpu)
        self._module = _Module(data, graph, model)
        self._has_run = model is not None
        defines = ("-DEDGEDET_HAS_RUN",) if self._has_run else ()
        self.firmware: Firmware = build_firmware(board, self._module.folder, self._module.sources, (*flags, *defines))
        self._instructions: list[np.ndarray] = []  # of every image: whole network, then every step
        self._output_bytes = sum(tensor_bytes(graph.tensors[index]) for index in graph.outputs)

    @property
    def arena_bytes(self) -> int:
        """Of the planned arena."""
        return self._module.program.plan.arena_bytes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an image."""
        return sum(cost.macs for cost in self.costs())

    def __call__(self, *q_inputs: np.ndarray) -> list[np.ndarray]:
        """Run the network on one image; arguments and result of `HostModule`."""
        return self.run_batch([q_inputs])[0]

    def run_batch(self, images: Sequence[Sequence[np.ndarray]]) -> list[list[np.ndarray]]:
        """Run several images in one start of the emulator.

        Args:
            images: inputs of each.
        Returns:
            Outputs of each, in the order of the file.
        """
        for q_inputs in images:
            self._module.check(q_inputs)
        data = [b"".join(array.tobytes() for array in q_inputs) for q_inputs in images]
        outputs, instructions = run_firmware(self.firmware, data, self._output_bytes)
        self._instructions += list(instructions)
        return [self._module.output_arrays(np.frombuffer(output, np.int8)) for output in outputs]

    def instructions(self) -> float:
        """Mean of an image's instructions so far; 0.0 before the first."""
        return float(np.mean([row[0] for row in self._instructions])) if self._instructions else 0.0

    def detect_instructions(self) -> float:
        """Mean of decoding and NMS at the contract's thresholds; 0.0 without contracts."""
        if not self._has_run or not self._instructions:
            return 0.0
        return float(np.mean([row[-1] for row in self._instructions]))

    def costs(self) -> list[StepCost]:
        """Mean instructions of every step that has code."""
        program = self._module.program
        mean = np.mean(self._instructions, axis=0)[1:] if self._instructions else np.zeros(len(program.steps))
        return [
            StepCost(
                step.kind,
                program.graph.tensors[step.outputs[0]].name,
                float(mean[number]),
                macs_of(program.graph, step),
            )
            for number, step in enumerate(program.steps)
            if program.calls[number]
        ]

    def details(self, per_operator: bool) -> tuple[str, ...]:
        """What was measured, for a report.

        Args:
            per_operator: every step, too, and not only every kind.
        """
        if not self._instructions:
            return ()
        total, costs, sizes = self.instructions(), self.costs(), self.firmware.sizes
        macs = max(1, sum(cost.macs for cost in costs))
        lines = [
            f"instructions per image: {total / 1e6:.2f} M, {total / macs:.3f} per MAC ({macs / 1e6:.1f} M MACs), "
            f"mean of {len(self._instructions)}",
            f"flash: {sizes.code:,} bytes of code, {sizes.parameters:,} of parameters, {sizes.weights:,} of weights; "
            f"RAM: arena {sizes.arena:,}",
        ]
        if self._has_run:
            found = self.detect_instructions()
            lines.append(
                f"decode + NMS: {found / 1e6:.3f} M instructions, {100 * found / total:.2f} % of the network's"
            )
        kinds: dict[str, list[StepCost]] = defaultdict(list)
        for cost in costs:
            kinds[cost.kind].append(cost)
        for kind, group in sorted(kinds.items(), key=lambda item: -sum(cost.instructions for cost in item[1])):
            lines.append("  " + _cost_line(kind, group, total) + f", {len(group)} steps")
        if per_operator:
            lines += [f"  {number:>3} {_cost_line(c.kind, [c], total)}, {c.output}" for number, c in enumerate(costs)]
        return tuple(lines)


def _cost_line(name: str, group: Sequence[StepCost], total: float) -> str:
    instructions, macs = sum(cost.instructions for cost in group), sum(cost.macs for cost in group)
    ratio = f", {instructions / macs:.3f} per MAC" if macs else ""
    return f"{name:<24} {instructions / 1e6:>9.3f} M, {100 * instructions / total:5.1f} %{ratio}"
