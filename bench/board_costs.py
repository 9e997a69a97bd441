"""What generated C takes on each processor, for `edgedet check`: firmware_export/boards/measured.json.

    .venv/bin/python bench/board_costs.py [--llvm /usr/lib/llvm-19/bin] [--also FILE ...] [--out FILE]

Compiles every kernel and whole networks (random weights; instructions follow the shapes) with arm-none-eabi-gcc -O2,
runs them under QEMU after a comparison of every output byte with the simulator, and fits costs to the counts of their
steps. The error is the largest of each network's with a fit without it, and of the trained networks of docs/chip.md.

--also measures files of other makers, too, for kinds of steps that edgedet's networks lack; their error stands apart.

--llvm adds cycles: every block of instructions that ran, as often as it ran, through the model of the processor. The
lower figure is that of each block's steady state; the upper one adds the refill of the pipeline (MCA) for each time a
block ended, and on M4 and M33 a cycle for each run of loads. Without --llvm the cycles in the file stay.

Code for Cortex-M33 runs on the M7's machine, that for M0+ on the M3's: they have all of its instructions.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from edgedet.catalog import model_sizes
from edgedet.codegen.program import Program
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.deploy.golden import drawn_input
from edgedet.deploy.targets.c99 import load_any
from edgedet.errors import EdgedetError
from edgedet.fileio import atomic_write_text
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model, int8_model
from edgedet.graph.prepare.fold_shapes import fold_shapes
from edgedet.hardware.measured import CoreCosts, FileSize, Measured, ShippedModel, StepCost, measured
from edgedet.hardware.speed import Work, instructions_of, works_of
from edgedet.quantize.skeleton import skeleton_graph
from edgedet.resources import resource_dir
from edgedet.runtimes import qemu
from edgedet.runtimes.c_program import make_program
from edgedet.runtimes.generated_c import QemuModule
from edgedet.simulate.simulator import Simulator

REPO = Path(__file__).resolve().parents[1]
OUT = REPO / "firmware_export" / "boards" / "measured.json"
NETWORKS = (  # name, side px, overrides
    ("rtmdet_pico_relu6", 96, ()), ("rtmdet_pico_relu6", 160, ()), ("rtmdet_pico_relu6", 128, ("channels=1",)),
    ("rtmdet_nano", 96, ()), ("rtmdet_nano_half", 96, ()), ("rtmdet_nano_relu", 96, ()),
    ("rtmdet_nano_ncadc_relu6", 96, ()),    ("rtmdet_nano_ncadc_relu6", 192, ()), ("rtmdet_nano_half_relu", 128, ()),
    ("rtmdet_mnv4", 96, ()), ("rtmdet_pico_relu6", 64, ()),
)  # fmt: skip
SHIPPED_SIDES = (96, 128, 160, 192, 224, 256, 320)  # px, of the table of other models
SHIPPED = ("rtmdet_pico_relu6", "rtmdet_nano_half_relu", "rtmdet_nano_half_ncadc_relu6", "rtmdet_nano_half",
           "rtmdet_nano_relu", "rtmdet_nano_ncadc_relu6", "rtmdet_nano")  # fmt: skip
CORES = {
    "cortex-m0plus": qemu.Board("cortex-m0plus", "mps2-an385", ("-mcpu=cortex-m0plus",), "an386.ld", 40.0),
    "cortex-m3": qemu.Board("cortex-m3", "mps2-an385", ("-mcpu=cortex-m3",), "an386.ld", 40.0),
    "cortex-m33": qemu.Board(
        "cortex-m33", "mps2-an500", ("-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"), "an500.ld", 40.0
    ),
    **{name: qemu.BOARDS[name] for name in ("cortex-m4", "cortex-m7", "cortex-m55")},
}
# Cycles at the end of a block in the upper figure: the refill of the pipeline, most for M7 with six stages, two wide.
MCA = {"cortex-m4": 2.0, "cortex-m7": 3.0, "cortex-m33": 2.0, "cortex-m55": 1.0}
PAGE_BYTES = 1024  # of QEMU's Cortex-M
MCA_SHARE = 0.99  # of the instructions
MCA_ITERATIONS = 100
MCA_NETWORKS = (0, 6)  # of NETWORKS, with many and with few depthwise convolutions
KERNEL_STACK_BYTES = 1024  # no chain of kernels takes more: docs/c-api.md, tests/kernels/test_audit_sheet.py


def run(*command: str, folder: Path | None = None) -> str:
    """Standard output of a program."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr[-2000:]}")
    return done.stdout


