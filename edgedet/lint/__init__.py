"""Findings about a detector before or after quantization: what will hurt on the chip, why, and how to mend it."""
