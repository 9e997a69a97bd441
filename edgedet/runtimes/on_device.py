"""A board behind a serial line as a runtime: firmware that `edgedet deploy` wrote computes, this computer judges."""

from __future__ import annotations

import hashlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.codegen.device_files import contract_text
from edgedet.contracts import Detections
from edgedet.device.journal import Journal, Kept
from edgedet.device.line import Address, Line
from edgedet.device.link import Link, Patience
from edgedet.device.protocol import DETECTION_BYTES, Kind
from edgedet.device.session import Answer, Expected, Job, Session
from edgedet.errors import DeviceError, OutputError, ShapeError
from edgedet.graph.model import Int8Model
from edgedet.graph.tflite.dtypes import tensor_bytes
from edgedet.runtimes.protocol import Int8Runtime, decode_raw

_DETECTION = np.dtype([("box", "<f4", 4), ("score", "<f4"), ("label", "<i4")])
assert _DETECTION.itemsize == DETECTION_BYTES


class DeviceModule:
    """A model on a board; not to be shared between threads."""

    def __init__(self, model: Int8Model, line: Line, address: Address, patience: Patience | None = None) -> None:
        """Greet the board and check that it holds this model.

        Args:
            model: as the file has it, since the board follows the contracts of the file.
            line: to the board, open.
            address: of the line, for reports.
            patience: None: what is right for boards.
        Raises:
            DeviceError: nobody answers, or with another protocol, model or contract.
        """
        self._model = model
        self._address = address
        self._line = line
        graph = model.graph
        # As in deploy: in contract order where C follows the contracts.
        self._positions = model.output_positions if model.has_c_decoder else tuple(range(len(graph.outputs)))
        self._sizes = [tensor_bytes(graph.tensors[graph.outputs[position]]) for position in self._positions]
        expected = Expected(
            hashlib.sha256(model.data).hexdigest(),
            sum(tensor_bytes(graph.tensors[index]) for index in graph.inputs),
            sum(self._sizes),
            contract_text(model if model.has_c_decoder else None),
        )
        self.session = Session(Link(line, patience or Patience()), expected)
        self._journal: Journal | None = None
        self._earlier = 0  # pictures that an earlier run measured
        self._ms: list[tuple[float, float, float]] = []  # of every picture, by the device's clock
        self._seconds: list[float] = []  # of every picture, line included

    def __call__(self, *q_inputs: np.ndarray) -> list[np.ndarray]:
        """Run one picture on the board.

        Args:
            q_inputs: one per input, of its type and shape.
        Returns:
            Outputs in the order of the file, each of its type; those that no contract names are empty.
        Raises:
            DeviceError: the board does not answer, fails, or decodes otherwise than its contract says.
        """
        self._check(q_inputs)
        data = b"".join(np.ascontiguousarray(x).tobytes() for x in q_inputs)
        kept = None if self._journal is None else self._journal.get(data)
        if kept is not None:
            self._earlier += 1
            self._ms += [] if kept.ms is None else [kept.ms]
            return self._arrays(kept.outputs)
        start = time.perf_counter()
        answer = self.session.run(Job(Kind.TENSOR, data))
        self._seconds.append(time.perf_counter() - start)
        self._ms += [] if answer.ms is None else [answer.ms]
        outputs = self._arrays(answer.outputs)
        if self.session.hello.detects:
            self._check_detections(answer, outputs)
        if self._journal is not None:
            self._journal.add(data, Kept(answer.outputs, answer.ms))
        return outputs

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep every result beside the model while the block runs, and take those that an interrupted run left.

        When the block ends well the file goes; else a line on standard error says what is left.
        """
        path = self.journal_path
        hello = self.session.hello
        firmware = f"{hello.target} of edgedet {hello.edgedet_version}"
        try:
            self._journal = Journal(path, hello.model_sha256, firmware, sum(self._sizes))
        except OutputError as error:
            sys.stderr.write(f"note: {error}; if this run is interrupted, the next one begins anew\n")
            yield
            return
        if self._journal.earlier:
            count = len(self._journal.earlier)
            sys.stderr.write(f"note: {count} images were measured by a run that was interrupted ({path}): going on\n")
        done = False
        try:
            yield
            done = True
        finally:
            count = self._earlier + len(self._seconds)
            self._journal.close(remove=done or not count)
            self._journal = None
            if not done and count:
                sys.stderr.write(f"note: the same command goes on behind {count} images, which {path} holds\n")

    @property
    def journal_path(self) -> Path:
        """Where `keeping` keeps results: beside the model, a file for each port."""
        port = re.sub(r"[^A-Za-z0-9.]+", "-", self._address.port).strip("-.")[-60:]
        return self._model.path.with_name(f"{self._model.path.name}.{port}.results")

    def close(self) -> None:
        """Give the line back."""
        self._line.close()

    @property
    def arithmetic(self) -> str:
        """Which arithmetic runs where, in words."""
        hello = self.session.hello
        return f"int8, on the device at {self._address}: target {hello.target} of edgedet {hello.edgedet_version}"

    def details(self, per_operator: bool) -> tuple[str, ...]:
        """What was measured, lines for a report; of operators nothing is known."""
        lines = []
        if self._ms:
            _, invoke, decode = np.mean(self._ms, axis=0)
            runs = [row[1] for row in self._ms]
            lines.append(
                f"on the device, by its clock: network {invoke:.3f} ms per image ({min(runs):.3f} to {max(runs):.3f}), "
                f"decode {decode:.3f} ms, mean of {len(self._ms)}"
            )
        elif self._seconds or self._earlier:
            lines.append("on the device: it has no clock, so its times are not known")
        if self._earlier:
            lines.append(f"{self._earlier} images were measured by a run that was interrupted")
        if self._seconds:
            mean = 1000.0 * float(np.mean(self._seconds))
            lines.append(f"with the line: {mean:.1f} ms per image, {self._address}")
        link, traffic = self.session.link, self.session.link.traffic
        lines.append(
            f"line: {traffic.requests:,} requests, {traffic.repeated:,} sent again, {link.damaged:,} damaged and "
            f"{traffic.strangers:,} late or doubled replies, {traffic.restarts:,} images begun again; "
            f"{traffic.sent_bytes:,} bytes out, {traffic.received_bytes:,} in"
        )
        return tuple(lines)

    def _check(self, q_inputs: Sequence[np.ndarray]) -> None:
        graph = self._model.graph
        tensors = [graph.tensors[index] for index in graph.inputs]
        found = [(array.shape, array.dtype.name) for array in q_inputs]
        if found != [(tensor.shape, tensor.dtype) for tensor in tensors]:
            raise ShapeError(f"the model takes {[(t.dtype, t.shape) for t in tensors]}, got {found}")

    def _arrays(self, flat: bytes) -> list[np.ndarray]:
        graph = self._model.graph
        arrays = [np.empty(0, graph.tensors[index].dtype) for index in graph.outputs]
        start = 0
        for position, size in zip(self._positions, self._sizes, strict=True):
            tensor = graph.tensors[graph.outputs[position]]
            array = np.frombuffer(flat[start : start + size], np.dtype(tensor.dtype).newbyteorder("<"))
            arrays[position] = array.astype(tensor.dtype).reshape(tensor.shape)
            start += size
        return arrays

    def _check_detections(self, answer: Answer, outputs: Sequence[np.ndarray]) -> None:
        """The device decoded, too: it must have found what its outputs mean, bit by bit."""
        expected = decode_raw(self._model, [outputs[position] for position in self._positions])
        if encode_detections(expected) != answer.detections:
            raise DeviceError(
                f"the device found {len(answer.detections) // DETECTION_BYTES} objects in its outputs, which hold "
                f"{len(expected)} by the contract, or other boxes or scores: build its kernels without -ffast-math"
            )


@dataclass(frozen=True, eq=False)
class DeviceRuntime(Int8Runtime):
    """Runtime over a board; follows the protocols `Runtime` and `Keeping`."""

    module: DeviceModule | None = None

    def keeping(self) -> AbstractContextManager[None]:
        """As `DeviceModule.keeping`."""
        assert self.module is not None
        return self.module.keeping()


def device_runtime(name: str, module: DeviceModule, model: Int8Model) -> DeviceRuntime:
    """A board as a runtime; `model` may have other limits of decoding than the file."""
    arithmetic = "; ".join((module.arithmetic, *model.notes))
    return DeviceRuntime(name, arithmetic, model, module, module.details, module=module)


def encode_detections(found: Detections) -> bytes:
    """Detections as they go over the line."""
    rows = np.zeros(len(found), _DETECTION)
    rows["box"], rows["score"], rows["label"] = found.boxes, found.scores, found.labels
    return rows.tobytes()
