"""Checkpoints: plain tensors and a JSON-able spec, written atomically, loaded without running any code of the file."""

from __future__ import annotations

import math
import pickle
import warnings
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from edgedet.config import ModelConfig, checkpoint_meant
from edgedet.contracts import OutputSpec, PreprocessSpec, require_trainable_size
from edgedet.errors import CheckpointError, ConfigError
from edgedet.fileio import atomic_path
from edgedet.net.families import build_detector, int8_form
from edgedet.net.rtmdet import RTMDet
from edgedet.outputs.failures import RememberingFile
from edgedet.texts import other_kind
from edgedet.typed import build, require_plain, shown

FORMAT = "edgedet-checkpoint"
VERSION = 1
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # how files of torch.save and of pickle begin
_MAX_PICKLE_BYTES = 64 << 20  # of everything but the numbers of tensors
_STRUCTURE = 2**20  # bytes that unpacked members may exceed their file by
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64)
_AGAIN = "train or export it again with this edgedet"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained detector and both contracts."""

    model_config: ModelConfig
    preprocess: PreprocessSpec
    outputs: OutputSpec
    weights: dict[str, Tensor]  # state dict of RTMDet (averaged weights, when training averaged them)
    info: dict[str, Any]  # JSON-able: how it was trained (epoch, AP, seed, data, versions)
    resume: dict[str, Any] | None = None  # what --resume needs; None in checkpoints made for use

    def __repr__(self) -> str:  # without the weights
        return f"<Checkpoint of {self.model_config.name}, {self.num_classes} classes>"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.outputs.class_names)

    def build(self) -> RTMDet:
        """The detector with these weights, float32, in evaluation mode."""
        model = build_detector(self.model_config, self.num_classes, self.preprocess.channels)
        model.load_state_dict(self.weights)
        return model.eval()

    def int8_form(self) -> Checkpoint:
        """The same detector as it is quantized; see `families.int8_form`."""
        config, outputs = int8_form(self.model_config, self.outputs)
        return replace(self, model_config=config, outputs=outputs)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; a reader finds the old file or the new one, never a part of it."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "spec": {
            "model": asdict(checkpoint.model_config),
            "preprocess": checkpoint.preprocess.to_json(),
            "outputs": checkpoint.outputs.to_json(),
        },
        "info": checkpoint.info,
        "state_dict": checkpoint.weights,
    }
    if checkpoint.resume is not None:
        content["resume"] = checkpoint.resume
    write_torch_file(content, path)


def write_torch_file(content: dict[str, Any], path: Path) -> None:
    """`torch.save` to a file that appears whole, with the system's reason when it can't be written.

    Args:
        content: tensors, text and numbers.
        path: of the file, which may exist.
    Raises:
        OutputError: it can't be written; what was there is still there.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        remembering = RememberingFile(file)
        try:
            torch.save(content, cast(IO[bytes], remembering))  # whose `write` is all that is called
        except RuntimeError as error:  # about positions in the file; the reason is lost in C++
            raise remembering.error or error from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: a .pt file written by edgedet.
    Returns:
        The checkpoint; the weights fit its model configuration.
    Raises:
        CheckpointError: missing, truncated, not a checkpoint of edgedet, or weights of another architecture.
    """
    content = read_torch_file(path)
    if not is_format(content, FORMAT):
        found = f"a {type(content).__name__}"
        if isinstance(content, dict):
            found = f"format {shown(content['format'])}" if "format" in content else "no key 'format'"
        raise CheckpointError(
            f"{path}: not an edgedet checkpoint: expected format {FORMAT!r}, found {found}; give a .pt of edgedet train"
        )
    if type(content.get("version")) is not int or content["version"] != VERSION:
        raise CheckpointError(
            f"{path}: checkpoint version {shown(content.get('version'))}, this edgedet reads {VERSION}; train again"
        )
    _require_parts(content, path)
    try:
        require_plain(content["info"], "info")
        spec = content["spec"]
        checkpoint = Checkpoint(
            model_config=build(ModelConfig, spec["model"], f"{path}: model"),
            preprocess=PreprocessSpec.from_json(spec["preprocess"]),
            outputs=OutputSpec.from_json(spec["outputs"]),
            weights=content["state_dict"],
            info=content["info"],
            resume=content.get("resume"),
        )
        require_trainable_size(checkpoint.preprocess.width, checkpoint.preprocess.height)
    except ConfigError as error:
        raise CheckpointError(f"{path}: incomplete or foreign checkpoint: {error}; {_AGAIN}") from error
    _check_weights(checkpoint, path)
    return checkpoint


def is_format(content: Any, name: str) -> bool:
    """True for a dict whose `format` is this text; a stranger's may be a tensor, which can't be compared."""
    return isinstance(content, dict) and isinstance(content.get("format"), str) and content["format"] == name


def _require_parts(content: dict[str, Any], path: Path) -> None:
    """Raises CheckpointError when a table, or a key of one without a default, is missing; `build` checks the model."""
    for where, keys in (
        ((), ("spec", "info", "state_dict")),
        (("info",), ()),
        (("spec",), ("model", "preprocess", "outputs")),
        (("spec", "preprocess"), ("width", "height")),
        (("spec", "outputs"), ("class_names",)),
    ):
        table: Any = content
        for key in where:
            table = table[key]
        place = f"key {'.'.join(where)!r}" if where else "the checkpoint"
        if not isinstance(table, dict):
            raise CheckpointError(f"{path}: {place}: expected a dict, found {type(table).__name__}; {_AGAIN}")
        missing = [repr(key) for key in keys if key not in table]
        if missing:
            raise CheckpointError(f"{path}: incomplete or foreign: {place} lacks {', '.join(missing)}; {_AGAIN}")
    names = content["spec"]["outputs"]["class_names"]
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path}: key 'spec.outputs.class_names': expected names, found {shown(names)}; {_AGAIN}")


def read_torch_file(path: Path) -> Any:
    """Content of a file of torch.save, without running any code of it.

    Raises:
        CheckpointError: missing, truncated, or foreign.
    """
    if path.is_dir():
        there = " or ".join(sorted(str(file) for file in path.glob("*.pt"))[:3])
        hint = f"give {there}" if there else "give a file of a run; this one holds none"
        raise CheckpointError(f"{path}: is a folder, expected a checkpoint (.pt); {hint}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; {checkpoint_meant(path)}")
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] == b"TFL3":
        raise CheckpointError(f"{path}: is a .tflite, expected a checkpoint (.pt) of edgedet train")
    if head.startswith(_ZIP):
        _require_bounded(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what the errors below say
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise CheckpointError(f"{path}: holds more than there is memory for; {_AGAIN}") from error
    except Exception as error:  # the bytes of a foreign file decide which: KeyError, IndexError, RuntimeError, ...
        is_pickle = head.startswith((_ZIP, _PICKLE))
        if (isinstance(error, pickle.UnpicklingError) and is_pickle) or "TorchScript" in str(error):
            reason = (
                "refused: only tensors, text and numbers of torch.save are loaded; the rest could run code of the file"
            )
        else:
            reason = _unreadable(path)
        raise CheckpointError(f"{path}: {reason}; expected a .pt of edgedet train") from error


def _unreadable(path: Path) -> str:
    with path.open("rb") as file:
        kind = other_kind(file.read(64))
    if kind and path.stat().st_size:
        return f"not a readable checkpoint, but {kind}"
    return f"not a readable checkpoint ({path.stat().st_size} bytes): truncated, or no file of torch.save"


def _require_bounded(path: Path) -> None:
    """Refuse a zip file whose members unpack to much more than the file has, before anything takes memory.

    torch stores its members plainly, one after the other; compressed or overlapping ones grow without bound.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            total = sum(member.file_size for member in archive.infolist())
    except Exception as error:  # zipfile raises whatever the bytes of the directory lead to
        raise CheckpointError(f"{path}: {_unreadable(path)}; expected a .pt of edgedet train") from error
    if total > path.stat().st_size + _STRUCTURE:
        raise CheckpointError(
            f"{path}: holds compressed members, {total:,} bytes in a file of {path.stat().st_size:,}; expected a file "
            "of torch.save, which stores them plainly"
        )
    pickled = max((size for name, size in sizes.items() if name.endswith(".pkl")), default=0)
    if pickled > _MAX_PICKLE_BYTES:
        raise CheckpointError(
            f"{path}: its values besides tensors take {pickled:,} bytes, expected at most {_MAX_PICKLE_BYTES:,}; "
            f"{_AGAIN}"
        )


