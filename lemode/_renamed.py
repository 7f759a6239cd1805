"""Old names, for one version: they still work, and name the new one in a DeprecationWarning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["moved", "renamed"]


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


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}; the old name goes with the next version.", DeprecationWarning, stacklevel=3)
