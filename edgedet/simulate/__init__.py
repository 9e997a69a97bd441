"""NumPy integer simulator of an int8 graph: the chip's arithmetic."""
