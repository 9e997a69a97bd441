"""How results show themselves in a notebook: one short line, and a table that is sound HTML, whatever the names are."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browser_tools
from PIL import Image
from toy_detector import write_toy_model

import edgedet
from edgedet.hardware.check import CheckReport
from edgedet.notebook import MOST_ROWS, html_table, short, short_path

LONG = Path("/".join(["<b>" + "x" * 96] * 3)) / "<script>alert(1)</script>.tflite"  # more than 300 characters
EVIL = "<script>alert('1')</script>\n\udce9&amp;"


class Sound(HTMLParser):
    """Fails on tags that do not match; keeps their names and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"style", "scope"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def made_reports() -> dict[str, Any]:
    """Reports of steps that take long, with the longest names and lists."""
    from edgedet.diagnose.inspect import Inspection, LayerReport
    from edgedet.diagnose.waterfall import Step as Form
    from edgedet.diagnose.waterfall import Waterfall
    from edgedet.evaluate.figures.reading import Sentence
    from edgedet.finetune.report import QatReport
    from edgedet.finetune.substitute import Cost, SubstituteReport
    from edgedet.quantize.ptq.pipeline import EFFORTS, Step
    from edgedet.quantize.report import QuantizeReport
    from edgedet.training.log import EpochRecord
    from edgedet.training.loop import TrainResult

    many = (EVIL,) * 500
    reading = (Sentence(EVIL, EVIL, EVIL),) * 500
    operators = ((EVIL, 90),) * 500
    layer = LayerReport(1, EVIL, EVIL, 3, 0.1, 0, float("inf"), 1.0, 1.0, 1.0, None, 0.5, 0.0, 0, 0, 0.25)
    form = Form("a", EVIL, 0.5, 0.6, 500, after="b", change=-0.1, note=EVIL)
    epoch = EpochRecord(1, 1.0, 0.5, 0.5, 0.001, 100.0, 0.25)
    cost = Cost(operators, 10**9, 300_000, 10**5, 10**5)
    return {
        "quantize": QuantizeReport(
            LONG, LONG, LONG, "a" * 64, 300_000, operators, 3, EVIL * 9, EVIL * 9, EFFORTS["fast"], (),
            (Step(EVIL, 0.5, False),) * 500, many, 8, 8, 0, ((EVIL, 0.1),) * 500, many,
        ),
        "qat": QatReport(
            LONG, LONG, "a" * 64, 300_000, EVIL, 0.5, 0.4, 0.45, 0.45, 0.01, EVIL, False, 5, 16, 3e-4, False, many,
            100, 0, ((EVIL, 0.1),) * 500, many, operators, reading,
        ),
        "train": TrainResult(LONG, LONG, 0.5, 0.4, (epoch,) * 500, True, many),
        "substitute": SubstituteReport(LONG, EVIL, True, 0.5, 0.1, 0.4, 5, cost, cost, reading),
        "inspect": Inspection((layer,) * 500, 0.25, str(LONG), str(LONG), EVIL, 32, 8, 1.0, many),
        "waterfall": Waterfall((form,) * 500, "", 0.01, 0.0, EVIL * 9, 500, many),
    }  # fmt: skip


def measured_reports(folder: Path, coco: Path) -> dict[str, Any]:
    """What functions that are quick give, of a file with a long path."""
    deep = folder / ("x" * 120) / ("<b>" + "y" * 120)
    deep.mkdir(parents=True)
    write_toy_model(deep / "model_int8.tflite")
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(deep / "<i>.png")
    model, data = edgedet.load(deep), edgedet.open_dataset(coco)
    return {
        "model": model,
        "outputs": model.outputs,
        "preprocess": model.preprocess,
        "runtime": model.runtime,
        "data": edgedet.open_dataset([coco, coco]),
        "split": data.valid,
        "image": data.valid.images[0],
        "data check": data.check(96),
        "predict": model.predict([deep / "<i>.png"] * 30),
        "detections": model.predict(deep / "<i>.png")[0],
        "evaluate": model.evaluate(data),
        "deploy": model.deploy("c99", deep / "c99", board="nicla_vision"),
        "check": model.check(),
        "lint": model.lint(),
        "boards": edgedet.boards()[0],
    }


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, tiny_coco_once: Path) -> dict[str, Any]:
    pytest.importorskip("torch")
    return {**made_reports(), **measured_reports(tmp_path_factory.mktemp("reports"), tiny_coco_once)}


def parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Objects of edgedet that a user reaches by the attributes of another, one of each list."""
    for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        if field.name.startswith("_"):
            continue
        part = getattr(value, field.name)
        part = part[0] if isinstance(part, tuple) and part else part
        if dataclasses.is_dataclass(part):
            yield field.name, part
            yield from ((f"{field.name}.{name}", one) for name, one in parts(part))


def test_every_repr_is_one_short_line(reports: dict[str, Any]) -> None:
    long = {}
    for name, value in reports.items():
        for part, one in [("", value), *parts(value)]:
            text = repr(one)
            if len(text) >= 200 or not text.isprintable():
                long[f"{name}.{part}: {type(one).__name__}"] = (len(text), text[:80])
    assert long == {}


@pytest.mark.parametrize(
    "name",
    [
        "quantize",
        "qat",
        "train",
        "inspect",
        "waterfall",
        "evaluate",
        "deploy",
        "check",
        "lint",
        "data check",
        "predict",
    ],
)
def test_reports_have_a_short_table(reports: dict[str, Any], name: str) -> None:
    html = reports[name]._repr_html_()
    page = Sound(html)
    assert page.tags <= {"div", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert {"table", "tr"} <= page.tags
    assert len(html) < 60_000
    assert len(page.text) < 20_000
    assert html.count("<tr>") <= MOST_ROWS + 1


def test_reports_say_their_figures(reports: dict[str, Any]) -> None:
    said = {
        name: Sound(reports[name]._repr_html_()).text for name in ("quantize", "train", "evaluate", "deploy", "lint")
    }
    assert "300,000 bytes" in said["quantize"]
    assert "best checkpoint" in said["train"]
    report = reports["evaluate"]
    assert f"all{report.ap.ap:.3f}{report.ap.ap50:.3f}" in said["evaluate"]
    assert f"{reports['deploy'].arena_bytes:,} bytes" in said["deploy"]
    assert all(finding.code in said["lint"] for finding in reports["lint"].findings)


def test_html_table_escapes_shortens_and_counts() -> None:
    page = Sound(html_table(EVIL, [(EVIL, "y" * 1000)] * 21, ("<a>", "b"), [EVIL] * 22))
    assert "script" not in page.tags
    assert page.text.startswith("<script>alert('1')</script>??&amp;\n<a>b")
    assert f"{'y' * 297}..." in page.text
    assert "1 more rows" in page.text
    assert page.text.rstrip().endswith("3 more notes")


def test_short_texts_keep_what_tells_most() -> None:
    assert short_path("runs/a-1/model_int8.tflite") == "runs/a-1/model_int8.tflite"
    assert short_path("/".join("abcdefgh"), 9) == ".../f/g/h"
    assert short("a class name that goes on", 10) == "a class..."
    assert short("a\nb\udce9") == "a?b?"


@pytest.mark.toolchain
def test_tables_read_in_light_and_dark_in_a_browser(
    reports: dict[str, Any], tmp_path: Path, repo_dir: Path, require_tool: Callable[..., str]
) -> None:
    """Each cell has the colour that the notebook's theme gives to text, on its background."""
    browser, driver = require_tool("chromium"), require_tool("chromedriver")
    tables = "".join(report._repr_html_() for report in reports.values() if hasattr(report, "_repr_html_"))
    with browser_tools(repo_dir).chromium(browser, driver) as opened:
        for text, ground in (("rgb(30, 30, 30)", "rgb(255, 255, 255)"), ("rgb(225, 225, 225)", "rgb(17, 17, 17)")):
            page = tmp_path / "page.html"
            style = f"<style>body{{color:{text};background:{ground}}}</style>"
            page.write_text(f"<!doctype html><meta charset=utf-8>{style}{tables}", encoding="utf-8")
            opened.get(page.as_uri())
            script = (
                "return [...document.querySelectorAll('td, th, strong')].map(cell => {"
                "const style = getComputedStyle(cell);"
                "return [style.color, style.backgroundColor, cell.offsetHeight > 0]})"
            )
            cells = opened.execute_script(script)
            assert len(cells) > 100
            assert {tuple(cell) for cell in cells} == {(text, "rgba(0, 0, 0, 0)", True)}
            assert opened.get_log("browser") == []
            assert opened.execute_script("return document.scripts.length") == 0


def test_every_report_that_the_api_gives_is_looked_at_here(reports: dict[str, Any]) -> None:
    """What methods of `Model` and `Dataset` return has to be in the table of this test."""
    given = {
        str(inspect.signature(function).return_annotation)
        for made in (edgedet.Model, edgedet.Dataset)
        for name, function in inspect.getmembers(made, inspect.isfunction)
        if not name.startswith("_")
    }
    of_files = {"VideoReport", "ExportReport"}  # tests/evaluate/test_video.py, tests/exchange/export/test_api.py
    known = {type(value).__name__ for value in reports.values()} | of_files | {"Path", "None"}
    assert given <= known
    assert isinstance(reports["check"], CheckReport)
