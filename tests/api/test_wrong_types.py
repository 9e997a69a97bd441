"""Arguments of a wrong type from Python: one ConfigError that names the argument, before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_detector import tiny_graph

import edgedet
from edgedet.errors import ConfigError
from edgedet.evaluate.figures.operating_point import Aim
from edgedet.graph.flatbuffer import write_tflite

# What is called, of a loaded int8 model `m` and a folder `d` that exists; beside it the message's words.
WRONG: dict[str, tuple[Callable[[Any, Path], object], str]] = {
    "load device": (lambda m, d: edgedet.load(m.path, device=0), "`device` 0: expected a string"),  # type: ignore[arg-type]
    "load runtime": (lambda m, d: edgedet.load(m.path, runtime=3), "`runtime` 3: expected one of sim, ref, xnnpack"),  # type: ignore[arg-type]
    "load class_agnostic": (
        lambda m, d: edgedet.load(m.path, class_agnostic="no"),  # type: ignore[arg-type]
        "`class_agnostic` 'no': expected True or False",
    ),
    "load nms_iou": (lambda m, d: edgedet.load(m.path, nms_iou="x"), "`nms_iou` 'x': expected a number"),  # type: ignore[arg-type]
    "load max_detections": (
        lambda m, d: edgedet.load(m.path, max_detections=1.5),  # type: ignore[arg-type]
        "`max_detections` 1.5: expected a whole number",
    ),
    "evaluate images": (lambda m, d: m.evaluate(d, images="2"), "`images` '2': expected a whole number"),
    "operating_point": (lambda m, d: Aim.parse(0.9), "`operating_point` 0.9: expected f1, precision=P"),  # type: ignore[arg-type]
    "train model": (lambda m, d: edgedet.train(3, d), "`model`: expected a path"),  # type: ignore[arg-type]
    "train imgsz text": (
        lambda m, d: edgedet.train("rtmdet_pico_relu6", d, imgsz="96x"),  # type: ignore[arg-type]
        "`imgsz` '96x': expected a whole number of px, or (width, height)",
    ),
    "train imgsz float": (
        lambda m, d: edgedet.train("rtmdet_pico_relu6", d, imgsz=96.5),  # type: ignore[arg-type]
        "`imgsz` 96.5: expected a whole number of px, or (width, height)",
    ),
    "train settings": (
        lambda m, d: edgedet.train("rtmdet_pico_relu6", d, settings=["lr=1"]),  # type: ignore[arg-type]
        "`settings` ['lr=1']: expected a dict",
    ),
    "train seed": (
        lambda m, d: edgedet.train("rtmdet_pico_relu6", d, seed="a"),  # type: ignore[arg-type]
        "`seed` 'a': expected a whole number",
    ),
    "train resume": (
        lambda m, d: edgedet.train("rtmdet_pico_relu6", d, d / "run", resume="yes"),  # type: ignore[arg-type]
        "`resume` 'yes': expected True or False",
    ),
    "deploy board": (lambda m, d: m.deploy("c99", d / "out", board=3), "`board` 3: expected the name of a board"),
    "check board": (lambda m, d: m.check(board=3), "`board` 3: expected the name of a board"),
    "ui port": (lambda m, d: edgedet.ui(d, port="8"), "`port` '8': expected 0 to 65535"),  # type: ignore[arg-type]
    "video frames": (lambda m, d: m.predict_video("a.mp4", d, frames="3"), "`frames` '3': expected a whole number"),
    "video source": (lambda m, d: m.predict_video(True, d), "`source` True: expected a path, or the number"),
    "val_fraction": (
        lambda m, d: edgedet.open_dataset(d, val_fraction="x"),  # type: ignore[arg-type]
        "`val_fraction` 'x': expected a number",
    ),
    "rename": (lambda m, d: edgedet.open_dataset(d, rename=3), "`rename` 3: expected a dict"),  # type: ignore[arg-type]
    "classes": (
        lambda m, d: edgedet.open_dataset(d, classes="mask"),
        "`classes` 'mask': expected a list of names",
    ),
    "data imgsz": (lambda m, d: edgedet.open_dataset(d).check(imgsz=None), "`imgsz` None: expected a whole number"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_is_named_and_nothing_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    path, data = tmp_path / "model_int8.tflite", tmp_path / "data"
    write_tflite(tiny_graph(), path)
    data.mkdir()
    call, message = WRONG[name]
    with pytest.raises(ConfigError) as caught:
        call(edgedet.load(path), data)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["data", "model_int8.tflite"]


def test_images_of_an_inspection_are_a_whole_number(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from edgedet.diagnose.inspect import InspectRequest

    with pytest.raises(ConfigError, match=r"^`images` 'x': expected a whole number"):
        InspectRequest(tmp_path, tmp_path, None, images="x")  # type: ignore[arg-type]
