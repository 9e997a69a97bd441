"""QDQ ONNX of an int8 graph: its operators, the model made of them, and the check against the integers."""
