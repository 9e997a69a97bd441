"""The line to a board: a serial port, a pseudo-terminal, or a socket that pyserial opens by a URL."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import Any, Protocol

from edgedet.errors import ConfigError, DeviceError, missing_extra

PREFIX = "serial:"
DEFAULT_BAUD = 115_200
MOST_BAUD = 100_000_000
# Of pyserial's URLs those that are a line. spy:// writes a file, alt:// names a class to load, hwgrep:// takes any port
# that fits a pattern.
_SCHEMES = ("socket", "rfc2217", "loop")


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

    port: str  # /dev/ttyACM0, COM3, or a URL such as socket://host:port
    baud: int

    def __str__(self) -> str:
        return self.port if self.baud == DEFAULT_BAUD else f"{self.port}@{self.baud}"


def is_serial(runtime: str) -> bool:
    """Whether a runtime's name means a device behind a serial line."""
    return runtime.startswith(PREFIX)


def parse_address(runtime: str) -> Address:
    """Read `serial:PORT` or `serial:PORT@BAUD`.

    Raises:
        ConfigError: no port, a URL of another scheme than `_SCHEMES`, or a baud rate that is no number of 1..MOST_BAUD.
    """
    port, at, baud = runtime.removeprefix(PREFIX).rpartition("@")
    if not at:
        port, baud = baud, str(DEFAULT_BAUD)
    rate = int(baud[:10]) if baud.isascii() and baud.isdecimal() else 0
    if not port or not port.isprintable() or not 1 <= rate <= MOST_BAUD:
        raise ConfigError(
            f"runtime {runtime!r}: expected serial:PORT or serial:PORT@BAUD, for example serial:/dev/ttyACM0@921600"
        )
    scheme, is_url, _ = port.partition("://")
    if is_url and scheme.lower() not in _SCHEMES:
        raise ConfigError(
            f"runtime {runtime!r}: expected a device such as /dev/ttyACM0 or COM3, or "
            f"{', '.join(f'{name}://' for name in _SCHEMES)}, found {scheme}://; pyserial's other URLs are not taken, "
            "since they can write files or load code"
        )
    return Address(port, rate)


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
    _refuse_other_files(address.port)
    try:
        port = serial.serial_for_url(address.port, do_not_open=True)
        port.baudrate, port.timeout, port.write_timeout = address.baud, 0.0, 10.0
        if hasattr(port, "exclusive"):
            port.exclusive = True
        port.open()
    except (OSError, ValueError, ImportError) as error:  # SerialException is an OSError
        raise DeviceError(f"{address.port}: can't be opened ({_reason(error)}): {_advice(error)}") from error
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


# Whatever else has a name in the file system: a serial port is a character device.
_KINDS = {
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe, which carries bytes one way only",
    stat.S_IFSOCK: "a socket (one of TCP is given as socket://HOST:PORT)",
    stat.S_IFBLK: "a disk",
}


def _refuse_other_files(port: str) -> None:
    """Before anything is opened: opening a pipe that nobody writes to would wait, and a disk is not to be written."""
    try:
        kind = stat.S_IFMT(os.stat(port).st_mode)
    except (OSError, ValueError):  # a URL, a name of Windows, or what the port's own error says
        return
    if kind in _KINDS:
        raise DeviceError(f"{port}: is {_KINDS[kind]}, not a serial port; {_ports()}")


def _advice(error: Exception) -> str:
    """What to do about a port that can't be opened."""
    match _errno(error):
        case errno.ENOENT | errno.ENODEV | errno.ENXIO | errno.EIO:
            return f"check the name and that the board is plugged in; {_ports()}"
        case errno.EACCES | errno.EPERM:
            return "this user may not use it; on Debian: `sudo usermod -aG dialout $USER`, then log in again"
        case errno.EBUSY | errno.EAGAIN:
            return "another program has it; close the terminal program, IDE or other run that holds the port"
        case errno.ECONNREFUSED:
            return "nobody listens there; start the program that serves the device"
        case errno.ENOTTY | errno.EINVAL:
            return f"it is no serial port; {_ports()}"
    return (
        "check the name, that the board is plugged in, that no terminal program holds the port, and that this user may "
        f"use it; {_ports()}"
    )


def _ports() -> str:
    """Names of the serial ports of this computer, for an error."""
    from serial.tools.list_ports import comports

    names = sorted(port.device for port in comports())
    return f"ports here: {', '.join(names[:8])}" if names else "this computer has no serial port now"


def _errno(error: Exception) -> int:
    """Number of the system's error; pyserial hides some in its text, as `(25, 'Inappropriate ...')`."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    hidden = re.search(r"\((\d+), ['\"]", str(error)) or re.search(r"\[Errno (\d+)\]", str(error))
    return int(hidden[1]) if hidden else 0


def _reason(error: Exception) -> str:
    """What the system said, without pyserial's repetition of it."""
    number = _errno(error)
    if number:
        return "in use" if number == errno.EAGAIN else os.strerror(number)
    if "returned no data" in str(error):  # pyserial's words for a USB device that was pulled out
        return "the device disappeared"
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
