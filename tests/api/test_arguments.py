"""Every argument of everything that `import edgedet` offers, given what it can't be: one error that names it.

The walk goes over the signatures themselves: an argument that is added later without a check fails here, and one with a
new kind of annotation has to be entered into `WRONG`.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_detector import tiny_graph

import edgedet
from edgedet.api.steps import quantizing
from edgedet.errors import EdgedetError
from edgedet.graph.flatbuffer import write_tflite

THING = object()
NO_PATH = (3, b"photos", THING, [3], {}, "a\0b", "x" * 5000, "~nobody-of-this-name/x", math.nan)
NO_TEXT = (3, b"text", THING, ["text"], math.nan, True)
NO_WHOLE = ("3", 1.5, True, THING, math.nan, [1], -1, 2**70 + 0.5)
NO_NUMBER = ("0.5", True, THING, math.nan, math.inf, [0.5])
NO_TRUTH = ("no", 1, 0, THING, [], None)
# Annotation -> values that are none of it. What has a meaning as None is not given None.
WRONG: dict[str, tuple[Any, ...]] = {
    "PathLike": (*NO_PATH, None),
    "PathLike | None": NO_PATH,
    "str": (*NO_TEXT, None, "nothing of this name"),
    "str | None": (*NO_TEXT, "nothing of this name"),
    "int": (*NO_WHOLE, None),
    "int | None": NO_WHOLE,
    "int | Literal['auto'] | None": (*NO_WHOLE, "autos"),
    "float": (*NO_NUMBER, None, -0.5),
    "float | None": (*NO_NUMBER, -0.5),
    "bool": NO_TRUTH,
    "int | tuple[int, int]": (*NO_WHOLE, None, (96,), (96, "96"), (96, 0), (96, 96, 3)),
    "int | tuple[int, int] | None": (*NO_WHOLE, (96,), (96, "96"), (96, 0), (96, 96, 3)),
    "PathLike | int": (b"photos", THING, [3], {}, "a\0b", True, -1, 1.5, None),
    "str | Model": (3, b"model", THING, None, ["model"]),
    "PathLike | Model": (*NO_PATH, None),
    "PathLike | Model | None": NO_PATH,
    "Data": (3, b"bccd", THING, None, {}, [3], math.nan),
    "Data | None": (3, b"bccd", THING, {}, [3], math.nan),
    "PathLike | Sequence[PathLike] | None": (3, b"bccd", THING, {}, [3], math.nan),
    "Source": (3, b"photo", THING, None, {}, [3], [None], [[THING]], math.nan),
    "Sequence[str]": (3, "layer", b"layer", THING, None, [3], {}),
    "Mapping[str, str] | None": (3, "a=b", [("a", "b")], THING, {3: "a"}, {"a": 3}),
    "Mapping[str, object] | None": (3, "a=b", [("a", "b")], THING),
    "NpuOptions | None": (3, "grove", {}, THING),
    "Callable[[str], None]": (3, "print", None, THING),
}
# Texts that are free: there "nothing of this name" is no error, or is told when the work is done.
FREE = {"load.device", "train.device", "train.precision"}
Given = dict[str, Any]


def surface() -> dict[str, Callable[..., Any]]:
    """Functions and methods that users call, by the name that they are called by."""
    found: dict[str, Callable[..., Any]] = {}
    for name in edgedet.__all__:
        value = getattr(edgedet, name)
        if inspect.isfunction(value):
            found[name] = value
        elif inspect.isclass(value):
            found |= {
                f"{name}.{member}": function
                for member, function in inspect.getmembers(value, inspect.isfunction)
                if not member.startswith("_")
            }
    return found


def arguments() -> Iterator[tuple[str, str]]:
    for name, function in surface().items():
        yield from ((name, parameter) for parameter in inspect.signature(function).parameters if parameter != "self")


class Bench:
    """A folder with an int8 file, something called a checkpoint, and an empty data set; and sound arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.tflite, self.checkpoint = folder / "model_int8.tflite", folder / "best.pt"
        write_tflite(tiny_graph(), self.tflite)
        self.checkpoint.write_bytes(b"is not read")
        self.data.mkdir()

    def subject(self, name: str) -> Any:
        """What a method is called on."""
        kind = name.partition(".")[0]
        if kind == "Model":
            return edgedet.load(self.checkpoint if name == "Model.quantize" else self.tflite)
        if kind == "Dataset":
            return edgedet.open_dataset(self.data)
        nothing = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        return edgedet.Detections(*nothing, ("a",), None, (4, 4))

    def sound(self, name: str) -> Given:
        """Arguments that are needed."""
        data = {"data": self.data}
        table: dict[str, Given] = {
            "load": {"model": self.tflite},
            "train": {"model": "rtmdet_pico_relu6", **data, "out": self.folder / "run"},
            "open_dataset": data,
            "ui": {"run": self.tflite},
            "Dataset.split": {"name": "train"},
            "Dataset.show": {"out": self.folder / "page.png"},
            "Model.predict": {"source": np.zeros((8, 8, 3), np.uint8)},
            "Model.predict_video": {"source": "a.mp4", "out": self.folder / "out"},
            "Model.evaluate": data,
            "Model.quantize": {**data, "out": self.folder / "run"},
            "Model.deploy": {"target": "c99", "out": self.folder / "c99"},
            "Model.inspect": {"against": self.checkpoint, **data},
            "Model.waterfall": {"against": self.checkpoint, **data},
            "Model.export": {"format": "onnx-qdq", "out": self.folder / "a.onnx"},
        }
        return table.get(name, {})

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def call(bench: Bench, name: str, parameter: str, value: Any) -> None:
    function = surface()[name]
    given = [bench.subject(name)] if "." in name else []
    if inspect.signature(function).parameters[parameter].kind is inspect.Parameter.VAR_POSITIONAL:
        function(*given, value)
    else:
        function(*given, **{**bench.sound(name), parameter: value})


