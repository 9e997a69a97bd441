"""Runs a model in TFLite Micro, in a process of its own: a much too small arena kills the process.

`arena.py` calls this file as a script and never imports it:
`python -P tflm_probe.py MODEL LOW HIGH INPUTS.npz OUTPUTS.npz OUTPUT_COUNT`.
It finds the smallest arena of LOW to HIGH bytes, in steps of 16, prints its size, and saves the outputs computed in it;
TFLite Micro reports on stderr. Exit status 3: even HIGH bytes are refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tflite_micro.python.tflite_micro import runtime

STEP = 16


def main(model: str, low: str, high: str, inputs_path: str, outputs_path: str, output_count: str) -> int:
    """Search, run on the given inputs, save the outputs in the order of the file."""
    data = Path(model).read_bytes()
    with np.load(inputs_path) as arrays:
        inputs = [arrays[f"arr_{position}"] for position in range(len(arrays.files))]

    def outputs_in(arena_bytes: int) -> list[np.ndarray] | None:
        try:
            interpreter = runtime.Interpreter.from_bytes(data, arena_size=arena_bytes)
            for position, array in enumerate(inputs):
                interpreter.set_input(array, position)
            interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            sys.stderr.write(f"{error}\n")
            return None
        interpreter.print_allocations()
        return [interpreter.get_output(index) for index in range(int(output_count))]

    taken, outputs = int(low), outputs_in(int(low))
    if outputs is None:
        refused, taken = taken, int(high)
        outputs = outputs_in(taken)
        while outputs is not None and taken - refused > STEP:
            middle = refused + (taken - refused) // (2 * STEP) * STEP
            found = outputs_in(middle)
            if found is None:
                refused = middle
            else:
                taken, outputs = middle, found
    if outputs is None:
        return 3
    sys.stdout.write(f"{taken}\n")
    np.savez(outputs_path, *outputs)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
