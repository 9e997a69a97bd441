"""From an int8 .tflite to sources for the chip: arena measurement, C arrays, TFLM."""
