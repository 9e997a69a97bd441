from __future__ import annotations

import math
from xml.etree import ElementTree

from edgedet.drawing.charts import Bar, LayerPoint, layers_chart, waterfall_chart
from edgedet.drawing.svg import RED, Svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{NAMESPACE}svg"
    return root


def test_waterfall_chart_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("float", 0.5), Bar("weights", 0.25, "-0.250", guilty=True), Bar("none", -1.0)]
    root = parsed(waterfall_chart("AP <of> it", bars))
    rects = [r for r in root.iter(f"{NAMESPACE}rect") if r.find(f"{NAMESPACE}title") is not None]
    assert [float(r.get("width", "")) for r in rects] == [460.0, 230.0, 0.0]
    assert rects[1].get("fill") == RED
    texts = [t.text for t in root.iter(f"{NAMESPACE}text")]
    assert "AP <of> it" in texts
    assert "0.250  -0.250" in texts


def test_waterfall_chart_all_zero_is_drawn_without_length() -> None:
    root = parsed(waterfall_chart("nothing", [Bar("float", 0.0), Bar("aside", 0.0, aside=True)]))
    rects = [r for r in root.iter(f"{NAMESPACE}rect") if r.find(f"{NAMESPACE}title") is not None]
    assert [float(r.get("width", "")) for r in rects] == [0.0, 0.0]
    assert [t.text for t in root.iter(f"{NAMESPACE}text")].count("0.000") == 2
    numbers = [float(line.get(end, "nan")) for line in root.iter(f"{NAMESPACE}line") for end in ("x1", "x2")]
    assert numbers
    assert all(0 <= number <= float(root.get("width", "")) for number in numbers)


def test_layers_chart_infinite_and_negative_values_stay_inside() -> None:
    layers = [LayerPoint("a", math.inf, 45.0, 0.0), LayerPoint("b", -math.inf, -3.0, 2.0), LayerPoint("c", 20, 40, 1)]
    root = parsed(layers_chart("layers", layers))
    height = float(root.get("height", ""))
    for circle in root.iter(f"{NAMESPACE}circle"):
        assert 0 <= float(circle.get("cy", "nan")) <= height
    parsed(layers_chart("empty", []))


def test_svg_text_is_escaped() -> None:
    svg = Svg(10, 10)
    svg.label(1, 2, "a < b & c", turn=45)
    svg.rect(0, 0, 1, 1, "red", "<tip>")
    root = parsed(svg.text())
    assert [t.text for t in root.iter(f"{NAMESPACE}text")] == ["a < b & c"]
