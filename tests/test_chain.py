from __future__ import annotations

import json
from pathlib import Path

import pytest
from random_weights import random_detector

from edgedet.chain import ChainEvents, ChainRequest, run_chain
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.finetune.substitute import SubstituteRequest
from edgedet.net.checkpoint import Checkpoint, save_checkpoint
from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    file = load_model_file("rtmdet_pico_relu6", ("deepen=0.1", "stacked_convs=1"))
    weights = random_detector(file.model, 2, seed=0).state_dict()
    outputs = OutputSpec(("red", "green"), category_ids=(1, 2))
    save_checkpoint(Checkpoint(file.model, file.preprocess.spec((96, 64)), outputs, weights, {}), tmp_path / "float.pt")
    return tmp_path / "float.pt"


def quantization(checkpoint: Path, data: Path, out: Path, int16: tuple[str, ...] = ()) -> QuantizeRequest:
    return QuantizeRequest(checkpoint, DataPaths(data), out, calib_images=4, effort="fast", int16=int16)


def test_run_chain_quantizes_as_alone_and_adds_the_waterfall(
    checkpoint: Path, tiny_coco_once: Path, tmp_path: Path
) -> None:
    alone = quantize_checkpoint(quantization(checkpoint, tiny_coco_once, tmp_path / "alone"))
    told: list[str] = []
    request = ChainRequest(
        quantization(checkpoint, tiny_coco_once, tmp_path / "chain"), waterfall=True, waterfall_images=1
    )
    result = run_chain(request, ChainEvents(report=told.append))
    assert result.substitution is None
    assert result.model.read_bytes() == alone.model.read_bytes()
    assert result.waterfall is not None
    assert result.waterfall.images == 1
    assert told == [result.quantization.text(), f"\n{result.waterfall.text()}picture:     {result.picture}\n"]
    assert result.picture == tmp_path / "chain" / "waterfall.svg"
    assert result.picture.is_file()
    report = json.loads((tmp_path / "chain" / "report.json").read_text())
    assert report["waterfall"] == json.loads(json.dumps(result.waterfall.to_json()))


def test_run_chain_unknown_layer_is_refused_before_the_substitution(
    checkpoint: Path, tiny_coco_once: Path, tmp_path: Path
) -> None:
    out = tmp_path / "q"
    substitution = SubstituteRequest(checkpoint, DataPaths(tiny_coco_once), out / "substituted", activation="relu")
    with pytest.raises(ConfigError, match="nothing_of_this_name"):
        run_chain(
            ChainRequest(quantization(checkpoint, tiny_coco_once, out, int16=("nothing_of_this_name",)), substitution)
        )
    assert not out.exists()


def test_chain_request_that_contradicts_itself_is_refused(checkpoint: Path, tiny_coco_once: Path) -> None:
    one = quantization(checkpoint, tiny_coco_once, Path("q"))
    with pytest.raises(ConfigError, match="`waterfall_images` 3: only with `waterfall`"):
        ChainRequest(one, waterfall_images=3)
    other = SubstituteRequest(Path("other.pt"), DataPaths(tiny_coco_once), Path("s"), activation="relu")
    with pytest.raises(ConfigError, match=r"substitution of other\.pt"):
        ChainRequest(one, other)