def text_bytes(objects: list[Path]) -> dict[str, int]:
    """Name without .o -> code and constants."""
    lines = run("arm-none-eabi-size", *map(str, objects)).splitlines()[1:]
    return {Path(line.split()[-1]).stem: int(line.split()[0]) for line in lines}


def kernel_sizes(board: qemu.Board) -> tuple[FileSize, ...]:
    """Code of every kernel."""
    root = resource_dir("kernels")
    sources = sorted((root / "src").glob("*.c"))
    with tempfile.TemporaryDirectory() as folder:
        flags = [*board.flags, *qemu._COMMON_FLAGS, f"-I{root / 'include'}"]
        run("arm-none-eabi-gcc", *flags, "-c", *map(str, sources), folder=Path(folder))
        sizes = text_bytes(sorted(Path(folder).glob("*.o")))
    return tuple(FileSize(name, size) for name, size in sorted(sizes.items()))


def struct_sizes() -> tuple[FileSize, ...]:
    """Parameters of the kernels on a 32-bit processor."""
    include = resource_dir("kernels") / "include"
    headers = sorted(include.glob("*.h"))
    names = sorted({n for h in headers for n in re.findall(r"}\s*(edk_\w+_params)\s*;", h.read_text("utf-8"))})
    text = "".join(f'#include "{h.name}"\n' for h in headers) + "".join(f"char s_{n}[sizeof({n})];\n" for n in names)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "s.c").write_text(text, "utf-8")
        run("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-fno-common", f"-I{include}", "-c", "s.c", folder=Path(folder))
        lines = run("arm-none-eabi-nm", "-S", "s.o", folder=Path(folder)).splitlines()
    return tuple(
        FileSize(line.split()[3][2:], int(line.split()[1], 16)) for line in sorted(lines, key=lambda t: t[20:])
    )


class Network:
    """One network, and what was measured of it."""

    def __init__(self, name: str, data: bytes, graph: Graph, model: Int8Model | None) -> None:
        self.name, self.data, self.model = name, data, model
        self.inputs = [drawn_input(graph, index, 0) for index in graph.inputs]
        simulator = Simulator(fold_shapes(graph))
        self.graph = simulator.graph
        self.expected = simulator.invoke(*self.inputs)

    @classmethod
    def own(cls, name: str, side: int, overrides: tuple[str, ...]) -> Network:
        """One of edgedet's, with drawn weights and three classes."""
        file = load_model_file(name, overrides)
        graph = skeleton_graph(file.model, file.preprocess.spec((side, side)), OutputSpec(("a", "b", "c")))
        label = f"{name} {side}" + "".join(f" {text}" for text in overrides)
        data = serialize(graph)
        return cls(label, data, graph, int8_model(graph, Path(label), data))

    @classmethod
    def of_file(cls, path: Path) -> Network | None:
        """Of another maker; None where generated C does not run it."""
        try:
            loaded, _, _ = load_any(path)
            make_program(loaded.graph, None)
        except EdgedetError as error:
            sys.stderr.write(f"{path.name} is left out: {error}\n")
            return None
        return cls(path.name, loaded.data, loaded.graph, None)

    def measure(self, core: str) -> tuple[QemuModule, list[tuple[Work, float]]]:
        """Build, run, compare; (module, work and instructions of each step)."""
        qemu.BOARDS[core] = CORES[core]
        module = QemuModule(self.data, self.graph, core, ("-fstack-usage",), self.model)
        found = module.run_batch([self.inputs])[0]
        if not all(np.array_equal(a, b) for a, b in zip(found, self.expected, strict=True)):
            raise SystemExit(f"{self.name} on {core}: other bytes than the simulator's")
        works = works_of(module._module.program)
        return module, [(work, cost.instructions) for work, cost in zip(works, module.costs(), strict=True)]


