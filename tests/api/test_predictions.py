"""`Model.predict` of many pictures of which some are broken: nothing of the others is lost."""

from __future__ import annotations

import json
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_detector import tiny_graph

import edgedet
from edgedet.api.detections import Detections
from edgedet.api.predictions import BrokenPicture
from edgedet.errors import ConfigError, DataError
from edgedet.graph.flatbuffer import write_tflite


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> edgedet.Model:
    path = tmp_path_factory.mktemp("model") / "model_int8.tflite"
    write_tflite(tiny_graph(), path)
    return edgedet.load(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures and one that is cut short, the second by name."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in ("a.png", "b.png", "c.png", "d.png"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(folder / name)
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:900])
    return folder


def same(found: list[Detections], expected: list[Detections]) -> bool:
    rows = [[one.to_coco() for one in each] for each in (found, expected)]
    return rows[0] == rows[1] and [one.path for one in found] == [one.path for one in expected]


@pytest.mark.parametrize("kind", ["folder", "pattern", "list"])
def test_one_broken_picture_loses_nothing_of_the_others(model: edgedet.Model, photos: Path, kind: str) -> None:
    source = {"folder": photos, "pattern": str(photos / "*.png"), "list": sorted(photos.iterdir())}[kind]
    others = [photos / name for name in ("a.png", "c.png", "d.png")]
    with pytest.raises(edgedet.BrokenPicturesError) as caught:
        model.predict(source, score_threshold=0.05)
    assert same(caught.value.results, model.predict(others, score_threshold=0.05))
    assert sum(map(len, caught.value.results)) > 0
    assert [picture.path for picture in caught.value.broken] == [photos / "b.png"]
    text = str(caught.value)
    assert text.startswith(f"1 of 4 pictures can't be read: {photos / 'b.png'}: ")
    assert "The other 3 are done: this error has them as `results`" in text
    assert "\n" not in text


def test_skip_broken_gives_the_others_with_a_warning_and_the_list(model: edgedet.Model, photos: Path) -> None:
    with pytest.warns(UserWarning, match=r"^1 of 4 pictures can't be read: .*b\.png.*; they are left out$") as caught:
        found = model.predict(photos, skip_broken=True)
    assert caught[0].filename == __file__  # the line that called it
    assert [one.path for one in found] == [photos / name for name in ("a.png", "c.png", "d.png")]
    ((path, problem),) = [(picture.path, picture.problem) for picture in found.broken]
    assert path == photos / "b.png"
    assert problem.startswith(f"{photos / 'b.png'}: ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.predict(photos / "a.png", skip_broken=True).broken == ()


@pytest.mark.parametrize("skip_broken", [False, True])
def test_out_holds_the_others_either_way(model: edgedet.Model, photos: Path, tmp_path: Path, skip_broken: bool) -> None:
    out = tmp_path / "out"
    if skip_broken:
        with pytest.warns(UserWarning, match="can't be read"):
            found = model.predict(photos, out=out, skip_broken=True)
    else:
        with pytest.raises(edgedet.BrokenPicturesError) as caught:
            model.predict(photos, out=out)
        found = caught.value.results
    assert len(found) == 3
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png", "d.png", "detections.json"]
    written = json.loads((out / "detections.json").read_text(encoding="utf-8"))
    assert [Path(image["image"]).name for image in written["images"]] == ["a.png", "c.png", "d.png"]
    assert written["unreadable"] == [picture.problem for picture in found.broken]


def test_a_wrong_path_in_a_list_is_one_that_can_not_be_read(model: edgedet.Model, photos: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(edgedet.BrokenPicturesError, match=r"1 of 3 pictures can't be read: .*gone\.png: image file"):
        model.predict([photos / "a.png", str(photos / "gone.png"), pixels])
    with pytest.raises(DataError, match="no such file or folder"):
        model.predict([photos / "gone.png"])


def test_where_none_can_be_read_or_one_alone_it_is_the_error(model: edgedet.Model, photos: Path) -> None:
    for source in (photos / "b.png", [photos / "b.png"]):
        with pytest.raises(DataError, match=r"b\.png") as caught:
            model.predict(source)
        assert not isinstance(caught.value, edgedet.BrokenPicturesError)
    with pytest.raises(DataError, match="none of the 2 images can be read"):
        model.predict([photos / "b.png", photos / "b.png"])
    with pytest.raises(DataError, match="none of the 1 images can be read"):
        model.predict(photos / "b.png", skip_broken=True)


def test_evaluate_names_the_keyword_that_leaves_broken_images_out(
    model: edgedet.Model, tiny_coco: Path, tmp_path: Path
) -> None:
    data = edgedet.open_dataset(tiny_coco, rename={"red": "mask", "green": 'no "mask"'})
    picture = data.valid.images[1].path
    picture.write_bytes(picture.read_bytes()[:200])
    for again in (data, edgedet.open_dataset(tiny_coco, rename={"red": "mask", "green": 'no "mask"'})):
        with pytest.raises(DataError, match="leave them out by `skip_broken`"):
            model.evaluate(again)
        report = model.evaluate(again, skip_broken=True)
        assert report.images == 3
        assert len(report.broken) == 1


class Cells(HTMLParser):
    """Texts of an HTML table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data)


def test_many_predictions_show_themselves_in_short() -> None:
    none = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    many = [Detections(*none, ("<a>",), Path(f"{'x' * 300}/<b>{number}.png"), (60, 40)) for number in range(500)]
    found = edgedet.Predictions(many, [BrokenPicture(Path("<c>"), "<c>: is cut short")])
    assert repr(found) == "<Predictions in 500 pictures: 0 objects, 1 more can't be read>"
    assert repr(edgedet.Predictions(many[:1])) == "<Predictions in 1 picture: 0 objects>"
    html = found._repr_html_()
    assert len(html) < 10_000
    texts = Cells(html).texts
    assert texts[0] == "Predictions in 500 pictures: 0 objects, 1 more can't be read"
    assert texts[4:7] == [f"...{'x' * 48}/<b>0.png", "60x40", "nothing"]
    assert texts[-2:] == ["480 more rows", "can't be read: <c>: is cut short"]


def test_predict_still_gives_a_list(model: edgedet.Model, photos: Path) -> None:
    found = model.predict(photos / "a.png")
    assert isinstance(found, list)
    with pytest.raises(ConfigError, match="`skip_broken` 'yes': expected True or False"):
        model.predict(photos, skip_broken="yes")  # type: ignore[arg-type]
