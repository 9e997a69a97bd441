"""NumPy-only pure functions: boxes, decode + NMS, affine quantization, bit-exact integer operators."""
