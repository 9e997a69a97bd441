"""Boards: what they hold, and whether a model fits one, how fast it may run, and what would make it fit."""
