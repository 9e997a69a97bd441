"""Open a model file of any kind that edgedet runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.public import public
from edgedet.contracts import AS_IN_CONTRACT, NmsChoice
from edgedet.errors import ConfigError
from edgedet.progress import Progress, show_progress
from edgedet.runtimes.names import choose_runtime, choose_send

if TYPE_CHECKING:
    from edgedet.runtimes.protocol import Runtime

_WORTH_A_BAR = 5  # pictures


@public
def open_model(
    path: Path,
    runtime: str | None,
    device: str | None = None,
    nms: NmsChoice = AS_IN_CONTRACT,
    send: str | None = None,
) -> Runtime:
    """Open a `.tflite` or a checkpoint.

    Args:
        path: model file; its suffix decides.
        runtime: as `--runtime`; None takes the default of the kind of file.
        device: as `--device`, of checkpoints; None: auto.
        nms: other limits of decoding than the contract's.
        send: as `--send`, of boards behind a serial line: tensor or image; None: tensor.
    Returns:
        The runtime.
    Raises:
        EdgedetError: the file can't be run, or not by this runtime.
    """
    name = choose_runtime(path, runtime)
    choose_send(name, send)
    if name == "torch":
        from edgedet.net.device import choose_device
        from edgedet.net.runtime import TorchRuntime

        return TorchRuntime.from_checkpoint(path, choose_device("auto" if device is None else device), nms)
    if device is not None:
        raise ConfigError(f"`device` {device}: only checkpoints run on a device; {path} runs as `runtime` {name}")
    from edgedet.runtimes.open import open_runtime

    return open_runtime(path, name, nms, send)


def progress_bar(title: str, count: int) -> AbstractContextManager[Progress | None]:
    """A bar where there is much to wait for."""
    return show_progress(title) if count >= _WORTH_A_BAR else nullcontext()
