"""From and to data frames: a column for each variable, a row for each time. pandas is the user's own; it is never imported for others."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..trajectories import Trajectories

__all__ = ["from_frame", "is_frame", "to_frame"]


def is_frame(X: Any) -> bool:
    """Whether X has named columns and an index, as a data frame of pandas.

    Examples
    --------
    >>> is_frame(np.zeros((3, 2)))
    False
    """
    return hasattr(X, "columns") and hasattr(X, "index") and hasattr(X, "to_numpy")


def from_frame(X: Any) -> Trajectories:
    """One trajectory of a data frame, with its index for times; ValueError for an index of other things than numbers.

    Examples
    --------
    >>> import pandas
    >>> from_frame(pandas.DataFrame({"v": [1.0, 2.0], "w": [3.0, 4.0]}, index=[0.0, 0.5])).step
    0.5
    """
    index = X.index.to_numpy()
    if index.dtype.kind not in "fiu":
        raise ValueError(
            f"the index of the data frame has dtype {index.dtype}: give the times as numbers, such as seconds since the first row, "
            "or drop the index with reset_index(drop=True)."
        )
    return Trajectories(index, X.to_numpy(), tuple(str(name) for name in X.columns))


def to_frame(values: NDArray[Any], t: NDArray[Any], names: Sequence[str]) -> Any:
    """Values ``(T, D)``, or ``(n, T, D)``, at times t ``(T,)`` or ``(n, T)``.

    Examples
    --------
    >>> frame = to_frame(np.zeros((2, 3, 1)), np.arange(3.0), ["v"])
    >>> frame.shape, frame.index.names
    ((6, 1), FrozenList(['trajectory', 'time']))
    """
    try:
        pandas = import_module("pandas")
    except ImportError as e:
        raise ImportError("data frames need pandas: pip install pandas, or set_output(transform='default').") from e
    if values.ndim == 2:
        return pandas.DataFrame(values, pandas.Index(np.atleast_2d(t)[0], name="time"), list(names))
    n, T, _ = values.shape
    rows = [np.repeat(np.arange(n), T), np.broadcast_to(t, (n, T)).ravel()]
    index = pandas.MultiIndex.from_arrays(rows, names=("trajectory", "time"))
    return pandas.DataFrame(values.reshape(n * T, -1), index, list(names))
