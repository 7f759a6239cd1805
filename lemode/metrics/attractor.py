r"""Whether a free run has found the attractor, by the measures of the literature on reconstruction, and errors of forecasts in per cent.

They are other estimates of what `lemode.metrics.climate` measures, for numbers that can be set beside published ones: :math:`D_{stsp}`
counts in cells of the whole state space where `kl_divergence` takes principal components; :math:`D_H` smooths the spectrum of the whole
run where `spectrum_distance` averages over windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._checks import array, checks, count, finite_positive
from ..types import Array
from .climate import _both, _spread
from .pointwise import _pair

__all__ = ["smape", "smoothed_spectrum_distance", "state_space_divergence"]


@checks(prediction=array, truth=array, bins=count, smoothing=finite_positive)
def state_space_divergence(prediction: ArrayLike, truth: ArrayLike, bins: int = 30, smoothing: float = 1e-5) -> float:
    r""":math:`D_{stsp}`: Kullback-Leibler divergence of where two runs are in state space, from counts in cells.

    .. math:: D_{stsp} = \sum_k p_k \log \frac{p_k}{q_k}, \qquad p_k = \frac{n_k + \alpha}{\sum_l (n_l + \alpha)}

    p counts the truth, q the prediction. Cells divide the range of each variable of the truth into equal bins, and go on beyond it.
    Laplace's :math:`\alpha` is added to each cell that either run has visited. Published definitions add it to all :math:`m^D` cells of
    the range: for D = 3 that is the same to 1e-4 of the result, from D = 6 on nothing but :math:`\alpha` would be left.

    Parameters
    ----------
    prediction, truth : (T, D) or (n, T, D); they may differ in n and T
    bins : m, of each variable
    smoothing : :math:`\alpha`, counts

    Returns
    -------
    float, in nats; between :math:`\log(1 / \alpha)` and :math:`\log(T / \alpha)`, 11 to some 20, for runs that share no cell. Two runs of
    one system differ, the less the longer they are.

    Raises
    ------
    ValueError
        For bad shapes, values that are not finite, a variable that is constant in the truth, or fewer than two bins.

    Examples
    --------
    >>> t = np.linspace(0, 200, 20001)
    >>> circle = np.stack([np.cos(t), np.sin(t)], -1)
    >>> state_space_divergence(circle, circle), round(state_space_divergence(3 * circle, circle), 1)
    (0.0, 16.8)

    References
    ----------
    Koppe et al., PLoS Comput. Biol. 15 (2019) e1007263; Mikhaeil, Monfared, Durstewitz, NeurIPS 2022, arXiv 2110.07238; Hess, Monfared,
    Brenner, Durstewitz, ICML 2023, arXiv 2306.04406.
    """
    a, b = (x.reshape(-1, x.shape[-1]) for x in _both(prediction, truth))
    if bins < 2:
        raise ValueError(f"bins={bins}: give at least 2.")
    _spread(b)
    low, high = b.min(0), b.max(0)
    with np.errstate(over="ignore"):
        # a wild run may be further away than integers reach, and is nowhere near all the same
        cells = [np.clip(np.floor((x - low) / ((high - low) / bins)), -(2.0**60), 2.0**60) for x in (b, a)]
    cells[0] = np.minimum(cells[0], bins - 1)  # the largest value of the truth belongs to the last bin
    cells[1][a == high] = bins - 1
    index = np.zeros(len(b) + len(a), dtype=np.int64)
    for column in np.concatenate(cells).T:  # cells are numbered as they come: there are more of them than integers
        place = np.unique(column, return_inverse=True)[1]
        index = np.unique(index * len(index) + place, return_inverse=True)[1]
    p, q = (np.bincount(i, minlength=int(index.max()) + 1) + smoothing for i in (index[: len(b)], index[len(b) :]))
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum(p * np.log(p / q)))


@checks(prediction=array, truth=array, sigma=finite_positive)
def smoothed_spectrum_distance(prediction: ArrayLike, truth: ArrayLike, sigma: float = 20.0) -> Array:
    r""":math:`D_H`: Hellinger distance of power spectra that a Gaussian has smoothed, of each variable.

    .. math:: D_H = \sqrt{ 1 - \sum_k \sqrt{p_k q_k} }, \qquad p \propto G_\sigma * \Big| \sum_j (x_j - \bar x) e^{-2 \pi i j k / T} \Big|^2

    The frequency 0 is left out; at both ends the spectrum is continued as its mirror image. Its mean over variables is what papers print.

    Parameters
    ----------
    prediction, truth : (T, D) or (n, T, D), of the same T: sigma counts frequencies of :math:`1/T`
    sigma : of the Gaussian

    Returns
    -------
    (D,), from 0 to 1; 1 for a prediction that is constant, as it has no power

    Raises
    ------
    ValueError
        For bad shapes, other lengths, values that are not finite, or a variable that is constant in the truth.

    Examples
    --------
    >>> t = np.arange(0, 400, 0.1)[:, None]
    >>> slow, fast = np.sin(t), np.sin(5 * t)
    >>> float(smoothed_spectrum_distance(3 * slow, slow)[0]) < 1e-6, round(float(smoothed_spectrum_distance(fast, slow)[0]), 2)
    (True, 0.99)

    References
    ----------
    As of `state_space_divergence`; for the default of sigma, Hess et al. 2023.
    """
    from scipy.ndimage import gaussian_filter1d

    a, b = _both(prediction, truth)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"prediction has {a.shape[1]} samples, truth {b.shape[1]}: give the same number; lemode.metrics.spectrum_distance takes any."
        )
    if b.shape[1] < 4:
        raise ValueError(f"{b.shape[1]} samples have no spectrum to speak of: give 4 or more.")
    _spread(b.reshape(-1, b.shape[-1]))
    p, q = (
        gaussian_filter1d(
            (np.abs(np.fft.rfft(x - x.mean(1, keepdims=True), axis=1)) ** 2).mean(0)[1:], sigma, axis=0, mode="reflect"
        )
        for x in (b, a)
    )
    power = q.sum(0)
    overlap = np.sqrt(p / p.sum(0) * q / np.where(power > 0, power, 1)).sum(0)
    return np.asarray(np.sqrt(np.clip(1 - overlap, 0, 1)))


@checks(prediction=array, truth=array)
def smape(prediction: ArrayLike, truth: ArrayLike) -> Array:
    r"""Symmetric mean absolute percentage error of a forecast up to each of its times: 0 is perfect, 200 the worst there is.

    .. math:: \mathrm{sMAPE}_k = \frac{200}{k D} \sum_{j \le k} \sum_{i=1}^{D} \frac{|\hat x_{ji} - x_{ji}|}{|\hat x_{ji}| + |x_{ji}|}

    It depends on where zero is: the same error counts for more near it. A value that is not finite counts 200, 0 for 0 counts 0.

    Parameters
    ----------
    prediction, truth : (T, D) or (n, T, D)

    Returns
    -------
    (T,) or (n, T), per cent; entry k - 1 is that of the first k times

    Raises
    ------
    ValueError
        For shapes that differ, or a truth that is not finite.

    Examples
    --------
    >>> smape([[1.0], [3.0]], [[1.0], [1.0]])
    array([ 0., 50.])

    References
    ----------
    Makridakis and Hibon, Int. J. Forecasting 16 (2000) 451-476; of chaotic systems by leads, Gilpin, Phys. Rev. Research 5 (2023) 043252.
    """
    a, b = _pair(prediction, truth)
    if b.ndim not in (2, 3) or 0 in b.shape:
        raise ValueError(f"truth has shape {b.shape}: give (T, D) or (n, T, D).")
    if not np.isfinite(b).all():
        raise ValueError("truth holds a value that is not finite.")
    finite = np.isfinite(a)
    a = np.where(finite, a, 0.0)
    # halves, as the sum of two large numbers may overflow
    bottom = np.abs(a) / 2 + np.abs(b) / 2
    share = np.where(bottom > 0, np.abs(a / 2 - b / 2) / np.where(bottom > 0, bottom, 1), 0.0)
    share = np.where(finite, share, 1.0).mean(-1)
    return np.asarray(200 * np.cumsum(share, -1) / np.arange(1, b.shape[-2] + 1))
