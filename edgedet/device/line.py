"""The line to a board: a serial port, a pseudo-terminal, or whatever else pyserial opens by a URL."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol

from edgedet.errors import ConfigError, DeviceError, missing_extra

PREFIX = "serial:"
DEFAULT_BAUD = 115_200
MOST_BAUD = 100_000_000


class Line(Protocol):
    """A stream of bytes in both directions."""

    @property
    def bytes_per_second(self) -> float:
        """How fast bytes go over it at most."""

    def read(self, timeout_s: float) -> bytes:
        """What has come; waits for the first byte. Empty: nothing within the time."""

    def write(self, data: bytes) -> None:
        """Send all."""

    def close(self) -> None:
        """Give it back."""


@dataclass(frozen=True)
class Address:
    """Where a device is."""

    port: str  # /dev/ttyACM0, COM3, or a URL of pyserial such as socket://host:port
    baud: int

    def __str__(self) -> str:
        return self.port if self.baud == DEFAULT_BAUD else f"{self.port}@{self.baud}"


def is_serial(runtime: str) -> bool:
    """Whether a runtime's name means a device behind a serial line."""
    return runtime.startswith(PREFIX)


def parse_address(runtime: str) -> Address:
    """Read `serial:PORT` or `serial:PORT@BAUD`.

    Raises:
        ConfigError: no port, or a baud rate that is no number of 1..MOST_BAUD.
    """
    port, at, baud = runtime.removeprefix(PREFIX).rpartition("@")
    if not at:
        port, baud = baud, str(DEFAULT_BAUD)
    if not port or not (baud.isascii() and baud.isdecimal()) or not 1 <= int(baud[:10]) <= MOST_BAUD:
        raise ConfigError(
            f"runtime {runtime!r}: expected serial:PORT or serial:PORT@BAUD, for example serial:/dev/ttyACM0@921600"
        )
    return Address(port, int(baud[:10]))


def open_line(address: Address) -> SerialLine:
    """Open a port.

    Raises:
        ToolchainError: pyserial is not installed.
        DeviceError: there is no such port, another program has it, or this user may not open it.
    """
    try:
        import serial
    except ModuleNotFoundError:
        raise missing_extra("pyserial", "serial") from None
    try:
        port = serial.serial_for_url(address.port, do_not_open=True)
        port.baudrate, port.timeout, port.write_timeout = address.baud, 0.0, 10.0
        if hasattr(port, "exclusive"):
            port.exclusive = True
        port.open()
    except (OSError, ValueError, ImportError) as error:  # SerialException is an OSError
        raise DeviceError(
            f"{address.port}: can't be opened ({_reason(error)}): check the name, that the board is plugged in, that "
            "no terminal program holds the port, and that this user may use it (on Debian: group dialout)"
        ) from error
    return SerialLine(port, address)


class SerialLine:
    """A port of pyserial; follows the protocol `Line`."""

    def __init__(self, port: Any, address: Address) -> None:
        self._port = port
        self._address = address

    @property
    def bytes_per_second(self) -> float:
        """By the baud rate, with a start and a stop bit."""
        return self._address.baud / 10

    def read(self, timeout_s: float) -> bytes:
        """What has come; waits for the first byte."""
        try:
            self._port.timeout = timeout_s
            first: bytes = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""
        except (OSError, TypeError) as error:  # TypeError: pyserial, of a port that was closed meanwhile
            raise self._gone(error) from error

    def write(self, data: bytes) -> None:
        """Send all."""
        try:
            self._port.write(data)
        except OSError as error:
            raise self._gone(error) from error

    def close(self) -> None:
        """Give the port back."""
        try:
            self._port.close()
        except OSError:
            return

    def _gone(self, error: Exception) -> DeviceError:
        return DeviceError(
            f"{self._address.port}: the line broke ({_reason(error)}): was the board unplugged? Run the command again"
        )


def _reason(error: Exception) -> str:
    """What the system said, without pyserial's repetition of it."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
