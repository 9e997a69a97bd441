"""What an installation holds: packages, resource folders, the command."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

import edgedet
from edgedet.errors import EXTRAS, ToolchainError
from edgedet.resources import RESOURCES, resource_dir

REPO = Path(__file__).resolve().parents[1]
SOURCES = ("edgedet", *RESOURCES)


def run(command: list[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout; building in place would litter it."""
    source = tmp_path_factory.mktemp("copy") / "source"
    source.mkdir()
    for name in SOURCES:
        shutil.copytree(REPO / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(REPO / name, source / name)
    return source


@pytest.fixture(scope="module")
def wheel_site(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with an installed wheel."""
    tmp = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    run([*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp / "dist")], source)
    (wheel,) = (tmp / "dist").glob("edgedet-*.whl")
    site = tmp / "site"
    run([*pip, "install", "--no-deps", "--no-index", "--no-compile", "--target", str(site), str(wheel)], tmp)
    return site


def test_pyproject_package_list_matches_the_folders() -> None:
    listed = set(tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])
    present = {".".join(p.parent.relative_to(REPO).parts) for p in (REPO / "edgedet").rglob("__init__.py")}
    assert listed == present | {f"edgedet._resources.{name}" for name in RESOURCES}


def test_extras_bring_what_the_errors_promise() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {
        extra: {re.split(r"[^\w-]", requirement)[0].lower() for requirement in requirements}
        for extra, requirements in project["optional-dependencies"].items()
    }
    distributions = {"cv2": "opencv-python-headless", "ethosu": "ethos-u-vela", "serial": "pyserial"}
    for module, extra in EXTRAS.items():
        assert distributions.get(module, module.replace("_", "-")) in names[extra], module
    # Both targets of deploy render templates.
    assert "jinja2" in names["c99"] & names["tflm"]


def test_every_extra_stands_in_the_page_about_installing() -> None:
    extras = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    page = (REPO / "docs" / "installing.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)) == set(extras)


def test_resource_dir_checkout_finds_every_folder() -> None:
    for name in RESOURCES:
        assert resource_dir(name) == REPO / name


def test_resource_dir_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ToolchainError, match=r"unknown resource folder 'kernel'.*kernels, models, firmware_export"):
        resource_dir("kernel")


def test_resource_dir_wheel_carries_every_file(wheel_site: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(wheel_site)!r})\n"
        "import edgedet\nfrom edgedet.resources import RESOURCES, resource_dir\n"
        "print(edgedet.__file__)\nprint(*(resource_dir(name) for name in RESOURCES), sep='\\n')"
    )
    # -I: neither the working folder nor PYTHONPATH may lead to the checkout.
    where, *folders = run([sys.executable, "-I", "-c", code], tmp_path).split()
    assert Path(where).parent == wheel_site / "edgedet"
    for name, folder in zip(RESOURCES, folders, strict=True):
        assert Path(folder) == wheel_site / "edgedet" / "_resources" / name
        expected = {p.relative_to(REPO / name) for p in (REPO / name).rglob("*") if p.is_file()}
        found = {p.relative_to(folder) for p in Path(folder).rglob("*") if p.is_file()}
        assert found == {p for p in expected if "__pycache__" not in p.parts}


def test_resource_dir_incomplete_installation_names_both_places(wheel_site: Path, tmp_path: Path) -> None:
    shutil.copytree(wheel_site / "edgedet", tmp_path / "edgedet", ignore=shutil.ignore_patterns("_resources"))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from edgedet.errors import ToolchainError\nfrom edgedet.resources import resource_dir\n"
        "try:\n    resource_dir('models')\nexcept ToolchainError as error:\n    print(error)"
    )
    message = run([sys.executable, "-I", "-c", code], tmp_path)
    assert message.startswith(f"models/ is neither in {tmp_path / 'edgedet' / '_resources'} (wheel) nor in {tmp_path}")
    assert "reinstall" in message


def test_wheel_version_and_entry_point_match_the_package(wheel_site: Path) -> None:
    (info,) = wheel_site.glob("edgedet-*.dist-info")
    assert f"Version: {edgedet.__version__}\n" in (info / "METADATA").read_text(encoding="utf-8")
    assert "edgedet = edgedet.commands.main:main" in (info / "entry_points.txt").read_text(encoding="utf-8")


def test_wheel_carries_licence_authors_and_types(wheel_site: Path) -> None:
    (info,) = wheel_site.glob("edgedet-*.dist-info")
    metadata = (info / "METADATA").read_text(encoding="utf-8")
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Author: The edgedet authors\n" in metadata
    assert (info / "licenses" / "LICENSE").read_bytes() == (REPO / "LICENSE").read_bytes()
    assert (wheel_site / "edgedet" / "py.typed").is_file()


def test_source_archive_holds_licence_and_every_resource(source: Path, tmp_path: Path) -> None:
    code = f"import setuptools.build_meta as backend; backend.build_sdist({str(tmp_path)!r})"
    run([sys.executable, "-c", code], source)
    (archive,) = tmp_path.glob("edgedet-*.tar.gz")
    with tarfile.open(archive) as tar:
        found = {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}
    expected = {str(p.relative_to(source)) for name in RESOURCES for p in (source / name).rglob("*") if p.is_file()}
    assert {"LICENSE", "README.md", "pyproject.toml", "edgedet/py.typed", *expected} <= found


def test_licence_is_apache_2_of_the_edgedet_authors() -> None:
    text = (REPO / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "Copyright 2026 The edgedet authors" in text
