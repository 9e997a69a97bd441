"""Arm's Ethos-U: its configurations, the compiler Vela as a process of its own, and what it says of a network."""
