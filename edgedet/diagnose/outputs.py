"""Whether two runtimes give the same output codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.data.coco.split import ImageRecord
from edgedet.data.pictures.preprocess import load_image, resize_to_input
from edgedet.evaluate.detect import board_with_room, keeping_results
from edgedet.runtimes.protocol import Int8Runtime


@dataclass(frozen=True)
class OutputCheck:
    """A runtime against the simulator, over the same images."""

    runtime: str
    arithmetic: str
    images: int
    differing: int  # output codes
    outputs: int  # output codes in all
    details: tuple[str, ...] = ()  # what the runtime measured

    def text(self) -> str:
        """Lines, each with its end."""
        line = (
            f"outputs of {self.runtime}: {self.differing:,} of {self.outputs:,} codes differ from the simulator's, "
            f"{self.images} images"
        )
        return "".join(f"{text}\n" for text in (line, f"  {self.arithmetic}", *(f"  {text}" for text in self.details)))


def check_outputs(one: Int8Runtime, other: Int8Runtime, records: Sequence[ImageRecord]) -> OutputCheck:
    """Run the same images through both; the result is about `other`."""
    differing = outputs = 0
    board = board_with_room(other, records)
    with keeping_results(other):
        for record in records:
            image = load_image(record.path)
            x = one.prepare(resize_to_input(image, one.preprocess)[0])
            found = board.invoke_image(image) if board is not None and board.takes_images else other.invoke(x)
            for ours, theirs in zip(one.invoke(x), found, strict=True):
                differing += int(np.count_nonzero(ours != theirs))
                outputs += ours.size
    return OutputCheck(other.name, other.arithmetic, len(records), differing, outputs, other.details(False))
