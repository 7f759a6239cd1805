"""The systems by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from typing import Any

from .base import System

__all__ = ["available", "describe", "get"]


def available() -> dict[str, type[System]]:
    """Every system of the library, by the name of its class: those that state their source.

    Examples
    --------
    >>> "Lorenz63" in available(), len(available()) >= 13
    (True, True)
    """

    def below(cls: type[System]) -> Iterator[type[System]]:
        for child in cls.__subclasses__():
            yield child
            yield from below(child)

    own = (c for c in below(System) if c.__module__.startswith(f"{__package__}.") and "source" in vars(c))
    return {c.__name__: c for c in sorted(own, key=lambda c: c.__name__)}


def get(name: str, **parameters: Any) -> System:
    """The system of that name with the given parameters; case, blanks, '-' and '_' do not matter.

    ValueError with the nearest name, if there is none of that name.

    Examples
    --------
    >>> get("fitzhugh-nagumo", eps=0.01).eps
    0.01
    """
    systems = {_plain(key): cls for key, cls in available().items()}
    cls = systems.get(_plain(name))
    if cls is None:
        near = difflib.get_close_matches(_plain(name), systems, n=1, cutoff=0.4)
        hint = f"did you mean {systems[near[0]].__name__}? " if near else ""
        raise ValueError(f"unknown system {name!r}: {hint}There are {', '.join(available())}.")
    return cls(**parameters)


def describe(name: str | None = None) -> str:
    r"""A table of the systems: dimension, time scales and their ratio, solver, and what they are; or one system with its facts.

    Examples
    --------
    >>> print(*describe("van der pol").splitlines()[-2:], sep="\n")  # doctest: +ELLIPSIS
    Defaults: VanDerPol(mu=10.0)
    period = 19.07836957 +- 1e-08: DOP853 and Radau, rtol 1e-11, ...
    """
    if name is not None:
        return _describe_one(get(name))
    rows = [("system", "D", "time scales", "ratio", "solver", "")]
    for name, cls in available().items():
        system = cls()
        unit = f" {system.units['t']}" if "t" in system.units else ""
        scales = ", ".join(f"{key} {value:.3g}{unit}" for key, value in system.time_scales.items())
        first = (cls.__doc__ or "").strip().splitlines()[0]
        rows.append((name, str(len(system.names)), scales, f"{system.time_scale_ratio:.3g}", system.method, first))
    widths = [max(len(row[j]) for row in rows) for j in range(5)]
    return "\n".join("  ".join([*(cell.ljust(w) for cell, w in zip(row, widths)), row[5]]).rstrip() for row in rows)


def _describe_one(system: System) -> str:
    variables = ", ".join(system.names[:8]) + (f", ... ({len(system.names)})" if len(system.names) > 8 else "")
    lines = [inspect.getdoc(type(system)) or "", "", f"Variables: {variables}", f"Source: {system.source}"]
    if system.units:
        lines.append("Units: " + ", ".join(f"{key} in {unit}" for key, unit in system.units.items()))
    lines.append(f"Defaults: {system}" if len(str(system)) < 200 else "")
    lines += [f"{key} = {fact.value:.10g} +- {fact.error:.1g}: {fact.how}" for key, fact in system.facts.items()]
    return "\n".join(lines)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
