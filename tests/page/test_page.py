"""report.html of a run folder: what it says, against the functions behind it, and how a browser shows it."""

from __future__ import annotations

import html
import importlib.util
import json
import math
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import edgedet
from edgedet.api.pages import draft_page, finish_inspect, finish_quantize
from edgedet.commands.main import main
from edgedet.contracts import PreprocessSpec
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.deploy.api import deploy
from edgedet.drawing.curves import Line, line_chart
from edgedet.errors import ConfigError, DataError
from edgedet.evaluate.evaluator import evaluate
from edgedet.outputs.page_files import DATA, PAGE
from edgedet.outputs.swap import names_below
from edgedet.page.found import load_found, save_found
from edgedet.page.judge import judge
from edgedet.page.measure import find_objects
from edgedet.page.pages import comparison, judge_both, run_page, verdict, write_page
from edgedet.page.record import RunRecord, load_record, save_record
from edgedet.page.run_files import FLOAT, INT8, RECORD, read_run
from edgedet.page.sections import accuracy, int8_file
from edgedet.progress import Progress
from edgedet.quantize.api import write_quantized
from edgedet.quantize.calibration.images import Manifest
from edgedet.runtimes.open import open_runtime

EVIL = '</td><script>alert("x")</script>'
STEPS = [
    {"key": "float", "label": "float", "ap": 0.412, "ap50": 0.7, "images": 6, "after": "", "change": 0.0, "note": ""},
    {"key": "weights", "label": "weights int8", "ap": 0.409, "ap50": 0.7, "images": 6, "after": "float",
     "change": -0.003, "note": EVIL},
]  # fmt: skip
FITTED = {
    "aim": "the best F1", "split": "train", "images": 6, "class_names": ["a", EVIL], "before": [0.25, 0.25],
    "float": [0.3, 0.25], "int8": [0.3125, 0.25], "kept": [EVIL], "verdicts": ["int8: the thresholds hold"],
}  # fmt: skip
LAYERS = [
    {"name": "stem", "cumulative_db": 40.0, "alone_db": 41.0, "sensitivity": 0.01},
    {"name": EVIL, "cumulative_db": None, "alone_db": None, "sensitivity": 0.3},
]


def written(folder: Path) -> str:
    """The page of a run, made again."""
    write_page(folder)
    return (folder / PAGE).read_text()


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, toy_model: Path, toy_data: Path) -> Path:
    """A folder with everything that a page shows."""
    out = tmp_path_factory.mktemp("runs") / "toy & <b>"
    out.mkdir()
    shutil.copy(toy_model, out / "model_int8.tflite")
    waterfall = {"steps": STEPS, "guilty": "", "guilty_drop": 0.005, "split": "valid", "images": 6}
    report = {"model_bytes": 1234, "operators": {"CONV_2D": 3}, "steps": [], "notes": [EVIL], "waterfall": waterfall}
    report |= {"operating_point": FITTED}
    (out / "report.json").write_text(json.dumps(report))
    epochs = [
        {"epoch": e, "loss": 2 / e, "cls": 1 / e, "box": 1 / e, "ap": None if e % 2 else e / 50} for e in range(1, 21)
    ]
    (out / "history.json").write_text(json.dumps(epochs))
    (out / "inspect.json").write_text(json.dumps({"layers": LAYERS}))
    model, onnx = out / "model_int8.tflite", out / "float.onnx"
    line = finish_quantize(out, model, onnx, DataPaths(toy_data), [("seed", "7"), ("note", EVIL)], "edgedet quantize x")
    assert line.splitlines()[1] == f"report: {out / PAGE}"
    shutil.copy(out / DATA / INT8, out / DATA / FLOAT)
    write_page(out)
    return out


def test_judge_gives_what_evaluate_gives(toy_model: Path, toy_data: Path, tmp_path: Path) -> None:
    runtime, split = open_runtime(toy_model, "sim"), DataPaths(toy_data).load("valid")
    expected = evaluate(runtime, split)
    save_found(find_objects(runtime, split), tmp_path / "found.npz")
    judged = judge(load_found(tmp_path / "found.npz"))
    assert judged.ap.stats == pytest.approx(expected.ap.stats, abs=1e-12)
    assert judged.ap.per_class == expected.ap.per_class


