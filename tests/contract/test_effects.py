from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from edgedet.contract.api import contract
from edgedet.contract.request import ContractRequest
from edgedet.errors import ConfigError

_spec = importlib.util.spec_from_file_location("contract_api_cases", Path(__file__).with_name("test_api.py"))
assert _spec is not None
assert _spec.loader is not None
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)


@pytest.mark.parametrize(
    ("shapes", "said", "words"),
    [
        ([(1, 3)], {"head": "none", "scores": "sigmoid"}, "`scores` sigmoid"),
        ([(1, 3)], {"head": "none", "nms_iou": 0.5, "strides": (8,)}, "`strides`; `nms_iou`"),
        ([(1, 3)], {"head": "none", "anchors": (1.0, 2.0)}, "`anchors`"),
        ([(1, 3)], {"head": "none", "boxes": "xywh"}, "`boxes` xywh"),
        ([(1, 3)], {"head": "none", "layout": "sscma"}, "`layout` sscma"),
        ([(1, 4, 4, 4)], {"head": "fomo", "classes": cases.ABC, "unit": "pixels"}, "`unit`"),
        ([(1, 4, 4, 4)], {"head": "fomo", "classes": cases.ABC, "scores": "percent"}, "has softmax or none"),
        ([(1, 4, 4, 4)], {"head": "fomo", "classes": cases.ABC, "offset": 0.5}, "`offset`"),
        ([(1, 4, 4, 4)], {"head": "fomo", "classes": cases.ABC, "ssd_scales": (0.2, 0.9)}, "only with `anchors` ssd"),
        ([(1, 4, 4, 4)], {"head": "fomo", "classes": cases.ABC, "pad_value": 0}, "`pad_value`"),
    ],
)
def test_contract_refuses_what_has_no_effect(
    shapes: list[tuple[int, ...]], said: dict[str, object], words: str, tmp_path: Path
) -> None:
    path, out = cases.foreign(tmp_path / "m.tflite", shapes), tmp_path / "out.tflite"
    known = {name: value for name, value in said.items() if name in ("head", "classes")}
    contract(ContractRequest(model=path, **known))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="without effect on head") as caught:
        contract(ContractRequest(model=path, out=out, **said))  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert not out.exists()


def test_contract_edit_of_padding_needs_a_letterbox(tmp_path: Path) -> None:
    path, out = cases.foreign(tmp_path / "m.tflite", [(1, 4, 4, 4)]), tmp_path / "fomo.tflite"
    contract(ContractRequest(model=path, out=out, head="fomo", classes=cases.ABC))
    with pytest.raises(ConfigError, match=r"`pad_value` .`resize` is stretch"):
        contract(ContractRequest(model=out, pad_value=7))
    found = contract(ContractRequest(model=out, pad_value=7, resize="letterbox"))
    assert (found.preprocess.resize, found.preprocess.pad_value) == ("letterbox", 7)
