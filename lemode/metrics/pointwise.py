"""Pointwise errors of a forecast, and how long it is valid."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._checks import array, checks, real
from ..types import Array

__all__ = ["nrmse", "rmse", "valid_prediction_time"]


@checks(prediction=array, truth=array)
def rmse(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Root mean square difference over all entries; ValueError unless the shapes are equal.

    Examples
    --------
    >>> rmse([[0.0], [2.0], [2.0], [0.0]], [[1.0], [1.0], [1.0], [1.0]])
    1.0
    """
    a, b = _pair(prediction, truth)
    return float(np.sqrt(np.mean((a - b) ** 2)))


@checks(prediction=array, truth=array, scale=array)
def nrmse(prediction: ArrayLike, truth: ArrayLike, scale: ArrayLike | None = None) -> Array:
    r"""Normalised root mean square error at every time of a forecast.

    .. math:: e(t) = \sqrt{ \frac{1}{D} \sum_{i=1}^{D} \Big( \frac{\hat x_i(t) - x_i(t)}{\sigma_i} \Big)^2 }

    Parameters
    ----------
    prediction, truth : (T, D) or (n, T, D)
    scale : number or (D,)
        sigma: the standard deviation of each variable, by default over all of `truth`. Give that of the training data, or of the
        attractor, where `truth` is short.

    Returns
    -------
    (T,) or (n, T), without unit: about sqrt(2) for a forecast that is on the attractor but has lost the truth; inf or nan where
    the prediction is.

    Raises
    ------
    ValueError
        For shapes that differ, a truth that is not finite, or a scale that is not positive.

    Examples
    --------
    >>> nrmse([[0.0], [1.5]], [[0.0], [1.0]], scale=0.5)
    array([0., 1.])

    References
    ----------
    Vlachas et al., Neural Networks 126 (2020) 191-217, equation (18).
    """
    a, b = _pair(prediction, truth)
    if b.ndim not in (2, 3) or 0 in b.shape:
        raise ValueError(f"truth has shape {b.shape}: give (T, D) or (n, T, D).")
    if not np.isfinite(b).all():
        raise ValueError("truth holds a value that is not finite.")
    sigma = b.reshape(-1, b.shape[-1]).std(0) if scale is None else np.asarray(scale, dtype=np.float64)
    if not (np.isfinite(sigma).all() and (sigma > 0).all()):
        raise ValueError(f"scale={sigma}: a variable that is constant in truth has none; give positive numbers.")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(np.mean(((a - b) / sigma) ** 2, -1)))


@checks(prediction=array, truth=array, dt=real, threshold=real, lyapunov_time=real, scale=array)
def valid_prediction_time(
    prediction: ArrayLike,
    truth: ArrayLike,
    dt: float,
    threshold: float = 0.5,
    lyapunov_time: float = 1.0,
    scale: ArrayLike | None = None,
) -> Array:
    r"""How long a forecast stays below a threshold of the normalised error, in Lyapunov times.

    .. math:: \mathrm{VPT} = \frac{1}{T_\lambda} \max\{ k\,\Delta t : e(t_j) \le \epsilon \text{ for all } 1 \le j \le k \}

    with e of `nrmse`, and :math:`t_1` the first time of the forecast, one step after its start. A forecast that is not finite has
    failed there. One that never fails gets the whole length, a lower bound: forecast for longer.

    Parameters
    ----------
    prediction, truth : (T, D) or (n, T, D)
    dt : sampling interval
    threshold : epsilon, e.g. 0.4 or 0.5
    lyapunov_time : one over the largest Lyapunov exponent, in the unit of dt; 1 for a result in that unit
    scale : as in `nrmse`

    Returns
    -------
    () or (n,)

    Raises
    ------
    ValueError
        As `nrmse`, and for dt, threshold or lyapunov_time that are not positive.

    Examples
    --------
    >>> truth = np.zeros((4, 1))
    >>> float(valid_prediction_time([[0.1], [0.2], [0.7], [0.0]], truth, dt=0.5, scale=1.0))
    1.0

    References
    ----------
    Vlachas et al., Neural Networks 126 (2020) 191-217, equation (19).
    """
    for name, value in (("dt", dt), ("threshold", threshold), ("lyapunov_time", lyapunov_time)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}={value}: give a finite positive number.")
    holds = nrmse(prediction, truth, scale) <= threshold  # which nan does not
    return np.asarray(np.cumprod(holds, axis=-1).sum(-1) * (dt / lyapunov_time))


def _pair(prediction: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"prediction has shape {a.shape}, truth {b.shape}: they must be equal.")
    return a, b
