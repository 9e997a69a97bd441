"""One generated module for each kind of generated C: every decoder, every type, every kernel; not a test itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import graph_maker as maker
import tiny_detector
from border_graphs import detector_with_borders
from fomo_like import heat_map
from int16_graphs import all_operators as int16_operators
from row_heads import row_model

from edgedet.contracts import PreprocessSpec
from edgedet.deploy.api import deploy
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import write_tflite

GREY = PreprocessSpec(width=64, height=32, channel_order="GRAY", mean=(127.5,), std=(120.0,))
BGR = PreprocessSpec(64, 32, channel_order="BGR", mean=(103.53, 116.28, 123.675), std=(57.4, 57.1, 58.4))


def _graph(make: Callable[[], g.Graph]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        write_tflite(make(), folder / "model.tflite")
        return folder / "model.tflite"

    return write


def _rows(name: str) -> Callable[[Path], Path]:
    return lambda folder: row_model(name, folder)


MODELS: dict[str, Callable[[Path], Path]] = {
    "RTMDet head": _graph(tiny_detector.tiny_graph),
    "grey camera": _graph(lambda: tiny_detector.tiny_graph(GREY, 0.0085, -3)),
    "blue first": _graph(lambda: tiny_detector.tiny_graph(BGR, 0.0187, -15)),
    "FOMO head": heat_map,
    "YOLOv8 head": _rows("yolov8"),
    "YOLOv5 head": _rows("yolov5"),
    "SSD head, softmax": _rows("ssd_softmax"),
    "NanoDet head": _rows("nanodet"),
    "many operators, int8": _graph(maker.every_operator),
    "many operators, int16": _graph(int16_operators),
    "float32, uint8 and int16 ends": _graph(detector_with_borders),
}


def make_module(name: str, folder: Path) -> Path:
    """Deploy one of MODELS into a new folder.

    Returns:
        Folder of the module.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return deploy(MODELS[name](folder), "c99", folder / "module").out
