"""`edgedet import`: a checkpoint of MMDetection, MMYOLO or SSCMA becomes one of edgedet."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgedet import __version__
from edgedet.contracts import OutputSpec
from edgedet.errors import CheckpointError, ConfigError
from edgedet.exchange.checkpoints.architecture import EPS, Architecture, Choices, find_architecture
from edgedet.exchange.checkpoints.config_text import TrainingConfig, read_config
from edgedet.exchange.checkpoints.contracts import InputChoices, input_contract
from edgedet.exchange.checkpoints.names import NamedWeights, find_weights
from edgedet.exchange.checkpoints.pickle_reader import TensorRef
from edgedet.exchange.checkpoints.torch_file import TorchFile, open_torch_file
from edgedet.fileio import require_out_file
from edgedet.net.checkpoint import FORMAT, Checkpoint, is_format, require_dense, save_checkpoint
from edgedet.net.families import build_detector
from edgedet.outputs.lock import hold_output

_SHOWN = 12  # keys that an error names
_COUNTER = ".num_batches_tracked"  # of BatchNorms; without effect on outputs


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and what its file does not say."""

    checkpoint: Path
    out: Path
    class_names: tuple[str, ...] | None = None  # None: the file's
    weights: str | None = None  # table of weights, one of names.TABLES; None: the best that is there
    inputs: InputChoices = field(default_factory=InputChoices)
    network: Choices = field(default_factory=Choices)


@dataclass(frozen=True)
class KeyRow:
    """One weight: edgedet's name, the file's, and what became of it."""

    name: str
    source: str
    shape: tuple[int, ...]
    fate: str  # used | unused | missing | unknown | shape | filled


@dataclass(frozen=True)
class ImportReport:
    """What was imported, and where each fact comes from."""

    out: Path
    checkpoint: Checkpoint
    facts: tuple[str, ...]
    rows: tuple[KeyRow, ...]

    def keys(self, fate: str) -> tuple[str, ...]:
        """Keys of the file (or, where it lacks them, edgedet's names) with this fate."""
        return tuple(row.source or row.name for row in self.rows if row.fate == fate)

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict: the checkpoint, what was found out about it, and every key."""
        name = self.checkpoint.model_config.name
        rows = [asdict(row) for row in self.rows]
        return {"out": str(self.out), "model": name, "facts": list(self.facts), "keys": rows}

    def text(self) -> str:
        """Lines for people, each with its line end."""
        lines = [f"model:    {self.checkpoint.model_config.name}", *(f"          {fact}" for fact in self.facts)]
        lines.append(f"weights:  {len(self.keys('used'))} used")
        for fate, note in (
            ("unused", "belong to no part of a detector"),
            ("filled", "copied from the first stride, or counters of BatchNorms set to 0"),
        ):
            if self.keys(fate):
                lines.append(f"          {len(self.keys(fate))} {fate}, {note}: {', '.join(self.keys(fate))}")
        if self.checkpoint.model_config.exp_boxes:
            lines.append("boxes:    exponentials; the int8 file gives their logarithms, the decoder does the rest")
        return "".join(f"{line}\n" for line in (*lines, f"wrote:    {self.out}"))


def import_checkpoint(request: ImportRequest) -> ImportReport:
    """Turn a checkpoint of MMDetection, MMYOLO or SSCMA into one of edgedet; nothing that it holds is run.

    The network is equal to the original: same outputs but for the rounding of float32.

    Args:
        request: file, target, and what the file does not say.
    Returns:
        What was written.
    Raises:
        CheckpointError: no such checkpoint, or a network that edgedet does not have; keys that don't fit are named.
        ConfigError: options that don't fit, or `out` is the file that is read, which may not be had again.
    """
    require_out_file(request.out, "`out`")
    if request.out.exists() and request.checkpoint.exists() and request.out.samefile(request.checkpoint):
        raise ConfigError(f"`out` {request.out}: is the file to import, which would be lost; give a new name")
    with hold_output(request.out):
        report = _read(request)
        save_checkpoint(report.checkpoint, request.out)
    return report


def list_keys(request: ImportRequest) -> tuple[KeyRow, ...]:
    """Every weight of the file, and of the network that it would have to fit; writes nothing.

    Raises:
        CheckpointError: no detector of a known kind.
    """
    return _rows(_open(request))


@dataclass(frozen=True, eq=False)
class _Opened:
    """A file that was read, and what its weights belong to."""

    where: str
    file: TorchFile
    named: NamedWeights
    config: TrainingConfig
    values: dict[str, Tensor | TensorRef]  # by edgedet's names
    architecture: Architecture


def _open(request: ImportRequest) -> _Opened:
    where = str(request.checkpoint)
    file = open_torch_file(request.checkpoint)
    if is_format(file.root, FORMAT):
        raise CheckpointError(f"{where}: is a checkpoint of edgedet already; use it as it is")
    named, config = find_weights(file.root, where, request.weights), read_config(file.root)
    table = file.root[named.table] if named.table else file.root
    values = {name: table[key] for name, key in named.sources.items()}
    for name, value in values.items():
        if not isinstance(value, TensorRef):
            require_dense(value, named.sources[name], request.checkpoint)
    shared = _shared_head(file, values)
    shapes = {name: _shape(value) for name, value in values.items()}
    try:
        architecture = find_architecture(shapes, shared, named.style, config, request.network, where)
    except ConfigError as error:  # weights of a size that no network of edgedet has
        raise CheckpointError(f"{where}: {error}") from error
    return _Opened(where, file, named, config, values, architecture)


def _shape(value: Tensor | TensorRef) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else value.size


def _is_head_convolution(name: str) -> bool:
    return name.startswith(("bbox_head.cls_convs.", "bbox_head.reg_convs.")) and name.endswith("conv.weight")


def _first_stride(name: str) -> str:
    """The same weight of the head's first stride."""
    part, branch, _, rest = name.split(".", 3)
    return f"{part}.{branch}.0.{rest}"


