"""What the estimators read: arrays, and lists of series of unequal lengths, checked and padded."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..surrogate.data_checks import DataWarning

__all__ = ["Padded", "Scales", "read_series"]

LAYOUT = "(n, T, D), (n, T), or a list of series (T_i, D) or (T_i,)"


@dataclass(frozen=True)
class Padded:
    """Series of any lengths in one tensor ``(T, n, D)``, zero behind the end of each; lengths ``(n,)``.

    Examples
    --------
    >>> padded = Padded.of([np.ones((2, 1)), np.ones((5, 1))])
    >>> padded.x.shape, padded.lengths.tolist(), padded.take(torch.tensor([0])).x.shape
    (torch.Size([5, 2, 1]), [2, 5], torch.Size([2, 1, 1]))
    """

    x: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, series: Sequence[NDArray[Any]], dtype: torch.dtype = torch.float32) -> Padded:
        """From checked series, each ``(T_i, D)``."""
        lengths = torch.tensor([len(s) for s in series])
        x = torch.zeros(int(lengths.max()), len(series), series[0].shape[1], dtype=dtype)
        for k, s in enumerate(series):
            x[: len(s), k] = torch.as_tensor(s, dtype=dtype)
        return cls(x, lengths)

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: Tensor) -> Padded:
        """Some of them, as long as the longest of these."""
        lengths = self.lengths[rows]
        return Padded(self.x[: int(lengths.max())].index_select(1, rows), lengths)


@dataclass(frozen=True)
class Scales:
    """Mean and standard deviation of every feature over all steps of all training series; one that never varies is only centred.

    Examples
    --------
    >>> scales = Scales.of([np.array([[0.0, 5.0], [2.0, 5.0]])])
    >>> scales.normalise(np.array([[3.0, 5.0]]))
    array([[2., 0.]])
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @classmethod
    def of(cls, series: Sequence[NDArray[Any]]) -> Scales:
        """Measured in float64."""
        steps = np.concatenate([np.asarray(s, np.float64) for s in series])
        mean, std = steps.mean(0), steps.std(0)
        # rounding of a constant is no signal
        return cls(mean, np.where(std > 1e-12 * np.abs(mean), std, 1.0))

    def normalise(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """In units of the training data."""
        return (np.asarray(values, np.float64) - self.mean) / self.std


def read_series(X: Any, features: int | None = None) -> list[NDArray[Any]]:
    """The series of X, each ``(T_i, D)``, with `features` features if that many are known.

    Raises
    ------
    ValueError
        For what is empty, not finite, not numbers, or has other numbers of features in some series, with the place.

    Warns
    -----
    DataWarning
        Where there are more features than steps: other packages have the channels before the time.

    Examples
    --------
    >>> [s.shape for s in read_series([[1, 2, 3], [4, 5]])]
    [(3, 1), (2, 1)]
    >>> read_series(np.array([[0.0, np.nan]]))
    Traceback (most recent call last):
    ValueError: X[0] is nan at step 1: series with missing or infinite values are not read; fill or leave them out.
    """
    ragged = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object)
    given = list(X) if ragged else _numbers("X", X)
    if isinstance(given, np.ndarray) and given.ndim not in (2, 3):
        raise ValueError(f"X has {given.ndim} dimensions, shape {given.shape}: give {LAYOUT}.")
    if not len(given):
        raise ValueError("X has no series: give at least one.")
    series = []
    for k, one in enumerate(given):
        s = _numbers(f"X[{k}]", one) if ragged else one
        if s.ndim not in (1, 2) or not s.size:
            raise ValueError(f"X[{k}] has shape {s.shape}: give {LAYOUT}, with a step at least.")
        s = s.reshape(len(s), -1)
        bad = ~np.isfinite(s)
        if bad.any():
            step, feature = np.argwhere(bad)[0]
            where = f"step {step}" + (f", feature {feature}" if s.shape[1] > 1 else "")
            raise ValueError(
                f"X[{k}] is {s[step, feature]} at {where}: series with missing or infinite values are not read; fill or leave them out."
            )
        series.append(s)
    D = series[0].shape[1] if features is None else features
    for k, s in enumerate(series):
        if s.shape[1] != D:
            what = "X[0] has" if features is None else "the model was fitted with"
            raise ValueError(f"X[{k}] has {s.shape[1]} features, {what} {D}: give all series the same ones.")
    longest = max(len(s) for s in series)
    if features is None and longest < D and longest > 1:
        warnings.warn(
            f"X has {D} features and {longest} steps: time is the second axis here, (n, T, D). Of arrays (n, D, T), as aeon's, give "
            "X.swapaxes(1, 2).",
            DataWarning,
            stacklevel=4,
        )
    return series


def _numbers(name: str, values: Any) -> NDArray[Any]:
    try:
        array = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values)
    except (TypeError, ValueError):  # lists that are ragged inside a series
        array = np.empty(0, object)
    if array.dtype == object:
        array = _of_objects(array)
    if array.dtype.kind not in "buif":
        raise ValueError(f"{name} is of {array.dtype}: give real numbers, as {LAYOUT}.")
    return array


def _of_objects(array: NDArray[Any]) -> NDArray[Any]:
    """Numbers that pandas has put into an array of objects."""
    try:
        return array.astype(np.float64) if array.size else array
    except (TypeError, ValueError):
        return array
