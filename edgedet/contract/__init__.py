"""Saying what the input and the outputs of a file of another maker mean; the command `edgedet contract`."""
