"""The climate of a free run: spectra, distributions, dimension and invariants, whatever the phase.

Two runs are compared by their statistics, so that they need neither the same length nor the same initial state. All functions
take a run ``(T, D)`` or several ``(n, T, D)`` sampled evenly after the transient.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._checks import array, checks, count, real, seed
from ..types import Array

__all__ = [
    "correlation_dimension",
    "drift",
    "energy_ratio",
    "kl_divergence",
    "power_spectrum",
    "spectrum_distance",
    "spectrum_excess",
    "wasserstein",
]

# an estimate by the mean of a logarithm wants a distribution of distances: with four of them Lorenz63 is off by 0.14, with 20 by 0.01
DISTANCES = 20


@checks(x=array, dt=real, segment=count)
def power_spectrum(x: ArrayLike, dt: float, segment: int | None = None) -> tuple[Array, Array]:
    r"""Power spectral density by Welch's method: Hann windows, half overlapping, the mean of the run removed.

    .. math:: S(f_k) = \frac{2 \Delta t}{\sum_j w_j^2} \Big\langle \Big| \sum_j w_j x_j e^{-2 \pi i j k / m} \Big|^2 \Big\rangle

    so that its integral over f is the variance.

    Parameters
    ----------
    x : (T, D) or (n, T, D)
    dt : sampling interval
    segment : int, m; by default T/4, between 16 and 1024

    Returns
    -------
    f : (F,) frequencies above 0, per unit of dt
    S : (F, D)

    Raises
    ------
    ValueError
        For bad shapes, values that are not finite, or a segment that is longer than the run.

    Examples
    --------
    >>> t = np.arange(0, 400, 0.1)
    >>> f, S = power_spectrum(np.sin(2 * np.pi * 0.5 * t)[:, None], 0.1)
    >>> round(float(f[S[:, 0].argmax()]), 2), round(float(S[:, 0].sum() * f[0]), 3)
    (0.5, 0.5)

    References
    ----------
    Welch, IEEE Trans. Audio Electroacoustics 15 (1967) 70-73.
    """
    runs = _runs("x", x)
    T = runs.shape[1]
    m = min(max(T // 4, 16), 1024) if segment is None else segment
    if not 4 <= m <= T:
        raise ValueError(f"segments of {m} samples in a run of {T}: give 4 to {T}.")
    if not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"dt={dt}: give a finite positive sampling interval.")
    from scipy.signal import welch

    # the mean of the run, not of each segment, whose slow variation is part of the climate
    centred = runs - runs.mean((0, 1))
    f, S = welch(centred, 1 / dt, "hann", m, noverlap=m - m // 2, detrend=False, axis=1)
    return f[1:], S.mean(0)[1:]


@checks(prediction=array, truth=array, dt=real, segment=count)
def spectrum_distance(prediction: ArrayLike, truth: ArrayLike, dt: float, segment: int | None = None) -> Array:
    r"""Hellinger distance of the power spectra of each variable: 0 for equal ones, 1 where they do not overlap.

    .. math:: H = \sqrt{ 1 - \sum_k \sqrt{p_k q_k} }, \qquad p_k = S(f_k) \Big/ \sum_l S(f_l)

    It compares shapes only; `energy_ratio` compares the power.

    Parameters
    ----------
    prediction, truth : (T, D) or (n, T, D); they may differ in n and T
    dt, segment : as in `power_spectrum`, the same for both; by default fit for the shorter run

    Returns
    -------
    (D,)

    Raises
    ------
    ValueError
        As `power_spectrum`, and for a variable that is constant.

    Examples
    --------
    >>> t = np.arange(0, 200, 0.1)
    >>> float(spectrum_distance(np.sin(t)[:, None], 3 * np.cos(t)[:, None], 0.1)[0]) < 0.05
    True

    References
    ----------
    Mikhaeil, Monfared, Durstewitz, NeurIPS 2022, arXiv 2110.07238, appendix.
    """
    S = _spectra(prediction, truth, dt, segment)
    for name, s in zip(("prediction", "truth"), S):
        if not (s.sum(0) > 0).all():
            raise ValueError(f"{name} is constant in variable {int(np.argmin(s.sum(0)))}: it has no spectrum.")
    p, q = (s / s.sum(0) for s in S)
    return np.asarray(np.sqrt(np.maximum(1 - np.sqrt(p * q).sum(0), 0)))


@checks(prediction=array, truth=array, dt=real, segment=count)
def spectrum_excess(prediction: ArrayLike, truth: ArrayLike, dt: float, segment: int | None = None) -> Array:
    r"""How many decades the spectrum of a run stands above that of the truth, at the frequency where it is worst: 0 is none.

    .. math::

        \max_k \log_{10} \frac{S(f_k) + \epsilon}{\max_{|l - k| \le 1} S_{true}(f_l) + \epsilon}, \qquad
        \epsilon = 10^{-12} \max_l S_{true}(f_l)

    A peak of its own may have next to no power, so that neither `energy_ratio` nor `spectrum_distance` sees it: here it shows. The truth
    counts with its neighbours, of which a Hann window makes one peak, and down to the rounding of single precision, epsilon. Two runs of
    one system differ by half a decade or so, the more the shorter they are.

    Parameters
    ----------
    prediction, truth, dt, segment
        As in `spectrum_distance`.

    Returns
    -------
    (D,)

    Raises
    ------
    ValueError
        As `spectrum_distance`.

    Examples
    --------
    >>> t = np.arange(0, 400, 0.1)
    >>> wave = np.exp(np.sin(t))[:, None]
    >>> hum = wave + 1e-3 * np.sin(25 * t)[:, None]
    >>> float(spectrum_distance(hum, wave, 0.1)[0]) < 0.01, float(spectrum_excess(hum, wave, 0.1)[0]) > 3
    (True, True)
    """
    S, true = _spectra(prediction, truth, dt, segment)
    if not (true.sum(0) > 0).all():
        raise ValueError(f"truth is constant in variable {int(np.argmin(true.sum(0)))}: it has no spectrum.")
    floor = 1e-12 * true.max(0)
    padded = np.concatenate([true[:1], true, true[-1:]])
    around = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    return np.asarray(np.maximum(np.log10((S + floor) / (around + floor)).max(0), 0.0))


def _spectra(prediction: ArrayLike, truth: ArrayLike, dt: float, segment: int | None) -> tuple[Array, Array]:
    """Both power spectra, at the same frequencies."""
    a, b = _both(prediction, truth)
    m = min(max(min(a.shape[1], b.shape[1]) // 4, 16), 1024) if segment is None else segment
    return power_spectrum(a, dt, m)[1], power_spectrum(b, dt, m)[1]


@checks(prediction=array, truth=array)
def wasserstein(prediction: ArrayLike, truth: ArrayLike) -> Array:
    r"""1-Wasserstein distance of the distribution of each variable, in standard deviations of the truth.

    .. math:: W_i = \frac{1}{\sigma_i} \int | F_{\hat x_i}(s) - F_{x_i}(s) |\,ds

    Parameters
    ----------
    prediction, truth : (T, D) or (n, T, D); they may differ in n and T

    Returns
    -------
    (D,)

    Raises
    ------
    ValueError
        For bad shapes, values that are not finite, or a variable that is constant in the truth.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(1000, 1))
    >>> round(float(wasserstein(x + 0.5 * x.std(), x)[0]), 6)
    0.5
    """
    from scipy.stats import wasserstein_distance

    a, b = (x.reshape(-1, x.shape[-1]) for x in _both(prediction, truth))
    sigma = _spread(b)
    return np.array([wasserstein_distance(a[:, i], b[:, i]) / sigma[i] for i in range(b.shape[1])])


@checks(prediction=array, truth=array, components=count, bins=count)
def kl_divergence(prediction: ArrayLike, truth: ArrayLike, components: int = 2, bins: int = 30) -> float:
    r"""Kullback-Leibler divergence of the invariant measures, on the leading principal components of the truth.

    .. math:: D_{KL} = \sum_k p_k \log \frac{p_k}{q_k}

    p counts the truth, q the prediction, in equal bins over the range of the truth; what falls outside counts to the outermost
    bins. Half a count is added to each bin of either, so that an empty bin is not infinitely far.

    Parameters
    ----------
    prediction, truth : (T, D) or (n, T, D); they may differ in n and T
    components : 1 to D, of the standardised variables
    bins : of each component

    Returns
    -------
    float, in nats; positive even for two runs of the same system, the less the longer they are

    Raises
    ------
    ValueError
        As `wasserstein`, and for a number of components that the data do not have.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20000, 2))
    >>> kl_divergence(rng.normal(size=(20000, 2)), x) < 0.1 < kl_divergence(x + 1, x)
    True

    References
    ----------
    Koppe et al., PLoS Comput. Biol. 15 (2019) e1007263, equation (9), by bins.
    """
    a, b = (x.reshape(-1, x.shape[-1]) for x in _both(prediction, truth))
    D = b.shape[1]
    if not 1 <= components <= min(D, 3):
        raise ValueError(f"components={components}: give 1 to {min(D, 3)}, for the histogram to be filled.")
    if bins < 2:
        raise ValueError(f"bins={bins}: give at least 2.")
    mean, sigma = b.mean(0), _spread(b)
    axes = np.linalg.svd(np.cov(((b - mean) / sigma).T).reshape(D, D))[0][:, :components]
    p, q = ((x - mean) / sigma @ axes for x in (b, a))
    edges = [np.linspace(c.min(), c.max(), bins + 1) for c in p.T]
    low, high = p.min(0), p.max(0)
    counts = [np.histogramdd(np.clip(x, low, high), bins=edges)[0].ravel() + 0.5 for x in (p, q)]
    P, Q = (c / c.sum() for c in counts)
    return float(np.sum(P * np.log(P / Q)))


@checks(x=array, quantile=real, exclude=count, points=count, seed=seed)
def correlation_dimension(x: ArrayLike, quantile: float = 0.01, exclude: int = 50, points: int = 4000, seed: int = 0) -> float:
    r"""Correlation dimension of the invariant measure by Takens' maximum likelihood estimator.

    .. math:: \hat D = - \Big\langle \log \frac{|x_i - x_j|}{r_0} \Big\rangle^{-1}_{|x_i - x_j| < r_0}

    Compare two runs with the same arguments: the value depends on r0 and, through it, on the amount of data. Variables count
    as they come; scale them where their units differ.

    Parameters
    ----------
    x : (T, D) or (n, T, D)
    quantile : of all distances, which sets r0
    exclude : pairs of the same run fewer than so many samples apart do not count: they are near because of time (Theiler's window)
    points : so many random points are used, at most; the cost is their square
    seed : of the choice

    Raises
    ------
    ValueError
        For bad shapes, values that are not finite, a quantile outside (0, 1), too few pairs, or data so rounded that near points have a
        few distances only.

    Examples
    --------
    >>> square = np.random.default_rng(0).uniform(size=(1500, 2))
    >>> abs(correlation_dimension(square, exclude=0) - 2) < 0.15
    True

    References
    ----------
    Grassberger and Procaccia, Physica D 9 (1983) 189-208; Takens, Lecture Notes in Mathematics 1125 (1985) 99-106;
    Theiler, Phys. Rev. A 34 (1986) 2427-2432.
    """
    from scipy.spatial.distance import pdist

    runs = _runs("x", x)
    if not 0 < quantile < 1:
        raise ValueError(f"quantile={quantile}: give a number between 0 and 1.")
    n, T, D = runs.shape
    chosen = np.sort(np.random.default_rng(seed).permutation(n * T)[:points])
    distance = pdist(runs.reshape(-1, D)[chosen])
    i, j = np.triu_indices(len(chosen), 1)
    a, b = chosen[i], chosen[j]
    distance = distance[(a // T != b // T) | (np.abs(a - b) >= max(exclude, 1))]
    distance = distance[distance > 0]
    if len(distance) * quantile < 100:
        raise ValueError(
            f"{len(distance)} pairs of points at a quantile of {quantile}: give a longer run, or a larger quantile."
        )
    r0 = np.quantile(distance, quantile)
    near = distance[distance < r0]
    several = len(np.unique(near.astype(np.float32)))
    if several < DISTANCES:
        raise ValueError(
            f"the distances below r0={r0:.4g}, which quantile={quantile} sets, have {several} values only: the data are rounded too "
            "coarsely for it. Give a larger quantile, or data with more digits."
        )
    return float(-1 / np.mean(np.log(near / r0)))


@checks(quantity=array, scale=real)
def drift(quantity: ArrayLike, scale: float = 1.0) -> Array:
    r"""Largest departure of a conserved quantity from its initial value, for each run.

    .. math:: \max_t | Q(t) - Q(0) | / s

    Parameters
    ----------
    quantity : (T,) or (n, T)
        Q along the run: the mean of a field is ``u.mean(-1)``, an energy whatever the system has.
    scale : s, e.g. the standard deviation of u, or the energy itself

    Returns
    -------
    () or (n,); inf for a run that is not finite

    Raises
    ------
    ValueError
        For bad shapes, or a scale that is not positive.

    Examples
    --------
    >>> u = np.ones((3, 8)) + np.array([[0.0], [1e-3], [-2e-3]])
    >>> round(float(drift(u.mean(-1))), 6)
    0.002
    """
    Q = np.asarray(quantity, dtype=np.float64)
    if Q.ndim not in (1, 2) or 0 in Q.shape:
        raise ValueError(f"quantity has shape {Q.shape}: give (T,) or (n, T).")
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale={scale}: give a finite positive number.")
    with np.errstate(invalid="ignore"):
        departure = np.abs(Q - Q[..., :1]).max(-1) / scale
    return np.where(np.isfinite(Q).all(-1), departure, np.inf)


@checks(prediction=array, truth=array)
def energy_ratio(prediction: ArrayLike, truth: ArrayLike) -> float:
    r"""Power of the fluctuations of a free run over that of the truth: 1 on the attractor, 0 for a run that has died out.

    .. math:: \sum_i \mathrm{Var}(\hat x_i) \Big/ \sum_i \mathrm{Var}(x_i)

    both about the mean of the truth, so that a run that has drifted away shows.

    Parameters
    ----------
    prediction, truth : (T, D) or (n, T, D); they may differ in n and T

    Raises
    ------
    ValueError
        As `wasserstein`.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(energy_ratio(x.mean(0) + 2 * (x - x.mean(0)), x), 6)
    4.0
    """
    a, b = _both(prediction, truth)
    _spread(b.reshape(-1, b.shape[-1]))
    mean = b.mean((0, 1))
    return float(((a - mean) ** 2).mean((0, 1)).sum() / ((b - mean) ** 2).mean((0, 1)).sum())


def _runs(name: str, x: ArrayLike) -> Array:
    a = np.asarray(x, dtype=np.float64)
    if a.ndim not in (2, 3) or 0 in a.shape:
        raise ValueError(f"{name} has shape {a.shape}: give (T, D) or (n, T, D).")
    if not np.isfinite(a).all():
        raise ValueError(f"{name} holds a value that is not finite: a run that has blown up has no climate.")
    return a[None] if a.ndim == 2 else a


def _both(prediction: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    a, b = _runs("prediction", prediction), _runs("truth", truth)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"prediction has {a.shape[-1]} variables, truth {b.shape[-1]}: they must be the same.")
    return a, b


def _spread(x: Array) -> Array:
    sigma = x.std(0)
    if not (sigma > 0).all():
        raise ValueError(f"truth is constant in variable {int(np.argmin(sigma))}: there is no scale to measure in.")
    return np.asarray(sigma)
