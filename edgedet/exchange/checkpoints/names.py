"""Names of the weights: whose they are, and what edgedet (which has MMDetection's names) calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgedet.errors import CheckpointError

# Names of MMYOLO and SSCMA -> MMDetection's. The neck keeps the second reduction behind its first top-down block.
_RENAMES = (
    (re.compile(r"neck\.reduce_layers\.2\."), "neck.reduce_layers.0."),
    (re.compile(r"neck\.top_down_layers\.0\.1\."), "neck.reduce_layers.1."),
    (re.compile(r"neck\.top_down_layers\.0\.0\."), "neck.top_down_blocks.0."),
    (re.compile(r"neck\.top_down_layers\.1\."), "neck.top_down_blocks.1."),
    (re.compile(r"neck\.downsample_layers\."), "neck.downsamples."),
    (re.compile(r"neck\.bottom_up_layers\."), "neck.bottom_up_blocks."),
    (re.compile(r"neck\.out_layers\."), "neck.out_convs."),
    (re.compile(r"bbox_head\.head_module\."), "bbox_head."),
)
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
PARTS = ("backbone.", "neck.", "bbox_head.")
# Where the weights can stand, best first. MMEngine swaps before it saves: with averaging, `state_dict` holds the
# averaged weights and `ema_state_dict` those of the last step.
TABLES = ("state_dict", "ema_state_dict", "model")
# Weights of what edgedet has no network for -> what it is.
_OTHERS = (
    ("bbox_head.rtm_obj", "an objectness branch"),
    ("bbox_head.rtm_ang", "rotated boxes"),
    ("bbox_head.scales", "RTMDetHead (BatchNorms shared by all strides); only RTMDetSepBNHead is read"),
    ("bbox_head.mask_head", "instance masks (RTMDet-Ins)"),
    ("bbox_head.kernel", "instance masks (RTMDet-Ins)"),
    ("backbone.stage5", "the P6 backbone"),
    ("backbone.layer1", "a ResNet"),
    ("backbone.conv1", "a ResNet"),
)


@dataclass(frozen=True)
class NamedWeights:
    """The weights of one table of a checkpoint."""

    table: str  # key of the checkpoint; empty: the file is the table
    style: str  # mmdet, or mmyolo (SSCMA's are the same)
    sources: dict[str, str]  # edgedet's name -> key in the table
    unused: tuple[str, ...]  # keys of the table that belong to no part of a detector
    other_tables: tuple[str, ...]  # tables that hold weights, too


def find_weights(root: Any, where: str, table: str | None = None) -> NamedWeights:
    """Find the table of weights, and give its keys edgedet's names.

    Args:
        root: content of the file.
        where: file, for messages.
        table: key to take; None: the best that is there.
    Raises:
        CheckpointError: no such table, or no detector in it.
    """
    tables = [key for key in TABLES if isinstance(root, dict) and isinstance(root.get(key), dict)]
    if table is not None and table not in tables:
        raise CheckpointError(
            f"{where}: no `weights` {table!r}; the file has {', '.join(tables) or 'none of those keys'}"
        )
    chosen = table or (tables[0] if tables else "")
    keys = root[chosen] if chosen else root
    if not isinstance(keys, dict):
        raise CheckpointError(
            f"{where}: expected a dict with key 'state_dict', found a {type(keys).__name__}; give a checkpoint "
            "of MMDetection, MMYOLO or SSCMA"
        )
    plain = {_WRAPPERS.sub("", key): key for key in keys if isinstance(key, str)}
    sources = {_own_name(name): key for name, key in plain.items() if name.startswith(PARTS)}
    _require_detector(sources, where, chosen)
    return NamedWeights(
        table=chosen,
        style="mmyolo" if any(name.startswith("bbox_head.head_module.") for name in plain) else "mmdet",
        sources=sources,
        unused=tuple(key for name, key in plain.items() if not name.startswith(PARTS)),
        other_tables=tuple(key for key in tables if key != chosen),
    )


def _own_name(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name, count = pattern.subn(replacement, name)
        if count and name.startswith("neck."):
            break  # reduce_layers.2 became reduce_layers.0, which no later row may touch
    return name


def _require_detector(names: Iterable[str], where: str, table: str) -> None:
    for start, what in _OTHERS:
        if any(name.startswith(start) for name in names):
            raise CheckpointError(
                f"{where}: its weights {start}... belong to {what}; expected RTMDet with CSPNeXt, CSPNeXtPAFPN and "
                "RTMDetSepBNHead"
            )
    absent = [part for part in PARTS if not any(name.startswith(part) for name in names)]
    if absent:
        under = f" under {table!r}" if table else ""
        raise CheckpointError(
            f"{where}: no weights named {', '.join(f'{part}*' for part in absent)}{under}; expected a detector of "
            "MMDetection, MMYOLO or SSCMA (RTMDet), not only a backbone or another network"
        )
