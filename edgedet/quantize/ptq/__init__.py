"""Post-training quantization: equalization, rounding, bias correction."""
