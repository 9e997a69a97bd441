"""Names of the runtimes, and which of them a file takes."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import ConfigError

INT8_RUNTIMES = ("sim", "ref", "xnnpack", "tflm")


COMPILED_RUNTIMES = ("c99", "qemu:cortex-m4", "qemu:cortex-m7", "qemu:cortex-m55")  # these need a C compiler


RUNTIMES = (
    *("sim", "ref", "xnnpack", "tflm", "c99", "qemu:cortex-m4", "qemu:cortex-m7", "qemu:cortex-m55"),
    "torch",
)


CHECKPOINT_SUFFIXES = (".pt", ".pth")


RUNTIME_HELP = (
    "sim: NumPy integer simulator, the chip's arithmetic; ref: TFLite's reference kernels; xnnpack: the "
    "interpreter's default kernels; tflm: TFLite Micro; c99: the generated C on this machine; qemu:...: the same C on "
    "an emulated microcontroller (qemu:cortex-m4, -m7, -m55), with instruction counts; torch: float checkpoint "
    "(default: sim for a .tflite, torch for a .pt)"
)


def choose_runtime(model: Path, runtime: str | None) -> str:
    """Runtime for a model file.

    Args:
        model: `.tflite` or checkpoint; the suffix decides.
        runtime: what the user asked for; None takes the default of the kind of file.
    Returns:
        One of `RUNTIMES`.
    Raises:
        ConfigError: unknown kind of file, or a runtime that can't run it.
    """
    suffix = model.suffix.lower()
    if suffix not in (".tflite", *CHECKPOINT_SUFFIXES):
        raise ConfigError(f"{model}: expected a .tflite or a checkpoint (.pt), found {suffix or 'no suffix'}")
    is_checkpoint = suffix in CHECKPOINT_SUFFIXES
    name = runtime or ("torch" if is_checkpoint else "sim")
    if is_checkpoint and name != "torch":
        raise ConfigError(
            f"{model}: a checkpoint runs with `runtime` torch, not {name}; "
            "make an int8 file with `edgedet quantize` first"
        )
    if not is_checkpoint and name == "torch":
        raise ConfigError(
            f"{model}: `runtime` torch runs checkpoints; for a .tflite take sim, ref, xnnpack, tflm, c99 or qemu:..."
        )
    return name
