"""One request, one reply, over a line that loses, doubles and damages bytes."""

from __future__ import annotations

import time
from dataclasses import dataclass

from edgedet.device.frames import Frame, FrameReader, encode_frame
from edgedet.device.line import Line
from edgedet.device.protocol import MOST_PAYLOAD_BYTES, REPLY, UNREADABLE, Request
from edgedet.errors import DeviceError

_OVERHEAD_BYTES = 16  # of a frame, with its coding
_QUICK_ATTEMPTS = 8  # for each of Patience's, where the device says at once that a frame came in damaged


@dataclass(frozen=True)
class Patience:
    """How long a reply is waited for, and how often it is asked for again."""

    reply_s: float = 0.5  # besides the time that the bytes need on the line
    attempts: int = 12  # of one request
    hello_s: float = 8.0  # for a board that starts when the port is opened
    run_s: float = 120.0  # for the network, in all
    restarts: int = 8  # of one picture, after a reset or a sum that was wrong


@dataclass
class Traffic:
    """What went over a line."""

    requests: int = 0
    repeated: int = 0  # requests sent again: no reply in time, or one side read a damaged frame
    strangers: int = 0  # replies to no open request: late or doubled
    restarts: int = 0  # pictures begun again
    sent_bytes: int = 0
    received_bytes: int = 0


class NoReply(DeviceError):
    """Nothing came back in time."""


class Link:
    """Asks and waits; one request is open at a time."""

    def __init__(self, line: Line, patience: Patience) -> None:
        self.line = line
        self.patience = patience
        self.traffic = Traffic()
        self._reader = FrameReader(MOST_PAYLOAD_BYTES)
        self._sequence = 0
        self._echoes = self._replies = 0

    @property
    def damaged(self) -> int:
        """Pieces that came in and were no frame."""
        return self._reader.damaged

    def ask(self, request: Request, payload: bytes, reply_bytes: int, wait_s: float = 0.0) -> Frame:
        """Send a request until its reply comes.

        Args:
            request: which.
            payload: of it.
            reply_bytes: about as many come back; decides how long is waited.
            wait_s: what the device needs before it answers, at least.
        Raises:
            NoReply: none came in all attempts.
            DeviceError: the line broke.
        """
        attempts, patience = self.patience.attempts, self.patience
        silent = 0
        for attempt in range(_QUICK_ATTEMPTS * attempts):
            start = time.monotonic()
            wait = self._time_for(len(payload) + reply_bytes) + wait_s
            reply = self._attempt(request, payload, wait, attempt > 0)
            if reply is not None:
                return reply
            # A device may have much noise to complain about that came before: such replies cost no time.
            silent += time.monotonic() - start >= wait
            if silent >= attempts:
                break
        raise self._silence(request, f"in {attempts} attempts of {patience.reply_s:g} s and more")

    def ask_within(self, request: Request, payload: bytes, reply_bytes: int, total_s: float, each_s: float) -> Frame:
        """As `ask`, for a time instead of a number of attempts: after each `each_s` the request goes out again.

        Raises:
            NoReply: none came in `total_s`.
        """
        end = time.monotonic() + total_s
        first = True
        while True:
            left = end - time.monotonic()
            if left <= 0.0 and not first:
                raise self._silence(request, f"in {total_s:g} s")
            wait = self._time_for(len(payload) + reply_bytes) + min(each_s, max(left, 0.0))
            reply = self._attempt(request, payload, wait, not first)
            if reply is not None:
                return reply
            first = False

    def _attempt(self, request: Request, payload: bytes, wait_s: float, again: bool) -> Frame | None:
        """Send once and wait; the sequence number stays when a request is repeated, so that a late reply counts."""
        if again:
            self.traffic.repeated += 1
        else:
            self.traffic.requests += 1
            self._sequence = (self._sequence + 1) & 0xFFFF
        data = encode_frame(Frame(request, 0, self._sequence, payload))
        self.line.write(data)
        self.traffic.sent_bytes += len(data)
        end = time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0.0:
            received = self.line.read(left)
            self.traffic.received_bytes += len(received)
            for frame in self._reader.feed(received):
                if frame.type == request | REPLY and frame.sequence == self._sequence:
                    self._replies += 1
                    return frame
                if frame.type == UNREADABLE:
                    return None  # at once again
                self._echoes += frame.type == request
                self.traffic.strangers += 1
        return None

    def _silence(self, request: Request, within: str) -> NoReply:
        """The error for a request without a reply, with what was seen instead."""
        start = f"no reply to {request.name} {within}"
        if self._replies:
            return NoReply(f"{start}, after {self._replies} replies to others: does the board hang or lack power?")
        if self._echoes:
            return NoReply(f"{start}: the line sends back what is sent to it, as if RX and TX were joined")
        seen = "what came back is no reply" if self.traffic.received_bytes else "nothing came back"
        return NoReply(
            f"{start}; {seen}: check the baud rate, the wires, and that a firmware with edgedet's device protocol runs"
        )

    def _time_for(self, count: int) -> float:
        return self.patience.reply_s + 1.5 * (count + 2 * _OVERHEAD_BYTES) / self.line.bytes_per_second
