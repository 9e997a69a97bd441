"""The page of target web in a real browser: the simulator's bytes and detections, and what it says when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from browser import browser_tools, wait_until
from every_model import EVERY_MODEL
from PIL import Image, PngImagePlugin
from random_weights import random_detector, random_pictures
from toy_detector import write_toy_data, write_toy_model

from edgedet.commands.main import main
from edgedet.config import available_models, load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.pictures.preprocess import normalize
from edgedet.deploy.api import deploy
from edgedet.deploy.targets.web_parts import slider_scores
from edgedet.errors import ConfigError, ToolchainError
from edgedet.evaluate.detect import detect
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.metadata import contract_metadata, read_contracts
from edgedet.graph.model import load_int8_model
from edgedet.quantize.api import quantize_model
from edgedet.runtimes.open import open_runtime
from edgedet.simulate.simulator import Simulator

# Each is a way out of its place in HTML, JavaScript or C.
CLASSES = ("</script><script>alert(1)</script>", "<!-- \" ' \\ ${1} \u2028\x00", "*/ blue&amp;\U0001f600")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
ALWAYS = "rtmdet_pico_relu6"  # the smallest; the others by `make test-models`
OTHERS = [name for name in available_models() if name != ALWAYS]
BUILDS = ("", "#plain")  # of the address
pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy detector with hostile class names."""
    path = write_toy_model(tmp_path_factory.mktemp("web") / "toy <b>.tflite")
    graph = parse_tflite(path.read_bytes(), "toy")
    contracts = read_contracts(graph, "toy")
    entry = contract_metadata(contracts.preprocess, replace(contracts.outputs, class_names=CLASSES))
    path.write_bytes(serialize(replace(graph, metadata=(entry,))))
    return path


@pytest.fixture(scope="module")
def page(model: Path, require_tool: Callable[..., str]) -> Path:
    require_tool("clang")
    require_tool("wasm-ld")
    return deploy(model, "web", model.parent / "page").out / "index.html"


@pytest.fixture(scope="module")
def chromium(require_tool: Callable[..., str], repo_dir: Path) -> Iterator[Any]:
    browser, driver = require_tool("chromium"), require_tool("chromedriver")
    with browser_tools(repo_dir).chromium(browser, driver, flags=CAMERA) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty PNGs: of the toy data set, and of other sizes, colours and kinds."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = sorted(write_toy_data(folder, 7).rglob("*.png"))
    rng = np.random.default_rng(3)
    for name, picture in odd_pictures(rng).items():
        paths.append(folder / f"{name}.png")
        gamma = PngImagePlugin.PngInfo()
        gamma.add(b"gAMA", (100_000).to_bytes(4, "big"))  # the contract knows no colour spaces: pixels as in the file
        picture.save(paths[-1], pnginfo=gamma if name == "gamma" else None)
    assert len(paths) == 20
    return paths


def odd_pictures(rng: np.random.Generator) -> dict[str, Image.Image]:
    def noise(*shape: int) -> Image.Image:
        return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))

    return {
        "one": noise(1, 1, 3),
        "wide": noise(3, 700, 3),
        "large": noise(1100, 901, 3),
        "grey": noise(50, 60),
        "palette": noise(50, 60, 3).quantize(16),
        "gamma": noise(64, 96, 3),
    }


def open_page(chromium: Any, page: Path, address: str = "") -> str:
    """Open it and wait for the self-test; gives what it says."""
    chromium.get("about:blank")
    chromium.get(page.as_uri() + address)
    return str(wait_until(lambda: chromium.execute_script(STATE), "the start"))


STATE = 'const text = document.getElementById("state").textContent; return text === "Starting." ? "" : text'
RESULT = """
if (!shown || shown.name !== arguments[0] || !shown.found) return null;
return {outputs: network.outputs().map(b => [...b]), found: shown.found, size: [shown.image.width, shown.image.height]};
"""


def run_picture(chromium: Any, path: Path) -> dict[str, Any]:
    chromium.find_element("id", "files").send_keys(str(path))
    result: dict[str, Any] = wait_until(lambda: chromium.execute_script(RESULT, path.name), path.name)
    return result


