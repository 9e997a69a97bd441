"""`edgedet operators`."""

from __future__ import annotations

import json

import pytest

from edgedet.commands.main import main
from edgedet.graph.operator_table import known_operators
from edgedet.graph.operator_text import markdown


def test_operators_prints_every_known_operator(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["operators"]) == 0
    text = " ".join(capfd.readouterr().out.replace(",", " ").split())
    missing = [row.kind for row in known_operators() if f" {row.kind} " not in f" {text} "]
    assert not missing


def test_operators_json_holds_what_the_table_holds(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["operators", "--json", "conv_2d", "COS"]) == 0
    conv, cos = json.loads(capfd.readouterr().out)
    assert (conv["kind"], conv["reader"], conv["tflm"]) == ("CONV_2D", True, "AddConv2D")
    assert {"int8", "int16"} <= set(conv["simulator"])
    assert "weighted" in conv["traits"]
    assert (cos["simulator"], cos["c"], cos["tflm"]) == ([], [], "AddCos")


def test_operators_markdown_prints_the_document(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["operators", "--markdown"]) == 0
    assert capfd.readouterr().out == markdown()


def test_operators_unknown_kind_exits_2_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["operators", "CONV"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: operator 'CONV': ")
    assert err.count("\n") == 1
