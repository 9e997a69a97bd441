"""Usage errors come before torch, which takes seconds to load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgedet.commands.frame import early
from edgedet.commands.main import main

REPO = Path(__file__).resolve().parents[3]
TRAIN = ("train", "rtmdet_pico_relu6", "--out", "RUN")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("train", "rtmdet_pico", "--out", "RUN"), "no model 'rtmdet_pico' (did you mean"),
        ((*TRAIN, "--freeze", "stage2"), "belong to --from CKPT"),
        ((*TRAIN, "--set", "lerning_rate=1"), "'lerning_rate' is unknown"),
        ((*TRAIN, "--imgsz", "100"), "multiple of 32"),
        (TRAIN, "split train: no data set given; give --data"),
        ((*TRAIN, "--data", "nowhere"), "nowhere: data folder not found"),
        (("train", "--from", "absent.pt", "--out", "RUN"), "absent.pt: no such checkpoint"),
        (("models", "rtmdet_pico_relu6", "--set", "chanels=1"), "'chanels' is unknown"),
        (("models", "rtmdet_pico_relu6", "--imgsz", "100"), "multiple of 32"),
        (("import", "absent.pth"), "give either --out FILE, or --list"),
        (("import", "absent.pth", "--out", "a.pt"), "absent.pth: no such checkpoint; expected a .pth"),
        (("export", "a.pt", "--format", "onxx", "--out", "a.onnx"), "expected one of onnx"),
        (("quantize", "a.onnx", "--method", "qat", "--out", "RUN"), "--method qat: needs a checkpoint"),
        (("quantize", "a.onnx", "--out", "RUN"), "split train: no data set given"),
        (("quantize", "a.onnx", "--images", "p", "--out", "RUN"), "a.onnx: no such file; expected an .onnx file"),
        (("quantize", "absent.pt", "--data", "d", "--out", "RUN"), "absent.pt: no such checkpoint"),
        (("substitute", "absent.pt", "--data", "d", "--activation", "relu6", "--out", "RUN"), "absent.pt: no such"),
        (("quantize", "a.pt", "--effort", "high", "--out", "RUN"), "--effort 'high': expected one of fast, normal"),
    ],
)  # fmt: skip
def test_usage_error_is_found_without_torch(argv: tuple[str, ...], words: str, tmp_path: Path) -> None:
    """A process in which torch can't be imported says the same."""
    code = (
        "import sys; sys.modules['torch'] = None; from edgedet.commands.main import main; sys.exit(main(sys.argv[1:]))"
    )
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", code, *argv]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_large_annotation_file_is_announced_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_annotations.coco.json").write_text("{" + " " * (9 if split == "train" else 99))
    monkeypatch.setattr(early, "_LARGE_BYTES", 50)
    assert main(["data", "check", str(tmp_path)]) == 2  # it is no data set
    first, *others = capfd.readouterr().err.splitlines()
    assert first == f"data check: reading {tmp_path}/valid/_annotations.coco.json (0 MB)"
    assert others[-1].startswith("error: ")
    model, out = tmp_path / "absent.tflite", tmp_path / "run"
    for argv in (
        ["inspect", str(model), "--against", "a.pt"],
        ["waterfall", str(model), "--against", "a.pt"],
        ["evaluate", str(model)],
        ["train", "rtmdet_pico_relu6", "--out", str(out)],
    ):
        assert main([*argv, "--data", str(tmp_path)]) == 2
        announced = [line for line in capfd.readouterr().err.splitlines() if ": reading " in line]
        assert announced == [f"{argv[0]}: reading {tmp_path}/valid/_annotations.coco.json (0 MB)"], argv
    monkeypatch.setattr(early, "_LARGE_BYTES", 500)
    assert main(["data", "check", str(tmp_path)]) == 2
    assert capfd.readouterr().err.startswith("error: ")
