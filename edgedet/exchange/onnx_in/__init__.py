"""ONNX networks of any maker: read, cleaned up, cut in front of their decoding, and quantized as torch.fx graphs."""
