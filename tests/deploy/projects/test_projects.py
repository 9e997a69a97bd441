"""What `deploy --project` writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgedet.deploy.api import deploy
from edgedet.deploy.projects.layout import PROJECTS
from edgedet.errors import ConfigError

pytest.importorskip("jinja2", reason="needs the extra c99")


def test_unknown_project_lists_the_known_ones(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"`project` 'keil': expected one of {', '.join(PROJECTS)}"):
        deploy(tiny_model, "c99", tmp_path / "out", project="keil")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", PROJECTS)
def test_project_has_the_module_an_example_and_one_place_for_the_camera(
    kind: str, tiny_model: Path, tmp_path: Path
) -> None:
    report = deploy(tiny_model, "c99", tmp_path / "out", name="tiny", project=kind)
    texts = {path: path.read_text(encoding="utf-8") for path in report.files}
    assert [path.name for path, text in texts.items() if "HERE COMES YOUR CAMERA" in text] == ["camera.c"]
    assert report.project == kind
    assert len([path for path in report.files if path.name == "tiny_model.c"]) == 1
    readme = (report.out / "README.md").read_text(encoding="utf-8")
    assert "camera.c`: **the one place for your camera**" in readme
    manifest = json.loads((report.out / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == {path.relative_to(report.out).as_posix() for path in report.files[:-1]}
    assert any(path.endswith("camera.c") for path in manifest["project"]["yours_to_change"])


def test_the_same_arguments_give_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    first = deploy(tiny_model, "c99", tmp_path / "a", project="make")
    second = deploy(tiny_model, "c99", tmp_path / "b", project="make")
    assert [path.relative_to(first.out) for path in first.files] == [
        path.relative_to(second.out) for path in second.files
    ]
    assert [path.read_bytes() for path in first.files] == [path.read_bytes() for path in second.files]


def test_an_example_that_was_changed_is_not_replaced(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    deploy(tiny_model, "c99", out, project="make")
    (out / "build").mkdir()
    (out / "build" / "example").touch()
    deploy(tiny_model, "c99", out, project="make")  # as it was: replaced, and what was built goes with it
    (out / "camera.c").write_text("/* mine */\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"files that were changed since .* \(camera.c\): deploy into another"):
        deploy(tiny_model, "c99", out, project="make")
    assert (out / "camera.c").read_text(encoding="utf-8") == "/* mine */\n"


def test_report_names_the_next_step(tiny_model: Path, tmp_path: Path) -> None:
    report = deploy(tiny_model, "c99", tmp_path / "out", project="cmake")
    assert report.to_json()["project"] == "cmake"
    assert "README.md says how this cmake project is built" in report.text()
    assert deploy(tiny_model, "c99", tmp_path / "plain").to_json()["project"] is None


@pytest.mark.parametrize("kind", PROJECTS)
def test_nothing_that_says_yours_is_replaced(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    out = deploy(tiny_model, "c99", tmp_path / "out", project=kind, name="tiny").out
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    mine = manifest["project"]["yours_to_change"]
    said = [path for path in manifest["files"] if "yours to change" in (out / path).read_text(encoding="utf-8")[:400]]
    assert set(said) <= {*mine, "README.md"}
    for path in mine:
        before = (out / path).read_bytes()
        (out / path).write_bytes(before + b"\n")
        with pytest.raises(ConfigError, match="files that were changed since deploy wrote them"):
            deploy(tiny_model, "c99", out, project=kind, name="tiny")
        assert (out / path).read_bytes() == before + b"\n"
        (out / path).write_bytes(before)


@pytest.mark.parametrize("name", ["build", "qemu"])
def test_names_of_a_projects_own_folders_are_refused(name: str, tiny_model: Path, tmp_path: Path) -> None:
    for kind in ("make", "cmake"):
        with pytest.raises(ConfigError, match=f"the name '{name}' with project {kind}"):
            deploy(tiny_model, "c99", tmp_path / "out", project=kind, name=name)
    assert not (tmp_path / "out").exists()
