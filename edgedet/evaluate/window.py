"""A window that shows frames, by Tk, which comes with Python; where there is a display."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from edgedet.errors import ConfigError

if TYPE_CHECKING:
    import tkinter
    from types import TracebackType

    import numpy as np

_END_KEYS = ("q", "Q", "Escape")


def has_display() -> bool:
    """Whether a window can be expected to open: on Linux, whether an X server is named."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY"))


class _NoWindow(Exception):
    """Why none can be opened."""


def _root() -> tkinter.Tk:
    try:
        import tkinter
    except ImportError as error:
        raise _NoWindow("this Python has no tkinter, which python3-tk brings") from error
    try:
        return tkinter.Tk()
    except tkinter.TclError as error:
        raise _NoWindow(str(error)) from error


def window_problem() -> str:
    """Why no window can be opened; empty: one can. None appears."""
    if not has_display():
        return "no display"
    try:
        _root().destroy()
    except _NoWindow as error:
        return str(error)
    return ""


class Window:
    """One picture after the other, until somebody closes it or presses q or Esc.

    Args:
        title: of the window.
    Raises:
        ConfigError: there is no display, or Python has no Tk.
    """

    def __init__(self, title: str) -> None:
        try:
            self._root = _root()
        except _NoWindow as error:
            raise ConfigError(
                f"no window can be opened: {error}; predict without a window, or where there is a display"
            ) from error
        import tkinter

        self._root.title(title)
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._closed = False
        self._root.protocol("WM_DELETE_WINDOW", self._close)
        for key in _END_KEYS:
            self._root.bind(f"<Key-{key}>", lambda _: self._close())

    def _close(self) -> None:
        self._closed = True

    def show(self, pixels: np.ndarray) -> bool:
        """Put a picture, uint8 (H, W, 3) RGB, in the place of the last; False once somebody has ended it."""
        from PIL import Image, ImageTk

        self._picture = ImageTk.PhotoImage(Image.fromarray(pixels), master=self._root)  # Tk keeps no reference
        self._label.configure(image=self._picture)
        self._root.update()
        return not self._closed

    def __enter__(self) -> Window:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._root.destroy()
