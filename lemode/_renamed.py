"""Old names and an old order of arguments, for one version: they still work, and name the new one in a DeprecationWarning."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

__all__ = ["moved", "renamed", "state_first"]

P = ParamSpec("P")
R = TypeVar("R")


def renamed(module: str, names: dict[str, str]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` for old names, each with the full path of the new one.

    Examples
    --------
    >>> __getattr__ = renamed("lemode.schemes", {"euler": "lemode.schemes.explicit"})
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     __getattr__("euler").__name__, str(caught[0].message)
    ('explicit', 'lemode.schemes.euler is now lemode.schemes.explicit; the old name goes with the next version.')
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = names[name].rpartition(".")
        _warn(f"{module}.{name}", names[name])
        return getattr(import_module(home), attribute)

    return find


def moved(old: str, new: str) -> None:
    """Let a module be imported by its old path, too; the new module is imported when one of its names is asked for.

    Examples
    --------
    >>> moved("lemode.formulas", "lemode.schemes")
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     from lemode.formulas import imex
    >>> str(caught[0].message)
    'lemode.formulas.imex is now lemode.schemes.imex; the old name goes with the next version.'
    """

    def find(name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of any module
            raise AttributeError(name)
        thing = getattr(import_module(new), name)
        _warn(f"{old}.{name}", f"{new}.{name}")
        return thing

    module = ModuleType(old, f"Old name of {new}.")
    module.__dict__["__getattr__"] = find
    sys.modules[old] = module


def state_first(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of (ode, state, u, ...) be called in its old order (ode, u, state, ...), too: a state is a pair, u an array.

    Examples
    --------
    >>> @state_first
    ... def field(ode, state, u): return ode(*state, u)
    >>> ode, y, u = lemode.MultiscaleODE(1, 2), torch.zeros(2), torch.ones(1)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     old, new = field(ode, u, (y, y)), field(ode, (y, y), u)
    >>> torch.equal(old[0], new[0]), str(caught[0].message)
    (True, 'field(ode, u, state) is now field(ode, state, u); the old order goes with the next version.')
    """
    new = list(inspect.signature(function).parameters)
    old = [new[0], new[2], new[1], *new[3:]]
    by_name: Callable[..., R] = function

    @functools.wraps(function)
    def either(*args: P.args, **kwargs: P.kwargs) -> R:
        arrays = [hasattr(x, "shape") for x in args[1:3]]
        if arrays in ([True], [True, False]) and len(args) <= len(old):
            name = function.__name__
            _warn(f"{name}({', '.join(old)})", f"{name}({', '.join(new)})", "order")
            return by_name(**dict(zip(old, args)), **kwargs)
        return function(*args, **kwargs)

    return either


def _warn(old: str, new: str, what: str = "name") -> None:
    warnings.warn(f"{old} is now {new}; the old {what} goes with the next version.", DeprecationWarning, stacklevel=3)
