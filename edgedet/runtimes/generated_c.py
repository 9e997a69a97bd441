"""The generated C as a runtime: compiled on the host, or for a microcontroller that QEMU emulates."""

from __future__ import annotations

import ctypes
import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.codegen.memory.offsets import ALIGNMENT
from edgedet.codegen.render import constant_files
from edgedet.codegen.steps import macs_of
from edgedet.contracts import Detections
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
_DETECTION = np.dtype([("box", np.float32, 4), ("score", np.float32), ("label", np.int32)])  # edk_detection


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
        self.made = made
        self.graph, self.program = made.simulator.graph, made.program
        self._sha256 = hashlib.sha256(data).hexdigest()
        self._folder = tempfile.TemporaryDirectory(prefix="edgedet-c99-")
        self.folder = Path(self._folder.name)
        texts = made.texts(self._sha256, None)
        for name, text in texts.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for name, content in constant_files(self.program).items():
            (self.folder / name).write_bytes(content)
        self.sources = [name for name in texts if name.endswith(".c")]

    def run_source(self, score_threshold: float | None) -> str:
        """Text of run.c for another threshold than the contract's; None: the contract's."""
        assert self.made.model is not None
        outputs = self.made.model.outputs
        if score_threshold is not None:
            outputs = replace(outputs, score_threshold=score_threshold, class_thresholds=())
        model = replace(self.made.model, outputs=outputs)
        return replace(self.made, model=model).texts(self._sha256, None)["run.c"]

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

    def __init__(self, data: bytes, graph: Graph, model: Int8Model | None = None) -> None:
        """Generate, compile, load.

        Args:
            data: bytes of the file, for their hash.
            graph: int8, checked.
            model: the same file with contracts that C follows: `decode` runs its decoder.
        Raises:
            ToolchainError: no C compiler, or it fails.
            UnsupportedOpError: an operator has no C kernel.
        """
        self._compiler = require_program(("cc", "gcc", "clang"), "gcc")
        self._module = _Module(data, graph, model)
        self.compiler = Path(self._compiler).name
        self._library = self._compile("module.so", [*self._module.sources, "-lm"])
        self._detectors: dict[float | None, Any] = {}  # edgedet_detect() for each threshold
        self._invoke = self._library.edgedet_invoke
        self._invoke.restype = ctypes.c_int
        size = self._module.program.plan.arena_bytes
        memory = np.empty(size + ALIGNMENT, np.int8)
        start = -memory.ctypes.data % ALIGNMENT
        self._arena = memory[start : start + size]

    def _compile(self, name: str, sources: Sequence[str]) -> ctypes.CDLL:
        folder = self._module.folder
        command = [self._compiler, *HOST_FLAGS, "-I.", "-Ikernels/include", "-o", name, *sources]
        run_program(command, folder, _COMPILE_TIMEOUT_S)
        return ctypes.CDLL(str(folder / name))

    @property
    def arena_bytes(self) -> int:
        """Of the planned arena."""
        return self._module.program.plan.arena_bytes

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float | None) -> Detections:
        """Decode outputs with the generated edgedet_detect().

        Args:
            raw: outputs in contract order, as the network gives them.
            score_threshold: 0 < t < 1, scores must be higher; compiled in, once for each. None: the contract's.
        Returns:
            Detections in pixels of the network's input, best first.
        Raises:
            ConfigError: the threshold is out of range.
            ToolchainError: the compiler or the decoder fails.
        """
        program, model = self._module.program, self._module.made.model
        assert model is not None, "made without contracts"
        detect = self._detector(score_threshold)
        for index, array in zip(program.outputs, raw, strict=True):
            start = program.plan.address(index)
            self._arena[start : start + array.nbytes] = array.reshape(-1)
        found = np.zeros(model.outputs.max_detections, _DETECTION)
        count = ctypes.c_int32()
        arena = self._arena.ctypes.data_as(ctypes.c_void_p)
        places = found.ctypes.data_as(ctypes.c_void_p)
        status = detect(arena, ctypes.c_size_t(self._arena.size), places, len(found), ctypes.byref(count))
        if status:
            raise ToolchainError(f"edgedet_detect() returned status {status}; please report this model")
        found = found[: count.value]
        return Detections(found["box"].copy(), found["score"].copy(), found["label"].astype(np.int64))

    def _detector(self, score_threshold: float | None) -> Any:
        """edgedet_detect() with a threshold: run.c once more, on the same network and kernels."""
        if score_threshold not in self._detectors:
            number = len(self._detectors)
            source = f"run_{number}.c"
            text = self._module.run_source(score_threshold)
            (self._module.folder / source).write_text(text, encoding="utf-8")
            library = self._compile(f"run_{number}.so", [source, str(self._module.folder / "module.so")])
            library.edgedet_detect.restype = ctypes.c_int
            self._detectors[score_threshold] = library.edgedet_detect
        return self._detectors[score_threshold]

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
