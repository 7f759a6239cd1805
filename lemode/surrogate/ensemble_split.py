"""Series held out for calibration: of what a user has, the part that no member of an ensemble sees."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..trajectories import Trajectories
from .frames import is_frame
from .reading import read

__all__ = ["hold_out_calibration"]

# of fewer series the last fifth of the time
SERIES = 5


def hold_out_calibration(X: Any, name: str = "calibration", call: str = "fit") -> tuple[Any, Any, int]:
    """What is left for the members, the calibration series, and the sample of these from which on they are new.

    A refusal speaks of the argument `name` of `call`, which takes such series.

    Raises
    ------
    ValueError
        For what cannot be cut: groups of frames, arrays of xarray, a few series of different lengths.

    Examples
    --------
    >>> rest, fresh, begin = hold_out_calibration(np.zeros((10, 50, 2)))
    >>> rest.shape, fresh.shape, begin
    ((8, 50, 2), (2, 50, 2), 0)
    >>> rest, fresh, begin = hold_out_calibration(np.zeros(50))  # of one series, the last ten samples
    >>> rest.shape, fresh.shape, begin
    ((40,), (50,), 40)
    """
    x = np.asarray(X) if isinstance(X, Tensor) else X
    several = isinstance(x, (Trajectories, list, tuple)) or getattr(x, "ndim", 0) == 3
    if isinstance(x, (list, tuple)) and len(read(x).data) != len(x):
        x, several = np.asarray(x), False
    if several and len(x) >= SERIES:
        held = np.arange(len(x)) % SERIES == SERIES - 1
        if isinstance(x, (list, tuple)):
            return [v for v, out in zip(x, held) if not out], [v for v, out in zip(x, held) if out], 0
        return x[np.flatnonzero(~held)], x[np.flatnonzero(held)], 0
    if isinstance(x, Trajectories) and x.t.ndim == 1:
        cut = _cut(len(x.t))
        return Trajectories(x.t[:cut], x.x[:, :cut], x.names, x.missing), x, cut
    if isinstance(x, np.ndarray):
        cut = _cut(x.shape[-2] if x.ndim > 1 else len(x))
        return (x[:, :cut] if x.ndim == 3 else x[:cut]), x, cut
    if is_frame(x) and hasattr(x, "iloc") and getattr(x.index, "nlevels", 1) == 1:
        cut = _cut(len(x))
        return x.iloc[:cut], x, cut
    raise ValueError(
        f"{name}: of {type(x).__module__.split('.')[0]}'s {type(x).__name__} no part is held out for it; give series of their own, "
        f"{call}(X, {name}=...)."
    )


def _cut(samples: int) -> int:
    return samples - max(samples // 5, 3)
