"""An adaptive Runge-Kutta solver for a batch of trajectories, with the error controlled in each."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import DOP853

from ..types import Array

__all__ = ["BatchDOP853"]


class BatchDOP853(DOP853):  # type: ignore[misc]
    """scipy's DOP853 whose error norm is the largest over the trajectories of the batch.

    With scipy's own norm, a root mean square over the whole vector, one trajectory among 1,000 may be
    30 times less accurate than asked for.

    Examples
    --------
    A fast oscillation among 50 slow ones: the error is controlled in every one of them.

    >>> from scipy.integrate import solve_ivp
    >>> omega = np.array([10.0] + 50 * [0.1])
    >>> def rhs(t, y):
    ...     x = y.reshape(-1, 2)
    ...     return (omega[:, None] * np.stack([x[:, 1], -x[:, 0]], 1)).ravel()
    >>> def error(**options):
    ...     end = solve_ivp(rhs, (0, 10), np.tile([0.0, 1.0], 51), rtol=1e-6, atol=1e-6, **options).y[:2, -1]
    ...     return np.abs(end - [np.sin(100), np.cos(100)]).max()
    >>> bool(error(method=BatchDOP853, dimension=2) < 0.2 * error(method="DOP853"))
    True
    """

    def __init__(self, *args: Any, dimension: int, **options: Any) -> None:
        super().__init__(*args, **options)
        self.dimension = dimension

    def _estimate_error_norm(self, K: Array, h: float, scale: Array) -> float:
        err5 = ((K.T @ self.E5) / scale).reshape(-1, self.dimension)
        err3 = ((K.T @ self.E3) / scale).reshape(-1, self.dimension)
        sq5, sq3 = (err5**2).sum(1), (err3**2).sum(1)
        norm = np.abs(h) * sq5 / np.sqrt(np.maximum((sq5 + 0.01 * sq3) * self.dimension, np.finfo(float).tiny))
        return float(norm.max())
