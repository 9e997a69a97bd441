"""The formats of `edgedet export`: what they are made from, by which library, and what for."""

from __future__ import annotations

import difflib
import importlib.util
from dataclasses import asdict, dataclass
from typing import Any

from edgedet.errors import ConfigError, missing_extra
from edgedet.typed import shown

CHECKPOINT, INT8_FILE = "checkpoint", "int8 .tflite"


@dataclass(frozen=True)
class Format:
    """One format."""

    name: str
    source: str  # CHECKPOINT or INT8_FILE: what it is made from
    modules: tuple[str, ...]  # import names of the libraries that write and run it
    extra: str  # of edgedet, that brings them; empty: nothing beyond what the source needs
    suffix: str  # of the file; empty: a folder
    purpose: str
    opsets: tuple[int, int] | None = None  # smallest and largest ONNX opset; None: none is chosen

    @property
    def missing(self) -> str:
        """The first library that is not installed; empty: none is missing."""
        return next((name for name in self.modules if importlib.util.find_spec(name) is None), "")

    def row(self) -> tuple[str, str, str, str, str]:
        """Name, source, libraries, whether they are installed or how to install them, purpose."""
        state = f'pip install "edgedet[{self.extra}]"' if self.missing else "installed"
        return self.name, self.source, ", ".join(self.modules) or "none", state, self.purpose


_ONNX = ("onnx", "onnxruntime")
_FLOAT_OPSETS = (11, 20)
FORMATS: tuple[Format, ...] = (
    Format(
        "onnx",
        CHECKPOINT,
        ("torch", *_ONNX, "onnxsim"),
        "onnx",
        ".onnx",
        "float network for any tool that reads ONNX",
        _FLOAT_OPSETS,
    ),
    Format(
        "onnx-qdq",
        INT8_FILE,
        _ONNX,
        "onnx",
        ".onnx",
        "the int8 file's own scales and weights for TensorRT, ESP-PPQ, STM32Cube.AI and other compilers",
        (13, 21),
    ),
    Format(
        "savedmodel",
        CHECKPOINT,
        ("torch", *_ONNX, "onnxsim", "onnx2tf", "tensorflow"),
        "onnx2tf",
        "",
        "TensorFlow and its converters",
        _FLOAT_OPSETS,
    ),
    Format(
        "tflite-float32",
        CHECKPOINT,
        ("torch", *_ONNX, "onnxsim", "onnx2tf", "tensorflow", "ai_edge_litert"),
        "onnx2tf",
        ".tflite",
        "LiteRT on phones and PCs; other makers' quantizers",
        _FLOAT_OPSETS,
    ),
    Format(
        "tflite-float16",
        CHECKPOINT,
        ("torch", *_ONNX, "onnxsim", "onnx2tf", "tensorflow", "ai_edge_litert"),
        "onnx2tf",
        ".tflite",
        "the same with weights of half the size",
        _FLOAT_OPSETS,
    ),
    Format("torchscript", CHECKPOINT, ("torch",), "train", ".pt", "libtorch: C++ without Python"),
    Format(
        "executorch",
        CHECKPOINT,
        ("torch", "executorch"),
        "executorch",
        ".pte",
        "ExecuTorch with XNNPACK: phones, ARM64",
    ),
    Format("openvino", CHECKPOINT, ("torch", "openvino"), "openvino", ".xml", "Intel CPUs, GPUs and NPUs"),
    Format(
        "hailo",
        CHECKPOINT,
        ("torch", *_ONNX, "onnxsim"),
        "onnx",
        "",
        "ONNX and model script for Hailo's Dataflow Compiler, which is proprietary: get it from hailo.ai",
        (11, 17),
    ),
    Format("sscma", INT8_FILE, (), "", ".tflite", "firmware of SSCMA-Micro: Grove Vision AI V2, XIAO ESP32S3"),
)


def find_format(name: str) -> Format:
    """The format of a name.

    Raises:
        ConfigError: unknown; names the nearest one.
    """
    for known in FORMATS:
        if known.name == name:
            return known
    names = [known.name for known in FORMATS]
    near = difflib.get_close_matches(name.lower(), names, 1, 0.5) if isinstance(name, str) else []
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"`format` {shown(name)}: expected one of {', '.join(names)}{hint}")


def require_libraries(wanted: Format) -> None:
    """Raises ToolchainError, with the install command, when a library of a format is not installed."""
    if wanted.missing:
        extra = "train" if wanted.missing == "torch" else wanted.extra
        raise missing_extra(wanted.missing, extra)


def formats_json() -> list[dict[str, Any]]:
    """What `list_formats` shows, for programs; `installed`: its libraries are there."""
    return [{**asdict(known), "installed": not known.missing} for known in FORMATS]


def list_formats() -> str:
    """Table of all formats for a terminal, newline at the end."""
    rows = [("format", "made from", "libraries", "state", "for"), *(known.row() for known in FORMATS)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"
