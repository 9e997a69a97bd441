"""From an int8 graph to C99: steps, arena, kernel calls, text."""
