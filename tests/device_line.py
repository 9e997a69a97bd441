"""The device program of a generated C99 module behind a pseudo-terminal, with faults in between; not a test itself."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
import time
import tty
from pathlib import Path
from types import TracebackType

import numpy as np

from edgedet.device.line import Address, open_line
from edgedet.device.link import Patience
from edgedet.graph.model import load_int8_model
from edgedet.resources import resource_dir
from edgedet.runtimes.on_device import DeviceModule, DeviceRuntime, device_runtime
from edgedet.runtimes.qemu import BOARDS

FLAGS = "-O1 -ffp-contract=off -Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror"

QUICK = Patience(reply_s=0.05, attempts=40, restarts=20)  # a pseudo-terminal answers within a millisecond


def build_device(folder: Path, flags: str = FLAGS) -> list[str]:
    """Compile the program of a module that `deploy --target c99` wrote.

    Returns:
        Command that serves on standard input and output.
    """
    command = ["make", "-s", f"CFLAGS={flags}", "device"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return [str(folder / "build" / "device"), "-"]


def build_device_for_qemu(folder: Path, cpu: str) -> list[str]:
    """The same for an emulated board, whose UART is served on standard input and output."""
    board, start = BOARDS[cpu], resource_dir("firmware_export") / "qemu"
    own = [path for path in folder.rglob("*.c") if path.name not in ("selftest.c", "golden.c")]
    flags = [*board.flags, "-mthumb", "-O2", "-std=gnu99", "-Wall", "-Wextra", "-Werror", "-fno-if-conversion2"]
    flags += ["-ffunction-sections", "-fdata-sections", "-DDEVICE_ON_QEMU", f"-I{folder}", f"-I{start}"]
    flags += [f"-I{folder / 'kernels' / 'include'}", '-DEDGEDET_ARENA_ATTR=__attribute__((section(".arena")))']
    link = ["-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,--gc-sections", "-Wl,-z,noexecstack"]
    elf = folder / f"{cpu}.elf"
    sources = [*own, *(start / name for name in ("startup.c", "semihosting.c", "uart.c"))]
    command = ["arm-none-eabi-gcc", *flags, *map(str, sources), *link, f"-L{start}", "-T", board.linker_script]
    done = subprocess.run([*command, "-o", str(elf), "-lm"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    emulator = f"qemu-system-arm -M {board.machine} -nographic -monitor none -serial stdio"
    return [*emulator.split(), "-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]


class Faults:
    """What happens to every frame of one direction, drawn from a seed."""

    def __init__(self, seed: int, share: float) -> None:
        self._rng = np.random.default_rng(seed)
        self._share = share
        self.count = {"flip": 0, "drop": 0, "double": 0, "cut": 0}

    def on(self, piece: bytes) -> list[bytes]:
        """What goes on in place of the bytes of a frame, without the 0 around it."""
        if self._rng.random() >= self._share:
            return [piece]
        fault = str(self._rng.choice(list(self.count)))
        self.count[fault] += 1
        at = int(self._rng.integers(len(piece)))
        match fault:
            case "flip":  # it may become a 0, which cuts the frame in two
                return [piece[:at] + bytes([piece[at] ^ (1 << int(self._rng.integers(8)))]) + piece[at + 1 :]]
            case "drop":
                return []
            case "double":
                return [piece, piece]
        return [piece[:at]]


class DeviceOnPty:
    """Runs the program; `port` is what edgedet opens. A context manager."""

    def __init__(self, program: list[str], seed: int = 0, share: float = 0.0, resets: tuple[int, ...] = ()) -> None:
        """share: of frames that are damaged, in each direction. resets: after how many requests it starts anew."""
        self._program = program
        self.to_device, self.to_computer = Faults(seed, share), Faults(seed + 1, share)
        self._resets = set(resets)
        self.requests = 0
        self.processes: list[subprocess.Popen[bytes]] = []
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._socket = self._start()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> DeviceOnPty:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._stop()
        os.close(self._master)
        os.close(self._slave)

    def exchange(self, program: list[str], after: int) -> None:
        """Another firmware, so many requests from now."""
        self._program = program
        self._resets.add(self.requests + after)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.processes.append(subprocess.Popen(self._program, stdin=theirs, stdout=theirs))
        theirs.close()
        return ours

    def _stop(self) -> None:
        self._socket.close()
        self.processes[-1].kill()
        self.processes[-1].wait()

    def _serve(self) -> None:
        rest = {self._master: b"", -1: b""}
        while not self._ended.is_set():
            ready, _, _ = select.select([self._master, self._socket], [], [], 0.02)
            if self._master in ready:
                *pieces, rest[self._master] = (rest[self._master] + os.read(self._master, 65536)).split(b"\0")
                for piece in filter(None, pieces):
                    self.requests += 1
                    if self.requests in self._resets:
                        self._stop()
                        self._socket, rest[-1] = self._start(), b""
                    self._socket.sendall(b"".join(b"\0" + part + b"\0" for part in self.to_device.on(piece)))
            if self._socket in ready:
                *pieces, rest[-1] = (rest[-1] + self._socket.recv(65536)).split(b"\0")
                for piece in filter(None, pieces):
                    data = b"".join(b"\0" + part + b"\0" for part in self.to_computer.on(piece))
                    while data:
                        data = data[os.write(self._master, data) :]
            time.sleep(0)


def open_device(device: DeviceOnPty, path: Path, patience: Patience = QUICK, send: str = "tensor") -> DeviceRuntime:
    """The model on this device."""
    model, address = load_int8_model(path), Address(device.port, 115_200)
    module = DeviceModule(model, open_line(address), address, patience, send)
    return device_runtime("serial", module, model)
