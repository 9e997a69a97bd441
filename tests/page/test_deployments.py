"""Folders of `edgedet deploy` on pages: their own one, and comparisons."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from toy_detector import write_toy_model

import edgedet
from edgedet.api.ui import viewer_of
from edgedet.commands.main import main
from edgedet.deploy.api import deploy
from edgedet.errors import ConfigError, DataError
from edgedet.outputs.page_files import PAGE
from edgedet.page.deployments import read_deployment
from edgedet.page.viewer import DETECTOR, REPORT


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployed")
    model = write_toy_model(folder / "toy.tflite")
    for target in ("c99", "tflm"):
        deploy(model, target, folder / target)
    return folder


@pytest.mark.parametrize("target", ["c99", "tflm"])
def test_report_of_a_deployment_is_its_page_as_it_was_written(deployed: Path, target: str) -> None:
    before = (deployed / target / PAGE).read_bytes()
    assert edgedet.report(deployed / target) == deployed / target / PAGE
    assert (deployed / target / PAGE).read_bytes() == before


def test_report_compares_deployments_by_what_their_manifests_say(deployed: Path, tmp_path: Path) -> None:
    shutil.copytree(deployed / "c99", tmp_path / "<b>")
    folders = [deployed / "c99", deployed / "tflm", tmp_path / "<b>"]
    assert main(["report", *map(str, folders), "--out", str(tmp_path / "all.html")]) == 0
    page = (tmp_path / "all.html").read_text()
    found = [read_deployment(folder) for folder in folders]
    assert [one.target for one in found] == ["c99", "tflm", "c99"]
    assert found[0].operators == found[1].operators
    for one in found:
        assert one.arena_bytes is not None
        assert f"{one.arena_bytes:,}" in page
        assert one.model_sha256[:16] in page
    assert "3 deployments: c99, tflm, &lt;b&gt;" in page
    assert "&lt;b&gt; needs the smallest arena" in page  # as c99; the first by name


def test_report_of_a_deployment_gives_its_manifest_as_json(deployed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(deployed / "c99"), "--json", "-"]) == 0
    value = json.loads(capfd.readouterr().out)
    found = read_deployment(deployed / "c99")
    assert value["report"] == str(deployed / "c99" / PAGE)
    table = value["sections"][0]["tables"][0]
    row = dict(zip(table["head"], table["rows"][0], strict=True))
    assert (row["arena, bytes"], row["model, bytes"], row["target"]) == (found.arena_bytes, found.model_bytes, "c99")


def test_report_compares_a_deployment_with_a_run(deployed: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").write_text('{"model_bytes": 5}')
    page = edgedet.report(tmp_path / "run", deployed / "c99", out=tmp_path / "both.html").read_text()
    assert "1 run and 1 deployment: run, c99" in page


def test_ui_of_a_deployment_shows_its_page(deployed: Path) -> None:
    viewer = viewer_of(deployed / "c99")
    assert viewer.pages == {REPORT: (deployed / "c99" / PAGE).read_bytes()}
    assert "give the run that it was made of" in viewer.notes[0]


def test_changed_or_damaged_deployment_is_one_line(deployed: Path, tmp_path: Path) -> None:
    out = tmp_path / "c99"
    shutil.copytree(deployed / "c99", out)
    with (out / PAGE).open("a") as file:
        file.write("<script>")
    with pytest.raises(ConfigError, match="is not the page that the manifest beside it names"):
        viewer_of(out)
    (out / PAGE).unlink()
    with pytest.raises(ConfigError, match="is not there; write it again with `edgedet deploy`"):
        edgedet.report(out)
    manifest = json.loads((out / "manifest.json").read_text())
    for damage in ({"arena": 5}, {"operators": "many"}, {"model": None}, {"files": []}):
        (out / "manifest.json").write_text(json.dumps({**manifest, **damage}))
        with pytest.raises(DataError, match="is not as edgedet writes it"):
            edgedet.report(out)


def test_web_deployment_brings_its_own_page_of_the_network(deployed: Path, tmp_path: Path) -> None:
    out = tmp_path / "web"
    shutil.copytree(deployed / "c99", out)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, "target": "web"}))
    (out / "index.html").write_text("the network")
    assert viewer_of(out).pages[DETECTOR] == b"the network"


@pytest.mark.parametrize("name", ["absent", "toy.tflite", "c99/report.html", "c99/golden.c", "."])
def test_what_report_and_ui_cannot_take_is_one_line(
    deployed: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(deployed / name)
    assert main(["report", path]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {path}: ")
    assert "expected the folder of a run or of a deployment" in err
    assert err.count("\n") == 1
    if name == "toy.tflite":
        return  # the detector that `ui` shows
    assert main(["ui", path, "--no-browser"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {path}: ")
    assert err.count("\n") == 1
