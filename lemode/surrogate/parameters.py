"""scikit-learn's protocol of hyper-parameters, without importing it, and fits that publish what they learned at the end."""

from __future__ import annotations

import copy
import inspect
import math
import numbers
from typing import Any, TypeVar

import numpy as np

__all__ = ["Parameters", "check_count", "check_number", "names_of", "plain"]

P = TypeVar("P", bound="Parameters")


class Parameters:
    """An estimator whose constructor stores its hyper-parameters, as given and under their names; all else is learned.

    Examples
    --------
    >>> class Scaler(Parameters):
    ...     def __init__(self, factor=1.0, offset=0.0):
    ...         self.factor, self.offset = factor, offset
    >>> Scaler().set_params(factor=2.0), Scaler(offset=3).get_params()
    (Scaler(factor=2.0), {'factor': 1.0, 'offset': 3})
    >>> Scaler().set_params(size=2)
    Traceback (most recent call last):
    ValueError: 'size' is no hyper-parameter of Scaler: choose from factor, offset.
    """

    @classmethod
    def _parameter_names(cls) -> list[str]:
        # of a class without a constructor of its own, object's has *args and **kwargs
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = inspect.signature(cls.__init__).parameters
        return [name for name, p in parameters.items() if name != "self" and p.kind not in kinds]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The hyper-parameters by name, as they were given."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self: P, **params: Any) -> P:
        """Change hyper-parameters by name; ValueError for an unknown one, and then none is changed."""
        known = self._parameter_names()
        for name in params:
            if name not in known:
                raise ValueError(f"{name!r} is no hyper-parameter of {type(self).__name__}: choose from {', '.join(known)}.")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=False),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(three_d_array=True),
        )

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        params = {name: plain(value) for name, value in self.get_params(deep=False).items()}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in params.items() if v != defaults[k].default)})"

    def _learned(self) -> list[str]:
        return [name for name in vars(self) if name.endswith("_") and not name.startswith("__")]

    def _worker(self: P) -> P:
        """A copy that has learned nothing and whose hyper-parameters are plain: a fit is its work, and fails without a trace in self."""
        worker = copy.copy(self)
        for name in self._learned():
            delattr(worker, name)
        for name, value in self.get_params(deep=False).items():
            setattr(worker, name, plain(value))
        return worker

    def _publish(self, worker: Parameters) -> None:
        """Take over what the worker has learned, and nothing of an earlier fit."""
        for name in self._learned():
            delattr(self, name)
        parameters = self._parameter_names()
        vars(self).update({name: value for name, value in vars(worker).items() if name not in parameters})


def plain(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's, inside of containers too; everything else as it is.

    Examples
    --------
    >>> plain({"v": np.float64(2.0)}), plain([np.int64(3)]), plain(np.array(["v", "w"]))
    ({'v': 2.0}, [3], ('v', 'w'))
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return tuple(value.tolist()) if value.ndim else value.item()
    if type(value) in (tuple, list):
        return type(value)(plain(v) for v in value)
    if type(value) is dict:
        return {plain(k): plain(v) for k, v in value.items()}
    return value


def check_count(name: str, value: object, least: int = 1, hint: str = "") -> int:
    """An integer of any type that is at least so large, as an int; ValueError otherwise.

    Examples
    --------
    >>> check_count("units", np.int64(3))
    3
    >>> check_count("units", 2.5)
    Traceback (most recent call last):
    ValueError: units=2.5: give a positive integer.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least:
        return int(value)
    what = "a positive integer" if least == 1 else f"an integer, {least} or more"
    raise ValueError(f"{name}={value!r}: give {what}{hint}.")


def check_number(name: str, value: object, *, zero: bool = False, hint: str = "") -> float:
    """A real number of any type that is finite and positive, or zero where that is admitted; ValueError otherwise.

    Examples
    --------
    >>> check_number("rate", np.float32(0.5)), check_number("noise", 0, zero=True)
    (0.5, 0.0)
    >>> check_number("rate", "1")
    Traceback (most recent call last):
    ValueError: rate='1': give a positive number.
    """
    number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    if math.isfinite(number) and (number > 0 or (zero and number == 0)):
        return number
    what = "a number, 0 or more" if zero else "a positive number"
    raise ValueError(f"{name}={value!r}: give {what}{hint}.")


def names_of(name: str, value: object) -> tuple[str, ...]:
    """A sequence of names; a single string is one of them, not its letters. ValueError for anything else.

    Examples
    --------
    >>> names_of("observe", "volt"), names_of("observe", ["v", "w"])
    (('volt',), ('v', 'w'))
    """
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (tuple, list)) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise ValueError(f"{name}={value!r}: give a name, or a tuple of names.")