@pytest.mark.parametrize(("name", "parameter"), list(arguments()))
def test_a_wrong_argument_is_one_error_that_names_it(
    name: str, parameter: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(bench.folder)
    annotation = str(inspect.signature(surface()[name]).parameters[parameter].annotation)
    assert annotation in WRONG, f"enter what is wrong for {annotation!r} into the table of this test"
    before = bench.files()
    for value in WRONG[annotation]:
        if isinstance(value, str) and value.startswith("nothing") and f"{name}.{parameter}" in FREE:
            continue
        with pytest.raises(EdgedetError) as caught:
            call(bench, name, parameter, value)
        text = str(caught.value)
        assert text.startswith(f"`{parameter}`"), f"{value!r}: {text}"
        assert "\n" not in text
        assert len(text) < 1000
    assert bench.files() == before


def test_every_function_goes_through_the_door() -> None:
    """Where NumPy's numbers become Python's, and what goes wrong an EdgedetError; tests/api/test_public.py."""
    assert [name for name, function in surface().items() if not hasattr(function, "__wrapped__")] == []


def test_efforts_are_those_of_the_pipeline() -> None:
    pytest.importorskip("torch")
    from edgedet.quantize.ptq.pipeline import EFFORTS

    assert tuple(EFFORTS) == quantizing.EFFORTS


# Called on what `Bench` holds: values of the right type that are out of range, or don't go together.
VALUES: dict[str, tuple[str, Given, str]] = {
    "runtime": (
        "load",
        {"runtime": "simm"},
        "`runtime` 'simm': expected one of sim, .* serial:PORT .did you mean 'sim'",
    ),
    "nms_iou": ("load", {"nms_iou": 2.0}, r"`nms_iou` 2: expected a number in \(0, 1\]"),
    "max_detections": ("load", {"max_detections": 0}, "`max_detections` 0: expected a whole number, at least 1"),
    "send": ("load", {"send": "tensors"}, "`send` 'tensors': expected one of tensor, image .did you mean 'tensor'"),
    "batch": ("train", {"batch": 0}, "`batch` 0: expected a whole number, at least 1"),
    "setting": ("train", {"settings": {"train.lrr": 1}}, "`settings` 'train.lrr=1': key 'train.lrr' is unknown"),
    "device": ("train", {"device": "gpu"}, "`device` 'gpu': expected auto, cpu, cuda, cuda:N or mps"),
    "precision": ("train", {"precision": "int8"}, "`precision` must be one of auto, float32"),
    "resume": ("train", {"resume": True, "out": None}, "`resume`: which run.*`out`"),
    "exif": ("open_dataset", {"exif": "upside"}, "`exif` 'upside': expected one of auto, upright, stored"),
    "classes": ("open_dataset", {"classes": ["a", "a"]}, "`classes`: 'a' is given twice"),
    "port": ("ui", {"port": 65536}, "`port` 65536: expected 0 to 65535"),
    "split": ("Dataset.show", {"split": "vaild"}, "`split` 'vaild': expected one of .*did you mean 'valid'"),
    "page": ("Dataset.show", {"out": "page.pdf"}, "`out` page.pdf: expected a name that ends in .png or .html"),
    "threshold": (
        "Model.predict",
        {"score_threshold": 1.0},
        "`score_threshold` 1.0: expected a number with 0 <= t < 1",
    ),
    "frames": ("Model.predict_video", {"frames": 0}, "`frames` 0: expected a whole number, at least 1"),
    "aim": ("Model.evaluate", {"operating_point": "f2"}, "`operating_point` 'f2': expected f1, precision=P"),
    "method": ("Model.quantize", {"method": "qta"}, "`method` 'qta': expected one of ptq, qat .did you mean 'qat'"),
    "effort": ("Model.quantize", {"effort": "bets"}, "`effort` 'bets': expected one of .*did you mean 'best'"),
    "rate": ("Model.quantize", {"lr": 0.0}, "`lr` 0: expected a number above 0"),
    "target": ("Model.deploy", {"target": "c98"}, "`target` 'c98': expected one of tflm, .*did you mean 'c99'"),
    "symbols": ("Model.deploy", {"name": "Mine"}, "`name` 'Mine': expected 1 to 32 lower-case letters"),
    "ram": ("Model.deploy", {"ram_bytes": 0}, "`ram_bytes` 0: expected a whole number, at least 1"),
    "format": ("Model.export", {"format": "qdqq"}, "`format` 'qdqq': expected one of onnx, .*did you mean onnx-qdq"),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_value_out_of_range_is_one_error_that_says_the_range(
    case: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(bench.folder)
    name, given, message = VALUES[case]
    before = bench.files()
    subject = [bench.subject(name)] if "." in name else []
    with pytest.raises(EdgedetError, match=f"^{message}"):
        surface()[name](*subject, **{**bench.sound(name), **given})
    assert bench.files() == before


def test_classes_that_are_made_by_functions_say_by_which() -> None:
    for made in (lambda: edgedet.Model("best.pt"), lambda: edgedet.Model(Path("best.pt"), "checkpiont")):  # type: ignore[arg-type]
        with pytest.raises(EdgedetError, match=r"models are opened by `edgedet\.load\(path\)`"):
            made()
    with pytest.raises(EdgedetError, match=r"^Dataset\('bccd'\): data sets are opened by `edgedet\.open_dataset"):
        edgedet.Dataset("bccd")  # type: ignore[arg-type]


def test_detections_that_do_not_fit_together_are_refused() -> None:
    boxes, scores, labels = np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.array([0, 1])
    for wrong in ((boxes[:1], scores, labels), (boxes, scores[:1], labels), (boxes, scores, labels[:1])):
        with pytest.raises(EdgedetError, match="take the same rows of all three"):
            edgedet.Detections(*wrong, ("a", "b"), None, (4, 4))
    with pytest.raises(EdgedetError, match="labels 0 to 1; expected 0 to 0"):
        edgedet.Detections(boxes, scores, labels, ("a",), None, (4, 4))


def test_numpys_numbers_are_taken_and_written(bench: Bench, tmp_path: Path, tiny_coco_once: Path) -> None:
    """Through JSON, too, which knows Python's only."""
    model = edgedet.load(
        bench.tflite, max_detections=np.int64(5), nms_iou=np.float32(0.5), class_agnostic=np.bool_(True)
    )
    photo = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(photo)
    (found,) = model.predict(photo, score_threshold=np.float64(0.05), out=tmp_path / "out", skip_broken=np.bool_(False))
    assert len(found) == 5
    assert json.loads((tmp_path / "out" / "detections.json").read_text())["score_threshold"] == 0.05
    data = edgedet.open_dataset(tiny_coco_once, rename={"red": "mask"}, split_seed=np.int64(0))
    report = model.evaluate(data, images=np.int32(2), score_threshold=np.float32(0.25))
    assert json.loads(report.to_json())["score_threshold"] == 0.25
    assert data.check((np.int64(96), np.int64(64))).input_width == 96
    deployed = model.deploy("c99", tmp_path / "c99", seed=np.uint8(1), ram_bytes=np.int64(10**6))
    assert json.loads((deployed.out / "manifest.json").read_text())["target"] == "c99"
