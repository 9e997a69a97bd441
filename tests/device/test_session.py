"""What a session makes of devices that lie, lose and repeat: the right result, or one error."""

from __future__ import annotations

import sys

import device_liar as liar
import numpy as np
import pytest

from edgedet.device.line import Address, open_line, parse_address
from edgedet.device.protocol import parse_hello
from edgedet.errors import ConfigError, DeviceError, ToolchainError


def test_session_with_an_honest_device() -> None:
    answer = liar.run_session(b"")
    assert (answer.outputs, answer.detections, answer.ms) == (liar.OUTPUTS, liar.FOUND, (0.001, 0.002, 0.003))


def test_session_gives_the_right_result_or_an_error() -> None:
    right = refused = 0
    for number in range(300):
        try:
            answer = liar.run_session(liar.damaged_script(np.random.default_rng(number)))
        except DeviceError:
            refused += 1
        else:
            assert (answer.outputs, answer.detections) == (liar.OUTPUTS, liar.FOUND)
            right += 1
    assert min(right, refused) > 50


@pytest.mark.parametrize(
    ("runtime", "address"),
    [
        ("serial:/dev/ttyACM0", Address("/dev/ttyACM0", 115_200)),
        ("serial:COM3@921600", Address("COM3", 921_600)),
        ("serial:socket://localhost:4000@1", Address("socket://localhost:4000", 1)),
        ("serial:rfc2217://localhost:4000", Address("rfc2217://localhost:4000", 115_200)),
        ("serial:LOOP://@9600", Address("LOOP://", 9600)),
    ],
)
def test_parse_address(runtime: str, address: Address) -> None:
    assert parse_address(runtime) == address


@pytest.mark.parametrize(
    "runtime", ["serial:", "serial:@9600", "serial:/dev/x@", "serial:x@-1", "serial:x@1e5", "serial:x@0"]
)
def test_parse_address_says_what_is_expected(runtime: str) -> None:
    with pytest.raises(ConfigError, match=r"expected serial:PORT or serial:PORT@BAUD"):
        parse_address(runtime)


@pytest.mark.parametrize(
    "url", ["spy:///dev/ttyS0?file=x", "SPY://loop://", "alt:///dev/x?class=Y", "hwgrep://0", "x://"]
)
def test_parse_address_takes_no_url_that_writes_files_or_loads_code(url: str) -> None:
    scheme = url.partition(":")[0]
    with pytest.raises(ConfigError, match=rf"expected a device such as .* or socket://, .*, found {scheme}://;"):
        parse_address(f"serial:{url}")


def test_open_line_without_pyserial_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(ToolchainError, match=r'^pyserial is not installed, .*: pip install "edgedet\[serial\]"$'):
        open_line(Address("/dev/null", 9600))


def test_parse_hello_refuses_other_versions_by_their_first_field() -> None:
    with pytest.raises(DeviceError, match="speaks version 7 of the protocol, this edgedet version 1"):
        parse_hello(b"\7\0")
