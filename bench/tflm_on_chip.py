"""Print a table of target tflm beside c99 on QEMU's boards: arena, instructions, cycles, flash.

    .venv/bin/python bench/tflm_on_chip.py MODEL.tflite ... --root TFLITE_MICRO --includes A B C \\
        --library cortex-m4=FILE --library cortex-m55=FILE [--llvm /usr/lib/llvm-19/bin]

NAME:SIDE in place of a file is a network of models/ with drawn weights, three classes, SIDE px. Every model needs
contracts that C follows. The outputs are compared with the golden ones before anything is counted, also in the smallest
arena. Flash is that of the example without model and picture: TFLite Micro, preprocessing, decoding, start-up code and
printing. Cycles: instructions times the rate that bench/board_costs.py finds for the blocks that ran, with llvm-mca's
model of the processor; never compared with a chip.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from board_costs import cycle_rates
from table import ROOT, commit_of

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.deploy.api import DeployReport, deploy
from edgedet.deploy.golden import golden_input
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.model import load_int8_model
from edgedet.quantize.skeleton import skeleton_graph
from edgedet.runtimes.generated_c import QemuModule
from edgedet.runtimes.qemu import BOARDS

_INT8 = re.compile(r"tflite::Register_\w+_INT8\(\)")
_SECTIONS = (".text", ".ARM.exidx", ".data", ".parameters")


def call(command: list[str], folder: Path) -> str:
    """Output of a program that must not fail."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ...: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout


def file_of(model: str, folder: Path) -> Path:
    """A file as it is, or one of a network of models/ with drawn weights."""
    name, colon, side = model.partition(":")
    if not colon:
        return Path(model)
    file = load_model_file(name)
    graph = skeleton_graph(file.model, file.preprocess.spec((int(side), int(side))), OutputSpec(("a", "b", "c")))
    path = folder / f"{name}_{side}.tflite"
    path.write_bytes(serialize(graph))
    return path


def build(project: Path, cpu: str, options: list[str]) -> tuple[Path, int]:
    """(image, bytes of its code and constants without the model)."""
    folder = project / "build" / cpu
    shutil.rmtree(folder, ignore_errors=True)
    toolchain = ["--toolchain", str(project / "cortex-m.cmake"), f"-DCPU={cpu}", "-DQEMU=ON"]
    optimized = [f"-DCMAKE_{language}_FLAGS_RELEASE=-O2 -DNDEBUG" for language in ("C", "CXX")]
    call(["cmake", "-S", str(project), "-B", str(folder), *toolchain, *optimized, *options], project)
    call(["cmake", "--build", str(folder)], project)
    example = call(["arm-none-eabi-size", "-A", str(folder / "edgedet_example")], project)
    sizes = re.findall(r"^(\S+)\s+(\d+)", example, re.MULTILINE)
    return folder / "selftest", sum(int(size) for name, size in sizes if name in _SECTIONS)


def measure(report: DeployReport, cpu: str, options: list[str], llvm: Path | None) -> str:
    """A row of target tflm."""
    project = report.out
    board = BOARDS[cpu]
    image, flash = build(project, cpu, options)
    command = ["qemu-system-arm", "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-icount", "shift=0", "-kernel", str(image)]
    found = dict(line.split() for line in call(command, project).splitlines())
    instructions = int(found["ticks"]) * board.instructions_per_tick / 1e6
    cycles = cycles_of(project / "build" / cpu / "edgedet_example", cpu, instructions, llvm)
    resolver = project / "edgedet" / "op_resolver.h"
    text = resolver.read_text(encoding="utf-8")
    resolver.write_text(_INT8.sub("", text), encoding="utf-8")
    _, with_all_types = build(project, cpu, options)
    resolver.write_text(text, encoding="utf-8")
    printed, smallest = report.arena_bytes, int(found["smallest"])
    return (
        f"| {cpu} | tflm | {instructions:.1f} | {cycles} | {printed:,} | {smallest:,} "
        f"| {(printed / smallest - 1) * 100:.1f} % | {flash:,} | {with_all_types:,} |"
    )


def measure_c99(model: Path, cpu: str, folder: Path, llvm: Path | None) -> str:
    """The same of target c99: nothing is printed that is not exact, and there are no kernels of other types."""
    report = deploy(model, "c99", folder / f"c99-{cpu}", project="cmake")
    image, flash = build(report.out, cpu, [])
    loaded = load_int8_model(model)
    module = QemuModule(loaded.data, loaded.graph, cpu, model=loaded)
    module(golden_input(loaded, None, 0))
    instructions = module.instructions() / 1e6
    cycles = cycles_of(image.with_name("edgedet_example"), cpu, instructions, llvm)
    size = f"{report.arena_bytes:,}"
    return f"| {cpu} | c99 | {instructions:.1f} | {cycles} | {size} | {size} | 0 % | {flash:,} | - |"


def cycles_of(image: Path, cpu: str, instructions: float, llvm: Path | None) -> str:
    """Millions of cycles, lower and upper figure."""
    if llvm is None:
        return "-"
    # What cycle_rates() reads of a runtime; the example runs the network once, and little else.
    firmware = SimpleNamespace(elf=image, board=BOARDS[cpu], folder=image.parent)
    firmware.elf = firmware.folder / image.name
    module: Any = SimpleNamespace(firmware=firmware, _module=SimpleNamespace(folder=image.parent))
    low, high = cycle_rates(module, cpu, llvm)
    return f"{low * instructions:.0f} to {high * instructions:.0f}"


def main() -> None:
    """Measure every model on every processor with a library."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL.tflite")
    parser.add_argument("--root", type=Path, required=True, help="checkout of TFLite Micro")
    parser.add_argument("--includes", nargs="+", type=Path, default=[], help="headers of its third parties")
    parser.add_argument("--library", action="append", required=True, metavar="CPU=FILE")
    parser.add_argument("--llvm", type=Path, metavar="DIR", help="folder with llvm-mca and llvm-objdump of LLVM 19")
    args = parser.parse_args()
    print(f"commit {commit_of(ROOT)}\n")
    print("| model | processor | target | M instructions | M cycles (llvm-mca) | arena printed | smallest", end=" | ")
    print("margin | flash | with kernels of all types |")
    print("|" + " --- |" * 10)
    for text in args.models:
        with tempfile.TemporaryDirectory() as name:
            model = file_of(text, Path(name))
            report = deploy(model, "tflm", Path(name) / "project", project="cmake")
            shutil.copy(Path(__file__).with_suffix(".cc"), report.out / "edgedet" / "selftest.cc")
            for pair in args.library:
                cpu, _, library = pair.partition("=")
                options = [f"-DTFLM_ROOT={args.root}", f"-DTFLM_LIBRARY={library}"]
                options += [f"-DTFLM_INCLUDES={';'.join(map(str, args.includes))}"] if args.includes else []
                print(f"| {model.stem} {measure(report, cpu, options, args.llvm)}", flush=True)
                print(f"| {model.stem} {measure_c99(model, cpu, Path(name), args.llvm)}", flush=True)


if __name__ == "__main__":
    main()
