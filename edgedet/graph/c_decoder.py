"""Which of the C kernels decodes the outputs of a head in edgedet_run(), or what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.head_spec import ROW_CODINGS, HeadSpec

_MOST_LEVELS, _MOST_BINS = 16, 1024  # EDK_MAX_LEVELS, EDK_MAX_BINS of kernels/


def c_decoder_of(
    preprocess: PreprocessSpec, outputs: OutputSpec, dtypes: Sequence[str], channels_first: bool, alone: bool
) -> tuple[str, str]:
    """The decoder of a file with contracts.

    Args:
        preprocess: input contract.
        outputs: output contract.
        dtypes: of the input and of all outputs of the contract.
        channels_first: the input is (1, channels, height, width).
        alone: the contract names every output of the file.
    Returns:
        (`levels`: RTMDet's; `rows`: rows of boxes of any other head; `cells`: FOMO's heat map of scores; "": none, the
        reason why there is none).
    """
    head = outputs.head
    others = sorted(set(dtypes) - {"int8"})
    if others:
        return "", f"input and outputs must be int8, found {', '.join(others)}; `edgedet convert --int8` may help"
    if channels_first:
        return "", "the input has its channels in front of rows and columns"
    whole_cells = not any(side % stride for side in (preprocess.width, preprocess.height) for stride in outputs.strides)
    if head.coding == "cells":
        return _cells(outputs, whole_cells and alone)
    if head == HeadSpec() and whole_cells:
        return "levels", ""
    reason = _against_rows(outputs)
    return ("", reason) if reason else ("rows", "")


def _cells(outputs: OutputSpec, whole: bool) -> tuple[str, str]:
    if outputs.head.scores != "none":
        return "", "the heat map holds no scores yet: the softmax of head fomo must be in the file"
    if not whole or len(outputs.strides) != 1 or outputs.head.channels_first:
        return "", "of head fomo, C decodes one heat map, channels last, of an input that its cells fill"
    return "cells", ""


def _against_rows(outputs: OutputSpec) -> str:
    """What keeps `edk_detect_rows` from following a head; "": nothing."""
    head = outputs.head
    if head.coding not in ROW_CODINGS:
        return f"outputs of coding {head.coding} are not decoded"
    parts = 3 if outputs.strides else 1  # without strides, each tensor may have rows of its own
    if max(len(outputs.strides), len(outputs.tensor_names) / parts) > _MOST_LEVELS:
        return f"more than {_MOST_LEVELS} stride levels"
    if head.bins and (head.coding != "distance" or head.bins > _MOST_BINS):
        return f"{head.bins} bins of coding {head.coding}; distances have up to {_MOST_BINS}"
    if head.objectness_weight and head.scores == "softmax":
        return "scores are powers of a softmax"
    if head.background and head.objectness and head.scores == "percent":
        return "scores are the objectness in percent, but there is a background class"
    return ""