def test_confusion_every_object_stands_in_its_row(run_folder: Path) -> None:
    found = load_found(run_folder / DATA / INT8)
    judged = judge(found)
    objects = np.bincount(np.concatenate([r.labels for r in found.split.images]), minlength=3)
    assert judged.confusion[:3].sum(axis=1).tolist() == objects.tolist()
    strong = [d.labels[found.strong(i)] for i, d in found.detections.items()]
    assert judged.confusion[:, :3].sum(axis=0).tolist() == np.bincount(np.concatenate(strong), minlength=3).tolist()
    assert sum(e.missed for e in judged.errors) == judged.confusion[:3, 3].sum()


def test_find_objects_stops_in_time(toy_model: Path, toy_data: Path) -> None:
    found = find_objects(open_runtime(toy_model, "sim"), DataPaths(toy_data).load("valid"), seconds=0.0)
    assert found.where == "the first 1 of 6 images of valid"


def test_page_needs_nothing_else_and_escapes_everything(run_folder: Path) -> None:
    text = (run_folder / "report.html").read_text(encoding="utf-8")
    assert EVIL not in text
    assert "&lt;/td&gt;&lt;script&gt;" in text
    assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert text.count("<script>") == 1
    assert len(text) < 5_000_000


def test_page_shows_how_far_int8_moved_the_thresholds(run_folder: Path) -> None:
    page = (run_folder / PAGE).read_text()
    section = page[page.index("Score thresholds</h2>") :]
    assert "int8: the thresholds hold" in section
    assert "+0.0125" in section


def test_page_shows_float_at_the_thresholds_that_were_fitted_for_it(run_folder: Path, tmp_path: Path) -> None:
    """Its checkpoint has the old ones: compared at those, int8 would seem to miss what a threshold hides."""
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    names = load_found(folder / DATA / FLOAT).split.class_names
    highest = [1.0] * len(names)
    fitted = {**FITTED, "class_names": names, "before": highest, "float": highest, "int8": highest, "kept": []}
    (folder / "report.json").write_text(json.dumps({"operating_point": fitted}))
    (_, before), (_, after) = judge_both(read_run(folder))
    assert before.confusion[:, :-1].sum() == 0  # nothing scores 1.0
    assert after.confusion[:, :-1].sum() > 0  # what the file says it was measured at
    page = written(folder)
    assert "confusions, float, at score threshold 1.000" in page
    assert f"IoU 0.50: float at score threshold 1.000, int8 at score threshold {after.found.thresholds[0]:.3f}." in page


