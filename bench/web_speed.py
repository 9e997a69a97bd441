"""Milliseconds of the network in Chromium, target web beside LiteRT.js: python bench/web_speed.py [--litert DIR].

DIR: node_modules of `npm install @litertjs/core`. Both run one thread of WebAssembly on the same int8 network with
random weights. LiteRT.js has no int8 tensors, so its file gets a QUANTIZE in front and a DEQUANTIZE behind. The outputs
of both are compared with the simulator's. Needs Chromium, its driver and selenium.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from report_pictures import chromium

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from random_weights import random_detector, random_pictures

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.pictures.preprocess import normalize
from edgedet.deploy.api import deploy
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.graph import Graph, NoOptions, Operator, Tensor
from edgedet.quantize.api import quantize_model
from edgedet.runtimes.open import open_runtime

MODELS = ("rtmdet_pico_relu6", "rtmdet_nano_ncadc_relu6", "rtmdet_nano_relu", "rtmdet_nano")
SIDE_PX = 192
RUNS = 60

# Gives [milliseconds of each run, outputs as bytes] of a network in the page that edgedet wrote.
OURS = """
const [input, runs, done] = arguments;
network.input = Uint8Array.from(input);
const times = [];
for (let i = 0; i < runs; i++) { const t = performance.now(); network.invoke(); times.push(performance.now() - t); }
done([times, network.outputs().map(b => [...b])]);
"""
# The same of LiteRT.js: copying the input in and the outputs out is not counted.
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="importmap">{"imports": {"@litertjs/wasm-utils": "./@litertjs/wasm-utils/dist/index.js"}}</script>
<script type="module">
import {loadLiteRt, loadAndCompile, Tensor} from './@litertjs/core/dist/index.js';
window.measure = async (path, input, shape, runs) => {
  if (!window.litert) window.litert = await loadLiteRt('./@litertjs/core/wasm/');
  const model = await loadAndCompile(path, {accelerator: 'wasm'});
  const times = [];
  let values = [];
  for (let i = 0; i < runs; i++) {
    const tensor = new Tensor(Float32Array.from(input), shape);
    const t = performance.now();
    const outputs = await model.run(tensor);
    times.push(performance.now() - t);
    if (i === runs - 1) values = outputs.map(o => [...o.toTypedArray()]);
    outputs.forEach(o => o.delete());
    tensor.delete();
  }
  return [times, values];
};
window.ready = true;
</script>"""
THEIRS = """
const [path, input, shape, runs, done] = arguments;
window.measure(path, input, shape, runs).then(done, e => done(String(e)));
"""


def write_models(name: str, folder: Path) -> None:
    """model.tflite, int8 with random weights (seed 0), and float_ends.tflite, the same between float32 tensors."""
    file = load_model_file(name)
    preprocess = file.preprocess.spec((SIDE_PX, SIDE_PX))
    network = random_detector(file.model, 2, seed=0, width=SIDE_PX, height=SIDE_PX)
    pictures = random_pictures(2, SIDE_PX, SIDE_PX, seed=0)
    batch = torch.from_numpy(np.stack([normalize(p, preprocess) for p in pictures])).permute(0, 3, 1, 2)
    graph = quantize_model(network, preprocess, OutputSpec(class_names=("first", "second")), [batch]).graph
    (folder / "model.tflite").write_bytes(serialize(graph))
    (folder / "float_ends.tflite").write_bytes(serialize(with_float_ends(graph)))


def with_float_ends(graph: Graph) -> Graph:
    """float32 inputs and outputs in front of and behind the same int8 network."""
    tensors = list(graph.tensors)

    def twin(index: int) -> int:
        tensors.append(Tensor(f"float_{graph.tensors[index].name}", graph.tensors[index].shape, "float32"))
        return len(tensors) - 1

    front = [Operator("QUANTIZE", (twin(i),), (i,), NoOptions()) for i in graph.inputs]
    behind = [Operator("DEQUANTIZE", (i,), (twin(i),), NoOptions()) for i in graph.outputs]
    return replace(
        graph,
        tensors=tuple(tensors),
        operators=(*front, *graph.operators, *behind),
        inputs=tuple(operator.inputs[0] for operator in front),
        outputs=tuple(operator.outputs[0] for operator in behind),
        metadata=(),
    )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def off_by(found: list[list[int]], expected: list[np.ndarray]) -> int:
    """The largest difference of codes; outputs of another order are told apart by their distance."""
    rest = [np.array(codes, dtype=int) for codes in found]
    return max(
        min(int(np.abs(codes - wanted.ravel()).max()) for codes in rest if codes.size == wanted.size)
        for wanted in (array.astype(int) for array in expected)
    )


