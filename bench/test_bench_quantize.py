"""How long quantization takes, and how much memory: rtmdet_nano at 192x192, 3 classes, random weights.

Marks of issue 2: fake-quantized graph -> .tflite under 1 s; PTQ with 128 images under 30 s on 2 cores, peak memory
under 2 GB (effort fast). Of issue 3: effort normal under 60 s, best under 5 minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from random_weights import random_detector, random_pictures

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.net.checkpoint import Checkpoint, save_checkpoint
from edgedet.quantize.api import quantize_model
from edgedet.quantize.calibration.histogram import Histogram
from edgedet.quantize.calibration.ranges import kl_range, mse_range, percentile_range
from edgedet.quantize.fx.to_graph import QuantizedModel, graph_from_fx
from edgedet.quantize.ptq.adaround import round_codes

SIDE = 192
OUTPUTS = OutputSpec(("a", "b", "c"))
FILE = load_model_file("rtmdet_nano")
IMAGES = 128

# A process of its own, so that its peak memory is that of quantization alone.
QUANTIZE = """
import json, resource, sys
from pathlib import Path
from edgedet.data.paths import DataPaths
from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint
checkpoint, data, out = (Path(path) for path in sys.argv[1:4])
report = quantize_checkpoint(QuantizeRequest(checkpoint, DataPaths(data), out, effort=sys.argv[4]))
print(json.dumps({"report": report.to_json(), "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


@cache
def quantized() -> QuantizedModel:
    pictures = random_pictures(2, SIDE, SIDE, seed=1).transpose(0, 3, 1, 2).astype(np.float32) / 255
    model = random_detector(FILE.model, 3, seed=0)
    return quantize_model(model, FILE.preprocess.spec((SIDE, SIDE)), OUTPUTS, [torch.from_numpy(pictures)])


def test_bench_fx_to_tflite(benchmark):
    spec = FILE.preprocess.spec((SIDE, SIDE))
    model = quantized()
    expected = serialize(model.graph)
    assert parse_tflite(expected, "bench").tensors == model.graph.tensors

    data = benchmark(lambda: serialize(graph_from_fx(model.fake_quant, spec, OUTPUTS)))
    assert data == expected


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> tuple[Path, Path]:
    """A checkpoint, and a data set of 640x480 JPEG files, as COCO's are."""
    root = tmp_path_factory.mktemp("bench")
    (root / "train").mkdir()
    coco: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": i, "name": n} for i, n in
                                                                             enumerate("abc")]}  # fmt: skip
    for i in range(IMAGES):
        Image.fromarray(random_pictures(1, 640, 480, seed=i)[0]).save(root / "train" / f"{i:03}.jpg", quality=90)
        coco["images"].append({"id": i, "file_name": f"{i:03}.jpg", "width": 640, "height": 480})
        coco["annotations"].append(
            {"id": i + 1, "image_id": i, "category_id": i % 3, "bbox": [10, 10, 99, 50], "area": 4950, "iscrowd": 0}
        )
    (root / "train" / "_annotations.coco.json").write_text(json.dumps(coco))
    weights = random_detector(FILE.model, 3, seed=0).state_dict()
    spec = FILE.preprocess.spec((SIDE, SIDE))
    save_checkpoint(Checkpoint(FILE.model, spec, OUTPUTS, weights, {}), root / "best.pt")
    return root / "best.pt", root


@pytest.mark.parametrize("effort", ["fast", "normal", "best"])
def test_bench_ptq_128_images_whole_command(benchmark, job, effort):
    checkpoint, root = job

    def run() -> dict:
        command = [sys.executable, "-c", QUANTIZE, str(checkpoint), str(root), str(root / "out"), effort]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    result = benchmark.pedantic(run, rounds=1)
    assert (result["report"]["calib_images"], result["report"]["effort"]) == (IMAGES, effort)
    parse_tflite((root / "out" / "model_int8.tflite").read_bytes(), "bench")
    benchmark.extra_info["peak_mib"] = result["peak_kib"] // 1024
    benchmark.extra_info["seconds"] = result["report"]["seconds"]
    print(f"\npeak {result['peak_kib'] // 1024} MiB, seconds {result['report']['seconds']}")


@pytest.mark.parametrize("find", [percentile_range, mse_range, kl_range])
def test_bench_range_from_histogram(benchmark, find):
    values = np.random.default_rng(0).normal(size=1_000_000).astype(np.float32)
    histogram = Histogram()
    histogram.add(torch.from_numpy(values))
    low, high = benchmark(find, histogram)
    assert values.min() <= low < -2.5
    assert 2.5 < high <= values.max()


def test_bench_histogram_million_values(benchmark):
    values = torch.from_numpy(np.random.default_rng(0).normal(size=1_000_000).astype(np.float32))
    histogram = Histogram()
    histogram.add(values)
    assert histogram.bins()[1].sum() == len(values)
    benchmark(histogram.add, values)


def test_bench_round_codes_largest_layer(benchmark):
    """Of nano: 3x3, 128 -> 256 channels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1152, 2304)) + rng.normal(size=2304)
    own = (x @ x.T / 2304 + 0.01 * np.eye(1152))[None]
    weight = rng.normal(size=(1, 256, 1152))
    steps = np.abs(weight).max(axis=2, keepdims=True) / 127
    start = np.rint(weight / steps).astype(np.int8)

    def loss(codes: np.ndarray) -> float:
        difference = codes * steps - weight
        return float(np.sum(difference * (difference @ own)))

    found = benchmark.pedantic(lambda: round_codes(weight, steps, start, own, own), rounds=3)
    assert loss(found) < 0.5 * loss(start)
