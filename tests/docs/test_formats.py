"""docs/schemas/contract.schema.json against the reader: what it accepts is valid."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConversionError
from edgedet.graph.metadata import contract_metadata, parse_contracts
from edgedet.head_spec import CODINGS, HEADS, SCORES, UNITS, HeadSpec

REPO = Path(__file__).resolve().parents[2]
SCHEMA: dict[str, Any] = json.loads((REPO / "docs" / "schemas" / "contract.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
YOLOX = HeadSpec(kind="yolox", coding="yolox", tensors=("cls_16", "box_16"), offset=0.5)
SPECS = (
    OutputSpec(("a", "b"), strides=(16,), category_ids=(1, 2)),
    OutputSpec(("a", "b"), strides=(16,), score_threshold=0.2, class_thresholds=(0.2, 0.4)),
    OutputSpec(("a", "b"), strides=(16,), head=YOLOX),
)


def tree_of(outputs: OutputSpec) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(contract_metadata(PreprocessSpec(64, 32), outputs)[1])
    return tree


@pytest.mark.parametrize("outputs", SPECS)
def test_schema_takes_what_edgedet_writes(outputs: OutputSpec) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(tree_of(outputs))


def test_schema_names_every_key_and_choice_of_the_classes() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["preprocess"]["properties"].keys() == PreprocessSpec.__dataclass_fields__.keys()
    assert definitions["outputs"]["properties"].keys() == OutputSpec.__dataclass_fields__.keys()
    assert definitions["head"]["properties"].keys() == HeadSpec.__dataclass_fields__.keys()
    head = definitions["head"]["properties"]
    assert tuple(head["kind"]["enum"]) == HEADS
    assert tuple(head["coding"]["enum"]) == CODINGS
    assert tuple(head["unit"]["enum"]) == UNITS
    assert tuple(definitions["score_coding"]["enum"]) == SCORES


def test_schema_takes_all_that_the_reader_takes_of_damaged_contracts() -> None:
    """Seeded: each tree has a value or a key changed, left out or put elsewhere."""
    spec = importlib.util.spec_from_file_location("trees", REPO / "tests" / "fuzz" / "trees.py")
    assert spec is not None
    assert spec.loader is not None
    trees = sys.modules.setdefault("trees", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(trees)
    sound = [tree_of(outputs) for outputs in SPECS]
    accepted = refused = 0
    for number in range(600):
        rng = np.random.default_rng((0, number))
        text = json.dumps(trees.damage_tree(rng, sound[number % len(sound)]))
        try:
            parse_contracts(text.encode(), "damaged")
        except ConversionError:
            refused += 1
            continue
        accepted += 1
        errors = [error.message for error in VALIDATOR.iter_errors(json.loads(text))]
        assert errors == [], text
    assert accepted > 20
    assert refused > 300


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("preprocess", "width", 0),
        ("preprocess", "width", "64"),
        ("preprocess", "unknown", 1),
        ("outputs", "score_threshold", 0),
        ("outputs", "class_names", "a"),
        ("outputs", "max_detections", 0),
    ],
)
def test_schema_refuses_what_the_reader_refuses(part: str, key: str, value: Any) -> None:
    tree = tree_of(SPECS[0])
    tree[part][key] = value
    assert not VALIDATOR.is_valid(tree)
    with pytest.raises(ConversionError):
        parse_contracts(json.dumps(tree).encode(), "wrong")