def fit(samples: list[tuple[Work, float]]) -> tuple[StepCost, ...]:
    """Costs of every class, and of every kind for classes that were not seen."""
    groups: dict[str, list[tuple[Work, float]]] = defaultdict(list)
    for work, count in samples:
        groups[work.name].append((work, count))
        if work.name != work.kind:
            groups[work.kind].append((work, count))
    return tuple(StepCost(name, *_solve(group), len(group)) for name, group in sorted(groups.items()))


def _solve(group: list[tuple[Work, float]]) -> tuple[float, float, float]:
    """Non-negative least squares of relative errors in three unknowns, by trying every set of them."""
    counts = np.array([count for _, count in group])
    rows = np.array([[work.macs, work.outputs, 1.0] for work, _ in group]) / counts[:, None]
    best = (np.inf, np.zeros(3))
    for used in ([0, 1, 2], [0, 1], [0, 2], [1, 2], [0], [1], [2]):
        part, *_ = np.linalg.lstsq(rows[:, used], np.ones(len(group)), rcond=None)
        if (part < 0).any():
            continue
        error = float(((rows[:, used] @ part - 1) ** 2).sum())
        if error < best[0] - 1e-12:
            solution = np.zeros(3)
            solution[used] = part
            best = (error, solution)
    per_mac, per_output, per_call = (round(float(value), 5) for value in best[1])
    return per_mac, per_output, per_call


def stack_bytes(folder: Path) -> int:
    """Of edgedet_run() with edgedet_invoke() or the decoder, and the deepest chain of kernels."""
    own = [
        int(line.split("\t")[1]) for name in ("model.su", "run.su") for line in (folder / name).read_text().splitlines()
    ]
    return sum(sorted(own)[-2:]) + KERNEL_STACK_BYTES


def measure_core(
    core: str, networks: list[Network], others: list[Network], structs: dict[str, int], llvm: Path | None
) -> CoreCosts:
    """Everything about one processor."""
    kernels = kernel_sizes(CORES[core])
    samples: list[list[tuple[Work, float]]] = []
    code: list[
        tuple[int, float, int, int]
    ] = []  # calls, model.c without parameters, run.c, of the kernels in the module
    stack, rates = 0, []
    for number, network in enumerate(networks):
        module, works = network.measure(core)
        samples.append(works)
        program, folder = module._module.program, module._module.folder
        used = {(call.params_type, call.params) for calls in program.calls for call in calls if call.params_type}
        sizes = text_bytes(sorted(folder.glob("*.o")))
        own = sizes["model"] - sum(structs[name] for name, _ in used)
        linked = sum(size for name, size in sizes.items() if name.startswith("edk_"))
        code.append((sum(len(calls) for calls in program.calls), own, sizes["run"], linked))
        stack = max(stack, stack_bytes(folder))
        if llvm and core in MCA and number in MCA_NETWORKS:
            rates += cycle_rates(module, core, llvm)
        sys.stderr.write(f"{network.name} on {core}: {sum(count for _, count in works) / 1e6:.1f} M instructions\n")
    per_call, base = np.polyfit([row[0] for row in code], [row[1] for row in code], 1)
    model_errors = [
        abs(per_call * calls + base - own) / (own + run_bytes + linked) for calls, own, run_bytes, linked in code
    ]
    run_largest = max(row[2] for row in code)
    run_errors = [(run_largest - row[2]) / (sum(row[1:])) for row in code]
    errors = [max(error, other) for error, other in zip(model_errors, run_errors, strict=True)]
    foreign = [other.measure(core)[1] for other in others]
    costs = CoreCosts(
        core, kernels, round(float(per_call), 3), round(float(base), 1), run_largest, stack, round(max(errors), 4),
        fit([sample for works in (*samples, *foreign) for sample in works]), 0.0, 0.0,
        tuple(round(rate, 3) for rate in rates),
    )  # fmt: skip
    own = [*left_out_errors(costs, samples), *trained_errors(costs)]
    theirs = left_out_errors(costs, foreign, samples)
    for other, error in zip(others, theirs, strict=True):
        sys.stderr.write(f"{other.name} on {core}: {100 * error:.1f} %\n")
    return replace(costs, instructions_error=round(max(own), 4), foreign_error=round(max(theirs, default=0.0), 4))