def assert_same(chromium: Any, model: Path, pictures: list[Path]) -> int:
    """The page gives the simulator's bytes and detections for every picture; gives the number of detections."""
    runtime = open_runtime(model, "sim")
    count = 0
    for path in pictures:
        result = run_picture(chromium, path)
        threshold = runtime.outputs.score_threshold
        found = detect(runtime, path, None if runtime.outputs.class_thresholds else threshold)
        raw = runtime.invoke(runtime.prepare(found.pixels))
        for name, expected, bytes_ in zip(runtime.outputs.tensor_names, raw, result["outputs"], strict=True):
            assert bytes(bytes_) == expected.tobytes(), (path.name, name)
        assert_same_detections(result["found"], found.in_image)
        count += len(result["found"])
    return count


def assert_same_detections(found: list[dict[str, Any]], expected: Any) -> None:
    assert [item["label"] for item in found] == expected.labels.tolist()
    assert [item["score"] for item in found] == expected.scores.tolist()
    assert [item["box"] for item in found] == expected.boxes.tolist()


def no_errors(chromium: Any) -> bool:
    return [entry["message"] for entry in chromium.get_log("browser")] == []


@pytest.mark.parametrize("name", [ALWAYS, *(pytest.param(name, marks=EVERY_MODEL) for name in OTHERS)])
def test_page_of_a_shipped_model_gives_the_simulators_bytes(
    chromium: Any, name: str, pictures: list[Path], tmp_path: Path
) -> None:
    path = random_network(name, 64, tmp_path / f"{name}.tflite")
    page = deploy(path, "web", tmp_path / "page").out / "index.html"
    some = pictures[:3] if name == ALWAYS else pictures
    for address in BUILDS:
        assert open_page(chromium, page, address).startswith("Self-test passed: 0 of ")
        assert_same(chromium, path, some)
    assert no_errors(chromium)


def random_network(name: str, side_px: int, path: Path) -> Path:
    """A shipped network with random weights, quantized on random pictures."""
    file = load_model_file(name, ("threads=1",))
    preprocess = file.preprocess.spec((side_px, side_px))
    network = random_detector(file.model, 2, seed=1)
    batch = [normalize(picture, preprocess) for picture in random_pictures(2, side_px, side_px, seed=2)]
    outputs = OutputSpec(class_names=("first", "second"), score_threshold=0.3)
    calibration = [torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)]
    path.write_bytes(serialize(quantize_model(network, preprocess, outputs, calibration).graph))
    return path


@pytest.mark.parametrize("address", BUILDS)
def test_page_twenty_pictures_give_the_simulators_bytes(
    chromium: Any, page: Path, model: Path, pictures: list[Path], address: str
) -> None:
    said = open_page(chromium, page, address)
    assert said.startswith("Self-test passed: 0 of "), said
    assert ("plain WebAssembly, as #plain" in said) == bool(address)
    assert ("SIMD128" in said) != bool(address)
    assert assert_same(chromium, model, pictures) > 20
    assert no_errors(chromium)


def test_page_every_position_of_the_sliders_gives_what_python_decodes(
    chromium: Any, page: Path, model: Path, pictures: list[Path]
) -> None:
    open_page(chromium, page)
    run_picture(chromium, pictures[1])
    runtime = open_runtime(model, "sim")
    scores = slider_scores(runtime.outputs)
    assert len(scores) >= 99
    for position, threshold in enumerate(scores):
        found = chromium.execute_script("return network.detect(arguments[0], data.nms_iou)", position)
        assert_same_detections(found, detect(runtime, pictures[1], threshold).in_image)
    with pytest.raises(Exception, match="out of range"):
        chromium.execute_script("return network.detect(arguments[0], data.nms_iou)", len(scores))


