"""The device's side in C, with sanitizers: requests that come twice or are none, buffers of all sizes."""

from __future__ import annotations

import shutil
import struct
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import device_requests
import pytest
from device_line import build_device

from edgedet.device.frames import Frame, FrameReader, encode_frame
from edgedet.device.protocol import (
    LEAST_PAYLOAD_BYTES,
    REPLY,
    UNREADABLE,
    Kind,
    Request,
    Status,
    pack_begin,
    parse_hello,
)

YUYV = 2
SANITIZED = [
    "-O0",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
]
HELLO = Frame(Request.HELLO, 0, 1, b"\1\0")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return device_requests.build(tmp_path_factory.mktemp("device"))


def served(program: list[str], stream: list[Frame]) -> list[Frame]:
    """Replies to requests."""
    done = subprocess.run(
        program, input=b"".join(map(encode_frame, stream)), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return FrameReader(32768).feed(done.stdout)


@pytest.mark.toolchain
def test_failed_job_fails_again_when_it_is_asked_for_again(program: list[str]) -> None:
    """Its reason stays: a picture of YUYV has an even width."""
    data = bytes(3 * 2 * 2)
    begin = Frame(Request.BEGIN, 0, 2, pack_begin(7, Kind.FRAME, YUYV, 3, 2, len(data), zlib.crc32(data)))
    run = Frame(Request.RUN, 0, 4, struct.pack("<I", 7))
    write = Frame(Request.WRITE, 0, 3, struct.pack("<II", 7, 0) + data)
    failed = [f for f in served(program, [HELLO, begin, write, run, begin, run]) if f.status == Status.FAILED]
    assert len(failed) == 2
    assert failed[0].payload == failed[1].payload != b""


@pytest.mark.toolchain
def test_every_type_of_request_has_a_reply_of_its_own_and_a_damaged_frame_alone_that_of_damage(
    program: list[str],
) -> None:
    replies = served(program, [Frame(kind, 0, 1000 + kind, b"") for kind in range(256)])
    assert [(reply.type, reply.sequence) for reply in replies] == [(kind | REPLY, 1000 + kind) for kind in range(0x7F)]
    assert {reply.status for reply in replies if reply.type & 0x7F not in list(Request)} == {Status.BAD_REQUEST}
    assert UNREADABLE not in {reply.type for reply in replies}
    assert all(request < UNREADABLE & ~REPLY for request in Request)
    torn = encode_frame(HELLO)[:-3] + b"\0"
    done = subprocess.run(program, input=torn, capture_output=True, timeout=60, check=True)
    assert [(f.type, f.status, f.sequence) for f in FrameReader(1024).feed(done.stdout)] == [
        (UNREADABLE, Status.UNREADABLE, 0)
    ]


@pytest.mark.toolchain
@pytest.mark.parametrize(("module", "caller"), [(32768, LEAST_PAYLOAD_BYTES), (LEAST_PAYLOAD_BYTES, 32768)])
def test_payload_is_what_the_caller_gave_whatever_the_module_was_compiled_with(
    module: int, caller: int, program: list[str], tmp_path: Path
) -> None:
    """The state has the same size in both, so that nothing is written behind a smaller one."""
    folder = Path(program[0]).parents[1]
    option = "-DEDGEDET_DEVICE_PAYLOAD_BYTES="
    include = [f"-I{folder}", f"-I{folder}/kernels/include"]
    for name, size in (("device", module), ("device_main", caller)):
        command = [
            "gcc",
            "-std=c99",
            *SANITIZED,
            *include,
            f"{option}{size}",
            "-c",
            str(folder / f"{name}.c"),
            "-o",
            f"{name}.o",
        ]
        subprocess.run(command, cwd=tmp_path, check=True)
    link = [
        "gcc",
        *SANITIZED,
        "device.o",
        "device_main.o",
        str(folder / "build" / "libedgedet.a"),
        "-lm",
        "-o",
        "device",
    ]
    subprocess.run(link, cwd=tmp_path, check=True)
    largest = Frame(Request.WRITE, 0, 2, bytes(caller))
    too_large = Frame(Request.WRITE, 0, 3, bytes(range(1, 256)) * ((caller + 600) // 255))
    replies = served([str(tmp_path / "device"), "-"], [HELLO, largest, too_large, HELLO])
    assert [reply.status for reply in replies] == [Status.OK, Status.NO_JOB, Status.UNREADABLE, Status.OK]
    assert parse_hello(replies[0].payload).payload_bytes == caller


OPTIONS = ("-O0", "-O0 -DANY=1", "-O0")
INTERRUPTS = """
#define _XOPEN_SOURCE 700
#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

static void nothing(int number) { (void)number; }

__attribute__((constructor)) static void start(void)
{
    const struct itimerval each_ms = {{0, 1000}, {0, 1000}};
    struct sigaction action = {0};
    action.sa_handler = nothing; /* without SA_RESTART */
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &each_ms, NULL);
}
"""


@pytest.mark.toolchain
def test_signals_are_no_end_of_the_line(program: list[str], tmp_path: Path) -> None:
    """One a millisecond, while the program waits for requests."""
    folder = Path(program[0]).parents[1]
    (tmp_path / "interrupts.c").write_text(INTERRUPTS)
    command = ["gcc", "-std=c99", *SANITIZED, f"-I{folder}", f"-I{folder}/kernels/include", "interrupts.c"]
    command += [str(folder / "device_main.c"), str(folder / "build" / "libedgedet.a"), "-lm", "-o", "device"]
    subprocess.run(command, cwd=tmp_path, check=True)
    reader = FrameReader(32768)
    with subprocess.Popen([tmp_path / "device", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as device:
        assert device.stdin is not None
        assert device.stdout is not None
        for _ in range(3):
            time.sleep(0.05)  # some fifty signals
            device.stdin.write(encode_frame(HELLO))
            device.stdin.flush()
        device.stdin.close()
        replies = reader.feed(device.stdout.read())
    assert device.returncode == 0
    assert [reply.status for reply in replies] == [Status.OK] * 3


@pytest.mark.toolchain
@pytest.mark.parametrize("tool", ["make", pytest.param("cmake", marks=pytest.mark.long)])
def test_build_number_follows_the_options_alone(
    tool: str, program: list[str], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    """The same options give the same number, others another."""
    require_tool(tool)
    folder = shutil.copytree(Path(program[0]).parents[1], tmp_path / "module", ignore=shutil.ignore_patterns("build"))
    if tool == "make":
        numbers = [build_number(build_device(folder, flags)) for flags in OPTIONS]
    else:
        numbers = []
        for number, flags in enumerate(OPTIONS):
            out = tmp_path / f"build{number}"
            configure = ["cmake", "-S", folder, "-B", out, "-DCMAKE_BUILD_TYPE=Debug", f"-DCMAKE_C_FLAGS={flags}"]
            for step in (configure, ["cmake", "--build", out, "--target", "device"]):
                subprocess.run(step, check=True, capture_output=True)
            numbers.append(build_number([str(out / "device"), "-"]))
    assert numbers[0] == numbers[2] != 0
    assert numbers[1] not in (0, numbers[0])


def build_number(program: list[str]) -> int:
    return parse_hello(served(program, [HELLO])[0].payload).build


@pytest.mark.toolchain
def test_device_open_refuses_what_it_can_not_serve_with(program: list[str], tmp_path: Path) -> None:
    folder = Path(program[0]).parents[1]
    (tmp_path / "open.c").write_text(
        """#include <stdio.h>
#include "device.h"
#include "model.h"
static int32_t get(void *context, uint8_t *bytes, int32_t most)
{
    return context == NULL && bytes != NULL && most > 0 ? 0 : -1;
}
static int32_t put(void *context, const uint8_t *bytes, int32_t count)
{
    return context == NULL && bytes != NULL && count > 0 ? 0 : -1;
}
EDGEDET_DEFINE_ARENA(arena);
static uint8_t buffer[EDGEDET_DEVICE_BUFFER_BYTES(256)];
static edgedet_device device;
static void open(edgedet_device *to, const edgedet_device_line *line, uint8_t *memory, size_t bytes)
{
    const char *text = edgedet_device_open(to, line, arena, sizeof arena, memory, bytes, NULL, 0);
    printf("%d %s\\n", edgedet_device_poll(to), text == NULL ? "served" : text);
}
int main(void)
{
    const edgedet_device_line line = {NULL, get, put, NULL, 0}, mute = {NULL, get, NULL, NULL, 0};
    open(NULL, &line, buffer, sizeof buffer);
    open(&device, NULL, buffer, sizeof buffer);
    open(&device, &mute, buffer, sizeof buffer);
    open(&device, &line, NULL, sizeof buffer);
    open(&device, &line, buffer, sizeof buffer - 1);
    open(&device, &line, buffer, sizeof buffer);
    return 0;
}
""",
        encoding="utf-8",
    )
    include = [f"-I{folder}", f"-I{folder}/kernels/include"]
    library = str(folder / "build" / "libedgedet.a")
    command = ["gcc", "-std=c99", *SANITIZED, *include, "open.c", library, "-lm", "-o", "open"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run([str(tmp_path / "open")], capture_output=True, text=True, check=True)
    line = "the line that edgedet_device_open() got is missing, or lacks read or write"
    small = (
        "the buffer that edgedet_device_open() got is missing or too small: EDGEDET_DEVICE_BUFFER_BYTES(256) at least"
    )
    assert done.stdout.splitlines() == [
        "0 edgedet_device_open() got no device", f"0 {line}", f"0 {line}", f"0 {small}", f"0 {small}", "1 served",
    ]  # fmt: skip


@pytest.mark.toolchain
@pytest.mark.parametrize("language", ["c99", "c++11"])
def test_program_of_the_documentation_compiles(language: str, program: list[str], tmp_path: Path) -> None:
    folder = Path(program[0]).parents[1]
    page = Path(__file__).parents[2] / "docs" / "protocol.md"
    source = page.read_text(encoding="utf-8").partition("```c\n")[2].partition("```")[0]
    assert "edgedet_device_open(" in source
    own = """#include <stdint.h>
int my_uart_read(uint8_t *bytes, int32_t most, int wait_ms);
int my_uart_write(const uint8_t *bytes, int32_t count);
uint32_t my_microseconds(void);
void my_error(const char *text);
void serve(void);
"""
    (tmp_path / "serve.c").write_text(own + source, encoding="utf-8")
    include = [f"-I{folder}", f"-I{folder}/kernels/include"]
    compiler = ["gcc"] if language == "c99" else ["g++", "-x", "c++"]
    command = [*compiler, *SANITIZED, f"-std={language}", *include, "-c", "serve.c", "-o", "serve.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
