"""The targets of deploy, one module each."""
