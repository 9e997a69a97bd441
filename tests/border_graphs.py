"""Graphs whose ends are float32, uint8 or int16; not a test itself."""

from __future__ import annotations

import graph_maker as maker

from edgedet.graph import graph as g


class BorderMaker(maker.GraphMaker):  # type: ignore[misc]  # loaded by path
    """Operators between tensors of any type."""

    def end(self, shape: tuple[int, ...], dtype: str, scale: float = 0.05, zero_point: int = 0) -> int:
        """A graph input; float32 has no quantization."""
        quant = None if dtype == "float32" else maker.quantization(scale, zero_point)
        self.inputs.append(self.tensor(shape, dtype, quant))
        return self.inputs[-1]

    def cast(self, x: int, dtype: str, scale: float = 0.05, zero_point: int = 0) -> int:
        """QUANTIZE, or DEQUANTIZE to float32."""
        quant = None if dtype == "float32" else maker.quantization(scale, zero_point)
        out = self.tensor(self.tensors[x].shape, dtype, quant)
        self.operators.append(g.Operator("DEQUANTIZE" if quant is None else "QUANTIZE", (x,), (out,)))
        return out


def one_cast(shape: tuple[int, ...], source: tuple[str, float, int], target: tuple[str, float, int]) -> g.Graph:
    """One QUANTIZE or DEQUANTIZE; types with scale and zero point, which float32 ignores."""
    m = BorderMaker(0)
    return m.graph([m.cast(m.end(shape, *source), *target)])


def detector_with_borders(size: int = 24) -> g.Graph:
    """float32 -> int8 network -> float32, uint8, int16 and int8, with a uint8 and an int16 input beside."""
    m = BorderMaker(5)
    x = m.cast(m.end((1, size, size, 3), "float32"), "int8", 0.02, -3)
    wide = m.cast(m.end((1, size, size, 3), "int16", 0.0001), "int8", 0.03, 7)
    y = m.cast(m.end((1, size, size, 3), "uint8", 0.02, 125), "int8", 0.02, -3)
    total = m.add("ADD", [x, wide], (1, size, size, 3), (0.05, 1), g.ElementwiseOptions())
    a = m.conv(m.concat([x, y]), 8, (3, 3), (2, 2), activation="RELU")
    b = m.conv(total, 5, (3, 3), (2, 2))
    ends = [m.cast(a, "float32"), m.cast(b, "uint8", m.scale(b), m.params(b)[1] + 128), m.cast(b, "int16", 0.001), a]
    return m.graph(ends)
