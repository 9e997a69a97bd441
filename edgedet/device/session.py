"""A device that runs one model: greeted, checked, fed with tensors or frames, and begun again after a reset."""

from __future__ import annotations

import secrets
import time
import zlib
from dataclasses import dataclass

from edgedet.device.frames import Frame
from edgedet.device.link import Link
from edgedet.device.protocol import (
    DETECTION_BYTES,
    PROTOCOL_VERSION,
    Area,
    Hello,
    Kind,
    Request,
    Result,
    Status,
    pack_begin,
    pack_read,
    parse_hello,
    parse_result,
)
from edgedet.errors import DeviceError

_FIRST_RUN_S = 0.5  # after which RUN is sent again, until it is known how long a run takes
_RESULT_BYTES = 28


@dataclass(frozen=True)
class Expected:
    """What a device must hold."""

    model_sha256: str
    input_bytes: int
    output_bytes: int
    contract: bytes  # both contracts as JSON; empty: the device decodes nothing


@dataclass(frozen=True)
class Job:
    """Something to run."""

    kind: Kind
    data: bytes
    pixel_format: int = 0  # edk_pixel_format, of frames
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class Answer:
    """What the device made of a job."""

    outputs: bytes  # all outputs end to end
    detections: bytes  # DETECTION_BYTES each
    ms: tuple[float, float, float] | None  # preparing, the network, decoding, by the device's clock; None: it has none


class _BeginAgain(Exception):
    """The device lost the job, or its bytes."""


