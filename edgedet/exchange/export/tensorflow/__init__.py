"""Formats that onnx2tf and TensorFlow write, and which of their outputs is which."""
