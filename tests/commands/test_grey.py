"""One channel from training to the generated C, by the commands that a user types."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2", reason="training needs the extra train")
pytest.importorskip("tflite_micro", reason="needs the extra tflm")
pytest.importorskip("jinja2", reason="needs the extra c99")

from edgedet.commands.main import main
from edgedet.data.coco.build import load_split
from edgedet.data.pictures.preprocess import load_image, resize_to_input
from edgedet.net.checkpoint import load_checkpoint
from edgedet.runtimes.open import open_runtime

pytestmark = [pytest.mark.toolchain, pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")]


@pytest.fixture(scope="module")
def grey_run(tiny_coco_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run: best.pt and int8/model_int8.tflite."""
    out = tmp_path_factory.mktemp("grey")
    train = ["train", "rtmdet_pico_relu6", "--data", str(tiny_coco_once), "--imgsz", "96x64", "--epochs", "10"]
    # Weights and BatchNorms of few steps: averaged ones would still be those of the start.
    settings = ("channels=1", "threads=1", "mixup=0.3", "ema_decay=0.0", "eval_interval=10")
    options = [
        "--batch",
        "4",
        *(word for setting in settings for word in ("--set", setting)),
        "--out",
        str(out / "run"),
    ]
    assert main([*train, *options]) == 0
    quantize = ["quantize", str(out / "run/best.pt"), "--data", str(tiny_coco_once), "--out", str(out / "int8")]
    assert main([*quantize, "--effort", "fast", "--calib-images", "9"]) == 0
    return out


def test_grey_checkpoint_has_one_channel_in_weights_and_contract(grey_run: Path) -> None:
    checkpoint = load_checkpoint(grey_run / "run/best.pt")
    assert checkpoint.preprocess.channel_order == "GRAY"
    assert (checkpoint.preprocess.mean, checkpoint.preprocess.std) == ((0.0,), (255.0,))
    assert checkpoint.weights["backbone.stem.0.conv.weight"].shape[1] == 1


def test_grey_int8_simulator_tflm_reference_kernels_and_c_agree_in_every_byte(
    grey_run: Path, tiny_coco_once: Path
) -> None:
    model = grey_run / "int8/model_int8.tflite"
    runtimes = [open_runtime(model, name) for name in ("sim", "tflm", "ref", "c99")]
    for record in load_split(tiny_coco_once, "valid").images[:2]:
        pixels, _ = resize_to_input(load_image(record.path), runtimes[0].preprocess)
        assert pixels.shape == (64, 96, 1)
        expected, *others = [runtime.invoke(runtime.prepare(pixels)) for runtime in runtimes]
        assert sum(len(np.unique(output)) for output in expected) > 30, "a dead network proves nothing"
        for other in others:
            for ours, theirs in zip(expected, other, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_grey_evaluate_prints_the_same_table_for_every_arithmetic(
    grey_run: Path, tiny_coco_once: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = []
    for runtime in ("sim", "tflm", "c99"):
        model = str(grey_run / "int8/model_int8.tflite")
        assert main(["evaluate", model, "--data", str(tiny_coco_once), "--runtime", runtime]) == 0
        tables.append(re.findall(r"Average .* = (\S+)", capsys.readouterr().out))
    assert len(tables[0]) == 12
    assert tables[1:] == tables[:1] * 2


def test_grey_deploys_to_both_targets_and_the_c_module_passes(
    grey_run: Path, tiny_coco_once: Path, tmp_path: Path
) -> None:
    image = str(load_split(tiny_coco_once, "valid").images[0].path)
    for target in ("tflm", "c99"):
        model = str(grey_run / "int8/model_int8.tflite")
        assert main(["deploy", model, "--target", target, "--out", str(tmp_path / target), "--image", image]) == 0
        header = (tmp_path / target / "contract.h").read_text()
        assert "#define EDGEDET_INPUT_CHANNELS 1\n" in header
        assert '#define EDGEDET_INPUT_CHANNEL_ORDER "GRAY"' in header
        assert "(19595 * R + 38470 * G + 7471 * B + 32768) >> 16" in header
        check = ["cc", "-std=c99", "-pedantic", "-Wall", "-Wconversion", "-Werror", "-fsyntax-only", "contract.h"]
        subprocess.run(check, cwd=tmp_path / target, check=True)
    made = subprocess.run(["make", "CFLAGS=-O1"], cwd=tmp_path / "c99", capture_output=True, text=True, check=False)
    assert made.stdout.splitlines()[-1] == "PASS", made.stdout + made.stderr
