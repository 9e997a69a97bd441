"""A board behind a serial line as a runtime: firmware that `edgedet deploy` wrote computes, this computer judges."""

from __future__ import annotations

import hashlib
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgedet.codegen.device_files import contract_text
from edgedet.contracts import Detections
from edgedet.data.pictures.preprocess import fitted_size
from edgedet.device.journal import Journal, Kept
from edgedet.device.line import Address, Line
from edgedet.device.link import Link, Patience
from edgedet.device.protocol import DETECTION_BYTES, Kind
from edgedet.device.session import Expected, Job, Session
from edgedet.errors import DeviceError, OutputError, ShapeError
from edgedet.graph.model import Int8Model
from edgedet.graph.tflite.dtypes import tensor_bytes
from edgedet.runtimes.device_figures import DeviceFigures, DeviceMs, LineTraffic, OnePicture, device_times, spread
from edgedet.runtimes.names import IMAGE, TENSOR
from edgedet.runtimes.protocol import Int8Runtime, decode_raw

_DETECTION = np.dtype([("box", "<f4", 4), ("score", "<f4"), ("label", "<i4")])
assert _DETECTION.itemsize == DETECTION_BYTES
_RGB888 = 0  # of edk_pixel_format
_MOST_SIDE = 65_535  # px; EDK_MAX_SIDE, and the 16 bits of BEGIN


