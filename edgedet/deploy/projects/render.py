"""A product with a project around it: manifests, build files and an example program from firmware_export/projects/."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.c_source import array_rows
from edgedet.codegen.module_name import ModuleName
from edgedet.codegen.templates import template_environment
from edgedet.deploy.output_folder import byte_table, file_table
from edgedet.deploy.projects.layout import Layout, layout_of, module_headers, module_sources, place_module
from edgedet.deploy.targets.product import Product
from edgedet.errors import ConfigError
from edgedet.escape import build_words, c_decimal, manifest_text
from edgedet.npu.cores import NPU_TARGETS
from edgedet.resources import resource_dir

# Template in firmware_export/projects/KIND -> path in the project; the rest of the kind's files is the module.
_FILES: dict[str, dict[str, str]] = {
    "make": {"Makefile": "Makefile", "main.c": "main.c"},
    "cmake": {
        "CMakeLists.txt": "CMakeLists.txt",
        "cortex-m.cmake": "cortex-m.cmake",
        "board.cmake": "qemu/board.cmake",
        "main.c": "main.c",
    },
    "esp-idf": {
        "CMakeLists.txt": "CMakeLists.txt",
        "sdkconfig.defaults": "sdkconfig.defaults",
        "partitions.csv": "partitions.csv",
        "main.CMakeLists.txt": "main/CMakeLists.txt",
        "main.c": "main/main.c",
        "component.CMakeLists.txt": "components/UNIT/CMakeLists.txt",
        "idf_component.yml": "components/UNIT/idf_component.yml",
    },
    "arduino": {
        "library.properties": "library.properties",
        "header.h": "src/NAME.h",
        "Detect.ino": "examples/Detect/Detect.ino",
    },
    "platformio": {
        "platformio.ini": "platformio.ini",
        "partitions.csv": "partitions.csv",
        "library.json": "lib/NAME/library.json",
        "main.cpp": "src/main.cpp",
    },
    "zephyr": {
        "CMakeLists.txt": "CMakeLists.txt",
        "prj.conf": "prj.conf",
        "west.yml": "west.yml",
        "main.c": "src/main.c",
        "module.CMakeLists.txt": "UNIT/CMakeLists.txt",
        "Kconfig": "UNIT/Kconfig",
        "module.yml": "UNIT/zephyr/module.yml",
    },
    "cmsis-pack": {"pack.pdsc": "edgedet.NAME.pdsc", "main.c": "example/main.c"},
}
_EXAMPLE = ("example.h", "example.c")  # of firmware_export/projects/common
_FRAME = ("camera.h", "camera.c", "picture.h", "picture.c")  # where a picture means something to the model
_WORST_CODE_BYTES = 600_000  # flash for code beside the constants: an app of ESP-IDF with TFLite Micro has less
_FLASH_SIZES_MB = (2, 4, 8, 16, 32, 64, 128)

# Of Zephyr's option ETHOS_U_NPU_CONFIG (modules/hal_ethos_u/Kconfig).
_ZEPHYR_NPUS = tuple(target for target in NPU_TARGETS if target != "ethos-u55-32")

_MADE, _HEAD = "do not edit", 400  # what stands at the top of files that are made anew


def with_project(product: Product, target: str, kind: str, name: ModuleName) -> Product:
    """Put a project around a deployment.

    Args:
        product: of a target.
        target: its name.
        kind: one of `edgedet.deploy.projects.layout.PROJECTS`.
        name: of the module.
    Returns:
        The product with the project's files; the manifest lists which of them are the user's to change.
    Raises:
        ConfigError: there is no such kind, or it can't build this NPU.
        ToolchainError: a template is missing.
    """
    layout = layout_of(kind, name)
    _check_npu(kind, product)
    placed = place_module(product.sources, layout, name, needs_golden=product.scene is None)
    values = _values(product, target, layout, placed)
    example = _render(layout, name, values)
    sources = {**placed, **_board_files(layout), **example}
    # All that the user may have written into: a new deployment stops at what was changed there.
    mine = sorted(path for path, text in example.items() if "picture." not in path and _MADE not in text[:_HEAD])
    binaries = {_join(layout.module, path): data for path, data in product.binaries.items()}
    files = {**file_table(sources), **byte_table(binaries)}
    manifest = {**product.manifest, "project": {"kind": kind, "yours_to_change": mine}, "files": files}
    return replace(product, sources=sources, binaries=binaries, manifest=manifest)


def _check_npu(kind: str, product: Product) -> None:
    """Raises ConfigError where the builder's own driver can't run this NPU."""
    if product.npu is None or kind != "zephyr":
        return
    setup = product.npu.setup
    if setup.target not in _ZEPHYR_NPUS:
        raise ConfigError(
            f"no project zephyr around target {setup.target}: Zephyr's options know {', '.join(_ZEPHYR_NPUS)}; take "
            "project cmake or make"
        )
    if product.npu.cache_bytes:
        raise ConfigError(
            f"no project zephyr with memory mode {setup.memory_mode}: Zephyr starts the NPU without the "
            f"{product.npu.cache_bytes:,} bytes of SRAM of its own that it needs there; take another memory mode, or "
            "project cmake or make"
        )


def _render(layout: Layout, name: ModuleName, values: dict[str, Any]) -> dict[str, str]:
    environment = template_environment("projects", name)
    texts = {}
    common = _EXAMPLE + (_FRAME if values["has_scene"] else ())
    for file in common:
        texts[_join(layout.app, file)] = environment.get_template(f"common/{file}.j2").render(values)
    values = values | {"example_files": build_words([*texts, _join(layout.app, "main.c")])}
    for file, path in _FILES[layout.kind].items():
        place = path.replace("NAME", name.prefix).replace("UNIT", name.unit)
        texts[place] = environment.get_template(f"{layout.kind}/{file}.j2").render(values)
    texts["README.md"] = environment.get_template("common/README.md.j2").render(values)
    return texts


def _values(product: Product, target: str, layout: Layout, placed: dict[str, str]) -> dict[str, Any]:
    scene = product.scene
    sources = build_words(module_sources(placed, layout))
    constants = product.constant_bytes
    picture_bytes = 0 if scene is None else scene.pixels.size
    needed = constants + picture_bytes + _WORST_CODE_BYTES
    values: dict[str, Any] = {
        "edgedet_version": __version__,
        "tflm": target != "c99",
        "npu": _npu_values(product),
        "target": target,
        "kind": layout.kind,
        "app": layout.app,
        "module": layout.module,
        "module_sources": sources,
        "module_files": [path for path in sources if not path.startswith("kernels/")],
        "kernel_files": [path for path in sources if path.startswith("kernels/")],
        "module_headers": build_words(module_headers(placed, layout)),
        "description": _description(product),
        "has_golden": any("golden." in path for path in placed),
        "has_scene": scene is not None,
        "arena_bytes": product.arena_bytes,
        "constant_bytes": constants,
        "model_sha256": str(product.manifest["model"]["sha256"]),
        "app_kib": -(-needed // 65536) * 64,
        "flash_mb": next((size for size in _FLASH_SIZES_MB if size * 2**20 >= needed + 2**17), _FLASH_SIZES_MB[-1]),
        "classes": "" if scene is None else manifest_text(", ".join(scene.class_names), 100),
        "class_count": 0 if scene is None else len(scene.class_names),
    }
    if scene is None:
        return values
    found = zip(scene.detections.scores.tolist(), scene.detections.labels.tolist(), strict=True)
    return {
        **values,
        **_picture_values(scene.pixels),
        "expected": [{"score": c_decimal(score), "label": label} for score, label in found],
        "golden_source": manifest_text(product.golden_source, 120),
    }


def _npu_values(product: Product) -> dict[str, Any] | None:
    if product.npu is None:
        return None
    setup = product.npu.setup
    return {"target": setup.target, "family": setup.family, "macs": setup.macs}


def _description(product: Product) -> str:
    """One line for manifests."""
    if product.scene is None:
        return "int8 network made by edgedet"
    names = product.scene.class_names
    return manifest_text(f"int8 object detector made by edgedet, {len(names)} classes, {' '.join(names)}", 120)


def _picture_values(pixels: np.ndarray) -> dict[str, Any]:
    height, width, channels = pixels.shape
    return {
        "picture_rows": array_rows(pixels),
        "picture_width": width,
        "picture_height": height,
        "picture_channels": channels,
    }


def _board_files(layout: Layout) -> dict[str, str]:
    """Start-up code and memory maps of QEMU's boards, and printing there, for builds that can run in it."""
    if not layout.own_build:
        return {}
    folder = resource_dir("firmware_export")
    files = [path for path in sorted((folder / "qemu").iterdir()) if path.suffix in (".c", ".h", ".ld")]
    files = [path for path in files if path.name != "main.c"] + [folder / "projects" / "qemu_stdout.c"]
    return {f"qemu/{path.name}": path.read_text(encoding="utf-8") for path in files}


def _join(folder: str, file: str) -> str:
    return f"{folder}/{file}" if folder else file
