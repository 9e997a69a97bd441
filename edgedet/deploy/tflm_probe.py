"""Runs a model once in TFLite Micro, in a process of its own: a much too small arena kills the process.

`arena.py` calls this file as a script and never imports it: `python -P tflm_probe.py MODEL ARENA_BYTES INPUT.npy
OUTPUTS.npz OUTPUT_COUNT`. TFLite Micro reports the arena on stderr. Exit status 3: arena or model refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tflite_micro.python.tflite_micro import runtime


def main(model: str, arena_bytes: str, input_path: str, outputs_path: str, output_count: str) -> int:
    """Allocate, run on the given input, save the outputs in the order of the file, report the arena on stderr."""
    try:
        interpreter = runtime.Interpreter.from_bytes(Path(model).read_bytes(), arena_size=int(arena_bytes))
        interpreter.set_input(np.load(input_path), 0)
        interpreter.invoke()
    except (RuntimeError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    interpreter.print_allocations()
    np.savez(outputs_path, *(interpreter.get_output(index) for index in range(int(output_count))))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
