"""Other makers' formats: ONNX, foreign checkpoints."""
