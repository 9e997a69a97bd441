"""C to WebAssembly with clang and lld; no C library, no Emscripten."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgedet.runtimes.toolchain import require_program, run_program

PACKAGES = "clang lld"  # of Debian
# No contraction of floats, although WebAssembly has no fused operations: the decoder must round like the reference.
FLAGS = ("--target=wasm32", "-std=c99", "-O3", "-ffreestanding", "-ffp-contract=off", "-I.", "-Ikernels/include",
         "-isystem", "libc")  # fmt: skip
SIMD_FLAG = "-msimd128"
_EXPORTS = ("edgedet_weights", "edgedet_words", "edgedet_indices", "__heap_base")
# The stack lies below everything else, so that an overflow traps. edgedet_web_on_step comes from the page.
LINK_FLAGS = ("-nostdlib", "-Wl,--no-entry", "-Wl,--allow-undefined", "-Wl,--strip-all", "-Wl,--stack-first",
              "-Wl,-z,stack-size=262144", *(f"-Wl,--export={name}" for name in _EXPORTS))  # fmt: skip
_OWN_MEMORY = "memory.c"  # memcpy and memset
_COMPILE_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class WasmTools:
    """Programs that are installed."""

    clang: str
    version: str  # clang's first line


def find_wasm_tools() -> WasmTools:
    """Look for clang and the linker that it calls.

    Raises:
        ToolchainError: one is missing; names the Debian packages.
    """
    clang = require_program(("clang",), PACKAGES)
    require_program(("wasm-ld",), PACKAGES)
    version = run_program([clang, "--version"], Path.cwd(), _COMPILE_TIMEOUT_S).splitlines()[0]
    return WasmTools(clang, version)


def compile_wasm(tools: WasmTools, texts: Mapping[str, str], simd: bool) -> bytes:
    """Compile and link one module.

    Args:
        tools: of `find_wasm_tools`.
        texts: path -> text of every source and header, memory.c among them.
        simd: with SIMD128.
    Returns:
        The WebAssembly module.
    Raises:
        ToolchainError: clang or the linker fails.
    """
    flags = [*FLAGS, *([SIMD_FLAG] if simd else [])]
    with tempfile.TemporaryDirectory(prefix="edgedet-wasm-") as name:
        folder = Path(name)
        for place, text in texts.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        own = [tools.clang, *flags, "-fno-builtin", "-c", _OWN_MEMORY, "-o", "memory.o"]
        run_program(own, folder, _COMPILE_TIMEOUT_S)
        sources = [place for place in texts if place.endswith(".c") and place not in (_OWN_MEMORY, "run.c")]
        step = "-DEDGEDET_ON_STEP=edgedet_web_on_step"
        linked = [tools.clang, *flags, "-fbuiltin", step, *sources, "memory.o", *LINK_FLAGS, "-o", "module.wasm"]
        run_program(linked, folder, _COMPILE_TIMEOUT_S)
        return (folder / "module.wasm").read_bytes()
