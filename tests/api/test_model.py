"""`edgedet.load` and the model that it gives, against the functions behind it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_detector import tiny_graph

import edgedet
from edgedet.api.steps.quantizing import Quantization
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError, DataError, ShapeError
from edgedet.evaluate.detect import detect
from edgedet.evaluate.evaluator import evaluate
from edgedet.graph.flatbuffer import write_tflite
from edgedet.runtimes.open import open_runtime


@pytest.fixture(scope="module")
def tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model_int8.tflite"
    write_tflite(tiny_graph(), path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for name in ("b.png", "a.PNG", "more/c.png"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / "photos" / name, format="PNG")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    return tmp_path / "photos"


def test_import_needs_no_numpy_and_names_what_it_has() -> None:
    code = "import sys, edgedet; print('numpy' in sys.modules, 'torch' in sys.modules, *dir(edgedet))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    names = ["BrokenPicturesError", "Dataset", "Detections", "EdgedetError", "Model", "Predictions", "__version__"]
    names += ["boards"]
    names += ["load", "models", "open_dataset", "report", "train", "ui"]
    assert out == ["False", "False", *names]


def test_train_stays_the_function_when_the_trainer_is_loaded() -> None:
    import edgedet.training.loop

    assert edgedet.training.loop.__name__ == "edgedet.training.loop"
    assert callable(edgedet.train)


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'YOLO'; it has .*load, models, open_dataset, report"):
        _ = edgedet.YOLO


@pytest.mark.parametrize("given", ["string", "path", "folder"])
def test_load_takes_what_people_have(tflite: Path, given: str) -> None:
    model = edgedet.load({"string": str(tflite), "path": tflite, "folder": str(tflite.parent)}[given])
    assert model.path == tflite
    assert model.class_names == open_runtime(tflite).outputs.class_names
    assert repr(model).startswith("<Model ")  # the begin of a long path is left out
    assert repr(model).endswith(f"{tflite.name} (int8)>")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.tflite", "no such file or folder"),
        ("empty", r"holds no model_int8\.tflite and no best\.pt"),
        ("weights.h5", r"expected a \.tflite, \.pt, \.pth or \.onnx, found \.h5"),
    ],
)
def test_load_of_something_else_says_what_was_expected(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(ConfigError, match=message):
        edgedet.load(tmp_path / name)
    with pytest.raises(ConfigError, match="`model`: expected a path, as a string or Path, found int"):
        edgedet.load(3)  # type: ignore[arg-type]


def test_load_device_of_an_int8_file_is_refused(tflite: Path) -> None:
    with pytest.raises(ConfigError, match="an int8 file runs on the CPU"):
        edgedet.load(tflite, device="cuda")


def test_predict_finds_in_files_what_detect_finds(tflite: Path, photos: Path) -> None:
    model, runtime = edgedet.load(tflite), open_runtime(tflite)
    found = model.predict(photos, score_threshold=0.05)
    assert [one.path for one in found] == [photos / "a.PNG", photos / "b.png", photos / "more" / "c.png"]
    for one in found:
        assert one.path is not None
        expected = detect(runtime, one.path, 0.05).in_image
        assert (one.boxes == expected.boxes).all()
        assert (one.scores == expected.scores).all()
        assert (one.labels == expected.labels).all()
        assert one.size == (60, 40)
    assert sum(len(one) for one in found) > 0


def test_predict_sources_are_the_same_pictures(tflite: Path, photos: Path) -> None:
    model, path = edgedet.load(tflite), photos / "b.png"
    pixels = np.array(Image.open(path))
    (expected,) = model.predict(path, score_threshold=0.05)
    for source in (str(path), pixels, Image.open(path), [path], str(photos / "b.*"), [pixels]):
        (found,) = model.predict(source, score_threshold=0.05)
        assert (found.boxes == expected.boxes).all()
        assert (np.array(found.draw()) == np.array(expected.draw())).all()


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("absent.jpg", DataError, "no such file or folder"),
        ("*.nothing", DataError, "no file matches this pattern"),
        ([], ConfigError, "empty list"),
        (np.zeros((4, 4, 3), np.float32), ShapeError, r"expected uint8 .* found float32 \(4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), ShapeError, "found none"),
        (7, ConfigError, "expected a path, a folder, a pattern, an array or a list of them, found int"),
    ],
)
def test_predict_of_something_else_says_what_was_expected(
    tflite: Path, source: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        edgedet.load(tflite).predict(source)  # type: ignore[arg-type]


def test_predict_out_writes_pictures(tflite: Path, photos: Path, tmp_path: Path) -> None:
    found = edgedet.load(tflite).predict(photos, out=str(tmp_path / "out"))
    assert len(found) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "c.png", "detections.json"]
    with pytest.raises(ConfigError, match="holds pictures in memory"):
        edgedet.load(tflite).predict([np.zeros((8, 8, 3), np.uint8)], out=tmp_path / "other")


def test_evaluate_is_the_evaluators(tflite: Path, tiny_coco_once: Path) -> None:
    names = {"red": "mask", "green": 'no "mask"'}
    data = edgedet.open_dataset(str(tiny_coco_once), rename=names)
    report = edgedet.load(tflite).evaluate(data, split="val", images=2)
    paths = DataPaths(tiny_coco_once, rename=tuple(names.items()))
    expected = evaluate(open_runtime(tflite), paths.load("valid"), max_images=2)
    assert report.ap == expected.ap
    assert str(report).startswith(expected.ap.table)
    assert repr(report) == f"<EvalReport AP {expected.ap.ap:.3f}, AP50 {expected.ap.ap50:.3f}: 2 images of valid>"


def test_steps_that_a_file_cant_take_say_what_to_do(tflite: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't quantize an int8 file; an int8 file is what `quantize` makes"):
        edgedet.load(tflite).quantize(tmp_path)
    checkpoint = tmp_path / "best.pt"
    checkpoint.write_bytes(b"not read yet")
    with pytest.raises(ConfigError, match=r"can't deploy a checkpoint; make it int8 with quantize\(\) first"):
        edgedet.load(checkpoint).deploy("c99")
    with pytest.raises(ConfigError, match="`method` 'qta': expected one of ptq, qat"):
        edgedet.load(checkpoint).quantize(method="qta")


def test_reprs_are_short(tflite: Path, tiny_coco_once: Path) -> None:
    runtime = open_runtime(tflite)
    data = edgedet.open_dataset(str(tiny_coco_once))
    for value in (runtime, runtime.model, runtime.model.graph, data, data.train, edgedet.load(tflite)):
        assert len(repr(value)) < 300


def test_reprs_of_reports_are_one_short_line(tflite: Path, tmp_path: Path) -> None:
    model = edgedet.load(tflite)
    deployed, checked = model.deploy("c99", tmp_path / "c99"), model.check()
    assert repr(deployed) == f"<DeployReport c99: {len(deployed.files)} files, arena {deployed.arena_bytes:,} bytes>"
    fitting = sum(check.fits for check in checked.checks)
    assert repr(checked) == f"<CheckReport model_int8.tflite (c99): fits {fitting} of {len(checked.checks)} boards>"
    boards = edgedet.boards()
    assert repr(boards[0]) == f"<Board {boards[0].name}>"
    for value in (deployed, checked, *checked.checks, *boards):
        assert len(repr(value)) < 200
        assert "\n" not in repr(value)


@pytest.mark.parametrize(
    ("pixels", "advice"),
    [
        (np.zeros((4, 5, 3), np.float32), "try (255 * a).round().astype('uint8') where they are 0..1"),
        (np.zeros((4, 5, 3), np.int64), "try a.astype('uint8') where they are 0..255"),
        (np.zeros((3, 4, 5), np.uint8), "try a.transpose(1, 2, 0)"),
        (np.zeros((3, 4, 5), np.float64), "try a.transpose(1, 2, 0), then (255 * a).round()"),
        (np.zeros((4, 5, 4), np.uint8), "try a[..., :3]"),
        (np.zeros((2, 4, 5, 3), np.uint8), "give the pictures of a batch as a list, list(batch)"),
    ],
)
def test_predict_of_an_array_of_another_form_says_what_makes_it_one(
    tflite: Path, pixels: np.ndarray, advice: str
) -> None:
    with pytest.raises(ShapeError, match=re.escape(advice)):
        edgedet.load(tflite).predict(pixels)


def test_predict_takes_tensors_as_arrays(tflite: Path) -> None:
    torch = pytest.importorskip("torch")
    model, pixels = edgedet.load(tflite), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    (found,) = model.predict(torch.from_numpy(pixels))
    assert found.to_coco() == model.predict(pixels)[0].to_coco()
    with pytest.raises(ShapeError, match="found float32"):
        model.predict(torch.zeros(3, 4, 5))


@pytest.mark.parametrize("source", [b"photo.jpg", {"photo.jpg": 1}, 5, None])
def test_predict_of_something_else_is_refused(tflite: Path, source: Any) -> None:
    with pytest.raises(ConfigError, match="expected a path, a folder, a pattern, an array"):
        edgedet.load(tflite).predict(source)


def test_numbers_of_another_type_are_refused(tflite: Path) -> None:
    model = edgedet.load(tflite)
    with pytest.raises(ConfigError, match=r"`score_threshold` '0.3': expected a number"):
        model.predict(np.zeros((8, 8, 3), np.uint8), score_threshold="0.3")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"`ram_bytes` '200k': expected a whole number, at least 1"):
        model.deploy("c99", "never", ram_bytes="200k")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"`calib_images` '4': expected a whole number, at least 1"):
        Quantization("ptq", None, "4", "fast", 1, 1, 0.1, False, (), 0)  # type: ignore[arg-type]


def test_a_setting_that_train_does_not_know_is_named_as_the_call_names_it(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^`settings` 'train\.lrr=1': key 'train\.lrr' is unknown \(did you mean 'train\.lr'\?\)"
    ):
        edgedet.train("rtmdet_pico_relu6", tmp_path, out=tmp_path / "run", settings={"train.lrr": 1})
    assert not (tmp_path / "run").exists()


def test_reprs_of_what_torch_makes_are_one_short_line(tflite: Path) -> None:
    torch = pytest.importorskip("torch")
    from edgedet.diagnose.inspect import Inspection
    from edgedet.net.runtime import TorchRuntime
    from edgedet.quantize.ptq.pipeline import EFFORTS
    from edgedet.quantize.report import QuantizeReport

    opened = open_runtime(tflite)
    runtime = TorchRuntime(torch.nn.Identity(), opened.preprocess, opened.outputs)
    side = f"{opened.preprocess.width}x{opened.preprocess.height}"
    assert repr(runtime).startswith(f"<TorchRuntime {side}, {len(opened.outputs.class_names)} classes, float32, torch ")
    path, many = Path("runs/x_int8-1/model_int8.tflite"), (("CONV_2D", 90),) * 500
    quantized = QuantizeReport(
        path, path, path, "a" * 64, 300_000, many, 3, "ptq", "fast", EFFORTS["fast"], (), (), ("layer",) * 500, 8, 8, 0,
        (("load", 0.1),) * 500, ("a note",) * 500,
    )  # fmt: skip
    assert "model_int8.tflite" in repr(quantized)
    inspected = Inspection((), 0.25, "m", "c", "valid", 32, 8, 1.0, ("a note",) * 500)
    assert repr(inspected) == "<Inspection: 0 layers, 32 images, damage 0.25>"
    for value in (runtime, quantized, inspected):
        assert len(repr(value)) < 200
        assert "\n" not in repr(value)
