"""The ways to run a model, behind one small protocol."""
