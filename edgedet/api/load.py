"""`edgedet.load`: a detector by its file or the folder of its run."""

from __future__ import annotations

from edgedet.api.model import Model
from edgedet.api.model_file import CHECKPOINT, INT8, ONNX
from edgedet.api.public import public
from edgedet.api.runs import file_of
from edgedet.contracts import NmsChoice
from edgedet.errors import ConfigError, meant
from edgedet.fileio import PathLike, as_path
from edgedet.runtimes.names import CHECKPOINT_SUFFIXES, RUNTIMES, SENT, choose_runtime, choose_send
from edgedet.typed import require_numbers, require_one, require_text, require_truth, require_whole, shown

_KINDS = {**dict.fromkeys(CHECKPOINT_SUFFIXES, CHECKPOINT), ".tflite": INT8, ".onnx": ONNX}


@public
def load(
    model: PathLike,
    *,
    runtime: str | None = None,
    device: str | None = None,
    nms_iou: float | None = None,
    max_detections: int | None = None,
    class_agnostic: bool = False,
    send: str | None = None,
) -> Model:
    """Load a detector.

    Args:
        model: checkpoint (.pt), int8 file (.tflite) of any maker, network (.onnx), or the folder of a run: of
            `quantize` its int8 file is taken, of `train` and `substitute` the best checkpoint.
        runtime: what runs an int8 file: sim (the chip's arithmetic in NumPy, the usual one), ref, xnnpack, tflm, c99,
            qemu:cortex-m4, -m7, -m55, serial:PORT[@BAUD] (a board).
        device: of checkpoints: auto, cpu, cuda, cuda:N, mps; None: auto.
        nms_iou: suppress boxes whose IoU with a better one is higher, inside (0, 1]; None: the file's.
        max_detections: of a picture; None: the file's.
        class_agnostic: each box has its best class only, and suppresses those of all classes.
        send: what a board gets: tensor, prepared here, or image, so that the board prepares it; None: tensor.
    Returns:
        The model. Its file is read when something first needs it.
    Raises:
        ConfigError: no such file, no run in the folder, or another kind of file.
    """
    require_text(device=device)
    require_numbers(nms_iou=nms_iou)
    if nms_iou is not None and not 0.0 < nms_iou <= 1.0:
        raise ConfigError(f"`nms_iou` {nms_iou:g}: expected a number in (0, 1]; 0.65 is usual")
    if runtime is not None and not (isinstance(runtime, str) and runtime in RUNTIMES):
        near = meant(runtime, RUNTIMES) if isinstance(runtime, str) else ""
        raise ConfigError(f"`runtime` {shown(runtime)}: expected one of {', '.join(RUNTIMES)} or serial:PORT{near}")
    if send is not None:
        require_one("send", send, SENT)
    require_whole(1, max_detections=max_detections)
    require_truth(class_agnostic=class_agnostic)
    path = file_of(as_path(model, "model"))
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError(
            f"{path}: expected a .tflite, .pt, .pth or .onnx, found {path.suffix or 'no suffix'}; checkpoints of "
            "other makers come in by `edgedet import`"
        )
    if kind == ONNX and any(given is not None for given in (runtime, device, send)):
        raise ConfigError(f"{path}: `runtime`, `device` and `send` are of int8 files; quantize() the ONNX file first")
    if kind != ONNX:
        choose_send(choose_runtime(path, runtime), send)  # raises
    if kind == INT8 and device is not None:
        raise ConfigError(f"{path}: `device` {device!r} is for checkpoints; an int8 file runs on the CPU")
    return Model(path, kind, runtime, device, NmsChoice(nms_iou, max_detections, class_agnostic), send=send)
