"""Names of the runtimes, and which of them a file takes."""

from __future__ import annotations

from pathlib import Path

from edgedet.device.line import is_serial
from edgedet.errors import ConfigError

INT8_RUNTIMES = ("sim", "ref", "xnnpack", "tflm")


COMPILED_RUNTIMES = ("c99", "qemu:cortex-m4", "qemu:cortex-m7", "qemu:cortex-m55")  # these need a C compiler


class _Names(tuple[str, ...]):
    """Names of runtimes; those of devices, serial:PORT, belong to them and can't be listed."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and is_serial(name))


RUNTIMES = _Names(
    ("sim", "ref", "xnnpack", "tflm", "c99", "qemu:cortex-m4", "qemu:cortex-m7", "qemu:cortex-m55", "torch")
)


INT8_CHOICES = _Names((*INT8_RUNTIMES, *COMPILED_RUNTIMES))  # of a .tflite


CHECKPOINT_SUFFIXES = (".pt", ".pth")


RUNTIME_HELP = (
    "sim: NumPy integer simulator, the chip's arithmetic; ref: TFLite's reference kernels; xnnpack: the "
    "interpreter's default kernels; tflm: TFLite Micro; c99: the generated C on this machine; qemu:...: the same C on "
    "an emulated microcontroller (qemu:cortex-m4, -m7, -m55), with instruction counts; serial:PORT[@BAUD]: a board "
    "that runs what `edgedet deploy` wrote; torch: float checkpoint "
    "(default: sim for a .tflite, torch for a .pt)"
)


TENSOR, IMAGE = SENT = ("tensor", "image")
SEND_HELP = (
    "with serial:PORT: what the board gets. tensor: the network's input, prepared here; image: the picture as it is, "
    "so that the board's own resizing and quantization are measured, too (default: tensor)"
)


def choose_send(runtime: str, send: str | None) -> str:
    """What a device gets.

    Args:
        runtime: its name.
        send: what the user asked for: tensor, image, or None.
    Returns:
        tensor or image.
    Raises:
        ConfigError: no such input, or the runtime is no device.
    """
    if send is None:
        return TENSOR
    if send not in SENT:
        raise ConfigError(f"`send` must be {' or '.join(SENT)}, got {send!r}")
    if not is_serial(runtime):
        raise ConfigError(f"`send` {send}: only of `runtime` serial:PORT, found {runtime}; leave it out")
    return send


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
            f"{model}: `runtime` torch runs checkpoints; for a .tflite take sim, ref, xnnpack, tflm, c99, qemu:... or "
            "serial:..."
        )
    return name
