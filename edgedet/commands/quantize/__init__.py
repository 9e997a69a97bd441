"""`edgedet quantize`, and the steps that it shares with `edgedet substitute`."""
