"""Where an int8 file loses accuracy: step by step (waterfall) and layer by layer (inspect); needs torch."""
