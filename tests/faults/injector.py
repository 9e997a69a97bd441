"""Runs a command of edgedet in a forked process in which the n-th system call that changes a file goes wrong."""

from __future__ import annotations

import ctypes
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("inject.c")
COUNT, KILL, FAIL_ONCE, FAIL_FROM_HERE = range(4)
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int  # exit code; negative: killed by this signal
    err: str  # stderr
    calls: str  # a letter for each system call that changes a file, as in inject.c


def preload(folder: Path) -> Path:
    """Compile the library that has to be preloaded."""
    library = folder / "inject.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE], check=True)
    return library


class Injector:
    """Forks this process, which has loaded the package and has no threads, for each command.

    Args:
        library: preloaded into this process.
        folder: system calls below it count.
    """

    def __init__(self, library: Path, folder: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.faults_share.restype = ctypes.c_void_p
        self._library.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
        self._shared = self._library.faults_share()
        self._folder = folder
        _load_package()

    def run(self, argv: Sequence[str], action: int = COUNT, at: int = 0, code: int = 0) -> Outcome:
        """Run `edgedet ARGV` to its end, or to what happens at system call `at`.

        Args:
            argv: arguments.
            action: COUNT (nothing happens), KILL, FAIL_ONCE, FAIL_FROM_HERE.
            at: number of the call, from 1.
            code: errno of a failing call.
        """
        log = self._folder.parent / "stderr.txt"
        pid = os.fork()
        if pid == 0:
            self._child(argv, log, action, at, code)
        status = _wait(pid)
        count = ctypes.c_long.from_address(self._shared).value
        calls = ctypes.string_at(self._shared + ctypes.sizeof(ctypes.c_long), min(count, 65536)).decode()
        return Outcome(os.waitstatus_to_exitcode(status), log.read_text(errors="replace"), calls)

    def _child(self, argv: Sequence[str], log: Path, action: int, at: int, code: int) -> None:
        result = 70
        try:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(handle, 2)
            from writers import run_writer

            from edgedet.commands.main import main

            sys.argv = ["edgedet", *argv]
            self._library.faults_arm(os.fsencode(self._folder), at, action, code)
            result = run_writer(*argv[1:]) if argv[0] == "writer" else main(argv)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(result)


def _load_package() -> None:
    """Import what commands import only when they need it, so that forked processes don't each do it again."""
    import edgedet

    importlib.import_module("writers")
    for module in pkgutil.walk_packages(edgedet.__path__, "edgedet."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ImportError:
                continue  # of an extra that is not installed


def _wait(pid: int) -> int:
    """Wait status of a child; one that hangs is aborted."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        time.sleep(0.005)
    os.kill(pid, signal.SIGABRT)
    return os.waitpid(pid, 0)[1]
