"""Which key of a model file a wrong one may have meant: mistyped, of another section, or another tool's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgedet.errors import nearest

# A key -> what other tools call it.
_OTHERS = {
    "lr": "learning_rate lr0 base_lr initial_lr",
    "min_lr_ratio": "lrf min_lr",
    "warmup_fraction": "warmup_epochs warmup",
    "batch": "batch_size",
    "epochs": "max_epochs num_epochs",
    "weight_decay": "decay wd",
    "ema_decay": "ema ema_momentum",
    "grad_clip": "clip_grad max_norm",
    "flip": "fliplr hflip horizontal_flip",
    "flip_vertical": "flipud vflip vertical_flip",
    "scale_max": "scale",
    "bf16": "amp fp16",
    "eval_interval": "val_interval",
    "box_weight": "box loss_bbox",
    "cls_weight": "cls loss_cls",
    "widen": "widen_factor width_multiple",
    "deepen": "deepen_factor depth_multiple",
    "activation": "act act_cfg",
    "channel_attention": "attention",
    "depthwise": "use_depthwise",
    "imgsz": "img_size image_size input_size",
    "channels": "in_channels grey",
    "resize": "letterbox keep_ratio",
    "pad_value": "pad_val",
    "threads": "num_workers",
}
OTHER_KEYS = {other: key for key, others in _OTHERS.items() for other in others.split()}


def meant_key(key: str, sections: Mapping[str, Iterable[str]]) -> str:
    """What an unknown key may have meant, for an error: " (did you mean 'train.lr'?)", or nothing.

    Args:
        key: `section.name`, or `name` alone.
        sections: section -> the names that it has.
    """
    section, _, name = key.rpartition(".")
    here = [(s, n) for s, names in sections.items() for n in names]
    here.sort(key=lambda pair: pair[0] != section)  # its own section first, in what follows
    found = _named(name, here) or _named(OTHER_KEYS.get(name.lower().replace("-", "_"), ""), here)
    if not found and section in sections:
        found = _named(nearest(name, [n for s, n in here if s == section]), here)
    if not found:
        close = nearest(name, [*(n for _, n in here), *OTHER_KEYS])
        found = _named(close, here) or _named(OTHER_KEYS.get(close or "", ""), here)
    return f" (did you mean {found!r}?)" if found else ""


def _named(name: str | None, keys: Iterable[tuple[str, str]]) -> str:
    """The first key of a name, with its section; empty: there is none."""
    return next((f"{section}.{known}" for section, known in keys if known == name), "")
