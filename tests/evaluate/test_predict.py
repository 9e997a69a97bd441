from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.contracts import Detections
from edgedet.data.pictures.draw import class_colour
from edgedet.errors import ConfigError, DataError, ShapeError
from edgedet.evaluate.predict import draw_detections, picture_paths, predict
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.protocol import Int8Runtime


@pytest.fixture
def runtime(toy_model: Path) -> Int8Runtime:
    return open_runtime(toy_model, "sim")


def square(path: Path, channel: int, size: tuple[int, int] = (96, 64)) -> Path:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[16:40, 32:56, channel] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def detections_of(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64))


def test_predict_two_images_writes_pictures_and_json(runtime: Int8Runtime, tmp_path: Path) -> None:
    paths = [square(tmp_path / "in" / "a.png", 0), square(tmp_path / "in" / "b.png", 2, (192, 128))]
    calls: list[tuple[int, int]] = []
    predictions = predict(runtime, paths, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert calls == [(1, 2), (2, 2)]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "b.png", "detections.json"]
    assert [p.picture for p in predictions] == [tmp_path / "out" / "a.png", tmp_path / "out" / "b.png"]
    assert [set(p.detections.labels.tolist()) for p in predictions] == [{0}, {2}]

    value = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert value["score_threshold"] == 0.25
    assert value["runtime"] == "sim"
    first, second = value["images"]
    assert (second["width"], second["height"], second["picture"]) == (192, 128, "b.png")
    found = first["detections"][0]
    assert (found["class"], found["label"]) == ("red", 0)
    assert found["score"] == float(predictions[0].detections.scores[0])
    assert found["box_xyxy_px"] == predictions[0].detections.boxes[0].tolist()
    np.testing.assert_allclose(found["box_xyxy_px"], [32, 16, 56, 40], atol=6)
    drawn = np.array(Image.open(tmp_path / "out" / "b.png"))
    assert drawn.shape == (128, 192, 3)
    assert (drawn != np.array(Image.open(paths[1]))).any()


def test_predict_high_threshold_finds_nothing_and_keeps_the_picture(runtime: Int8Runtime, tmp_path: Path) -> None:
    path = square(tmp_path / "a.png", 1)
    (prediction,) = predict(runtime, [path], tmp_path / "out", 0.99999)
    assert len(prediction.detections) == 0
    np.testing.assert_array_equal(np.array(Image.open(prediction.picture)), np.array(Image.open(path)))


def test_predict_broken_image_writes_nothing(runtime: Int8Runtime, tmp_path: Path) -> None:
    good, bad = square(tmp_path / "good.png", 1), tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes()[:60])
    for broken in (bad, tmp_path / "absent.png"):
        with pytest.raises(DataError, match=broken.name):
            predict(runtime, [good, broken], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_predict_wrong_arguments_raise(runtime: Int8Runtime, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no images given"):
        predict(runtime, [], tmp_path)
    with pytest.raises(ConfigError, match="score_threshold"):
        predict(runtime, [square(tmp_path / "a.png", 1)], tmp_path / "out", 1.5)


def test_predict_same_arguments_give_the_same_bytes(runtime: Int8Runtime, tmp_path: Path) -> None:
    path = square(tmp_path / "a.png", 1)
    for out in ("first", "second", "second"):
        predict(runtime, [path], tmp_path / out)
    assert (tmp_path / "first" / "a.png").read_bytes() == (tmp_path / "second" / "a.png").read_bytes()


def test_picture_paths_clashes_get_numbers(tmp_path: Path) -> None:
    inputs = [tmp_path / name for name in ("x/a.jpg", "y/a.png", "y/A.jpg", "y/a_2.jpg", "y/b.jpg")]
    names = [p.name for p in picture_paths(inputs, tmp_path / "out")]
    assert names == ["a.png", "a_2.png", "A_3.png", "a_2_2.png", "b.png"]


def test_picture_paths_never_replace_an_input(tmp_path: Path) -> None:
    inputs = [tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "b.png"]
    pictures = picture_paths(inputs, tmp_path)
    assert [p.name for p in pictures] == ["a_2.png", "b_2.png", "b_3.png"]
    assert not set(pictures) & set(inputs)


def test_predict_leaves_files_of_the_user_alone_and_replaces_its_own(runtime: Int8Runtime, tmp_path: Path) -> None:
    both = tmp_path / "both"
    photo = square(both / "a.jpg", 0)
    (both / "a.png").write_bytes(b"of the user")
    (both / "a_2.png").symlink_to(tmp_path / "gone.png")
    for _ in range(2):  # the second run replaces a_3.png
        predict(runtime, [photo], both)
        assert (both / "a.png").read_bytes() == b"of the user"
        assert (both / "a_2.png").is_symlink()
        assert not (tmp_path / "gone.png").exists()
        assert sorted(p.name for p in both.iterdir()) == ["a.jpg", "a.png", "a_2.png", "a_3.png", "detections.json"]


@pytest.mark.parametrize("text", ["", "[1]", '{"images": []}', '{"runtime": 1, "class_names": 2, "images": [3]}'])
def test_predict_refuses_a_detections_file_that_is_not_its_own(text: str, runtime: Int8Runtime, tmp_path: Path) -> None:
    photo = square(tmp_path / "out" / "a.jpg", 0)
    (tmp_path / "out" / "detections.json").write_text(text)
    with pytest.raises(ConfigError, match=r"detections\.json: is there already, and edgedet did not write it"):
        predict(runtime, [photo], tmp_path / "out")
    assert (tmp_path / "out" / "detections.json").read_text() == text
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_draw_detections_draws_the_box_in_the_colour_of_the_class() -> None:
    image = np.full((100, 160, 3), 90, np.uint8)
    drawn = draw_detections(image, detections_of((40, 30, 120, 80, 0.75, 1)), ("a", "b"))
    assert (image == 90).all()
    assert drawn.shape == image.shape
    for x, y in ((40, 60), (120, 60), (80, 80)):
        assert tuple(drawn[y, x]) == class_colour(1)
    assert (drawn[45:75, 50:110] == 90).all()  # the inside stays visible
    assert tuple(drawn[29, 42]) == class_colour(1)  # plate of the label above the box


def test_draw_detections_box_at_the_corner_keeps_its_label_inside() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    drawn = draw_detections(image, detections_of((50, 0, 60, 40, 0.5, 0)), ("a long class name",))
    assert tuple(drawn[2, 20]) != (0, 0, 0)


def test_draw_detections_best_lies_on_top() -> None:
    image = np.zeros((60, 60, 3), np.uint8)
    drawn = draw_detections(image, detections_of((10, 30, 50, 50, 0.9, 0), (10, 30, 50, 50, 0.3, 1)), ("a", "b"))
    assert tuple(drawn[40, 10]) == class_colour(0)


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 300, 3), (1080, 1920, 3)])
def test_draw_detections_any_size_works(shape: tuple[int, int, int]) -> None:
    height, width, _ = shape
    rows = detections_of((0, 0, width, height, 0.9, 0), (width / 2, height / 2, width / 2, height / 2, 0.1, 5))
    drawn = draw_detections(np.zeros(shape, np.uint8), rows, tuple("abcdefg"))
    assert drawn.shape == shape


