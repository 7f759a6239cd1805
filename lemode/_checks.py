"""What the functions of lemode.analysis and lemode.metrics ask of single arguments, before they ask how these fit together."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "array",
    "checks",
    "count",
    "finite",
    "finite_positive",
    "fitting",
    "instance",
    "integer",
    "pair",
    "real",
    "seed",
    "tensor",
]

P = ParamSpec("P")
R = TypeVar("R")
Kind = Callable[[str, Any], Any]


def checks(**kinds: Kind) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Pass each named argument through its check, which returns what the function gets; None is left alone where it is the default.

    Examples
    --------
    >>> @checks(n=count)
    ... def halves(n): return n / 2
    >>> halves("many")
    Traceback (most recent call last):
    TypeError: n='many': give an integer.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            for name, check in kinds.items():
                value = bound.arguments.get(name)
                if name in bound.arguments and not (value is None and signature.parameters[name].default is None):
                    bound.arguments[name] = check(name, value)
            return function(*bound.args, **bound.kwargs)

        return checked

    return decorate


def real(name: str, value: Any) -> float:
    """One real number, also as a 0-dimensional array or tensor; whether it is finite is asked elsewhere."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}={_shown(value)}: give a number.")
    return float(value)


def array(name: str, value: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Real numbers, as a float64 array, NaN where they are masked."""
    try:
        found = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError):  # ragged lists
        found = np.empty(0, dtype=object)
    if found.dtype.kind not in "buif":
        raise TypeError(f"{name}={_shown(value)}: give real numbers.")
    found = found.astype(np.float64)
    if np.ma.is_masked(value):
        found[np.ma.getmaskarray(value)] = np.nan
    return found


def integer(name: str, value: Any) -> int:
    """One integer of any integral type, and no bool."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        kind = ValueError if isinstance(value, float) else TypeError
        raise kind(f"{name}={_shown(value)}: give an integer.")
    return int(value)


def count(name: str, value: Any) -> int:
    """An integer that is not negative."""
    n = integer(name, value)
    if n < 0:
        raise ValueError(f"{name}={n}: give an integer that is not negative.")
    return n


def seed(name: str, value: Any) -> Any:
    """What `numpy.random.default_rng` takes: an integer that is not negative, or a generator."""
    return value if isinstance(value, np.random.Generator) else count(name, value)


def tensor(name: str, value: Any) -> Tensor:
    """A tensor of real numbers."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is {type(value).__name__}: give a torch tensor.")
    if value.is_complex() or value.is_nested or value.layout != torch.strided:
        raise TypeError(f"{name} is {value.layout}, {value.dtype}: give a dense tensor of real numbers.")
    return value


def pair(name: str, value: Any) -> tuple[Tensor, Tensor]:
    """Two tensors: (y, z)."""
    if not (isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(x, Tensor) for x in value)):
        raise TypeError(f"{name} is {_shown(value)}: give a pair (y, z) of tensors.")
    y, z = (tensor(name, x) for x in value)
    return y, z


def fitting(ode: Any, u: Tensor, *states: Tensor) -> None:
    """ValueError unless u ``(..., m)`` and the states ``(..., d)`` fit the weights and each other, dtype included."""
    m, d, dtype = ode.input_size, ode.hidden_size, ode.weight_zy.dtype
    for name, x, features in (("u", u, m), *(("state", s, d) for s in states)):
        if x.dim() == 0 or x.shape[-1] != features:
            raise ValueError(f"{name} has shape {tuple(x.shape)}: its last dimension is to be {features} for this network.")
        if x.dtype != dtype:
            raise ValueError(f"{name} is {x.dtype}, the weights are {dtype}: convert one, e.g. by .to({dtype}).")
    shapes = [x.shape[:-1] for x in (u, *states)]
    try:
        torch.broadcast_shapes(*shapes)
    except RuntimeError:
        raise ValueError(
            f"u and state are for {', '.join(str(tuple(s)) for s in shapes)} points: give one input a state."
        ) from None


def finite_positive(name: str, value: Any) -> float:
    x = real(name, value)
    if not (math.isfinite(x) and x > 0):
        raise ValueError(f"{name}={x:g}: give a finite positive number.")
    return x


def finite(name: str, value: Any) -> float:
    x = real(name, value)
    if not math.isfinite(x):
        raise ValueError(f"{name}={x:g}: give a finite number.")
    return x


def instance(of: type, where: str) -> Kind:
    """An object of a class, which `where` says how to come by."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, of):
            raise TypeError(f"{name} is {type(value).__name__}: give a {of.__name__}, from {where}.")
        return value

    return check


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else type(value).__name__
