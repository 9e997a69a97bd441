"""Fake quantization on an FX graph, and the exact way from it to the int8 graph."""
