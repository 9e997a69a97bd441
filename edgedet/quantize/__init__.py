"""From a trained checkpoint to a fake-quantized FX graph: folding, preparation, calibration."""