def measure_ours(opened: Any, address: str, fragment: str, codes: np.ndarray) -> tuple[list[float], list[Any]]:
    opened.get("about:blank")
    opened.get(f"{address}/page/index.html{fragment}")
    while opened.execute_script("return document.getElementById('state').textContent") == "Starting.":
        time.sleep(0.05)
    times, outputs = opened.execute_async_script(OURS, codes.view(np.uint8).ravel().tolist(), RUNS)
    return times, [np.array(b, dtype=np.uint8).view(np.int8) for b in outputs]


def measure_theirs(opened: Any, address: str, runtime: Any, codes: np.ndarray) -> tuple[list[float], list[Any]]:
    """LiteRT.js on values that QUANTIZE turns into exactly these codes; its outputs back in codes."""
    graph = runtime.model.graph
    affine = graph.tensors[graph.inputs[0]].quantization
    values = (codes.astype(np.float32) - affine.zero_point[0]) * affine.scale[0]
    opened.get(f"{address}/litert.html")
    while not opened.execute_script("return window.ready"):
        time.sleep(0.05)
    shape = list(codes.shape)
    found = opened.execute_async_script(THEIRS, "float_ends.tflite", values.ravel().tolist(), shape, RUNS)
    if isinstance(found, str):
        raise SystemExit(f"LiteRT.js: {found}")
    times, outputs = found
    ends = zip(outputs, runtime.model.scales, runtime.model.zero_points, strict=True)
    return times, [np.rint(np.array(o) / scale + zero_point) for o, scale, zero_point in ends]


def measure(opened: Any, address: str, folder: Path, litert: bool) -> list[tuple[str, float, float, int]]:
    """Rows of (what, median ms, fastest ms, largest difference from the simulator)."""
    runtime = open_runtime(folder / "model.tflite", "sim")
    codes = np.random.default_rng(1).integers(-128, 128, (1, SIDE_PX, SIDE_PX, 3), dtype=np.int8)
    expected = runtime.invoke(codes)
    found = {
        "edgedet, SIMD128": measure_ours(opened, address, "", codes),
        "edgedet, plain": measure_ours(opened, address, "#plain", codes),
    }
    if litert:
        found["LiteRT.js, wasm"] = measure_theirs(opened, address, runtime, codes)
    return [
        (title, float(np.median(times)), min(times), off_by(outputs, expected))
        for title, (times, outputs) in found.items()
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--litert", type=Path, help="node_modules with @litertjs/core")
    args = parser.parse_args()
    if args.litert is not None:
        package = json.loads((args.litert / "@litertjs" / "core" / "package.json").read_text())
        print(f"@litertjs/core {package['version']}")
    print("| network | runtime | median, ms | fastest, ms | codes off by |\n| --- | --- | --- | --- | --- |")
    with TemporaryDirectory() as name, served(Path(name)) as address:
        folder = Path(name)
        (folder / "litert.html").write_text(PAGE)
        if args.litert is not None:
            (folder / "@litertjs").symlink_to((args.litert / "@litertjs").resolve())
        for model in MODELS:
            write_models(model, folder)
            deploy(folder / "model.tflite", "web", folder / "page")
            with chromium("/usr/bin/chromium", "/usr/bin/chromedriver") as opened:
                opened.set_script_timeout(600)
                for title, median, fastest, off in measure(opened, address, folder, args.litert is not None):
                    print(f"| {model} {SIDE_PX} | {title} | {median:.1f} | {fastest:.1f} | {off} |", flush=True)


if __name__ == "__main__":
    main()
