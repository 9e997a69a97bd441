"""What edgedet knows: boards, and networks that it can train."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.api.public import public
from edgedet.config import available_models, load_model_file
from edgedet.hardware.board import Board, all_boards
from edgedet.notebook import Brief


@dataclass(frozen=True, repr=False)
class Network(Brief):
    """A network that ships with edgedet."""

    name: str  # what `train` takes
    width: int  # px, of its input, unless `train` is told otherwise
    height: int  # px
    made_for: str


@public
def models() -> tuple[Network, ...]:
    """The networks that edgedet can train, and what each is made for.

    Returns:
        By name; `network.name` is what `train` takes. What each needs on the chip: the command `edgedet models`.
    """
    found = []
    for name in available_models():
        file = load_model_file(name)
        spec = file.preprocess.spec(None)
        found.append(Network(name, spec.width, spec.height, file.about.made_for))
    return tuple(found)


@public
def boards() -> tuple[Board, ...]:
    """The boards that edgedet knows: processor, memories, NPU, firmware, and a source for each figure.

    Returns:
        By name; `board.name` is what `Model.check` and `Model.deploy` take as `board`.
    """
    return all_boards()
