"""A deployment into a folder in which a vendor's builder has worked, and its user."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.deploy.api import deploy
from edgedet.deploy.earlier import check_replaceable
from edgedet.deploy.output_folder import MANIFEST, carried_settings, file_table
from edgedet.deploy.projects.leftovers import carried_sdkconfig
from edgedet.errors import ConfigError
from edgedet.escape import html_text
from edgedet.outputs.page_files import PAGE

pytest.importorskip("jinja2", reason="needs the extra c99")

# What the builders write, by their documentation and where they were run: (goes with the deployment, stays).
BUILT = {
    None: (["build/libedgedet.a", "build-m4/CMakeCache.txt", "build-m4/x.o"], [".gitignore"]),
    "make": (["build/host/main.o"], [".git/HEAD", ".git/refs/heads/main", ".vscode/settings.json"]),
    "cmake": (["build/m4/CMakeCache.txt", "build_pc/CMakeCache.txt", "compile_commands.json"], [".clangd"]),
    "esp-idf": (
        ["build/bootloader/b.bin", "sdkconfig.old"],
        [
            "sdkconfig", "sdkconfig.defaults.esp32s3", "dependencies.lock", "managed_components/a__b/.component_hash",
            ".devcontainer/devcontainer.json",
        ],
    ),
    "arduino": (["examples/Detect/build/esp32.esp32.XIAO/Detect.ino.bin"], [".development"]),
    "platformio": (
        [".pio/build/native/program", ".pio/build/project.checksum"],
        [".pio/libdeps/xiao/L/l.h", ".vscode/launch.json", ".gitignore", "include/README", "test/README", "lib/README"],
    ),
    "zephyr": (["build/zephyr/zephyr.elf", "twister-out.1/log"], ["boards/nrf5340dk.overlay", "app.overlay"]),
    "cmsis-pack": ([], [".git/config"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def deployed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None, Path], Path]:
    """Puts a fresh deployment of a kind of project into a folder."""
    once: dict[str | None, Path] = {}

    def put(kind: str | None, out: Path) -> Path:
        if kind not in once:
            once[kind] = deploy(tiny_model, "c99", tmp_path_factory.mktemp("once") / "out", project=kind).out
        return shutil.copytree(once[kind], out)

    return put


@pytest.mark.parametrize("kind", BUILT)
def test_what_a_builder_left_blocks_no_deployment_and_what_is_the_users_stays(
    kind: str | None, deployed: Callable[[str | None, Path], Path], tiny_model: Path, tmp_path: Path
) -> None:
    out = deployed(kind, tmp_path / "out")
    written = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    gone, stays = BUILT[kind]
    for name in (*gone, *stays):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(f"# {name}, written by another\n", encoding="utf-8")
    (out / ".git" / "objects").mkdir(parents=True, exist_ok=True)  # Git takes no folder without it

    report = deploy(tiny_model, "c99", out, project=kind)
    again = {path.relative_to(out): path.read_bytes() for path in report.files}
    assert again.keys() == written.keys()
    # The page says what was kept, and the manifest has the page's hash.
    assert {str(path) for path in written if again[path] != written[path]} == {PAGE, MANIFEST}
    assert f"Kept: {html_text(report.kept[0])}" in (out / PAGE).read_text(encoding="utf-8")
    for name in stays:
        assert (out / name).read_text(encoding="utf-8") == f"# {name}, written by another\n"
    assert [name for name in gone if (out / name).exists()] == []
    assert (out / ".git" / "objects").is_dir()
    assert "not replaced" in report.kept[0]
    assert all(name.split("/")[0] in report.kept[0] for name in stays)
    assert f"kept:      {report.kept[0]}\n" in report.text()
    assert report.to_json()["kept"] == list(report.kept)
    assert set(check_replaceable(out, "c99", kind).staying) == {*stays, ".git/objects"}  # and so the next one


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (None, "notes.txt"),
        ("make", "board.c"),
        ("make", "sdkconfig"),  # ESP-IDF's alone
        ("cmake", "build-mine/CMakeLists.txt"),
        ("cmake", "buildings.txt"),
        ("esp-idf", "main/camera_ov2640.c"),
        ("esp-idf", "components/edgedet/mine.c"),
        ("zephyr", "src/boards/x.overlay"),
        ("arduino", "examples/Mine/build/Mine.ino"),
    ],
)
def test_a_file_of_nobody_stops_a_deployment(
    kind: str | None, name: str, deployed: Callable[[str | None, Path], Path], tmp_path: Path
) -> None:
    out = deployed(kind, tmp_path / "out")
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("mine", encoding="utf-8")
    if "build-mine" in name:
        (out / name).with_name("CMakeCache.txt").touch()
    with pytest.raises(ConfigError, match=r"holds files that deploy did not write \(.*" + Path(name).name):
        check_replaceable(out, "c99", kind)


def test_a_file_that_stays_is_never_where_deploy_writes_one(tmp_path: Path) -> None:
    """No project writes one there today; a later edgedet may, into a folder of an earlier one."""
    with pytest.raises(ConfigError, match=r"holds include/x.h, which is yours, where deploy would write a file"):
        carried_settings(tmp_path, ("include/x.h", "test/y.c"), {"include/x.h": "", "main.c": ""})


def test_git_finds_its_repository_after_a_deployment(
    deployed: Callable[[str | None, Path], Path], tiny_model: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    out = deployed("make", tmp_path / "out")
    subprocess.run([require_tool("git"), "init", "-q", out], check=True)
    deploy(tiny_model, "c99", out, project="make")
    done = subprocess.run(["git", "-C", out, "status", "--short"], capture_output=True, text=True, check=True)
    assert "?? camera.c" in done.stdout.splitlines()


OLD = "CONFIG_ESPTOOLPY_FLASHSIZE_2MB=y\nCONFIG_ESP_MAIN_TASK_STACK_SIZE=8192\nCONFIG_COMPILER_OPTIMIZATION_PERF=y\n"
NEW = "CONFIG_ESPTOOLPY_FLASHSIZE_4MB=y\nCONFIG_ESP_MAIN_TASK_STACK_SIZE=16384\nCONFIG_COMPILER_OPTIMIZATION_PERF=y\n"
SDKCONFIG = """# default:
# CONFIG_ESPTOOLPY_FLASHSIZE_1MB is not set
CONFIG_ESPTOOLPY_FLASHSIZE_2MB=y
# CONFIG_ESPTOOLPY_FLASHSIZE_4MB is not set
# default:
CONFIG_ESPTOOLPY_FLASHSIZE="2MB"
CONFIG_ESP_MAIN_TASK_STACK_SIZE=8192
CONFIG_COMPILER_OPTIMIZATION_PERF=y
CONFIG_SPIRAM=y
# CONFIG_SPIRAM_MODE_OCT is not set
"""


def test_sdkconfig_keeps_what_menuconfig_set_and_follows_the_new_model_where_it_did_not() -> None:
    text, notes = carried_sdkconfig(SDKCONFIG, OLD, NEW)
    assert text == "CONFIG_COMPILER_OPTIMIZATION_PERF=y\nCONFIG_SPIRAM=y\n# CONFIG_SPIRAM_MODE_OCT is not set\n"
    assert notes == ()
    assert carried_sdkconfig(SDKCONFIG, OLD, OLD) == (SDKCONFIG, ())


def test_sdkconfig_says_where_a_setting_of_the_user_is_not_what_the_new_model_asks_for() -> None:
    mine = SDKCONFIG.replace("SIZE=8192", "SIZE=10000").replace(
        "CONFIG_ESPTOOLPY_FLASHSIZE_2MB=y\n# CONFIG_ESPTOOLPY_FLASHSIZE_4MB is not set",
        "# CONFIG_ESPTOOLPY_FLASHSIZE_2MB is not set\nCONFIG_ESPTOOLPY_FLASHSIZE_4MB=y",
    )
    text, notes = carried_sdkconfig(mine, OLD, NEW)
    assert text == mine
    assert notes == (
        "sdkconfig: CONFIG_ESP_MAIN_TASK_STACK_SIZE stays 10000, which is yours; this model asks for 16384",
    )


def test_deploy_carries_sdkconfig_to_a_model_that_asks_for_more(
    deployed: Callable[[str | None, Path], Path], tiny_model: Path, tmp_path: Path
) -> None:
    out = deployed("esp-idf", tmp_path / "out")
    defaults = (out / "sdkconfig.defaults").read_text(encoding="utf-8")
    assert defaults.count("CONFIG_ESP_MAIN_TASK_STACK_SIZE=8192") == 1
    less = defaults.replace("STACK_SIZE=8192", "STACK_SIZE=4096")  # as a deployment that asked for less wrote it
    rewrite(out, "sdkconfig.defaults", less)
    (out / "sdkconfig").write_text(less + "CONFIG_SPIRAM=y\n", encoding="utf-8")
    report = deploy(tiny_model, "c99", out, project="esp-idf")
    text = (out / "sdkconfig").read_text(encoding="utf-8")
    assert "CONFIG_SPIRAM=y" in text
    assert "CONFIG_ESP_MAIN_TASK_STACK_SIZE" not in text  # ESP-IDF takes it of sdkconfig.defaults
    assert (out / "sdkconfig.defaults").read_text(encoding="utf-8") == defaults
    assert report.kept == ("sdkconfig: yours or your builder's, not replaced",)


def rewrite(out: Path, name: str, text: str) -> None:
    """As if the earlier deployment had written another text."""
    (out / name).write_text(text, encoding="utf-8")
    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    manifest["files"] |= file_table({name: text})
    (out / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def test_a_deployment_into_the_current_folder_leaves_nothing_of_the_earlier_one(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't be exchanged as a whole: what the new deployment lacks goes file by file."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    deploy(tiny_model, "c99", Path(), project="make")
    (here / ".git").mkdir()
    (here / ".git" / "HEAD").write_text("ref")
    for name in ("faces", "cells", None):
        deploy(tiny_model, "c99", Path(), project="make", name=name)
        elsewhere = deploy(tiny_model, "c99", tmp_path / f"{name}", project="make", name=name).out
        assert _names(here) - {".git/HEAD"} == _names(elsewhere)
    assert (here / ".git" / "HEAD").read_text() == "ref"
    check_replaceable(Path(), "c99", "make")


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