def test_page_of_absent_and_damaged_files_says_so(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(run_folder, out)
    (out / DATA / INT8).write_bytes(b"PK\x03\x04 broken")
    (out / DATA / RECORD).unlink()
    (out / "history.json").write_text("[1")
    notes = " ".join(read_run(out).notes)
    assert "found_int8.npz" in notes
    assert "run.json" in notes
    assert "history.json" in notes
    assert "found_int8.npz" in written(out)
    with pytest.raises(DataError, match="damaged"):
        load_found(out / DATA / INT8)


def test_page_of_another_model_is_not_shown(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(run_folder, out)
    (out / "model_int8.tflite").write_bytes(b"another")
    run = read_run(out)
    assert (run.record, run.found_int8) == (None, None)
    assert "belongs to another model" in run.notes[-1]


def test_finish_page_fails_results_stay(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    shutil.copytree(run_folder, out)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    line = finish_quantize(out, out / "model_int8.tflite", out / "x.onnx", DataPaths(), [])
    assert line.startswith("note: ")
    assert "the results are complete" in line
    assert not (out / "report.html").exists()
    assert (out / "model_int8.tflite").is_file()


def test_report_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="expected the folder of a run"):
        edgedet.report(tmp_path)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "x.html")]) == 2
    assert "only for several runs" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", '{"operators": [1], "model_bytes": 5}'),
        ("report.json", '{"waterfall": {"steps": [1]}}'),
        ("report.json", '{"model_bytes": "many"}'),
        ("report.json", '{"operating_point": {"int8": 3}}'),
        ("inspect.json", '{"layers": null}'),
        ("inspect.json", '{"layers": [{"name": "a"}]}'),
    ],
)
def test_report_of_files_of_another_form_is_no_traceback(
    tmp_path: Path, name: str, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(content)
    assert main(["report", str(tmp_path)]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_report_never_takes_the_place_of_another_file(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text("[]")
    with pytest.raises(ConfigError, match="is another file, no HTML page"):
        edgedet.report(run_folder, run_folder, out=tmp_path / "history.json")
    assert (tmp_path / "history.json").read_text() == "[]"


def test_finish_inspect_shows_layers_alone(tmp_path: Path) -> None:
    text = json.dumps({"layers": LAYERS[:1]})
    assert finish_inspect(tmp_path, {"inspect.csv": "a,b\n", "inspect.json": text}) == f"report: {tmp_path / PAGE}"
    assert "Of 1 layers, stem changes the outputs most" in (tmp_path / PAGE).read_text()
    assert (tmp_path / "inspect.csv").read_text() == "a,b\n"


def test_finish_inspect_keeps_the_run_that_it_joins(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(run_folder, out)
    finish_inspect(out, {"inspect.json": json.dumps({"layers": [{**LAYERS[0], "name": "the new layer"}]})})
    page = (out / PAGE).read_text()
    assert "the new layer" in page
    assert page.count("<img") == (run_folder / PAGE).read_text().count("<img") > 0
    assert page.index("What was run</h2>") < page.index("What was inspected</h2>")


def test_prose_of_a_page_shows_commands_as_code(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(run_folder, out)
    (out / "report.json").write_text(json.dumps({"notes": ["run `edgedet lint`, `<b>` and `"]}))
    page = written(out)
    assert "run <code>edgedet lint</code>, <code>&lt;b&gt;</code> and `" in page
    assert "<pre>edgedet quantize x</pre>" in page


def test_worst_pictures_are_coloured_by_what_is_wrong(run_folder: Path) -> None:
    found = load_found(run_folder / DATA / INT8)
    judged = judge(found)
    for record, errors in zip(found.split.images, judged.errors, strict=True):
        assert len(errors.objects) == int((~record.crowd).sum())
        assert errors.objects.count(False) == errors.missed
        assert len(errors.said) == int(found.strong(record.image_id).sum())
        assert (errors.said.count("false"), errors.said.count("other class")) == (errors.false, errors.wrong_class)


def test_finish_inspect_of_another_page_keeps_both(tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("<!doctype html><p>of the user")
    line = finish_inspect(tmp_path, {"inspect.json": json.dumps({"layers": LAYERS[:1]})})
    assert line.startswith("note: ")
    assert (tmp_path / PAGE).read_text() == "<!doctype html><p>of the user"
    assert json.loads((tmp_path / "inspect.json").read_text())["layers"] == LAYERS[:1]


def test_new_results_take_the_old_page_and_its_data_with_them(run_folder: Path, tmp_path: Path) -> None:
    """Between the exchange of the results and that of the page a kill leaves none, never that of other results."""
    out = tmp_path / "run"
    shutil.copytree(run_folder, out)
    write_quantized(out, b"new", Manifest("ptq", 0, "train", PreprocessSpec(64, 64), (), {}), {"model_bytes": 3})
    assert not (out / PAGE).exists()
    assert not (out / DATA).exists()
    assert (out / "history.json").is_file()  # of another step
    assert edgedet.report(out) == out / PAGE


@pytest.mark.parametrize("swaps", [True, False])
def test_page_and_its_data_come_at_once_or_not_at_all(
    swaps: bool, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    shutil.copytree(run_folder, out)
    (out / DATA / "augmented_0.jpg").write_bytes(b"of an earlier run")
    before = {name: (out / name).read_bytes() for name in names_below(out)}
    if not swaps:  # as where the folder is mounted: files are moved one by one
        monkeypatch.setattr("edgedet.outputs.folder.can_swap", lambda path: False)
    model, onnx = out / "model_int8.tflite", out / "x.onnx"
    with monkeypatch.context() as killed:
        killed.setattr("edgedet.api.pages.write_fresh_page", interrupt)
        with pytest.raises(KeyboardInterrupt):
            finish_quantize(out, model, onnx, DataPaths(), [])
    assert {name: (out / name).read_bytes() for name in names_below(out)} == before
    said = finish_quantize(out, model, onnx, DataPaths(), [])
    assert said == f"verdict: {verdict(read_run(out), ())}\nreport: {out / PAGE}"
    assert sorted(path.name for path in (out / DATA).iterdir()) == [RECORD]
    assert "AP is not measured: no data set" in (out / PAGE).read_text()


def interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_report_of_two_runs_compares_them(run_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run_folder, other)
    record = json.loads((other / DATA / RECORD).read_text())
    trained = [["train.lr", "0.002"], ["train.batch", "8"]]
    (other / DATA / RECORD).write_text(json.dumps({**record, "settings": [["seed", "8"]], "effective": trained}))
    lacks = {key: value for key, value in record.items() if key != "effective"}  # of an earlier version
    (run_folder / DATA / RECORD).write_text(json.dumps(lacks))
    out, told = tmp_path / "both.html", tmp_path / "both.json"
    assert main(["report", str(run_folder), str(other), "--out", str(out), "--json", str(told)]) == 0
    text = out.read_text()
    assert "What differs" in text
    assert "toy &amp; &lt;b&gt;" in text
    value = json.loads(told.read_text())
    assert (value["report"], value["runs"]) == (str(out), [str(run_folder), str(other)])
    tables = {section["title"]: section["tables"] for section in value["sections"]}
    assert tables["What differs"][0]["rows"] == [
        ["seed", "7", "8"], ["note", EVIL, "–"], ["train.lr", "–", "0.002"], ["train.batch", "–", "8"]
    ]  # fmt: skip
    ap = tables["Runs"][0]["head"].index("AP")
    assert [row[ap] for row in tables["Runs"][0]["rows"]] == [judge(load_found(run_folder / DATA / INT8)).ap.ap] * 2


def test_comparison_of_other_kinds_lists_what_differs_and_not_what_one_kind_lacks(tmp_path: Path) -> None:
    trained = (("model.widen", "0.125"), ("train.lr", "0.01"))
    for name, kind, settings, effective in (
        ("a", "train", (("batch", "8"), ("out", "a")), trained),
        ("b", "train", (("batch", "8"), ("out", "b"), ("start", "c.pt")), (trained[0], ("train.lr", "0.02"))),
        ("q", "quantize", (("batch", "16"), ("out", "q"), ("method", "ptq")), ()),
    ):
        (tmp_path / name / DATA).mkdir(parents=True)
        save_record(RunRecord(kind, "", "", "", (), settings, (), effective=effective), tmp_path / name / DATA / RECORD)
    page = comparison([read_run(tmp_path / name) for name in "abq"])
    (section,) = [one for one in page.sections if one.title == "What differs"]
    assert [[cell.text for cell in row] for row in section.tables[0].rows] == [
        ["batch", "8", "8", "16"], ["train.lr", "0.01", "0.02", "–"], ["start", "–", "c.pt", "–"],
    ]  # fmt: skip


def test_report_gives_what_its_page_says_as_json(run_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run_folder), "--json", "-"]) == 0
    value = json.loads(capfd.readouterr().out)
    page = run_page(read_run(run_folder))
    assert (value["verdict"], value["facts"]) == (page.verdict, dict(page.facts))
    assert [section["title"] for section in value["sections"]] == [section.title for section in page.sections]
    assert value["notes"] == list(page.notes)
    (table,) = [one for section in value["sections"] for one in section["tables"] if one["caption"] == "COCO AP and AR"]
    assert table["rows"][0][:2] == ["AP", judge(load_found(run_folder / DATA / FLOAT)).ap.ap]


@pytest.mark.slow
def test_train_leaves_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = str(tmp_path / "data"), tmp_path / "run"
    assert main(["data", "synth", "--out", data, "--images", "10", "--seed", "3"]) == 0
    small = ["--imgsz", "64", "--epochs", "1", "--batch", "4", "--set", "deepen=0.1", "stacked_convs=1"]
    assert main(["train", "rtmdet_pico_relu6", "--data", data, *small, "--out", str(out)]) == 0
    run = read_run(out)
    assert run.notes == ()
    assert run.record is not None
    assert run.record.command.startswith("edgedet train rtmdet_pico_relu6 --data ")
    assert dict(run.record.settings)["seed"] == "0"
    assert [name for name, _, _ in run.record.files] == ["best.pt", "last.pt"]
    assert [split.split for split in run.record.labels] == ["train", "valid"]
    assert len(run.augmented) == 8
    assert "Loss on the training images" in (out / "report.html").read_text()
    # A kill in the second epoch leaves the page of the first one, without pictures of another state.
    more = [*small[:2], "--epochs", "2", *small[4:], "--resume"]
    with monkeypatch.context() as killed:
        killed.setattr("edgedet.training.loop.DataWatch.warning", interrupt)
        assert main(["train", "rtmdet_pico_relu6", "--data", data, *more, "--out", str(out)]) == 130
    run = read_run(out)
    assert "The run has not ended" in " ".join(run.notes)
    assert (len(run.history), run.found_float, run.augmented) == (2, None, ())
    assert re.search(r"at epoch \d of 2", (out / PAGE).read_text())
    loads = count_loads(monkeypatch)
    assert main(["train", "rtmdet_pico_relu6", "--data", data, *more, "--out", str(out)]) == 0
    assert sorted(loads) == ["train", "valid"]  # the page takes what the training read
    assert (read_run(out).notes, len(read_run(out).augmented)) == ((), 8)


def count_loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Splits, in the order in which they are read."""
    loads, load = list[str](), DataPaths.load

    def counted(self: DataPaths, split: str, progress: Progress | None = None) -> CocoSplit:
        loads.append(split)
        return load(self, split, progress)

    monkeypatch.setattr(DataPaths, "load", counted)
    return loads


@pytest.mark.toolchain
def test_page_in_a_browser(
    run_folder: Path, toy_model: Path, tmp_path: Path, require_tool: Callable[..., str], repo_dir: Path
) -> None:
    browser, driver = require_tool("chromium"), require_tool("chromedriver")
    spec = importlib.util.spec_from_file_location("report_pictures", repo_dir / "bench" / "report_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    pictures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pictures)
    deployed = deploy(toy_model, "c99", tmp_path / "deployed", board="nicla_vision").out
    with pictures.chromium(browser, driver) as opened:
        for folder, width_px, dark in product((deployed, run_folder), (400, 1400), (False, True)):
            pictures.show(opened, folder / "report.html", width_px, 900, dark)
            wide = opened.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width_px, f"{wide} px wide at {width_px}"
            luma = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (luma == "rgb(255, 255, 255)") is not dark
        sizes = opened.execute_script(
            "return [...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth])"
        )
        assert sizes
        assert all(complete and natural > 0 and shown > 0 for complete, natural, shown in sizes)
        charts = opened.execute_script("return [...document.querySelectorAll('svg')].map(s => s.clientHeight)")
        assert len(charts) >= 8
        assert min(charts) > 50
        assert opened.execute_script(SORT) == [[2.0, 1.0], [1.0, 2.0]]
        small, large, natural, again = opened.execute_script(ENLARGE)
        assert small == again < large
        assert large >= natural
        assert [entry["message"] for entry in opened.get_log("browser")] == []


ENLARGE = """
const picture = document.querySelector(".pictures.wide img"), widths = [picture.clientWidth];
picture.click(); widths.push(picture.clientWidth, picture.naturalWidth);
picture.click(); return [...widths, picture.clientWidth];
"""
SORT = """
const table = [...document.querySelectorAll("table")].find(t => t.textContent.includes("loss"));
const column = () => [...table.tBodies[0].rows].map(r => Number(r.cells[1].dataset.v)).slice(0, 2);
const button = table.querySelectorAll("th button")[1];
button.click(); const down = column();
button.click(); const all = [...table.tBodies[0].rows].map(r => Number(r.cells[1].dataset.v));
return [down, all.slice(-2).map(v => v)];
"""


def test_page_never_takes_the_place_of_another_one(toy_model: Path, tmp_path: Path) -> None:
    shutil.copy(toy_model, tmp_path / "model_int8.tflite")
    (tmp_path / "report.json").write_text("{}")
    (tmp_path / "report.html").write_text("<!doctype html><p>of the user")
    line = finish_quantize(tmp_path, tmp_path / "model_int8.tflite", tmp_path / "x.onnx", DataPaths(), [])
    assert line.startswith("note: ")
    assert "is not a page of edgedet" in line
    with pytest.raises(ConfigError, match="is not a page of edgedet"):
        write_page(tmp_path)
    assert (tmp_path / "report.html").read_text() == "<!doctype html><p>of the user"


def test_evaluate_out_leaves_its_json_and_a_page(
    toy_model: Path, toy_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "measured"
    argv = ["evaluate", str(toy_model), "--data", str(toy_data), "--images", "4", "--out", str(out)]
    assert main(argv) == 0
    assert capfd.readouterr().out.splitlines()[-2:] == [f"report: {out / 'report.html'}", f"run: {out}"]
    value = json.loads((out / "evaluate.json").read_text())
    page = (out / "report.html").read_text()
    assert f"AP {value['ap']['stats'][0]:.3f}, AP50" in page
    assert "toy.tflite on 4 images of valid" in page
    assert value["model_sha256"] in page
    assert load_found(out / DATA / INT8).split.name == "valid"
    assert len(load_found(out / DATA / INT8).split.images) == 4
    assert main(argv) == 2
    assert "already holds a run of evaluate (evaluate.json)" in capfd.readouterr().err
    again = edgedet.load(toy_model).evaluate(toy_data, images=4, out=tmp_path / "python")
    assert json.loads((tmp_path / "python" / "evaluate.json").read_text())["ap"] == json.loads(again.to_json())["ap"]
    assert (tmp_path / "python" / "report.html").is_file()
    said = [load_record(run / DATA / RECORD).settings for run in (out, tmp_path / "python")]
    assert said[0] == said[1]  # one list for both
    assert {("images", "4"), ("split", "valid"), ("score_threshold", "0.001")} <= set(said[0])


def test_page_of_a_training_reads_its_curves(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    losses = [2.0 * 0.9**n for n in range(20)]
    rows = [{"epoch": n, "loss": loss, "cls": loss, "box": 0.0, "ap": None} for n, loss in enumerate(losses, start=1)]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    text = html.unescape(written(tmp_path))
    assert "The loss still fell at the end: more epochs may give more (loss 0.458 in epoch 15, 0.270 in epoch" in text
    (tmp_path / "history.json").write_text(json.dumps(rows[:4]))
    assert "more epochs" not in written(tmp_path)


def test_page_of_a_training_without_ap_names_its_epoch(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    rows = [{"epoch": n, "loss": 2 / n, "cls": 1 / n, "box": 1 / n, "ap": None} for n in (1, 2, 3)]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    text = html.unescape(written(tmp_path))
    assert "Training, epoch 3; AP is not measured yet." in text
    assert "int8 file" not in text
    run = read_run(tmp_path)
    record = RunRecord("train", "", "", "", (), (("epochs", "40"),), ())
    assert verdict(replace(run, record=record), ()) == "Training, epoch 3 of 40; AP is not measured yet."


def test_page_of_a_training_that_goes_on_says_how_far_it_is(tmp_path: Path) -> None:
    """As `edgedet train` leaves it after every epoch."""
    pytest.importorskip("torch")
    from edgedet.training.loop import TrainRequest

    saved = draft_page("train", TrainRequest("rtmdet_pico_relu6", DataPaths(), tmp_path))
    rows = [
        {"epoch": n, "loss": 2 / n, "cls": 1 / n, "box": 1 / n, "ap": n / 50 if n > 5 else None} for n in range(1, 13)
    ]
    for done, planned, says in (
        (5, 40, "Training, epoch 5 of 40; AP is not measured yet."),
        (12, 40, "Training, epoch 12 of 40: AP 0.240 on the validation images so far, at epoch 12."),
        (12, 200, "Training, epoch 12 of 200: AP 0.240"),  # of `--epochs auto`, as far as it is known
        (12, 12, "AP 0.240 on the validation images, at epoch 12 of 12."),
    ):
        (tmp_path / "history.json").write_text(json.dumps(rows[:done]))
        saved(planned)
        page = run_page(read_run(tmp_path))
        assert page.verdict.startswith(says)
        assert dict(page.facts)["epochs"] == (f"{done} of {planned}" if done < planned else str(done))
        assert html.unescape((tmp_path / PAGE).read_text()).count(page.verdict) == 1
        (training,) = [section for section in page.sections if section.title == "Training"]
        assert bool(training.texts) is (done == planned)  # nothing is advised before the end


def test_precision_of_a_class_that_is_never_said_is_a_dash(run_folder: Path) -> None:
    found = load_found(run_folder / DATA / INT8)
    silent = judge(replace(found, thresholds=(0.999999, *found.thresholds[1:])))
    (table,) = [table for table in accuracy([("int8", silent)]).tables if "precision" in table.head]
    column = table.head.index("precision")
    assert [row[column].text == "–" for row in table.rows] == [True, False, False, False]
    assert table.rows[0][column].value == -math.inf  # sorts below all numbers
    assert table.rows[0][table.head.index("recall")].text == "0.000"


def test_page_of_a_substitution_shows_what_it_cost_and_saved(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from edgedet.finetune.substitute import Cost, SubstituteReport

    before = Cost((("CONV_2D", 30), ("LOGISTIC", 20)), 5_000_000, 90_000, 120_000, 400_000)
    after = Cost((("CONV_2D", 30), (EVIL, 1)), 4_900_000, 80_000, None, 390_000)
    report = SubstituteReport(tmp_path / "last.pt", "relu6", False, 0.41, 0.02, 0.4, 20, before, after)
    (tmp_path / "substitute.json").write_text(json.dumps(report.to_json()))
    (tmp_path / "history.json").write_text(json.dumps([{"epoch": 1, "loss": 2, "cls": 1, "box": 1, "ap": 0.4}]))
    (section,) = [one for one in run_page(read_run(tmp_path)).sections if one.title == "Substitution"]
    assert verdict(read_run(tmp_path), ()) == "Float AP 0.400 with relu6, 0.410 before: the substitution costs 0.010."
    assert section.texts == ("Now relu6, without channel attention; 20 epochs of fine-tuning.",)
    rows = {row[0].text: [cell.text for cell in row[1:]] for table in section.tables for row in table.rows}
    assert rows["AP, float"] == ["0.4100", "0.4000"]
    assert rows["operators"] == ["50", "31"]
    assert rows["arena of TFLite Micro, bytes"] == ["120,000", "–"]
    assert (rows["LOGISTIC"], rows[EVIL]) == (["20", "0"], ["0", "1"])
    assert EVIL not in written(tmp_path)
    (tmp_path / "substitute.json").write_text("[1")
    assert "substitute.json" in " ".join(read_run(tmp_path).notes)


RISING = {5: 0.1, 10: 0.2, 15: 0.3, 20: 0.34}
STILL = "AP still rose at the end: more epochs may give more."


@pytest.mark.parametrize(
    ("aps", "settings", "says"),
    [
        (RISING, (), f"AP 0.340 on the validation images, at epoch 20 of 20. {STILL}"),
        ({5: 0.3, 10: 0.4, 15: 0.36, 20: 0.33}, (), "at epoch 10 of 20. AP falls while the loss"),
        (RISING, (("epochs", "auto"), ("AP settled", "yes")), "at epoch 20 of 20."),
        (RISING, (("epochs", "auto"), ("AP settled", "no")), STILL),  # the run took the most epochs that it may
    ],
)
def test_verdict_of_a_training_is_what_its_reading_says_first(
    aps: dict[int, float], settings: tuple[tuple[str, str], ...], says: str, tmp_path: Path
) -> None:
    rows = [{"epoch": n, "loss": 2 * 0.9**n, "cls": 1 / n, "box": 1 / n, "ap": aps.get(n)} for n in range(1, 21)]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    run = replace(read_run(tmp_path), record=RunRecord("train", "", "", "", (), settings, ()))
    said = verdict(run, ())
    assert says in said
    (section,) = [one for one in run_page(run).sections if one.title == "Training"]
    reading = section.texts[0].split(" (")[0] if section.texts else ""
    assert said.endswith(f"{reading}." if reading else "of 20.")


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 12, 13, 40, 300])
def test_epochs_of_a_chart_are_whole_numbers(epochs: int) -> None:
    chart = line_chart("Loss", [Line("loss", tuple((e, 1 / e) for e in range(1, epochs + 1)))], "epoch")
    along = re.findall(r'text-anchor="middle"[^>]*>([^<]*)<', chart)
    assert along[-1] == "epoch"
    assert along[:-1]
    assert all(label.isdecimal() for label in along[:-1])
    assert len(set(along)) == len(along)


@pytest.mark.parametrize("error", [0.9, 1.2])
def test_output_error_over_100_per_cent_has_a_note(error: float) -> None:
    section = int8_file({"steps": [{"name": "fold", "error": error, "kept": True}]})
    assert any("over 100 %" in text for text in section.texts) == (error > 1)
