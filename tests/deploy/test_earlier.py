"""What `deploy` does to the folder of an earlier deployment: the same is silent, another is said or refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from toy_detector import write_toy_model

from edgedet.commands.main import main
from edgedet.deploy.api import DeployReport, deploy
from edgedet.deploy.earlier import check_replaceable
from edgedet.errors import ConfigError

pytest.importorskip("jinja2", reason="needs the extra c99")


@pytest.fixture(scope="module")
def first(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> DeployReport:
    return deploy(tiny_model, "c99", tmp_path_factory.mktemp("first") / "out")


@pytest.fixture
def out(first: DeployReport, tmp_path: Path) -> Path:
    return shutil.copytree(first.out, tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_again_says_nothing(first: DeployReport, tiny_model: Path, out: Path) -> None:
    again = deploy(tiny_model, "c99", out)
    assert (first.replaced, again.replaced) == ("", "")
    assert again.to_json()["replaced"] is None
    assert "replaced" not in again.text()
    assert contents(out) == contents(first.out)


def test_another_model_takes_the_place_and_is_named(
    tiny_model: Path, tmp_path: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_toy_model(tmp_path / "other.tflite", 96, 64, classes=2)
    assert main(["deploy", str(other), "--target", "c99", "--out", str(out), "--json", str(tmp_path / "d.json")]) == 0
    before, after = (hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in (tiny_model, other))
    sentence = f"the deployment of {tiny_model.name} (SHA-256 {before}...) by that of other.tflite ({after}...)"
    assert f"replaced: {sentence}" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "d.json").read_text())["replaced"] == sentence
    assert contents(out)["model_data.c"] == contents(deploy(other, "c99", tmp_path / "new").out)["model_data.c"]


def test_another_name_is_said(tiny_model: Path, out: Path) -> None:
    assert deploy(tiny_model, "c99", out, name="door").replaced == "the name edgedet by door"


@pytest.mark.parametrize(
    ("target", "project", "words"),
    [
        ("tflm", None, "for target c99, no project; this one is for target tflm, no project: give another folder"),
        ("web", None, "for target c99, no project; this one is for target web, no project: give another folder"),
        ("c99", "make", "for target c99, no project; this one is for target c99, project make: give another folder"),
    ],
)
def test_another_target_or_project_is_refused(
    target: str, project: str | None, words: str, first: DeployReport, tiny_model: Path, out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    options = [] if project is None else ["--project", project]
    assert main(["deploy", str(tiny_model), "--target", target, "--out", str(out), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"error: {out} holds a deployment of {tiny_model.name} {words}, or remove that one"
    assert contents(out) == contents(first.out)


@pytest.mark.parametrize(
    ("target", "name"),
    [("c99", "selftest.c"), ("c99", "Makefile"), ("c99", "CMakeLists.txt"), ("c99", "kernels/src/edk_conv_s8.c"),
     ("c99", "report.html"), ("tflm", "selftest.cc"), ("tflm", "qemu/board.cmake")],
)  # fmt: skip
def test_a_generated_file_that_was_changed_is_not_lost(
    target: str, name: str, tiny_model: Path, tmp_path: Path, tflm: Callable[[], Path], out: Path
) -> None:
    folder = out if target == "c99" else shutil.copytree(tflm(), tmp_path / "tflm")
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write("\n# mine\n")
    before = contents(folder)
    with pytest.raises(ConfigError, match=rf"files that were changed since deploy wrote them \({name}\): deploy into"):
        deploy(tiny_model, target, folder)
    assert contents(folder) == before
    (folder / name).rename(tmp_path / "away")
    deploy(tiny_model, target, folder)
    assert (folder / name).read_bytes() + b"\n# mine\n" == (tmp_path / "away").read_bytes()


@pytest.fixture(scope="module")
def tflm(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Gives a deployment of target tflm, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("tflm") / "out"

    def made() -> Path:
        pytest.importorskip("tflite_micro", reason="needs the extra tflm")
        return folder if folder.exists() else deploy(tiny_model, "tflm", folder).out

    return made


def test_line_ends_of_windows_are_no_change(out: Path) -> None:
    for path in out.rglob("*"):
        if path.suffix in (".c", ".h", ".txt"):
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert check_replaceable(out, "c99", None).staying == ()
    (out / "model.c").write_bytes(b"\r\n" + (out / "model.c").read_bytes())
    with pytest.raises(ConfigError, match=r"changed since deploy wrote them \(model.c\)"):
        check_replaceable(out, "c99", None)


def test_a_folder_a_link_or_a_pipe_in_the_place_of_a_file_is_a_change(out: Path) -> None:
    (out / "model.c").unlink()
    (out / "model.c").mkdir()
    (out / "run.c").rename(out / "run.h")
    (out / "run.c").symlink_to("nowhere")
    (out / "model.h").unlink()
    os.mkfifo(out / "model.h")  # not waited for
    with pytest.raises(ConfigError, match=r"changed since deploy wrote them \((run.h, )?.*model.c.*run.c"):
        check_replaceable(out, "c99", None)


@pytest.mark.parametrize("damage", [{"files": {"model.c": None}}, {"files": {"model.c": {"sha256": 7}}}])
def test_a_manifest_without_hashes_gives_no_file_away(damage: dict[str, object], out: Path) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"] |= damage["files"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match=r"changed since deploy wrote them \(model.c\)"):
        check_replaceable(out, "c99", None)


def test_a_hostile_manifest_steers_no_terminal(out: Path) -> None:
    (out / "manifest.json").write_text(
        json.dumps(
            {"format": "edgedet-deploy", "target": "\x1b[2J", "model": {"name": "a\nb"}, "project": {"kind": []}}
        )
    )
    with pytest.raises(ConfigError) as caught:
        check_replaceable(out, "c99", None)
    assert str(caught.value).isprintable()