def left_out_errors(
    costs: CoreCosts, samples: list[list[tuple[Work, float]]], always: Sequence[list[tuple[Work, float]]] = ()
) -> list[float]:
    """Relative error of each network's instructions with costs fitted to the others, where they have all its kinds."""
    errors = []
    for number, works in enumerate(samples):
        kept = [*always, *(group for at, group in enumerate(samples) if at != number)]
        fitted = fit([sample for group in kept for sample in group])
        found, unknown = instructions_of([work for work, _ in works], replace(costs, steps=fitted))
        errors.append(0.0 if unknown else abs(found / sum(count for _, count in works) - 1))
    return errors


def trained_errors(costs: CoreCosts) -> list[float]:
    """Relative error for the trained networks of docs/chip.md, whose codes and zero points differ from drawn ones."""
    page = (REPO / "docs" / "chip.md").read_text("utf-8")
    errors = []
    for name, side, core, millions in re.findall(
        r"^\| (rtmdet_\w+)_(\d+) \| (cortex-\S+) \| ([\d.]+) \|", page, re.MULTILINE
    ):
        if core == costs.name:
            found, _ = instructions_of(works_of(skeleton_program(name, int(side), ())), costs)
            errors.append(abs(found / (float(millions) * 1e6) - 1))
            sys.stderr.write(f"{name} {side} on {core}, trained: {100 * errors[-1]:.2f} %\n")
    return errors


def skeleton_program(name: str, side: int, overrides: tuple[str, ...]) -> Program:
    """Of a network with drawn weights and three classes."""
    file = load_model_file(name, overrides)
    graph = skeleton_graph(file.model, file.preprocess.spec((side, side)), OutputSpec(("a", "b", "c")))
    return make_program(graph, int8_model(graph, Path(name))).program


def cycle_rates(module: QemuModule, core: str, llvm: Path) -> list[float]:
    """[cycles per instruction without, and with the cost of jumps and loads], of the blocks that run most."""
    lines = disassembly(module.firmware.elf, core, llvm)
    counts = executed_blocks(module, lines)
    total = sum(len(block) * count for block, count in counts.items())
    seen, cycles, waits, failed = 0, 0.0, 0.0, 0
    for block, count in sorted(counts.items(), key=lambda item: -len(item[0]) * item[1]):
        found = block_cycles([lines[address] for address in block], core, llvm, module._module.folder)
        if found is None:
            failed += len(block) * count
        else:
            seen += len(block) * count
            cycles += found * count
            waits += count * (MCA[core] + load_groups([lines[address] for address in block], core))
        if seen + failed > MCA_SHARE * total:
            break
    sys.stderr.write(
        f"llvm-mca: {100 * seen / total:.2f} % of the instructions, {100 * failed / total:.2f} % refused\n"
    )
    return [cycles / seen, (cycles + waits) / seen]


def load_groups(texts: list[str], core: str) -> int:
    """Runs of loads: on M4 and M33 N loads in a row take 1 + N cycles, of which the model counts N."""
    if core not in ("cortex-m4", "cortex-m33"):
        return 0
    loads = [text.startswith(("ldr", "ldm", "pop")) for text in texts]
    several = sum(text.startswith(("ldm", "ldrd", "pop")) for text in texts)
    return max(several, sum(load and not before for load, before in zip(loads, [False, *loads[:-1]], strict=True)))


