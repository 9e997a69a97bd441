from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConfigError
from edgedet.head_spec import HeadSpec
from edgedet.typed import build, check_fields, is_text, require_plain, shown


@dataclass(frozen=True)
class Leaf:
    count: int
    share: float = 0.5
    name: str = ""
    sides: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Tree:
    leaf: Leaf
    other: Leaf | None = None


def test_build_takes_lists_as_tuples_and_whole_numbers_as_floats() -> None:
    found = build(Tree, {"leaf": {"count": 3, "share": 1, "sides": [1, 2]}}, "f")
    assert found == Tree(Leaf(3, 1.0, "", (1, 2)))
    assert type(found.leaf.share) is float


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([], "f: expected a table, got "),
        ({"leaf": 5}, "f: leaf: expected a table, got 5"),
        ({"leaf": {}}, "f: leaf: missing keys count; expected count, name, share, sides"),
        ({"leaf": {"count": 1, "gamma": 2}}, "f: leaf: unknown keys gamma; expected"),
        ({"leaf": {"count": 1, "a\nb": 2}}, r"unknown keys 'a\\nb'"),
        ({"leaf": {"count": 1, 5: 2}}, "unknown keys 5"),
        ({"leaf": {"count": True}}, "f: leaf: count: expected int, got True"),
        ({"leaf": {"count": 1.0}}, "expected int, got 1.0"),
        ({"leaf": {"count": "1\nint x;"}}, r"expected int, got '1\\nint x;'"),
        ({"leaf": {"count": 10**400}}, "at most 64 bits, got a whole number of 1329 bits"),
        ({"leaf": {"count": -(2**64)}}, "at most 64 bits"),
        ({"leaf": {"count": 1, "share": float("nan")}}, "share: expected a finite number, got nan"),
        ({"leaf": {"count": 1, "share": 10**400}}, "share: expected a finite number, got a whole number"),
        ({"leaf": {"count": 1, "share": False}}, "share: expected float, got False"),
        ({"leaf": {"count": 1, "name": "a\ud800"}}, r"that UTF-8 can write, got 'a\\ud800'"),
        ({"leaf": {"count": 1, "name": "a" * 10_001}}, r"at most 10000 characters .*a'\.\.\. \(10001 long\)"),
        ({"leaf": {"count": 1, "sides": [1, [2]]}}, r"sides: expected int, got \[2\]"),
        ({"leaf": {"count": 1, "sides": "12"}}, "sides: expected a list, got '12'"),
    ],
)
def test_build_wrong_value_names_the_key(table: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(Tree, table, "f")


def test_check_fields_holds_for_every_way_to_make_one() -> None:
    spec, outputs = PreprocessSpec(32, 32), OutputSpec(("a",))
    for make in (
        lambda: replace(spec, pad_value=True),
        lambda: replace(spec, pad_value=1.5),
        lambda: replace(spec, mean=(0.0, float("nan"), 0.0)),
        lambda: replace(spec, std=(1e-300, 1.0, 1.0)),
        lambda: replace(spec, width=True),
        lambda: replace(outputs, max_detections="100;\nvoid f(void) {}"),
        lambda: replace(outputs, max_detections=True),
        lambda: replace(outputs, max_detections=10**18),
        lambda: replace(outputs, max_detections=0),
        lambda: replace(outputs, score_threshold=float("nan")),
        lambda: replace(outputs, nms_iou="0.5"),
        lambda: replace(outputs, category_ids=(True,)),
        lambda: replace(outputs, class_names=("\udcff",)),
        lambda: replace(outputs, class_names=("a" * 1001,)),
        lambda: replace(outputs, class_names="a"),
        lambda: replace(outputs, class_names=("a",) * 30_001),
        lambda: replace(outputs, strides=(8, 8)),
        lambda: replace(outputs, strides=(True,)),
        lambda: replace(outputs, strides=(5000,)),
        lambda: replace(outputs, head=HeadSpec(tensors=("cls_64", "box_64"))),
        lambda: HeadSpec(objectness=1),
        lambda: HeadSpec(bins=10**6),
        lambda: HeadSpec(offset=float("inf")),
    ):
        with pytest.raises(ConfigError):
            make()


def test_require_plain_refuses_what_has_no_end_as_text() -> None:
    bomb: list = []
    for _ in range(60):
        bomb = [bomb, bomb]
    circle: list = []
    circle.append(circle)
    for value in (bomb, circle, {"a": {1: 2}}, [object()], [float("inf")], ["\ud800"], [2**70], b"x"):
        with pytest.raises(ConfigError, match="f: info: "):
            require_plain(value, "f: info")
    require_plain({"a": [1, 2.5, None, True, "x", ()], "b": {}}, "f")


def test_shown_is_short_whatever_it_is_given() -> None:
    values = ["x" * 10**6, 10**5000, [[1]] * 1000, {"a": 1}, ("\ud800", b"\x00", None), 1.5, True, object()]
    assert all(len(shown(value)) < 120 and shown(value).isascii() for value in values)
    assert is_text("é\x00")
    assert not is_text(b"e")
