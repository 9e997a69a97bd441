"""The ways to run a model, behind one small protocol: NumPy simulator, LiteRT or tflite-runtime, TFLite Micro.

All of them take the same int8 `.tflite`, read both contracts from its metadata, and differ only in the arithmetic,
which each names. Checkpoints run through `edgedet.net.runtime.TorchRuntime`, which follows the same protocol; it
lives there because nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgedet.contracts import AS_IN_CONTRACT, NmsChoice
from edgedet.device.line import is_serial, open_line, parse_address
from edgedet.errors import ConfigError, naming_file
from edgedet.graph.model import Int8Model, load_int8_model
from edgedet.runtimes.interpreters import open_default_kernels, open_reference, open_tflm
from edgedet.runtimes.names import COMPILED_RUNTIMES, INT8_RUNTIMES, choose_send
from edgedet.runtimes.protocol import Int8Runtime, Run
from edgedet.simulate.simulator import Simulator


def open_runtime(
    path: Path, name: str = "sim", nms: NmsChoice = AS_IN_CONTRACT, send: str | None = None
) -> Int8Runtime:
    """Open an int8 `.tflite` in one of the int8 runtimes.

    Args:
        path: the file; must carry edgedet's metadata.
        name: `sim` (NumPy integer simulator, the chip's arithmetic), `ref` (TFLite's reference kernels), `xnnpack`
            (the interpreter's default kernels), `tflm` (TFLite Micro's reference kernels), `c99` (the generated C on
            this machine, its decoder included where C has one), `qemu:cortex-m4`, `-m7` or
            `-m55` (the same C on an emulated microcontroller), `serial:PORT` or `serial:PORT@BAUD` (a board that runs
            what `deploy` wrote).
        nms: other limits of decoding than the contract's; generated C is made with them.
        send: what a board gets: tensor, prepared here, or image, as it is; None: tensor.
    Returns:
        The runtime, ready to invoke.
    Raises:
        ConfigError: unknown name, `nms` does not fit the head, or `send` is for a board.
        ConversionError: the file is missing, damaged, not int8 or lacks metadata.
        ToolchainError: the interpreter's package is missing or rejects the file.
        DeviceError: the board does not answer, or holds another model.
    """
    openers: dict[str, Callable[[Int8Model], tuple[str, Run]]] = {
        "sim": _open_simulator,
        "ref": lambda model: open_reference(str(model.path), model.data),
        "xnnpack": lambda model: open_default_kernels(str(model.path), model.data),
        "tflm": lambda model: open_tflm(str(model.path), model.data, model.graph),
    }
    known = (*INT8_RUNTIMES, *COMPILED_RUNTIMES)
    if name not in known and not is_serial(name):
        raise ConfigError(f"runtime must be one of {', '.join(known)} or serial:PORT for a .tflite; got {name!r}")
    sent = choose_send(name, send)
    model = load_int8_model(path)
    if is_serial(name):
        return _open_device(model, name, nms, sent)
    model = replace(model, outputs=nms.applied(model.outputs))
    if name.startswith("qemu:"):
        with naming_file(path):
            return _open_qemu(model, name)
    if name == "c99":
        with naming_file(path):
            return _open_c99(model)
    with naming_file(path):
        arithmetic, run = openers[name](model)
    return Int8Runtime(name, "; ".join((arithmetic, *model.notes)), model, run)


def _open_simulator(model: Int8Model) -> tuple[str, Run]:
    return (
        "int8, double rounding (TFLM, CMSIS-NN), edgedet's NumPy simulator",
        Simulator(model.graph).invoke,
    )


def _open_c99(model: Int8Model) -> Int8Runtime:
    # Here, because the generator in deploy/ uses this module.
    from edgedet.runtimes.generated_c import HOST_FLAGS, HostModule

    decodes = model.has_c_decoder
    module = HostModule(model.data, model.graph, model if decodes else None)
    arithmetic = (
        f"int8, double rounding, edgedet's generated C on the host, {'' if decodes else 'decoded in Python, '}"
        f"{module.compiler} {' '.join(HOST_FLAGS)}"
    )
    decoder = module.decode if decodes else None
    return Int8Runtime("c99", "; ".join((arithmetic, *model.notes)), model, module, decoder=decoder)


def _open_qemu(model: Int8Model, name: str) -> Int8Runtime:
    from edgedet.runtimes.generated_c import QemuModule

    module = QemuModule(
        model.data, model.graph, name.removeprefix("qemu:"), model=model if model.has_c_decoder else None
    )
    board = module.firmware.board
    arithmetic = (
        f"int8, double rounding, edgedet's generated C on QEMU {board.machine} ({board.cpu}); instructions, not cycles"
    )
    return Int8Runtime(name, "; ".join((arithmetic, *model.notes)), model, module, module.details)


def _open_device(model: Int8Model, name: str, nms: NmsChoice, send: str) -> Int8Runtime:
    from edgedet.runtimes.on_device import DeviceModule, device_runtime

    address = parse_address(name)
    module = DeviceModule(model, open_line(address), address, send=send)
    return device_runtime(name, module, replace(model, outputs=nms.applied(model.outputs)))
