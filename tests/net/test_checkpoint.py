from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.errors import CheckpointError
from edgedet.net.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedet.net.families import build_detector


@pytest.fixture
def checkpoint() -> Checkpoint:
    file = load_model_file("rtmdet_pico_relu6")
    torch.manual_seed(0)
    weights = build_detector(file.model, 2).state_dict()
    return Checkpoint(file.model, file.preprocess.spec((96, 64)), OutputSpec(("a", "b")), weights, {"epoch": 3})


def test_save_checkpoint_loads_back_equal(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "c.pt"
    save_checkpoint(checkpoint, path)
    loaded = load_checkpoint(path)
    assert loaded.model_config == checkpoint.model_config
    assert (loaded.preprocess, loaded.outputs, loaded.info) == (checkpoint.preprocess, checkpoint.outputs, {"epoch": 3})
    assert loaded.weights.keys() == checkpoint.weights.keys()
    assert all(torch.equal(loaded.weights[k], v) for k, v in checkpoint.weights.items())
    assert not loaded.build().training
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("part", [0, 1, 100, 0.5, 0.99])
def test_load_checkpoint_truncated_is_one_clear_error(checkpoint: Checkpoint, tmp_path: Path, part: float) -> None:
    path = tmp_path / "c.pt"
    save_checkpoint(checkpoint, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data)) if isinstance(part, float) else part])
    with pytest.raises(CheckpointError, match=r"c\.pt: not a readable checkpoint"):
        load_checkpoint(path)


def test_load_checkpoint_tflite_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "m.pt").write_bytes(b"\x1c\0\0\0TFL3 and more")
    with pytest.raises(CheckpointError, match=r"m\.pt: is a \.tflite, expected a checkpoint"):
        load_checkpoint(tmp_path / "m.pt")


def test_load_checkpoint_missing_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt: no such checkpoint"):
        load_checkpoint(tmp_path / "none.pt")


class _Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("evil-was-here"),))


@pytest.mark.parametrize("plain_pickle", [True, False])
def test_load_checkpoint_from_a_stranger_runs_no_code(tmp_path: Path, monkeypatch, plain_pickle: bool) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    if plain_pickle:
        path.write_bytes(pickle.dumps(_Evil()))
    else:
        torch.save({"format": "edgedet-checkpoint", "x": _Evil()}, path)
    with pytest.raises(CheckpointError, match=r"evil\.pt"):
        load_checkpoint(path)
    assert not (tmp_path / "evil-was-here").exists()


def _write(path: Path, kind: str) -> None:
    match kind:
        case "plain pickle":
            path.write_bytes(pickle.dumps(_Evil()))
        case "torch.save":
            torch.save({"x": _Evil()}, path)
        case "module":
            torch.save(torch.nn.Linear(2, 2), path)
        case "TorchScript":
            torch.jit.script(torch.nn.Linear(2, 2)).save(path)


@pytest.mark.parametrize("kind", ["plain pickle", "torch.save", "module", "TorchScript"])
@pytest.mark.filterwarnings("ignore:.*jit")  # deprecated, but such files exist
def test_load_checkpoint_with_code_says_why_it_is_refused(tmp_path: Path, kind: str, capfd) -> None:
    _write(tmp_path / "evil.pt", kind)
    capfd.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            CheckpointError, match=r"evil\.pt: refused: only tensors.* could run code of the file; expected"
        ) as caught:
            load_checkpoint(tmp_path / "evil.pt")
    assert "Weights only" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"eeee", b"hello this is text\n", b"\x5f\x82\xc2\xd9\xcf\xeb\x0f\xa3" * 600])
def test_load_checkpoint_other_files_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    expected = (
        rf"c\.pt: not a readable checkpoint \({len(content)} bytes\): truncated, or no file of torch\.save; expected"
    )
    with pytest.raises(CheckpointError, match=expected):
        load_checkpoint(tmp_path / "c.pt")


def test_load_checkpoint_folder_names_the_checkpoints_in_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder, expected a checkpoint .* this one holds none"):
        load_checkpoint(tmp_path)
    for name in ("last.pt", "best.pt"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=rf"give {tmp_path}/best\.pt or {tmp_path}/last\.pt"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"state_dict": {}}, "no key 'format'"),
        ({"format": "edgedet-qat-state"}, "'edgedet-qat-state'"),
        ([1], "a list"),
    ],
)
def test_load_checkpoint_foreign_dict_says_what_is_expected(tmp_path: Path, content: object, found: str) -> None:
    torch.save(content, tmp_path / "f.pt")
    with pytest.raises(CheckpointError, match=rf"not an edgedet checkpoint: expected format .* found .*{found}; give"):
        load_checkpoint(tmp_path / "f.pt")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (("spec",), "the checkpoint lacks 'spec'; train or export it again"),
        (("info",), "the checkpoint lacks 'info'"),
        (("state_dict",), "the checkpoint lacks 'state_dict'"),
        (("spec", "outputs"), "key 'spec' lacks 'outputs'"),
        (("spec", "model", "widen"), "model: missing keys widen"),
        (("spec", "preprocess", "width"), "key 'spec.preprocess' lacks 'width'"),
        (("spec", "outputs", "class_names"), "key 'spec.outputs' lacks 'class_names'"),
    ],
)
def test_load_checkpoint_incomplete_names_the_key(
    checkpoint: Checkpoint, tmp_path: Path, where: tuple[str, ...], message: str
) -> None:
    save_checkpoint(checkpoint, tmp_path / "c.pt")
    content = torch.load(tmp_path / "c.pt", weights_only=True)
    *path, key = where
    table = content
    for name in path:
        table = table[name]
    del table[key]
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert "[]" not in str(caught.value)
    table[key] = 3
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"c\.pt: "):
        load_checkpoint(tmp_path / "c.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: replace(c, outputs=OutputSpec(("a", "b", "c"))),
            r"rtm_cls\.0\.(weight|bias) has shape .* number of classes",
        ),
        (lambda c: replace(c, weights={k: v for k, v in c.weights.items() if "rtm_reg" not in k}), "lacks weights"),
        (lambda c: replace(c, weights=c.weights | {"extra": torch.zeros(1)}), "has unknown weights"),
        (lambda c: replace(c, weights=c.weights | {"bbox_head.rtm_reg.0.bias": torch.full((4,), torch.nan)}), "NaN"),
        (
            lambda c: replace(c, weights={k: v - 9.0 if "running_var" in k else v for k, v in c.weights.items()}),
            "running_var holds negative numbers, but is a variance",
        ),
    ],
)
def test_load_checkpoint_wrong_weights_name_the_tensor(checkpoint, tmp_path: Path, change, message: str) -> None:
    save_checkpoint(change(checkpoint), tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "c.pt")


def test_opening_a_checkpoint_does_not_load_torchs_compiler(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """It takes seconds, and nothing of a checkpoint needs it."""
    save_checkpoint(checkpoint, tmp_path / "model.pt")
    program = (
        "import sys; from pathlib import Path; from edgedet.net.checkpoint import load_checkpoint; "
        "load_checkpoint(Path(sys.argv[1])).build(); sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", program, str(tmp_path / "model.pt")], check=True)
