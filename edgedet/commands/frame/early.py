"""What is wrong in a command line, found before torch is loaded, which takes seconds; and the loading."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.config import checkpoint_meant, load_model_file
from edgedet.errors import CheckpointError, ConfigError, meant
from edgedet.fileio import require_out_folder
from edgedet.options import data_paths
from edgedet.terminal import announce, working

if TYPE_CHECKING:
    from edgedet.data.paths import DataPaths

_LARGE_BYTES = 4 << 20  # read and parsed in a fraction of a second


def check_model_options(name: str | None, overrides: Sequence[str], imgsz: tuple[int, int] | None) -> None:
    """Raises ConfigError when a model file, its keys or the size of its input are wrong.

    Args:
        name: shipped model or path of a TOML; None: the network of a checkpoint, known only when that is read.
        overrides: as `--set`.
        imgsz: width, height, px; None: the model's.
    """
    if name is not None:
        load_model_file(name, overrides).preprocess.spec(imgsz)


def check_choices(args: argparse.Namespace, choices: Mapping[str, Sequence[str]]) -> None:
    """Raises ConfigError when an option has a value that is none of its choices.

    Args:
        args: parsed options.
        choices: attribute of them -> what it may be, besides None.
    """
    for name, allowed in choices.items():
        value = getattr(args, name)
        if value is not None and value not in allowed:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{option} {value!r}: expected one of {', '.join(allowed)}{meant(value, allowed)}")


def check_run(args: argparse.Namespace, checkpoint: Path | None, splits: Sequence[str]) -> None:
    """Raises an error when a run has nowhere to go, nothing to start from, or no data.

    Args:
        args: parsed options, with `out` and those of `add_data_arguments`.
        checkpoint: that it starts from, if any.
        splits: that it reads for certain.
    """
    require_out_folder(args.out, "--out")
    if checkpoint is not None:
        check_checkpoint(checkpoint, checkpoint_meant(checkpoint))
    paths = data_paths(args)
    for split in splits:
        paths.require_named(split)


def check_checkpoint(path: Path, advice: str, kind: str = "checkpoint") -> None:
    """Raises CheckpointError when a file of a kind (a word for the message) is not there; with advice."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such {kind}; {advice}")


def announce_large(command: str, paths: DataPaths) -> None:
    """Say that a large annotation file is read, which is one call without steps to count.

    Args:
        command: for people.
        paths: data set.
    """
    files = [path for path in (paths.train_ann, paths.val_ann) if path is not None]
    for folder in paths.folders:
        files += [*folder.glob("*.json"), *folder.glob("*/*.json")]
    sizes = {path: path.stat().st_size for path in files if path.is_file()}
    largest = max(sizes, key=lambda path: sizes[path], default=None)
    if largest is not None and sizes[largest] >= _LARGE_BYTES:
        announce(f"{command}: reading {largest} ({sizes[largest] / 1e6:.0f} MB)")


def load_torch(command: str, module: str) -> None:
    """Import a module that needs torch, and show meanwhile that the command has begun.

    Args:
        command: for people.
        module: full name.
    """
    with working(f"{command}: loading torch"):
        importlib.import_module(module)
