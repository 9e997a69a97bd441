"""Kernel calls of the steps, one module for each kind of operator."""
