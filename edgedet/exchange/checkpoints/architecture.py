"""From the shapes of the weights, and the configuration where there is one, to edgedet's description of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgedet.config import ACTIVATIONS, ModelConfig, available_models, load_model_file
from edgedet.errors import CheckpointError
from edgedet.exchange.checkpoints.config_text import TrainingConfig
from edgedet.typed import is_number, shown

Shapes = Mapping[str, tuple[int, ...]]

# Activation of an act_cfg -> edgedet's.
_ACTIVATIONS = {
    "SiLU": "silu",
    "Swish": "silu",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "HSwish": "hardswish",
    "Hardswish": "hardswish",
}
DEPTHS = (0.33, 0.167, 0.67, 1.0, 1.33)  # deepen_factor of the published configurations
_BLOCKS = (3, 6, 6, 3)  # CSPNeXt blocks of stages 1..4 before scaling
_EXP_SIZES = (0.75, 1.0, 1.25)  # widths of MMDetection's m, l and x, whose configurations have exp_on_reg
EPS = 1e-5  # of edgedet's BatchNorms, and of torch's when a norm_cfg names none


@dataclass(frozen=True)
class Choices:
    """What a user says because the file does not, or says wrongly; None: the file decides."""

    activation: str | None = None
    boxes: str | None = None  # linear | exp
    bn_eps: float | None = None
    name: str | None = None


@dataclass(frozen=True)
class Architecture:
    """A network, and where each fact comes from."""

    model: ModelConfig
    num_classes: int
    channels: int  # of the input
    eps: dict[str, float]  # backbone., neck., bbox_head. -> epsilon of its BatchNorms
    facts: tuple[str, ...]  # for people


def find_architecture(
    shapes: Shapes, shared: bool, style: str, config: TrainingConfig, choices: Choices, where: str
) -> Architecture:
    """Work out the network.

    Args:
        shapes: of the weights, by edgedet's names.
        shared: the head's convolutions are equal on all strides.
        style: mmdet | mmyolo, as `NamedWeights`.
        config: what the checkpoint says about itself.
        choices: what the user says.
        where: file, for messages.
    Raises:
        CheckpointError: it does not fit, or can't be told without an option.
    """
    _require_standard(config, style, where)
    widen = _shape(shapes, "backbone.stage4.1.conv1.conv.weight", where)[1] / 1024
    deepen = _deepen(shapes, config, where)
    activation, activation_from = _activation(config, choices, where)
    exp_boxes, boxes_from = _exp_boxes(widen, style, config, choices, where)
    eps, eps_from = _epsilons(config, choices, where)
    model = ModelConfig(
        name="",
        deepen=deepen,
        widen=widen,
        activation=activation,
        channel_attention="backbone.stage1.1.attention.fc.weight" in shapes,
        share_head=shared,
        depthwise=_depthwise(shapes),
        stacked_convs=_count(shapes, "bbox_head.cls_convs.0."),
        padding="symmetric",
        exp_boxes=exp_boxes,
    )
    model = ModelConfig(**{**asdict(model), "name": choices.name or _name(model)})
    classes = _shape(shapes, "bbox_head.rtm_cls.0.weight", where)[0]
    facts = (
        f"width {widen:g}, depth {deepen:g}, {'with' if model.channel_attention else 'no'} channel attention, "
        f"{'one head for all strides' if shared else 'a head for each stride'}, {classes} classes (from the weights)",
        f"activation {activation} ({activation_from})",
        f"boxes {'exp' if exp_boxes else 'linear'} ({boxes_from})",
        f"BatchNorm eps {', '.join(f'{value:g}' for value in dict.fromkeys(eps.values()))} ({eps_from})",
    )
    return Architecture(model, classes, _shape(shapes, "backbone.stem.0.conv.weight", where)[1], eps, facts)


def _shape(shapes: Shapes, name: str, where: str) -> tuple[int, ...]:
    if len(shapes.get(name, ())) != 4:
        raise CheckpointError(
            f"{where}: {name}: expected the weights of a convolution, found {shapes.get(name, 'nothing')}; is "
            "it RTMDet with a CSPNeXt backbone?"
        )
    return shapes[name]


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbered children a list of modules has."""
    return len({name.removeprefix(prefix).partition(".")[0] for name in shapes if name.startswith(prefix)})


def _deepen(shapes: Shapes, config: TrainingConfig, where: str) -> float:
    """The factor that gives the number of blocks found: the configuration's, a published one, or a computed one."""
    blocks = [_count(shapes, f"backbone.stage{n}.{2 if n == 4 else 1}.blocks.") for n in (1, 2, 3, 4)]
    blocks.append(_count(shapes, "neck.top_down_blocks.0.blocks."))
    said = config.get("model.backbone.deepen_factor")
    candidates = [float(said)] if is_number(said) else []
    candidates += [*DEPTHS, blocks[1] / 6, blocks[0] / 3]
    for factor in candidates:
        if [max(round(n * factor), 1) for n in (*_BLOCKS, 3)] == blocks:
            return factor
    raise CheckpointError(
        f"{where}: {blocks[:4]} CSPNeXt blocks in the stages and {blocks[4]} in the neck: expected one factor "
        "for 3, 6, 6, 3 and 3; a network of this depth has no form in edgedet"
    )


def _depthwise(shapes: Shapes) -> str:
    if "backbone.stage1.0.depthwise_conv.conv.weight" not in shapes:
        return "none"
    return "all" if "backbone.stage1.1.blocks.0.conv1.depthwise_conv.conv.weight" in shapes else "except_blocks"


