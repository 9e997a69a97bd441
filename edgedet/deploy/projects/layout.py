"""Where the files of a module lie in a project of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from edgedet.codegen.module_name import ModuleName
from edgedet.errors import ConfigError, ToolchainError, meant
from edgedet.npu.cores import NPU_TARGETS

PROJECTS = ("make", "cmake", "esp-idf", "arduino", "platformio", "zephyr", "cmsis-pack")
_NPU_PROJECTS = ("make", "cmake", "zephyr", "cmsis-pack")
_NO_NPU = {  # why a project is none for an Ethos-U
    "esp-idf": "no chip that ESP-IDF builds for has that NPU",
    "arduino": "Arduino's libraries of TFLite Micro come without the operator and the driver of that NPU",
    "platformio": "PlatformIO's libraries of TFLite Micro come without the operator and the driver of that NPU",
}
_BUILD_FILES = ("Makefile", "CMakeLists.txt", "cortex-m.cmake")
_SOURCES = (".c", ".cc", ".cpp")
_FOLDERS = ("build", "qemu")  # beside the module's
_PICTURES = ("plan.txt", "plan.svg")


@dataclass(frozen=True)
class Layout:
    """Folders of a project, relative to it; empty: the project's own."""

    kind: str
    module: str  # the generated module, which the next deployment replaces
    app: str  # the example program
    flat: bool = False  # the builder knows one folder of headers: kernels lie beside the module's files
    own_build: bool = False  # the module's build files and its self-test stay


def layout_of(kind: str, name: ModuleName) -> Layout:
    """The layout of a kind of project.

    Args:
        kind: one of `PROJECTS`.
        name: of the module.
    Raises:
        ConfigError: there is no such kind.
    """
    match kind:
        case "make" | "cmake" if name.prefix in _FOLDERS:
            raise ConfigError(
                f"the name {name.prefix!r} with project {kind}: that folder is the project's own; take another name"
            )
        case "make" | "cmake":
            return Layout(kind, name.prefix, "", own_build=True)
        case "esp-idf":
            return Layout(kind, f"components/{name.unit}", "main")
        case "arduino":
            return Layout(kind, "src", "examples/Detect", flat=True)
        case "platformio":
            return Layout(kind, f"lib/{name.prefix}/src", "src", flat=True)
        case "zephyr":
            return Layout(kind, name.unit, "src")
        case "cmsis-pack":
            return Layout(kind, "module", "example")
    raise ConfigError(f"`project` {kind!r}: expected one of {', '.join(PROJECTS)}{meant(kind, PROJECTS)}")


def check_target(kind: str, target: str, preset: str | None) -> None:
    """Refuse a project that can't build a target.

    Args:
        kind: one of `PROJECTS`.
        target: of the deployment.
        preset: board of an NPU; None: none.
    Raises:
        ConfigError: the builder has nothing for the target, or the board comes with a builder of its own.
    """
    if target not in NPU_TARGETS:
        return
    if kind not in _NPU_PROJECTS:
        raise ConfigError(
            f"no project {kind} around target {target}: {_NO_NPU[kind]}; take project {', '.join(_NPU_PROJECTS)}, or "
            "target c99, which the processor runs"
        )
    if preset is not None:
        raise ConfigError(
            f"no project {kind} around preset {preset}: the SDK of the board builds its folder and has its start-up "
            f"code (docs/grove.md); leave `project` out, or take target {target} without the preset"
        )


def place_module(sources: Mapping[str, str], layout: Layout, name: ModuleName, needs_golden: bool) -> dict[str, str]:
    """Put the files of a module where the builder expects them.

    Args:
        sources: path in a deployment without a project -> text.
        layout: of the project.
        name: of the module.
        needs_golden: whether the example compares with the golden vectors.
    Returns:
        Path in the project -> text. Start-up code of QEMU's boards moves to the project's own qemu/ or goes.
    Raises:
        ToolchainError: two files would lie in one place.
    """
    placed: dict[str, str] = {}
    for path, text in sources.items():
        target = _place(PurePosixPath(path), layout, name, needs_golden)
        if target is None:
            continue
        if target in placed:
            raise ToolchainError(f"two files of the module would become {target}: please report this model")
        placed[target] = text
    return placed


def _place(path: PurePosixPath, layout: Layout, name: ModuleName, needs_golden: bool) -> str | None:
    """New path of a file; None: the project does without it."""
    own = path.name.removeprefix(name.stem)
    if path.parts[0] == "qemu":
        return str(path) if layout.own_build and path.name != "board.cmake" else None
    if path.name == "cortex-m.cmake":  # the project has its own
        return None
    if not layout.own_build:
        if path.name in _BUILD_FILES or own.startswith(("selftest.", "device_main.")):
            return None
        if own.startswith("golden.") and not needs_golden:
            return None
    if layout.kind == "arduino" and path.name in _PICTURES:
        return f"extras/{path.name}"  # the place for what is not compiled
    if layout.kind == "platformio" and path.name in _PICTURES:
        return f"lib/{name.prefix}/{path.name}"
    if layout.flat:
        # Builders of Arduino's kind compile .cpp everywhere, .cc only since lately.
        return f"{layout.module}/{path.stem}.cpp" if path.suffix == ".cc" else f"{layout.module}/{path.name}"
    return f"{layout.module}/{path}"


def module_sources(placed: Mapping[str, str], layout: Layout) -> tuple[str, ...]:
    """What a compiler takes of a placed module, relative to its folder; without self-test and golden vectors."""
    below = [PurePosixPath(path) for path in placed if path.startswith(f"{layout.module}/")]
    files = [path.relative_to(layout.module) for path in below if path.suffix in _SOURCES]
    skipped = ("selftest", "device_main", "golden") if layout.own_build else ("selftest",)
    return tuple(str(path) for path in files if not path.stem.endswith(skipped))


def module_headers(placed: Mapping[str, str], layout: Layout) -> tuple[str, ...]:
    """Headers that a program includes, relative to the folder of a placed module."""
    below = [PurePosixPath(path).relative_to(layout.module) for path in placed if path.startswith(f"{layout.module}/")]
    return tuple(str(path) for path in below if path.suffix == ".h" and path.parts[:2] != ("kernels", "src"))
