"""Stack, calls and foreign functions of the kernels, from what gcc and nm say; not a test itself.

bench/c_audit_sheet.py uses it, too.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from c_audit_tools import REPO

CHIPS = {
    "Cortex-M4": ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "Cortex-M55": ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", "-fno-if-conversion2"),
}
LIBC = frozenset({"memcpy", "memmove", "memset"})  # all of C's library that kernels call
_NODE = re.compile(r'node: \{ title: "([^"]+)" label: "[^"]*?(?:(\d+) bytes \(([^)]*)\)[^"]*)?"')
_EDGE = re.compile(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"')


@dataclass
class Calls:
    """Functions of some kernels: bytes of stack, and who calls whom."""

    stack_bytes: dict[str, int] = field(default_factory=dict)
    growing: list[str] = field(default_factory=list)  # whose stack is not known when it is compiled
    callees: dict[str, set[str]] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)  # that no kernel defines

    def deepest_bytes(self, name: str, above: tuple[str, ...] = ()) -> int:
        """Stack of a function and of the deepest chain of calls under it.

        Raises:
            ValueError: a function calls itself, directly or through others.
        """
        if name in above:
            raise ValueError(f"recursion: {' -> '.join((*above, name))}")
        below = (self.deepest_bytes(callee, (*above, name)) for callee in self.callees.get(name, ()))
        return self.stack_bytes.get(name, 0) + max(below, default=0)


def calls_of(sources: list[Path], chip: str, folder: Path) -> Calls:
    """Compile kernels for a chip and read what the compiler says of their calls."""
    command = ["arm-none-eabi-gcc", *CHIPS[chip], "-std=c99", "-O2", "-fcallgraph-info=su", "-ffunction-sections"]
    command += [f"-I{REPO / 'kernels' / 'include'}", "-c", *map(str, sources)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    calls = Calls()
    for path in sorted(folder.glob("*.ci")):
        text = path.read_text(encoding="utf-8")
        for name, stack, kind in _NODE.findall(text):
            if stack:
                calls.stack_bytes[name] = int(stack)
                if kind != "static":
                    calls.growing.append(name)
        for source, target in _EDGE.findall(text):
            calls.callees.setdefault(source, set()).add(target)
    objects = sorted(folder.glob("*.o"))
    found = subprocess.run(["arm-none-eabi-nm", *objects], check=True, capture_output=True, text=True).stdout
    kinds = [line.split()[-2:] for line in found.splitlines() if len(line.split()) >= 2]
    defined = {name for kind, name in kinds if kind != "U"}
    calls.foreign = {name for kind, name in kinds if kind == "U"} - defined
    return calls