def disassembly(elf: Path, core: str, llvm: Path) -> dict[int, str]:
    """Address -> instruction, as LLVM's assembler takes it."""
    features = "--mattr=+mve.fp,+fp64" if core == "cortex-m55" else f"--mcpu={core}"
    command = (str(llvm / "llvm-objdump"), "-d", "--no-show-raw-insn", f"--triple={_triple(core)}", features, str(elf))
    found = {}
    for line in run(*command).splitlines():
        if match := re.match(r"\s*([0-9a-f]+):\s+(\S.*)", line):
            found[int(match[1], 16)] = re.split(r"\s*@|\s*<", match[2])[0].replace("\t", " ")
    return found


def _triple(core: str) -> str:
    return (
        "thumbv8.1m.main-none-eabi"
        if core == "cortex-m55"
        else "thumbv8m.main-none-eabi"
        if core == "cortex-m33"
        else "thumbv7em-none-eabi"
    )


def executed_blocks(module: QemuModule, lines: dict[int, str]) -> Counter[tuple[int, ...]]:
    """Addresses of a block -> how often it ran in code of the module."""
    firmware = module.firmware
    command = [
        *("qemu-system-arm", "-M", firmware.board.machine, "-nographic", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", "-d", "exec,nochain", "-D", "/dev/stdout"),
        *("-kernel", firmware.elf.name),
    ]
    starts: Counter[int] = Counter()
    with subprocess.Popen(command, cwd=firmware.folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Trace"):
                starts[int(line.split("/")[1], 16)] += 1
    addresses = sorted(lines)
    position = {address: number for number, address in enumerate(addresses)}
    blocks: Counter[tuple[int, ...]] = Counter()
    for start, count in starts.items():
        block = []
        for address in addresses[position.get(start, len(addresses)) :]:
            if block and address % PAGE_BYTES == 0 and address in starts:
                break  # QEMU begins anew on every page
            block.append(address)
            if _ends(lines[address]):
                break
        if block:
            blocks[tuple(block)] += count
    return blocks


def _ends(text: str) -> bool:
    """Whether an instruction may jump."""
    name = text.split(" ")[0].split(".")[0]
    return (
        name in ("b", "bl", "bx", "blx", "cbz", "cbnz", "le", "letp", "tbb", "tbh", "wls", "wlstp", "dls", "dlstp")
        or (re.fullmatch(r"b(eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)", name) is not None)
        or (name.startswith(("pop", "ldm")) and "pc" in text)
    )


def block_cycles(texts: list[str], core: str, llvm: Path, folder: Path) -> float | None:
    """Cycles of one pass through a block in its steady state; None: llvm-mca does not take it."""
    source = folder / "block.s"
    lines = [line for text in texts for line in _for_mca(text, core)]
    source.write_text(".syntax unified\n.thumb\n" + "\n".join(lines) + "\n", "utf-8")
    command = [str(llvm / "llvm-mca"), f"-mtriple={_triple(core)}", f"-mcpu={core}", f"-iterations={MCA_ITERATIONS}"]
    command += ["-skip-unsupported-instructions=lack-sched", str(source)]  # IT, and the heads of hardware loops
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    return int(match[1]) / MCA_ITERATIONS if match and not done.returncode else None


def _for_mca(text: str, core: str) -> list[str]:
    """An instruction as llvm-mca takes it.

    A jump loses its target and a call becomes a jump; words loaded with a later address (which crash it) are loaded
    without, as the address costs nothing; but for M55 a load or store of several words counts as as many single
    ones, which the models don't know.
    """
    name, _, rest = text.partition(" ")
    if re.fullmatch(r"b(l|x|lx|eq|ne|hs|lo|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?(\.[nw])?", name):
        condition = name.partition(".")[0][1:]
        return [f"b{condition if condition not in ('l', 'x', 'lx') else ''} target"]
    if name in ("cbz", "cbnz", "le", "letp") or name.startswith("wls"):
        return [f"{name} " + ", ".join([*(part.strip() for part in rest.split(",")[:-1]), "target"])]
    if core != "cortex-m55":
        if match := re.fullmatch(r"(ldm|stm|push|pop)\S*\s+(?:(\w+)!?, )?\{(.*)\}", text):
            words = [word.strip() for word in match[3].split(",") if word.strip() not in ("pc", "lr")]
            single = "ldr" if match[1] in ("ldm", "pop") else "str"
            return [f"{single} {word}, [{match[2] or 'sp'}, #{4 * at}]" for at, word in enumerate(words)] or ["nop"]
        if match := re.match(r"(ldr|str)d\s+(\w+), (\w+), \[(\w+)", text):
            return [f"{match[1]} {match[at]}, [{match[4]}]" for at in (2, 3)]
    return [re.sub(r"^(ldr(?:\.w)? \w+, \[\w+\]), .*", r"\1", text)]


def shipped_models() -> tuple[ShippedModel, ...]:
    """What the shipped networks need, for `edgedet check` to propose one that fits."""
    models = []
    for name in SHIPPED:
        for side in SHIPPED_SIDES:
            sizes = model_sizes(name, (side, side))
            models.append(ShippedModel(name, side, sizes.macs, sizes.arena_bytes, sizes.flash_bytes))
    return tuple(models)


def main() -> int:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llvm", type=Path, metavar="DIR", help="folder with llvm-mca and llvm-objdump of LLVM 19")
    parser.add_argument("--also", type=Path, nargs="+", default=[], metavar="FILE", help="int8 .tflite of other makers")
    parser.add_argument("--core", nargs="+", choices=sorted(CORES), default=sorted(CORES), help="the others stay")
    parser.add_argument("--sizes", action="store_true", help="sizes of the shipped networks alone; all else stays")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    if args.sizes:
        atomic_write_text(args.out, json.dumps(asdict(replace(measured(), models=shipped_models())), indent=1) + "\n")
        return 0
    structs = struct_sizes()
    networks = [Network.own(*network) for network in NETWORKS]
    others = [network for path in args.also if (network := Network.of_file(path)) is not None]
    by_name = {struct.name: struct.bytes for struct in structs}
    before = {core.name: core for core in measured().cores} if OUT.exists() else {}
    cores = []
    for name in sorted(CORES):
        if name not in args.core:
            cores.append(before[name])
            continue
        costs = measure_core(name, networks, others, by_name, args.llvm)
        if not args.llvm and name in before:
            costs = replace(costs, cycles_per_instruction=before[name].cycles_per_instruction)
        cores.append(costs)
    commit = run("git", "-C", str(REPO), "describe", "--always", "--dirty").strip()
    compiler = run("arm-none-eabi-gcc", "--version").splitlines()[0]
    emulator = run("qemu-system-arm", "--version").splitlines()[0]
    tools = f"{compiler}, -O2; {emulator}" + (
        f"; {run(str(args.llvm / 'llvm-mca'), '--version').splitlines()[0]}" if args.llvm else ""
    )
    command = "bench/board_costs.py" + (" --llvm DIR" if args.llvm else "") + (" --also ..." if others else "")
    names = tuple(network.name for network in (*networks, *others))
    result = Measured(command, commit, tools, names, structs, tuple(cores), shipped_models())
    atomic_write_text(args.out, json.dumps(asdict(result), indent=1) + "\n")
    for core in cores:
        others_within = f"others' within {100 * core.foreign_error:.1f} %"
        errors = f"code within {100 * core.code_error:.1f} %, instructions within {100 * core.instructions_error:.1f} %"
        print(f"{core.name}: {errors}, {others_within}, stack {core.stack_bytes}, cycles {core.cycles_per_instruction}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