def _activation(config: TrainingConfig, choices: Choices, where: str) -> tuple[str, str]:
    if choices.activation is not None:
        if choices.activation not in ACTIVATIONS:
            raise CheckpointError(f"`activation` {choices.activation!r}: expected one of {', '.join(ACTIVATIONS)}")
        return choices.activation, "as you say"
    kinds = {
        str(kind).rpartition(".")[2]
        for part in ("backbone", "neck", _head_path(config))
        if (kind := config.get(f"model.{part}.act_cfg.type")) is not None
    }
    if len(kinds) == 1 and (kind := kinds.pop()) in _ACTIVATIONS:
        return _ACTIVATIONS[kind], "from its configuration"
    found = f"{', '.join(sorted(kinds))} in its configuration" if kinds else "no configuration that says so"
    raise CheckpointError(
        f"{where}: which activation? found {found}, and the weights do not show it; give `activation` "
        f"{', '.join(ACTIVATIONS)} (MMDetection's and MMYOLO's RTMDet: silu; rtmdet_nano of SSCMA: relu or relu6)"
    )


def _head_path(config: TrainingConfig) -> str:
    return "bbox_head.head_module" if isinstance(config.get("model.bbox_head.head_module"), dict) else "bbox_head"


def _exp_boxes(widen: float, style: str, config: TrainingConfig, choices: Choices, where: str) -> tuple[bool, str]:
    if choices.boxes is not None:
        return choices.boxes == "exp", "as you say"
    if style == "mmyolo":
        return False, "as MMYOLO and SSCMA have them"
    if config.has_model:
        return bool(config.get("model.bbox_head.exp_on_reg", False)), "from its configuration"
    if widen in _EXP_SIZES:
        raise CheckpointError(
            f"{where}: are its boxes exponentials? MMDetection's rtmdet_m, l and x have exp_on_reg, others of "
            "this width have not, and the file holds no configuration; give `boxes` exp or linear"
        )
    return False, "as in MMDetection's configuration of this size"


def _epsilons(config: TrainingConfig, choices: Choices, where: str) -> tuple[dict[str, float], str]:
    if choices.bn_eps is not None:
        return dict.fromkeys(("backbone.", "neck.", "bbox_head."), choices.bn_eps), "as you say"
    if not config.has_model:
        return dict.fromkeys(("backbone.", "neck.", "bbox_head."), EPS), "as in all published RTMDet configurations"
    eps = {}
    for part, path in (("backbone.", "backbone"), ("neck.", "neck"), ("bbox_head.", _head_path(config))):
        norm = config.get(f"model.{path}.norm_cfg")
        if not isinstance(norm, dict):
            raise CheckpointError(
                f"{where}: model.{path} of its configuration has no norm_cfg, and defaults differ between "
                "versions; give `bn_eps` (torch: 1e-5, MMDetection's CSPNeXt without norm_cfg: 1e-3)"
            )
        kind, value = str(norm.get("type")).rpartition(".")[2], norm.get("eps", EPS)
        if kind not in ("BN", "BN2d", "SyncBN", "BatchNorm2d", "SyncBatchNorm") or not is_number(value):
            raise CheckpointError(
                f"{where}: model.{path}.norm_cfg {str(norm)[:200]}: expected BatchNorm; others have no int8 form"
            )
        eps[part] = float(value)
    return eps, "from its configuration"


def _require_standard(config: TrainingConfig, style: str, where: str) -> None:
    """Refuse settings that leave no trace in the weights, and that edgedet's network does not have."""
    expected: tuple[tuple[str, tuple[Any, ...]], ...] = (
        ("model.backbone.spp_kernal_sizes", ([5, 9, 13],)),
        ("model.backbone.spp_kernel_sizes", ([5, 9, 13],)),
        ("model.neck.upsample_cfg.mode", ("nearest",)),
        ("model.neck.upsample_cfg.scale_factor", (2,)),
        ("model.bbox_head.anchor_generator.offset", (0,)),
        ("model.bbox_head.prior_generator.offset", (0,)),
        ("model.bbox_head.anchor_generator.strides", ([8, 16, 32],)),
        ("model.bbox_head.prior_generator.strides", ([8, 16, 32],)),
        ("model.bbox_head.with_objectness", (False,)),
    )
    for path, allowed in expected:
        value = config.get(path)
        if value is not None and value not in allowed:
            raise CheckpointError(
                f"{where}: {path} of its configuration: expected {allowed[0]}, found {shown(value)}; not supported"
            )
    if config.has_model and style == "mmdet" and config.get("model.bbox_head.type") is not None:
        kind = str(config.get("model.bbox_head.type")).rpartition(".")[2]
        if kind != "RTMDetSepBNHead":
            raise CheckpointError(f"{where}: model.bbox_head is a {kind}; expected RTMDetSepBNHead")


def _name(model: ModelConfig) -> str:
    """Name of the shipped model with the same size, the most alike of them; its training settings are the defaults."""
    own = asdict(model)
    best, best_score = f"rtmdet_w{model.widen:g}_d{model.deepen:g}", 0
    for name in available_models():
        other = asdict(load_model_file(name).model)
        score = sum(other.get(key) == value for key, value in own.items())
        same_size = other.get("widen") == model.widen and other.get("deepen") == model.deepen
        if same_size and score > best_score:
            best, best_score = name, score
    return best