class Session:
    """Talks to one device."""

    def __init__(self, link: Link, expected: Expected) -> None:
        """Greet the device and check that it holds what is expected.

        Raises:
            DeviceError: nobody answers, another version of the protocol or of the model.
        """
        self.link = link
        self._expected = expected
        self._run_s = _FIRST_RUN_S
        self.hello = self._greet()
        self._check_contract()

    def run(self, job: Job) -> Answer:
        """Send a job, run it, read what came out.

        Raises:
            DeviceError: the network failed on the device, the device holds another model since a reset, or it does not
                answer within the bounds of `Patience`.
        """
        if job.kind == Kind.TENSOR and len(job.data) != self.hello.input_bytes:
            raise DeviceError(f"the device takes {self.hello.input_bytes} bytes, got {len(job.data)}")
        why = ""
        for attempt in range(self.link.patience.restarts + 1):
            self._greet_again()
            if attempt:
                self.link.traffic.restarts += 1
                self._check_contract()
            try:
                return self._run_once(job)
            except _BeginAgain as error:
                why = str(error)
        raise DeviceError(
            f"one picture was begun {self.link.patience.restarts + 1} times and never came through, at last because "
            f"{why}: does the board reset, for lack of power or by its watchdog?"
        )

    def _greet_again(self) -> None:
        """Greet before a picture: the board may have been reset since, into another firmware."""
        if self._greet() != self.hello:
            raise DeviceError(
                "the device runs another firmware than when this run began (same model; other memory, clock, target, "
                "version of edgedet or compiler's options): its results are not mixed; begin anew with one firmware"
            )

    def _greet(self) -> Hello:
        payload = PROTOCOL_VERSION.to_bytes(2, "little")
        patience = self.link.patience
        reply = self.link.ask_within(Request.HELLO, payload, 128, patience.hello_s, 0.0)
        hello = parse_hello(reply.payload)
        if reply.status != Status.OK:
            raise DeviceError(f"the device refuses the greeting with status {reply.status}: flash it again")
        expected = self._expected
        if hello.model_sha256 != expected.model_sha256:
            raise DeviceError(
                f"the device runs another model: sha256 {hello.model_sha256[:16]}..., expected "
                f"{expected.model_sha256[:16]}...: deploy and flash this file, or give the one that was flashed"
            )
        if (hello.input_bytes, hello.output_bytes) != (expected.input_bytes, expected.output_bytes):
            raise DeviceError(
                f"the device takes {hello.input_bytes} bytes and gives {hello.output_bytes}, this model "
                f"{expected.input_bytes} and {expected.output_bytes}: deploy it again with this edgedet and flash it"
            )
        return hello

    def _check_contract(self) -> None:
        try:
            contract = self._read(0, Area.CONTRACT, self.hello.contract_bytes)
        except _BeginAgain as error:
            raise DeviceError(f"the device's contracts can't be read: {error}; flash it again") from error
        if contract != self._expected.contract:
            raise DeviceError(
                "the device holds other contracts (preprocessing, thresholds, classes) than the model: deploy it again "
                "with this edgedet and flash it"
            )

    def _run_once(self, job: Job) -> Answer:
        number = secrets.randbits(32)
        begin = pack_begin(
            number, job.kind, job.pixel_format, job.width, job.height, len(job.data), zlib.crc32(job.data)
        )
        self._write(number, job.data, self._offset(self._ask(Request.BEGIN, begin, 4)))
        result = self._result(number, job)
        outputs = self._read(number, Area.OUTPUTS, self.hello.output_bytes)
        detections = self._read(number, Area.DETECTIONS, result.detections * DETECTION_BYTES)
        if (zlib.crc32(outputs), zlib.crc32(detections)) != (result.outputs_crc32, result.detections_crc32):
            raise _BeginAgain("the sums of its results were wrong")
        return Answer(outputs, detections, self._ms(result))

    def _write(self, number: int, data: bytes, offset: int) -> None:
        most = self.hello.payload_bytes - 8
        begun = number.to_bytes(4, "little")
        stuck = 0
        while offset < len(data):
            payload = begun + offset.to_bytes(4, "little") + data[offset : offset + most]
            found = self._offset(self._ask(Request.WRITE, payload, 4, (Status.OK, Status.INCOMPLETE)))
            stuck = stuck + 1 if found <= offset else 0
            if found > len(data) or stuck > self.link.patience.attempts:
                raise _BeginAgain(f"it counts {found} bytes of {len(data)}")
            offset = found

    def _result(self, number: int, job: Job) -> Result:
        payload = number.to_bytes(4, "little")
        start = time.monotonic()
        reply = self.link.ask_within(Request.RUN, payload, _RESULT_BYTES, self.link.patience.run_s, self._run_s)
        if reply.status == Status.INCOMPLETE:
            self._write(number, job.data, self._offset(reply))
            reply = self.link.ask_within(Request.RUN, payload, _RESULT_BYTES, self.link.patience.run_s, self._run_s)
        self._require(reply, (Status.OK,))
        result = parse_result(reply.payload, self.hello)
        if result.job != number:
            raise _BeginAgain("it answered for another picture")
        ms = self._ms(result)
        # Where the device has a clock it says how long it takes, however often RUN had to be sent.
        self._run_s = 1.25 * (sum(ms) / 1000 if ms is not None else time.monotonic() - start)
        return result

    def _read(self, number: int, area: Area, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            count = min(self.hello.payload_bytes, size - len(found))
            reply = self._ask(Request.READ, pack_read(number, len(found), count, area), count)
            if len(reply.payload) != count:
                raise _BeginAgain(f"it sent {len(reply.payload)} bytes of {count}")
            found += reply.payload
        return bytes(found)

    def _ask(
        self, request: Request, payload: bytes, reply_bytes: int, allowed: tuple[Status, ...] = (Status.OK,)
    ) -> Frame:
        reply = self.link.ask(request, payload, reply_bytes)
        self._require(reply, allowed)
        return reply

    def _require(self, reply: Frame, allowed: tuple[Status, ...]) -> None:
        """Raises _BeginAgain where that may help, else DeviceError, for a status that is not allowed."""
        if reply.status in allowed:
            return
        match reply.status:
            case Status.NO_JOB:
                raise _BeginAgain("it had lost the picture")
            case Status.BAD_SUM:
                raise _BeginAgain("the picture's sum was wrong")
            case Status.INCOMPLETE:
                raise _BeginAgain("bytes of the picture were missing")
            case Status.FAILED:
                text = "".join(c if c.isprintable() else "?" for c in reply.payload[:300].decode("ascii", "replace"))
                raise DeviceError(f"the network failed on the device: {text}")
            case Status.TOO_LARGE:
                raise DeviceError(f"the frame does not fit into the device's {self.hello.frame_bytes} bytes for one")
        raise DeviceError(f"the device refuses a request with status {reply.status}: its firmware is not of edgedet")

    @staticmethod
    def _offset(reply: Frame) -> int:
        if len(reply.payload) != 4:
            raise _BeginAgain(f"a reply of {len(reply.payload)} bytes instead of 4")
        return int.from_bytes(reply.payload, "little")

    def _ms(self, result: Result) -> tuple[float, float, float] | None:
        rate = self.hello.ticks_per_second
        if not rate:
            return None
        prepare, invoke, decode = (1000.0 * ticks / rate for ticks in result.ticks)
        return prepare, invoke, decode
