"""Generated modules under sanitizers, analyzers, threads and a fuzzer; not a test itself.

bench/reliability_c.py uses it, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPO = HERE.parent
# Compiler and options of each sanitizer. edk_types.h promises a left shift that wraps.
SANITIZERS = {
    "ASan, UBSan (gcc)": ("gcc", "-fsanitize=address,undefined"),
    "ASan, UBSan, integer (clang)": (
        "clang",
        "-fsanitize=address,undefined,integer,implicit-conversion -fno-sanitize=unsigned-shift-base",
    ),
    "MSan (clang)": ("clang", "-fsanitize=memory"),
}
_COMMON = "-g -O1 -fno-sanitize-recover=all"
_STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror")


@dataclass(frozen=True)
class Outcome:
    """What a program said."""

    good: bool
    text: str


def _run(command: list[str], folder: Path, timeout_s: float = 900.0) -> Outcome:
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    return Outcome(done.returncode == 0, (done.stdout + done.stderr)[-4000:])


def include_options(module: Path) -> list[str]:
    """Compiler options that find the headers of a module."""
    return [f"-I{module}", f"-I{module / 'kernels' / 'include'}"]


def _sources(module: Path, *without: str) -> list[str]:
    """C files of a module, kernels included; not the program that serves a line, which has a main() of its own."""
    left_out = (*without, "device_main.c")
    return [
        str(path) for path in sorted(module.rglob("*.c")) if path.name not in left_out and "build" not in path.parts
    ]


def sanitize(module: Path, name: str, out: Path) -> Outcome:
    """Run the self-test of a module under one of SANITIZERS."""
    compiler, options = SANITIZERS[name]
    out.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-std=c99", *_COMMON.split(), *options.split(), *include_options(module)]
    built = _run([*command, *_sources(module), "-o", str(out / "selftest")], out)
    return _run([str(out / "selftest")], out) if built.good else built


def run_threads(module: Path, out: Path, compiler: str = "clang") -> Outcome:
    """Run two threads with an arena each under ThreadSanitizer."""
    out.mkdir(parents=True, exist_ok=True)
    run = [f"-DHAS_RUN={_input_channels(module)}"] if (module / "run.c").exists() else []
    command = [compiler, "-std=c99", *_COMMON.split(), "-fsanitize=thread", *run, *include_options(module)]
    sources = [str(HERE / "c_audit" / "threads.c"), *_sources(module, "selftest.c")]
    built = _run([*command, *sources, "-pthread", "-o", str(out / "threads")], out)
    return _run([str(out / "threads")], out) if built.good else built


def _input_channels(module: Path) -> int:
    text = (module / "contract.h").read_text(encoding="utf-8")
    return int(text.split("_INPUT_CHANNELS ", 1)[1].split()[0])


def fuzz(module: Path, out: Path, seconds: int, seed: int = 1) -> Outcome:
    """Fuzz edgedet_run() of a module with libFuzzer under ASan and UBSan; the text tells the number of runs."""
    out.mkdir(parents=True, exist_ok=True)
    command = ["clang", "-std=c11", *_COMMON.split(), "-fsanitize=address,undefined,fuzzer", *include_options(module)]
    sources = [str(HERE / "c_audit" / "fuzz_run.c"), *_sources(module, "selftest.c")]
    built = _run([*command, f"-I{HERE / 'kernels'}", *sources, "-o", str(out / "fuzz")], out)
    if not built.good:
        return built
    options = [f"-seed={seed}", f"-max_total_time={seconds}", "-max_len=4096", "-print_final_stats=1"]
    return _run([str(out / "fuzz"), *options], out, 30.0 * seconds + 60)


def executed_runs(outcome: Outcome) -> int:
    """Number of inputs that libFuzzer tried."""
    return int(outcome.text.split("stat::number_of_executed_units:")[1].split()[0])


def analyze_with_gcc(sources: list[Path], includes: list[str], out: Path) -> Outcome:
    """Run gcc -fanalyzer, its findings as errors, file by file."""
    out.mkdir(parents=True, exist_ok=True)
    texts = []
    for path in sources:
        found = _run(["gcc", *_STRICT, "-fanalyzer", *includes, "-c", str(path), "-o", str(out / "a.o")], out)
        if not found.good:
            texts.append(f"{path.name}: {found.text}")
    return Outcome(not texts, "\n".join(texts))


def analyze_with_clang_tidy(sources: list[Path], includes: list[str], out: Path, checks: str = "") -> Outcome:
    """Run clang-tidy with the checks of .clang-tidy.

    Args:
        sources: C files.
        includes: of the compiler.
        out: folder to work in.
        checks: further ones, as clang-tidy writes them; a minus leaves some out.
    """
    out.mkdir(parents=True, exist_ok=True)
    options = ["--quiet", f"--config-file={REPO / '.clang-tidy'}", *([f"--checks={checks}"] if checks else [])]
    return _run(["clang-tidy", *options, *map(str, sources), "--", "-std=c99", "-O2", *includes], out, 3600.0)


def module_sources(module: Path) -> list[Path]:
    """The generated files that hold code; constants are left out, since an analyzer takes minutes for them."""
    return [path for name in ("model.c", "run.c", "device.c", "selftest.c") if (path := module / name).exists()]


def kernel_sources() -> list[Path]:
    """All kernels."""
    return sorted((REPO / "kernels" / "src").glob("*.c"))


def missing_programs() -> list[str]:
    """Programs of the audit that are not installed."""
    return [name for name in ("gcc", "clang", "clang-tidy") if shutil.which(name) is None]