def _shared_head(file: TorchFile, values: dict[str, Tensor | TensorRef]) -> bool:
    """True when the head's convolutions are the same on all strides, or only there once."""
    others = [name for name in values if _is_head_convolution(name) and name != _first_stride(name)]
    for name in others:
        first = values.get(_first_stride(name))
        if first is None or not torch.equal(file.tensor(values[name]), file.tensor(first)):
            return False
    return True


def _rows(opened: _Opened) -> tuple[KeyRow, ...]:
    """Compare with the network, by name and shape."""
    named, values, architecture = opened.named, opened.values, opened.architecture
    with torch.device("meta"):
        expected = build_detector(architecture.model, architecture.num_classes, architecture.channels).state_dict()
    rows = []
    for name, tensor in expected.items():
        shape = tuple(tensor.shape)
        if name not in values:
            shared = architecture.model.share_head and _is_head_convolution(name) and _first_stride(name) in values
            rows.append(KeyRow(name, "", shape, "filled" if shared or name.endswith(_COUNTER) else "missing"))
        else:
            fate = "used" if _shape(values[name]) == shape else "shape"
            rows.append(KeyRow(name, named.sources[name], _shape(values[name]), fate))
    rows += [KeyRow(n, named.sources[n], _shape(v), "unknown") for n, v in values.items() if n not in expected]
    rows += [KeyRow("", key, (), "unused") for key in named.unused]
    return tuple(rows)


def _read(request: ImportRequest) -> ImportReport:
    opened = _open(request)
    where, config, architecture, named = opened.where, opened.config, opened.architecture, opened.named
    rows = _rows(opened)
    _require_fit(rows, architecture, where)
    names = _class_names(request, config, architecture, where)
    try:
        outputs = OutputSpec(class_names=names)
        preprocess, input_facts = input_contract(config, request.inputs, architecture.channels, where)
    except ConfigError as error:  # of what the file says, or of an option: the file belongs into both
        raise ConfigError(f"{where}: {error}") from error
    others = f", not {', '.join(named.other_tables)}" if named.other_tables else ""
    origin = f"weights of {named.table or 'the file itself'}{others}"
    facts = (*architecture.facts, *input_facts, f"classes {', '.join(names)}", origin)
    checkpoint = Checkpoint(
        model_config=architecture.model,
        preprocess=preprocess,
        outputs=outputs,
        weights=_weights(opened, rows),
        info={"edgedet": __version__, "imported": {"file": request.checkpoint.name, "facts": list(facts)}},
    )
    return ImportReport(request.out, checkpoint, facts, rows)


def _require_fit(rows: tuple[KeyRow, ...], architecture: Architecture, where: str) -> None:
    """Raises CheckpointError when the network lacks a weight, or has another one."""
    problems = []
    for fate, words in (("missing", "lacks"), ("unknown", "has no place for"), ("shape", "has another shape for")):
        found = [f"{row.source or row.name} {row.shape}" for row in rows if row.fate == fate]
        if found:
            more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            subject = "the file" if fate == "missing" else "edgedet's network"
            problems.append(f"{subject} {words} {', '.join(found[:_SHOWN])}{more}")
    if problems:
        model = architecture.model
        raise CheckpointError(
            f"{where}: does not fit RTMDet of width {model.widen:g} and depth {model.deepen:g}: {'; '.join(problems)}; "
            "edgedet import FILE --list shows every key"
        )


def _class_names(request: ImportRequest, config: TrainingConfig, found: Architecture, where: str) -> tuple[str, ...]:
    names = request.class_names or config.class_names
    if len(names) != found.num_classes:
        source = "you give" if request.class_names else "the file names"
        raise CheckpointError(
            f"{where}: {source} {len(names)} classes, its head has {found.num_classes}; give `class_names`, names "
            "in the order of the labels"
        )
    return names


def _weights(opened: _Opened, rows: tuple[KeyRow, ...]) -> dict[str, Tensor]:
    """float32 weights by edgedet's names; BatchNorm's epsilon is moved into the variances where it is not edgedet's."""
    file, values, where = opened.file, opened.values, opened.where
    weights: dict[str, Tensor] = {}
    for row in rows:
        if row.fate == "used":
            weights[row.name] = _number(file.tensor(values[row.name]), row.name)
        elif row.fate == "filled":
            source = _first_stride(row.name)
            counter = row.name.endswith(_COUNTER)
            weights[row.name] = torch.tensor(0) if counter else _number(file.tensor(values[source]), source)
    for name, value in weights.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{where}: {name} holds NaN or infinity; take an earlier checkpoint")
        eps = opened.architecture.eps[name.partition(".")[0] + "."]
        if name.endswith(".running_var") and eps != EPS:
            weights[name] = value + (eps - EPS)
            if float(weights[name].min()) < 0:
                raise CheckpointError(
                    f"{where}: {name}: variances too small for eps {eps:g} as {EPS:g}; not representable"
                )
    return weights


def _number(value: Tensor, name: str) -> Tensor:
    return value if name.endswith(_COUNTER) else value.to(torch.float32)


def describe_keys(rows: tuple[KeyRow, ...]) -> str:
    """A table of every key, for people.

    Args:
        rows: from `list_keys`.
    """
    lines = [
        f"{row.fate:<8} {row.source or '-':<70} {'x'.join(map(str, row.shape)) or '-':<16} {row.name}" for row in rows
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)
