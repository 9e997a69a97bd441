"""Decoders of detection heads that edgedet does not train, behind one function: `decode.decode_outputs`."""