class DeviceModule:
    """A model on a board; not to be shared between threads."""

    def __init__(
        self,
        model: Int8Model,
        line: Line,
        address: Address,
        patience: Patience | None = None,
        send: str = TENSOR,
    ) -> None:
        """Greet the board and check that it holds this model.

        Args:
            model: as the file has it, since the board follows the contracts of the file.
            line: to the board, open.
            address: of the line, for reports.
            patience: None: what is right for boards.
            send: tensor, or image: the board resizes and quantizes, too.
        Raises:
            DeviceError: nobody answers, or with another protocol, model or contract, or without memory for images.
        """
        self._model = model
        self._address = address
        self._line = line
        self.send = send
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
        self._ms: list[DeviceMs] = []  # of every picture, by the device's clock
        self._seconds: list[float] = []  # of every picture, line included
        self._before = self._traffic()
        self.last = OnePicture(None, None)
        if send == IMAGE and not self.session.hello.frame_bytes:
            raise DeviceError(
                "the device takes no images, tensors alone: it was built without memory for them "
                "(EDGEDET_FRAME_BYTES of device_main.c, NAME_FRAME_BYTES of a module with a name); build it with some, "
                "or leave `send` at tensor"
            )

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
        return self._run(Job(Kind.TENSOR, b"".join(np.ascontiguousarray(x).tobytes() for x in q_inputs)))

    def run_image(self, image: np.ndarray) -> list[np.ndarray]:
        """Run one picture on the board, which brings it to the network's input itself.

        Args:
            image: uint8 (H, W, 3), RGB, upright.
        Returns:
            As `__call__`.
        Raises:
            DeviceError: as `__call__`, or the image does not fit into the board's memory for one.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ShapeError(f"image: expected uint8 (H, W, 3), found {image.dtype} {image.shape}")
        height, width, _ = image.shape
        self.require_room(width, height, "this image")
        return self._run(Job(Kind.FRAME, np.ascontiguousarray(image).tobytes(), _RGB888, width, height))

    def require_room(self, width: int, height: int, what: str) -> None:
        """Raises DeviceError where an image of this size does not fit into the board's memory; `what` names it."""
        needed, room = width * height * 3, self.session.hello.frame_bytes
        if max(width, height) > _MOST_SIDE:
            raise DeviceError(f"{what}: {width}x{height} px: a device takes sides of {_MOST_SIDE:,} px at most")
        if needed > room:
            raise DeviceError(
                f"{what}: {width}x{height} px are {needed:,} bytes of RGB, but the device has {room:,} for an image: "
                f"build it with -DEDGEDET_FRAME_BYTES={needed}u (of a module with a name: -DNAME_FRAME_BYTES), take "
                "smaller images, or leave `send` at tensor"
            )

    def _run(self, job: Job) -> list[np.ndarray]:
        kept = None if self._journal is None else self._journal.get(_identity(job))
        if kept is not None:
            outputs = self._arrays(kept.outputs)
            if self._agree(kept.detections, outputs, job):  # else the file was changed: measured again
                self._earlier += 1
                self._take(kept, job)
                return outputs
        start = time.perf_counter()
        answer = self.session.run(job)
        self._seconds.append(time.perf_counter() - start)
        outputs = self._arrays(answer.outputs)
        if not self._agree(answer.detections, outputs, job):
            raise DeviceError(
                f"the device found {len(answer.detections) // DETECTION_BYTES} objects in its outputs, which hold "
                f"{len(self._decoded(outputs, job))} by the contract, or other boxes or scores: build its kernels "
                "without -ffast-math"
            )
        kept = Kept(answer.outputs, answer.detections, answer.ms)
        self._take(kept, job)
        if self._journal is not None:
            self._journal.add(_identity(job), kept)
        return outputs

    def _take(self, kept: Kept, job: Job) -> None:
        """Count what the board made of a picture."""
        ms = None if kept.ms is None else DeviceMs(*kept.ms)
        if ms is not None and job.kind == Kind.TENSOR:
            ms = replace(ms, prepare=0.0)  # a few ticks between two readings of the clock
        self._ms += [] if ms is None else [ms]
        found = decode_detections(kept.detections) if self.session.hello.detects else None
        self.last = OnePicture(found, ms)

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep every result beside the model while the block runs, and take those that an interrupted run left.

        `figures` counts from here. When the block ends well the file goes; else a line on standard error says what is
        left.
        """
        self._earlier, self._ms, self._seconds, self._before = 0, [], [], self._traffic()
        path = self.journal_path
        hello = self.session.hello
        firmware = (
            f"{hello.target} of edgedet {hello.edgedet_version}, {self.send}s, {hello.payload_bytes} and "
            f"{hello.frame_bytes} bytes, {hello.ticks_per_second} ticks a second, build {hello.build}"
        )
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
        """Where `keeping` keeps results: beside the model, a file for each port and kind of input."""
        port = re.sub(r"[^A-Za-z0-9.]+", "-", self._address.port).strip("-.")[-60:]
        sent = ".images" if self.send == IMAGE else ""
        return self._model.path.with_name(f"{self._model.path.name}.{port}{sent}.results")

    def close(self) -> None:
        """Give the line back."""
        self._line.close()

    @property
    def arithmetic(self) -> str:
        """Which arithmetic runs where, in words."""
        hello = self.session.hello
        sent = "images sent, preprocessed there" if self.send == IMAGE else "tensors sent, preprocessed here"
        return (
            f"int8, on the device at {self._address}: target {hello.target} of edgedet {hello.edgedet_version}; {sent}"
        )

    def figures(self) -> DeviceFigures:
        """What was measured since the port was opened, or since `keeping` began."""
        hello = self.session.hello
        return DeviceFigures(
            port=str(self._address),
            sent=self.send,
            target=hello.target,
            edgedet_version=hello.edgedet_version,
            images=self._earlier + len(self._seconds),
            earlier_images=self._earlier,
            device_ms=device_times(self._ms),
            line_ms=spread([1000.0 * seconds for seconds in self._seconds]),
            line=self._traffic().since(self._before),
        )

    def _traffic(self) -> LineTraffic:
        """What went over the line since the port was opened."""
        link, traffic = self.session.link, self.session.link.traffic
        return LineTraffic(
            traffic.requests, traffic.repeated, link.damaged, traffic.strangers, traffic.restarts,
            traffic.sent_bytes, traffic.received_bytes,
        )  # fmt: skip

    def details(self, per_operator: bool) -> tuple[str, ...]:
        """What was measured, lines for a report; of operators nothing is known."""
        return self.figures().lines()

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

    def _agree(self, detections: bytes, outputs: Sequence[np.ndarray], job: Job) -> bool:
        """The device decoded, too: whether it found what its outputs mean, bit by bit."""
        return not self.session.hello.detects or encode_detections(self._decoded(outputs, job)) == detections

    def _decoded(self, outputs: Sequence[np.ndarray], job: Job) -> Detections:
        """What the outputs hold by the contract, in px of what was sent."""
        found = decode_raw(self._model, [outputs[position] for position in self._positions])
        if job.kind == Kind.TENSOR:
            return found
        placement = fitted_size(job.width, job.height, self._model.preprocess)
        return replace(found, boxes=placement.to_image(found.boxes))


@dataclass(frozen=True, eq=False)
class DeviceRuntime(Int8Runtime):
    """Runtime over a board; follows the protocols `Runtime`, `Keeping` and `OnDevice`."""

    module: DeviceModule | None = None

    def keeping(self) -> AbstractContextManager[None]:
        """As `DeviceModule.keeping`."""
        return self.device.keeping()

    @property
    def device(self) -> DeviceModule:
        """The board."""
        assert self.module is not None, "made by device_runtime"
        return self.module

    @property
    def takes_images(self) -> bool:
        """Whether the board prepares pictures itself: then `invoke_image` in place of `prepare` and `invoke`."""
        return self.device.send == IMAGE

    def invoke_image(self, image: np.ndarray) -> tuple[np.ndarray, ...]:
        """Outputs in contract order of a picture, uint8 (H, W, 3), RGB, upright."""
        raw = self.device.run_image(image)
        return tuple(raw[position] for position in self.model.output_positions)

    def require_room(self, width: int, height: int, what: str) -> None:
        """As `DeviceModule.require_room`, where images are sent."""
        if self.takes_images:
            self.device.require_room(width, height, what)

    def last_picture(self) -> OnePicture:
        """What the board itself made of the picture that ran last."""
        return self.device.last

    def device_figures(self) -> DeviceFigures:
        """What was measured, of the pictures so far."""
        return self.device.figures()


def device_runtime(name: str, module: DeviceModule, model: Int8Model) -> DeviceRuntime:
    """A board as a runtime; `model` may have other limits of decoding than the file."""
    arithmetic = "; ".join((module.arithmetic, *model.notes))
    return DeviceRuntime(name, arithmetic, model, module, module.details, module=module)


def encode_detections(found: Detections) -> bytes:
    """Detections as they go over the line."""
    rows = np.zeros(len(found), _DETECTION)
    rows["box"], rows["score"], rows["label"] = found.boxes, found.scores, found.labels
    return rows.tobytes()


def decode_detections(data: bytes) -> Detections:
    """Detections as they came over the line."""
    rows = np.frombuffer(data, _DETECTION)
    return Detections(rows["box"].astype(np.float32), rows["score"].astype(np.float32), rows["label"].astype(np.int64))


def _identity(job: Job) -> bytes:
    """What decides the result of a job; a tensor has one shape."""
    if job.kind == Kind.TENSOR:
        return job.data
    return f"{job.pixel_format} {job.width}x{job.height} ".encode() + job.data
