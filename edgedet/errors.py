"""Errors that a user can act on.

Every message says where, what was expected, what was found, and what to do. The CLI prints it without a traceback and
exits 2.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Behind "`skip_broken`" where the command has no such option.
OF_COMMANDS_THAT_SKIP = " of train, substitute, quantize, evaluate, inspect or waterfall"
# Import name -> extra that brings it.
EXTRAS = {
    "torch": "train",
    "cv2": "train",
    "tensorboard": "train",
    "rich": "train",
    "ai_edge_litert": "runtime",
    "tflite_micro": "tflm",
    "ethosu": "vela",
    "jinja2": "c99",
    "onnx": "onnx",
    "onnxsim": "onnx",
    "onnx_graphsurgeon": "onnx",
    "onnxruntime": "onnx",
    "onnx2tf": "onnx2tf",
    "tensorflow": "onnx2tf",
    "openvino": "openvino",
    "executorch": "executorch",
    "shtab": "completion",
    "serial": "serial",
}
_MOST_LETTERS = 100  # of a word that is compared with others
_MOST_NAMED = 200  # broken images; `edgedet data check` counts the rest


class EdgedetError(Exception):
    """Base of all errors that edgedet raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """What IPython and notebooks show: the user's own lines and the message, as of other errors.

        The way through this package helps nobody who only reads the message; `traceback.print_exc()` still has it.
        """
        return _own_lines(self)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or a notebook's stop button, inside of edgedet; the message says how to go on, where that is possible."""

    def _render_traceback_(self) -> list[str]:
        """As of `EdgedetError`."""
        return _own_lines(self)


def _own_lines(error: BaseException) -> list[str]:
    """The lines of a traceback up to the first of this package, without IPython's, and the message."""
    frames = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == "edgedet":
            break
        if package != "IPython":
            frames.append((frame, line))
    own = traceback.StackSummary.extract(iter(frames))
    return [*(text.rstrip("\n") for text in own.format()), f"{type(error).__name__}: {error}"]


class ConfigError(EdgedetError):
    """A model TOML, an option or a `--set` key is wrong."""


class DataError(EdgedetError):
    """An image, an annotation file or a data set is wrong."""


class BrokenImagesError(DataError):
    """Images of a data set can't be read.

    Args:
        where: annotation file or folder.
        total: images that it lists.
        problems: what is wrong with each broken one, its path first.
    """

    def __init__(self, where: str, total: int, problems: Sequence[str]) -> None:
        shown = "; ".join(problems[:_MOST_NAMED])
        more = f"; and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
        self._given = where, total, tuple(problems)
        super().__init__(
            f"{where}: {len(problems)} of {total} images can't be read: {shown}{more}; replace them, or leave them out "
            "by `skip_broken`"
        )

    def __reduce__(self) -> tuple[type[BrokenImagesError], tuple[str, int, tuple[str, ...]]]:
        return type(self), self._given  # a worker process hands it to the one that waits for it


class CheckpointError(EdgedetError):
    """A checkpoint is missing, truncated, or belongs to another model."""


class ShapeError(EdgedetError):
    """An array has another shape or dtype than the function takes."""


class UnsupportedOpError(EdgedetError):
    """A graph holds an operator, or an option of one, that this step has no implementation for."""


class ConversionError(EdgedetError):
    """A graph can't be converted, read or written exactly."""


class DeviceError(EdgedetError):
    """A board behind a serial line does not answer, answers wrongly, or holds another model."""


class OutputError(EdgedetError):
    """A file or folder can't be written: no space, a quota, no permission, or its folder is gone."""


class ToolchainError(EdgedetError):
    """A program or an optional package that this step needs is missing or failed."""


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Put the name of the file into errors of code that sees only its graph.

    Args:
        path: of the file that is run.
    """
    try:
        yield
    except (ConversionError, UnsupportedOpError) as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {str(error).removeprefix('this model: ')}") from error


def missing_extra(package: str, extra: str) -> ToolchainError:
    """Error for an optional package that is not installed.

    Args:
        package: import name of the missing package.
        extra: name of the edgedet extra that brings it.
    Returns:
        The error to raise, with the install command.
    """
    return ToolchainError(f'{package} is not installed, but this step needs it: pip install "edgedet[{extra}]"')


def missing_module(error: ModuleNotFoundError) -> ToolchainError | None:
    """`missing_extra` of the package that an import did not find; None: no extra of edgedet has it."""
    package = (error.name or "").partition(".")[0]
    return missing_extra(package, EXTRAS[package]) if package in EXTRAS else None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a mistyped one is most like, capitals or not, `_`, `-` or a blank; None: it is like none."""
    plain = {_plain(name): name for name in reversed(list(known))}  # of equals the first
    close = difflib.get_close_matches(_plain(word[:_MOST_LETTERS]), list(plain), n=1)
    return plain[close[0]] if close else None


def _plain(word: str) -> str:
    return word.lower().replace("_", "-").replace(" ", "-")


def meant(word: str, known: Iterable[str]) -> str:
    """What a mistyped word may have meant, for an error: " (did you mean 'channels'?)", or nothing."""
    close = nearest(word, known)
    return f" (did you mean {close!r}?)" if close is not None else ""


def require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises ConfigError, with the choices, when `value` is none of them."""
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}; got {value!r}{meant(value, allowed)}")
