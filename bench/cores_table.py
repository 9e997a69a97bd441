"""Write the table of docs/cores.md: generated C compiled for many processors, and its self-test run.

    .venv/bin/python bench/cores_table.py [MODEL.tflite ...]

Models: those of tests/c_audit_modules.py that hold every operator and a whole detector, and the given ones. Each
module's self-test compares every output byte with the simulator's: PASS is a difference of 0 LSB. A compiler or an
emulator that is not installed is an error, so that no row is left out in silence; docs/cores.md names the packages.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cores import CORES, Core
from table import ROOT, commit_of

from edgedet.deploy.api import deploy
from edgedet.fileio import atomic_write_text
from edgedet.resources import resource_dir

sys.path.insert(0, str(ROOT / "tests"))
from c_audit_modules import MODELS

BEGIN, END = "<!-- cores: begin -->\n", "<!-- cores: end -->\n"
KINDS = ("many operators, int8", "many operators, int16", "RTMDet head")
_LINK = ("-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,--gc-sections", "-Wl,-z,noexecstack")
# Placed as the linker scripts expect it.
_PLACES = ("EDGEDET_WEIGHTS_ATTR", "weights"), ("EDGEDET_ARENA_ATTR", "arena")
_RUN_TIMEOUT_S = 300.0


def call(command: list[str], folder: Path) -> str:
    """Output of a program that must not fail."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_RUN_TIMEOUT_S)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} ...: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout


def build(core: Core, module: Path, folder: Path) -> Path | None:
    """Compile a module and its self-test.

    Args:
        core: to compile for.
        module: folder of a deployment, target c99.
        folder: empty, for objects and program.
    Returns:
        The program; None where it is only compiled.
    """
    # device_main.c is a program of its own, for POSIX.
    files = [*sorted(set(module.glob("*.c")) - {module / "device_main.c"}), *(module / "kernels" / "src").glob("*.c")]
    flags = ["-O2", "-std=gnu99", *core.flags, "-ffunction-sections", "-fdata-sections"]
    flags += [f"-I{module}", f"-I{module / 'kernels' / 'include'}"]
    link = list(core.link_flags if core.linker else core.flags)
    if core.script:
        boards = resource_dir("firmware_export")
        files += [boards / "qemu" / name for name in ("startup.c", "semihosting.c")]
        files += [boards / "projects" / "qemu_stdout.c"]
        flags += [
            f"-I{boards / 'qemu'}",
            *(f'-D{macro}=__attribute__((section(".{name}")))' for macro, name in _PLACES),
        ]
        link += [*_LINK, f"-L{boards / 'qemu'}", f"-T{core.script}"]
    compiling = [flag for flag in flags if not flag.startswith("-Wl,")]
    call([core.compiler, *compiling, "-c", *map(str, sorted(files))], folder)
    if core.runner is None:
        return None
    call(
        [core.linker or core.compiler, *link, *sorted(path.name for path in folder.glob("*.o")), "-o", "selftest"],
        folder,
    )
    return folder / "selftest"


def passes(core: Core, module: Path) -> bool | None:
    """Whether the self-test of a module says PASS; None where it was only compiled."""
    with tempfile.TemporaryDirectory() as name:
        program = build(core, module, Path(name))
        if program is None or core.runner is None:
            return None
        done = subprocess.run(
            [*core.runner, str(program)], capture_output=True, text=True, check=False, timeout=_RUN_TIMEOUT_S
        )
        said = done.stdout or done.stderr  # picolibc's output comes out of QEMU as the latter
        if done.returncode or said.splitlines()[-1:] != ["PASS"]:
            print(f"exit status {done.returncode}: {said[-1500:]}", file=sys.stderr)
            return False
        return True


def version_of(core: Core) -> str:
    """Compiler and version."""
    first = subprocess.run(
        [core.compiler, "--version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]
    number = re.search(r"\d+\.\d+\.\d+", first)
    return f"{core.compiler} {number[0] if number else first}"


def row(core: Core, results: list[bool | None]) -> str:
    """A line of the table."""
    shown = "FAIL" if False in results else f"PASS, {len(results)} of {len(results)} modules, 0 LSB"
    if None in results:
        shown = "only compiled"
    flags = " ".join(flag for flag in core.flags if flag.startswith(("-m", "-D")) and flag != "-mthumb")
    return f"| {core.name} | {core.path} | {version_of(core)} | `{flags or '-'}` | {core.where or '-'} | {shown} |"


def main() -> int:
    """Deploy, build and run everything, then replace the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL.tflite")
    parser.add_argument("--only", default="", help="cores whose name begins so; prints, writes nothing")
    parser.add_argument("--quick", action="store_true", help="only the detector's module; prints, writes nothing")
    args = parser.parse_args()
    cores = [core for core in CORES if core.name.startswith(args.only)]
    programs = {name for core in cores for name in (core.compiler, core.linker, *(core.runner or ())[:1]) if name}
    missing = {name for name in programs if not shutil.which(name)}
    if missing:
        raise SystemExit(f"not installed: {', '.join(sorted(missing))}")
    with tempfile.TemporaryDirectory() as name:
        modules = []
        for number, kind in enumerate((*(KINDS[-1:] if args.quick else KINDS), *args.models)):
            folder = Path(name) / str(number)
            folder.mkdir()
            file = kind if isinstance(kind, Path) else MODELS[kind](folder)
            modules.append(deploy(file, "c99", folder / "module").out)
        rows, good = [], True
        for core in cores:
            start = time.monotonic()
            results = [passes(core, module) for module in modules]
            good = good and False not in results
            rows.append(row(core, results))
            print(f"{rows[-1]}  {time.monotonic() - start:.0f} s", flush=True)
    if not args.only and not args.quick:
        write(rows, args.models)
    return 0 if good else 1


def write(rows: list[str], models: list[Path]) -> None:
    """Replace the table of docs/cores.md."""
    emulator = subprocess.run(["qemu-system-arm", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", emulator)
    names = "; ".join((*KINDS, *(path.stem for path in models)))
    version = found[0] if found else "?"
    how = f"`bench/cores_table.py`, commit {commit_of(ROOT)}, QEMU {version}, `-O2`. Modules: {names}.\n\n"
    head = "| core | kernels | compiler | flags | run on | self-test |\n|" + " --- |" * 6 + "\n"
    path = ROOT / "docs" / "cores.md"
    text = path.read_text(encoding="utf-8")
    section = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.DOTALL)
    atomic_write_text(path, section.sub(lambda _: BEGIN + how + head + "\n".join(rows) + "\n" + END, text))


if __name__ == "__main__":
    raise SystemExit(main())
