"""Texts of a stranger's file and of a path, through every generator of a deployment."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from generated import assert_self_test_passes
from PIL import Image

from edgedet.deploy.api import deploy
from edgedet.deploy.projects.layout import PROJECTS
from edgedet.drawing.charts import Bar, LayerPoint, layers_chart, waterfall_chart
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.metadata import contract_metadata, read_contracts
from edgedet.outputs.page_files import PAGE

# Each harmless in one language and a way out of its place in another.
TEXTS = (
    'quote " and \\',
    "*/ int evil; /*",
    "trigraph ??/",
    "new\nline int evil;",
    "control \x01\x1b[31m\x7f and none \x00 inside",
    "<script>]]>&amp;'",
    "$(shell touch PWNED) ${X}",
    "\u2028\u202e\U0001f600\ufffe",
    "ends with \\",
)


@pytest.fixture(scope="module")
def hostile_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny detector with such texts as names of its classes and of its tensors."""
    graph = parse_tflite(tiny_model.read_bytes(), "tiny")
    contracts = read_contracts(graph, "tiny")
    count = len(contracts.outputs.class_names)
    names = tuple((TEXTS[i % len(TEXTS)] + str(i)) for i in range(count))
    if count < len(TEXTS):  # the rest in one name
        names = (*names[:-1], "".join(TEXTS))
    outputs = replace(contracts.outputs, class_names=names)
    tensors = [replace(t, name=f"{TEXTS[i % len(TEXTS)]}{i}") for i, t in enumerate(graph.tensors)]
    roles = dict(zip(outputs.tensor_names, contracts.output_indices, strict=True))
    entry = contract_metadata(
        contracts.preprocess, outputs, {role: tensors[graph.outputs[at]].name for role, at in roles.items()}
    )
    path = tmp_path_factory.mktemp("hostile") / "model.tflite"
    path.write_bytes(serialize(replace(graph, tensors=tuple(tensors), metadata=(entry,))))
    return path


@pytest.fixture(scope="module")
def hostile_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "a\nint evil; *\\\\ ??\\"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path, format="PNG")
    return path


@pytest.mark.toolchain
def test_deploy_c99_any_texts_compile_without_warnings_and_pass(
    hostile_model: Path, hostile_image: Path, tmp_path: Path
) -> None:
    deploy(hostile_model, "c99", tmp_path / "out", image=hostile_image)
    assert_self_test_passes(tmp_path / "out")
    ElementTree.parse(tmp_path / "out" / "plan.svg")
    for path in (tmp_path / "out").rglob("*.[ch]"):
        assert path.read_bytes().isascii(), path
    found = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="ascii"))
    assert len(found["files"]) > 5


@pytest.mark.toolchain
def test_deploy_tflm_any_texts_compile_without_warnings(
    hostile_model: Path, hostile_image: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    deploy(hostile_model, "tflm", out, image=hostile_image)
    (out / "names.cc").write_text(
        '#include <cstdio>\n#include "contract.h"\n#include "golden.h"\nint main() {\n'
        "  for (const char* name : edgedet_class_names) std::puts(name);\n  (void)edgedet_outputs;\n"
        "  (void)edgedet_mean;\n  (void)edgedet_std;\n  (void)edgedet_quantize_pixel(0, 0);\n}\n"
    )
    flags = ["-std=c++17", "-trigraphs", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["g++", *flags, "-c", "golden.cc", "-o", "golden.o"], cwd=out, check=True, timeout=120)
    subprocess.run(["g++", *flags, "names.cc", "-o", "names"], cwd=out, check=True, timeout=120)
    printed = subprocess.run([str(out / "names")], capture_output=True, check=True, timeout=60).stdout
    names = read_contracts(parse_tflite(hostile_model.read_bytes(), "m"), "m").outputs.class_names
    # puts() ends a name at a byte 0, as every C string does.
    assert printed == b"".join(name.encode().partition(b"\x00")[0] + b"\n" for name in names)


@pytest.mark.parametrize("kind", PROJECTS)
def test_deploy_project_any_texts_stay_texts_of_their_manifests(
    kind: str, hostile_model: Path, hostile_image: Path, tmp_path: Path
) -> None:
    out = deploy(hostile_model, "c99", tmp_path / "out", image=hostile_image, name="tiny", project=kind).out
    for path in out.rglob("*"):
        assert path.is_dir() or path.name == PAGE or path.read_bytes().isascii(), path  # the page is UTF-8, and says so
    names = read_contracts(parse_tflite(hostile_model.read_bytes(), "m"), "m").outputs.class_names
    described = f"int8 object detector made by edgedet, {len(names)} classes, {' '.join(names)}"
    expected = re.sub("[^A-Za-z0-9 _.,+-]", "x", described)[:120].strip(" -")
    match kind:
        case "esp-idf":
            manifest = yaml.safe_load((out / "components/edgedet_tiny/idf_component.yml").read_text())
            assert list(manifest) == ["version", "description", "dependencies"]
            assert manifest["description"] == expected
        case "arduino":
            lines = (out / "library.properties").read_text().splitlines()
            assert [line.partition("=")[0] for line in lines[:5]] == [
                "name",
                "version",
                "author",
                "maintainer",
                "sentence",
            ]
            assert lines[4] == f"sentence={expected}"
            assert len(lines) == 11
        case "platformio":
            assert json.loads((out / "lib/tiny/library.json").read_text())["description"] == expected
            settings = configparser.ConfigParser(interpolation=None)
            settings.read(out / "platformio.ini")
            assert settings.sections() == ["platformio", "env", "env:native", "env:xiao_esp32s3"]
            assert dict(settings["platformio"]) == {"default_envs": "native", "description": expected}
        case "zephyr":
            assert f'\tbool "{expected}"\n' in (out / "edgedet_tiny/Kconfig").read_text()
        case "cmsis-pack":
            root = ElementTree.parse(out / "edgedet.tiny.pdsc").getroot()
            assert root.findtext("description") == expected
        case "make" | "cmake":
            assert "evil" not in (out / ("Makefile" if kind == "make" else "CMakeLists.txt")).read_text()


def test_charts_any_texts_are_well_formed() -> None:
    for text in (*TEXTS, "\ud800", "".join(map(chr, range(32)))):
        for chart in (
            waterfall_chart(text, [Bar(text, 0.5, text, guilty=True), Bar("b", 0.4)]),
            layers_chart(text, [LayerPoint(text, float("inf"), 3.0, 0.1)]),
        ):
            assert ElementTree.fromstring(chart).tag == "{http://www.w3.org/2000/svg}svg"
