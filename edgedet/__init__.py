"""edgedet: an object detector from COCO images to int8 code on a microcontroller, with nothing lost on the way.

    import edgedet

    data = edgedet.open_dataset("bccd")                       # a folder: COCO, YOLO, Pascal VOC, CVAT, ...
    print(data.check())                                       # what is wrong with it, and advice
    model = edgedet.train("rtmdet_pico_relu6", data, epochs=100)
    chip = model.quantize(data)                               # int8, in the chip's own arithmetic
    print(model.evaluate(data).ap.ap, chip.evaluate(data).ap.ap)  # COCO AP of both
    for found in chip.predict("photos"):                      # a file, folder, pattern, array, or a list of these
        found.draw().save("with_boxes.png")
        for one in found:
            print(found.path, one.class_name, one.score, one.box)
    print(chip.deploy("c99"))                                 # C for the chip, in runs/

    model = edgedet.load("runs/mine")                         # a run's folder, .pt, .tflite or .onnx
    edgedet.report("runs/one", "runs/other", out="both.html") # each run has its report.html

`edgedet.models()` are the networks to train, `edgedet.boards()` the boards that edgedet knows. `help(edgedet.load)`,
`help(edgedet.Model)` and so on say the rest. Results go to runs/ unless `out` says where. What a call gives can be
printed and shows itself in a notebook; what goes wrong is an `edgedet.EdgedetError` that says what to do. Importing the
package is cheap: no NumPy, no torch, no TensorFlow; each loads when something needs it.
"""

from __future__ import annotations

import sys

# As typing's: nothing else of the standard library is imported here, since a file of the current folder might be taken
# for it until `_leave_current_folder` ran.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgedet.api.dataset import Dataset, open_dataset
    from edgedet.api.detections import Detections
    from edgedet.api.known import boards, models
    from edgedet.api.load import load
    from edgedet.api.model import Model
    from edgedet.api.predictions import BrokenPicturesError, Predictions
    from edgedet.api.report import report
    from edgedet.api.training import train
    from edgedet.api.ui import ui
    from edgedet.errors import EdgedetError

__version__ = "0.1.0"
__all__ = [
    "BrokenPicturesError",
    "Dataset",
    "Detections",
    "EdgedetError",
    "Model",
    "Predictions",
    "__version__",
    "boards",
    "load",
    "models",
    "open_dataset",
    "report",
    "train",
    "ui",
]

_HOMES = {
    "BrokenPicturesError": "edgedet.api.predictions",
    "Dataset": "edgedet.api.dataset",
    "Detections": "edgedet.api.detections",
    "EdgedetError": "edgedet.errors",
    "Model": "edgedet.api.model",
    "Predictions": "edgedet.api.predictions",
    "boards": "edgedet.api.known",
    "load": "edgedet.api.load",
    "models": "edgedet.api.known",
    "open_dataset": "edgedet.api.dataset",
    "report": "edgedet.api.report",
    "train": "edgedet.api.training",
    "ui": "edgedet.api.ui",
}


def __getattr__(name: str) -> object:
    """Load what is asked for when it is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edgedet' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _leave_current_folder() -> None:
    """Take the current folder from the places that modules are looked for, when `python -m edgedet...` put it there.

    A user's json.py or torch.py beside his pictures is not meant. The command `edgedet` never looks there, and another
    program that imports edgedet keeps its own folder. Modules that Python itself needs to start come before this:
    `python -P -m edgedet` leaves the folder out from the beginning.
    """
    started = sys.orig_argv[1:]
    module = started[started.index("-m") + 1 :][:1] if "-m" in started else []
    if sys.flags.safe_path or not module or module[0].partition(".")[0] != "edgedet" or not sys.path:
        return
    folder = sys.path.pop(0)
    if __file__.startswith(folder.rstrip("/\\") + ("/" if "/" in __file__ else "\\") + "edgedet"):
        sys.path.append(folder)  # a checkout that is not installed: the package itself lies there, behind all others


_leave_current_folder()