def require_dense(value: Any, name: str, path: Path) -> Tensor:
    """A tensor that holds all its numbers plainly, in the file and in memory.

    Args:
        value: any value of a file.
        name: its key, for the message.
        path: of the file, for the message.
    Returns:
        The tensor.
    Raises:
        CheckpointError: no tensor, or a quantized, sparse, nested, meta or complex one, or one whose numbers are
            repeated from fewer.
    """
    if not isinstance(value, Tensor):
        raise CheckpointError(f"{path}: {name}: expected a tensor, found {shown(value)}; save it again")
    found = ""
    if value.is_nested or value.layout != torch.strided or value.is_quantized:
        found = "a nested, sparse or quantized one"
    elif value.device.type != "cpu":
        found = f"one on the device {value.device.type}, without numbers"
    elif value.dtype not in _DTYPES:
        found = f"{value.dtype}"
    elif not math.prod(value.shape) * value.element_size() <= value.untyped_storage().nbytes():
        found = "one that repeats few numbers"
    if found:
        raise CheckpointError(
            f"{path}: {name}: expected a plain tensor of floats or int64, found {found}; save it again"
        )
    return value


def _check_weights(checkpoint: Checkpoint, path: Path) -> None:
    """Compare names and shapes with the architecture, and reject weights that are not numbers."""
    if not isinstance(checkpoint.weights, dict) or not all(isinstance(name, str) for name in checkpoint.weights):
        raise CheckpointError(f"{path}: state_dict holds something else than tensors by name; {_AGAIN}")
    for name, value in checkpoint.weights.items():
        require_dense(value, name, path)
    with torch.device("meta"):  # shapes without numbers: a stranger's file may ask for the largest network
        model = build_detector(checkpoint.model_config, checkpoint.num_classes, checkpoint.preprocess.channels)
    expected = model.state_dict()
    for problem, names in (
        ("lacks", expected.keys() - checkpoint.weights.keys()),
        ("has unknown", checkpoint.weights.keys() - expected.keys()),
    ):
        if names:
            raise CheckpointError(
                f"{path}: {problem} weights {sorted(names)[:3]} ({len(names)} in all) for "
                f"{checkpoint.model_config.name} with {checkpoint.num_classes} classes; a checkpoint of another model?"
            )
    for name, value in checkpoint.weights.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(value.shape)}, {checkpoint.model_config.name} needs "
                f"{tuple(expected[name].shape)}; is it a checkpoint of another model or number of classes?"
            )
        if value.is_floating_point() != expected[name].is_floating_point():
            raise CheckpointError(f"{path}: {name} holds {value.dtype}, expected {expected[name].dtype}; {_AGAIN}")
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinity; training diverged, use an earlier checkpoint")
        if name.endswith("running_var") and bool((value < 0).any()):
            raise CheckpointError(f"{path}: {name} holds negative numbers, but is a variance; use another checkpoint")
