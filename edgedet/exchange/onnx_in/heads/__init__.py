"""Where an ONNX network ends: known heads found at its last convolutions, and the cut in front of their decoding."""
