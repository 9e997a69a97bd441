"""The door of all that `import edgedet` offers: what comes in becomes Python's, what goes wrong an EdgedetError."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from edgedet.errors import EdgedetError, Interrupted, missing_module
from edgedet.outputs.failures import os_error_text

_inside: ContextVar[bool] = ContextVar("inside", default=False)  # of a call through this door

P = ParamSpec("P")
T = TypeVar("T")


def public(function: Callable[P, T]) -> Callable[P, T]:
    """A function or method that users call.

    NumPy's numbers and truth values, alone or in a list, are taken where Python's are, and become Python's before
    anything sees them: JSON, TOML and messages know no others. As on the command line, a package that is not installed
    gives the command that installs it, what the system refuses is one sentence that names the file, and who stops the
    call is not shown the place where it was.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        inner: Any = function
        outermost = _inside.set(True) if not _inside.get() else None
        try:
            result: T = inner(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})
            return result
        except (Interrupted, BrokenPipeError):  # who reads what is written has gone: no error of the call
            raise
        except KeyboardInterrupt as error:
            if outermost is None:  # the call that the user made says it, not what it called
                raise
            raise Interrupted(f"{function.__name__} was stopped") from error
        except ModuleNotFoundError as error:
            missing = missing_module(error)
            if missing is None:
                raise
            raise missing from error
        except OSError as error:
            raise EdgedetError(os_error_text(error)) from error
        finally:
            if outermost is not None:
                _inside.reset(outermost)

    return call


def _plain(value: Any) -> Any:
    numpy = sys.modules.get("numpy")  # where it is not loaded, nobody has its numbers
    if numpy is None:
        return value
    if isinstance(value, numpy.generic):
        return value.item()
    if type(value) in (list, tuple) and any(isinstance(item, numpy.generic) for item in value):
        return type(value)(map(_plain, value))
    if type(value) is dict and any(isinstance(item, numpy.generic | list | tuple) for item in value.values()):
        return {key: _plain(item) for key, item in value.items()}
    return value