def test_page_shows_layers_as_the_simulator_has_them(
    chromium: Any, page: Path, model: Path, pictures: list[Path]
) -> None:
    open_page(chromium, page)
    run_picture(chromium, pictures[2])
    layers = chromium.execute_script("return data.layers.map(l => [l.name, [...network.layer(l)]])")
    runtime = open_runtime(model, "sim")
    graph = load_int8_model(model).graph
    arrays = Simulator(graph).invoke_all(runtime.prepare(detect(runtime, pictures[2], 0.5).pixels))
    expected = {graph.tensors[index].name: array.tobytes() for index, array in arrays.items()}
    assert len(layers) == 9
    for name, codes in layers:
        assert bytes(codes) == expected[name], name


def test_deploy_web_without_its_compiler_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "page"
    assert main(["deploy", str(model), "--target", "web", "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error == "error: clang is not installed, but this step needs it: apt install clang lld\n"
    (tmp_path / "clang").symlink_to("/bin/true")
    with pytest.raises(ToolchainError, match=r"wasm-ld is not installed.*apt install clang lld"):
        deploy(model, "web", out)
    assert [path.name for path in tmp_path.iterdir()] == ["clang"]


def test_deploy_web_refuses_what_a_page_can_not_use(
    tmp_path: Path, model: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("clang")
    bare = write_toy_model(tmp_path / "bare.tflite", metadata=False)
    with pytest.raises(ConfigError, match=r"carries no contracts.*`edgedet contract`"):
        deploy(bare, "web", tmp_path / "page")
    with pytest.raises(ConfigError, match="target web makes a page"):
        deploy(model, "web", tmp_path / "page", name="faces")
    assert [path.name for path in tmp_path.iterdir()] == ["bare.tflite"]


def test_page_texts_of_the_model_stay_texts(chromium: Any, page: Path, model: Path, pictures: list[Path]) -> None:
    text = page.read_text(encoding="ascii")
    assert text.count("</script>") == 7  # data, two builds, three arrays, the script
    open_page(chromium, page)
    assert chromium.title == "toy <b>.tflite"
    run_picture(chromium, pictures[1])
    cells = chromium.execute_script(
        "return [...document.querySelectorAll('#found tbody td.t')].map(c => c.textContent)"
    )
    assert cells
    assert set(cells) <= set(CLASSES)
    assert no_errors(chromium)


def test_page_names_the_thresholds_of_classes_where_they_hold(
    chromium: Any, model: Path, pictures: list[Path], tmp_path: Path
) -> None:
    graph = parse_tflite(model.read_bytes(), "toy")
    contracts = read_contracts(graph, "toy")
    outputs = replace(contracts.outputs, class_names=("a", "b", "c")).with_thresholds((0.3, 0.5, 0.4))
    path = tmp_path / "classes.tflite"
    path.write_bytes(serialize(replace(graph, metadata=(contract_metadata(contracts.preprocess, outputs),))))
    page = deploy(path, "web", tmp_path / "page").out / "index.html"
    open_page(chromium, page)
    said = 'return document.getElementById("score-value").textContent'
    assert chromium.execute_script(said) == "a 0.3, b 0.5, c 0.4, as in the contract"
    assert_same(chromium, path, pictures[1:3])
    chromium.execute_script(
        'const s = document.getElementById("score"); s.value = 0; s.dispatchEvent(new Event("input"))'
    )
    assert chromium.execute_script(said) == "0.01"


def test_page_stops_a_video_without_an_error(chromium: Any, page: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "film.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"VP80"), 10.0, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(20):
        writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    open_page(chromium, page)
    chromium.find_element("id", "files").send_keys(str(path))
    wait_until(lambda: chromium.execute_script("return shown !== null && shown.found && shown.name"), "a frame")
    chromium.find_element("id", "stop").click()
    wait_until(lambda: chromium.execute_script(STATE).startswith("Stopped"), "the end")
    assert chromium.execute_script("return [shown.image.width, shown.image.height]") == [64, 48]
    assert no_errors(chromium)


def test_page_names_the_video_that_does_not_open(chromium: Any, page: Path, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"no film")
    open_page(chromium, page)
    chromium.find_element("id", "files").send_keys(str(path))
    wait_until(lambda: "film.mp4 can't be opened (" in chromium.execute_script(STATE), "the refusal")