def test_draw_detections_none_gives_a_copy() -> None:
    image = np.arange(300, dtype=np.uint32).astype(np.uint8).reshape(10, 10, 3)
    drawn = draw_detections(image, detections_of(), ("a",))
    np.testing.assert_array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_draw_detections_float_image_raises() -> None:
    with pytest.raises(ShapeError, match="float64"):
        draw_detections(np.zeros((4, 4, 3)), detections_of(), ("a",))


def test_class_colour_first_twenty_differ() -> None:
    colours = np.array([class_colour(label) for label in range(20)], int)
    distances = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 999 * np.eye(20, dtype=int)
    assert distances.min() > 30


def test_predict_one_damaged_image_among_many_leaves_the_others(runtime: Int8Runtime, tmp_path: Path) -> None:
    good = [square(tmp_path / name, 0) for name in ("a.png", "c.png")]
    bad = tmp_path / "b.png"
    bad.write_bytes(good[0].read_bytes()[:80])
    told: list[Path] = []
    paths = [good[0], bad, good[1]]
    predictions = predict(runtime, paths, tmp_path / "out", on_unreadable=lambda path, error: told.append(path))
    assert told == [bad]
    told.clear()
    no_image = tmp_path / "d.png"
    no_image.write_text("no picture at all")
    predict(runtime, [*good, no_image], tmp_path / "text", on_unreadable=lambda path, error: told.append(path))
    assert told == [no_image]
    assert [prediction.image for prediction in predictions] == good
    assert [image["image"] for image in json.loads((tmp_path / "out" / "detections.json").read_text())["images"]] == [
        str(path) for path in good
    ]
    with pytest.raises(DataError, match="none of the 1 images can be read"):
        predict(runtime, [bad], tmp_path / "other", on_unreadable=lambda path, error: told.append(path))
    assert not (tmp_path / "other").exists()


def test_predict_removes_the_pictures_of_an_earlier_run_and_nothing_else(runtime: Int8Runtime, tmp_path: Path) -> None:
    first, second = square(tmp_path / "a.png", 0), square(tmp_path / "b.png", 1)
    out = tmp_path / "out"
    predict(runtime, [first], out)
    (out / "mine.png").write_bytes(b"of the user")
    predict(runtime, [second], out)
    assert sorted(path.name for path in out.iterdir()) == ["b.png", "detections.json", "mine.png"]
    # A list that names something outside is not followed.
    value = json.loads((out / "detections.json").read_text())
    value["images"] = [{"picture": name} for name in ("../a.png", "mine.txt", 7)]
    (out / "detections.json").write_text(json.dumps(value))
    predict(runtime, [second], out)
    assert first.is_file()
