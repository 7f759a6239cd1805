r"""The scores E1 to E12 of the Common Task Framework for Science: 100 is perfect, 0 a prediction of zeros, and there is no lower end.

They are written from the definition, which `common_task_scores` has as a table. Of a prediction that is not finite the framework's code
raises, or returns 0 or NaN, depending on the score, and its plots count NaN as -100. Here the score is :math:`-\infty`, and -100 where
scores are cut off there: a forecast that blew up is a result, and not a mistake of who asks for its score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import array, checks, count, instance, real
from ..types import Array
from .pointwise import _pair

__all__ = ["common_task_scores", "histogram_score", "reconstruction_score", "short_time_score", "spectrum_score"]

# which pair of training and test data has which scores
PAIRS: dict[int, dict[str, str]] = {
    1: {"E1": "short", "E2": "long"},
    2: {"E3": "reconstruction"},
    3: {"E4": "long"},
    4: {"E5": "reconstruction"},
    5: {"E6": "long"},
    6: {"E7": "short", "E8": "long"},
    7: {"E9": "short", "E10": "long"},
    8: {"E11": "short"},
    9: {"E12": "short"},
}


@checks(prediction=array, truth=array, steps=count)
def short_time_score(prediction: ArrayLike, truth: ArrayLike, steps: int = 20) -> float:
    r"""How near a forecast is to the truth at first, in per cent: E1, E7, E9, E11 and E12.

    .. math:: E = 100 \left( 1 - \frac{\| X - \hat X \|_2}{\| X \|_2} \right), \qquad X \in \mathbb{R}^{k \times D}

    X are the first k samples, and :math:`\| \cdot \|_2` is the largest singular value of the matrix.

    Parameters
    ----------
    prediction, truth : (T, D)
    steps : k

    Returns
    -------
    float, at most 100; -inf for a prediction that is not finite in these samples

    Raises
    ------
    ValueError
        For shapes that differ, a truth that is not finite or is zero, or fewer samples than steps.

    Examples
    --------
    >>> truth = np.array([[3.0, 4.0], [0.0, 0.0], [8.0, 8.0]])
    >>> short_time_score(0.9 * truth, truth, steps=2), short_time_score(0 * truth, truth, steps=2)
    (90.0, 0.0)

    References
    ----------
    github.com/CTF-for-Science/ctf4science, eval_module.py, commit 1968ce739f6e; Wyder et al., arXiv 2510.23166.
    """
    a, b = _checked(prediction, truth, steps)
    return _near(a[:steps], b[:steps])


@checks(prediction=array, truth=array)
def reconstruction_score(prediction: ArrayLike, truth: ArrayLike) -> float:
    r"""How near a series that was seen with noise has been brought to the truth, in per cent: E3 and E5.

    .. math:: E = 100 \left( 1 - \frac{\| X - \hat X \|_2}{\| X \|_2} \right), \qquad X \in \mathbb{R}^{T \times D}

    This is `short_time_score` of all samples.

    Parameters
    ----------
    prediction, truth : (T, D)

    Returns
    -------
    float, at most 100; -inf for a prediction that is not finite

    Raises
    ------
    ValueError
        For shapes that differ, or a truth that is not finite or is zero.

    Examples
    --------
    >>> truth = np.array([[3.0, 4.0], [0.0, 0.0], [3.0, 4.0]])
    >>> reconstruction_score(1.25 * truth, truth)
    75.0

    References
    ----------
    As of `short_time_score`.
    """
    return _near(*_checked(prediction, truth, 1))


@checks(prediction=array, truth=array, steps=count, bins=count)
def histogram_score(prediction: ArrayLike, truth: ArrayLike, steps: int = 500, bins: int = 41) -> float:
    r"""How alike the last values of two runs are distributed, in per cent: E2, E4, E6, E8 and E10 of ordinary differential equations.

    .. math:: E = 100 \left( 1 - \frac{1}{D} \sum_{i=1}^{D} \frac{\sum_b | n_{ib} - \hat n_{ib} |}{\sum_b n_{ib}} \right)

    n counts the values of variable i in equal bins from the least to the largest value of both runs. The bins are few samples each: two
    runs of one system differ by some tens of per cent.

    Parameters
    ----------
    prediction, truth : (T, D)
    steps : how many of the last samples are counted
    bins : of each variable

    Returns
    -------
    float, from -100, for runs that share no bin, to 100; -inf for a prediction that is not finite in these samples

    Raises
    ------
    ValueError
        For shapes that differ, a truth that is not finite, fewer samples than steps, or no bins.

    Examples
    --------
    >>> truth = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> histogram_score(truth[::-1], truth, steps=4, bins=4), histogram_score(truth + 9, truth, steps=4, bins=4)
    (100.0, -100.0)

    References
    ----------
    As of `short_time_score`.
    """
    a, b = (x[-steps:] for x in _checked(prediction, truth, steps))
    if bins < 1:
        raise ValueError(f"bins={bins}: give at least 1.")
    if not np.isfinite(a).all():
        return -np.inf
    a = np.clip(a, -1e300, 1e300)  # a wider range than floats have would have no bins
    differences = []
    for p, q in zip(a.T, b.T):
        ends = min(p.min(), q.min()), max(p.max(), q.max())
        m, n = (np.histogram(x, bins, ends)[0] for x in (p, q))
        differences.append(np.abs(n - m).sum() / n.sum())
    return float(100 * (1 - np.mean(differences)))


@checks(prediction=array, truth=array, steps=count, modes=count)
def spectrum_score(prediction: ArrayLike, truth: ArrayLike, steps: int = 20, modes: int = 100) -> float:
    r"""How alike the power spectra in space of two fields are at the end, in per cent: E2, E4, E6, E8 and E10 of fields.

    .. math:: E = 100 \left( 1 - \frac{\| P - \hat P \|_2}{\| P \|_2} \right), \qquad
        P_q = \frac{1}{k} \sum_{j > T - k} \Big| \sum_n u_{jn} e^{-2 \pi i q n / N} \Big|^2, \quad q = 0, \dots, \text{modes} - 1

    Parameters
    ----------
    prediction, truth : (T, N), N points of a periodic grid in each row
    steps : k, of the last samples
    modes : wavenumbers from 0 on

    Returns
    -------
    float, at most 100; -inf for a prediction that is not finite in these samples

    Raises
    ------
    ValueError
        For shapes that differ, a truth that is not finite or has no power in these modes, fewer samples than steps, or more modes than a
        grid of N points has.

    Examples
    --------
    >>> x = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    >>> wave = np.sin(x - np.arange(5)[:, None])
    >>> spectrum_score(wave[:, ::-1], wave, steps=5, modes=16), round(spectrum_score(1.1 * wave, wave, steps=5, modes=16), 6)
    (100.0, 79.0)

    References
    ----------
    As of `short_time_score`.
    """
    a, b = (x[-steps:] for x in _checked(prediction, truth, steps))
    most = (b.shape[1] + 1) // 2
    if not 1 <= modes <= most:
        raise ValueError(f"modes={modes}: a grid of {b.shape[1]} points has {most} from wavenumber 0 on; give 1 to {most}.")
    if not np.isfinite(a).all():
        return -np.inf
    with np.errstate(over="ignore"):
        p, q = ((np.abs(np.fft.fft(x, axis=1)[:, :modes]) ** 2).mean(0) for x in (a, b))
        size, error = np.linalg.norm(q), np.linalg.norm(q - p)
    if not size > 0:
        raise ValueError(f"truth has no power in {modes} modes: errors relative to it are not defined; leave this pair out.")
    return float(100 * (1 - error / size))


BY_PAIR = instance(Mapping, "the numbers of the pairs to their arrays")


@checks(predictions=BY_PAIR, truths=BY_PAIR, floor=real)
def common_task_scores(
    predictions: Mapping[int, ArrayLike], truths: Mapping[int, ArrayLike], kind: str, floor: float = -100.0
) -> dict[str, float]:
    r"""The scores E1 to E12 of predictions for the nine pairs of training and test data of the framework.

    ====  ===============================  ========================================  ================
    pair  training data                    predicted                                 scores
    ====  ===============================  ========================================  ================
    1     X1train                          X1test, what follows                      E1, E2
    2     X2train, medium noise            X2test, the same without noise            E3
    3     X2train                          X3test, what follows                      E4
    4     X3train, high noise              X4test, the same without noise            E5
    5     X3train                          X5test, what follows                      E6
    6     X4train, 100 samples             X6test, what follows                      E7, E8
    7     X5train, 100 samples with noise  X7test, what follows                      E9, E10
    8     X6train to X8train               X8test, what follows X9train              E11
    9     X6train to X8train               X9test, what follows X10train             E12
    ====  ===============================  ========================================  ================

    X9train and X10train are 100 samples each, from other values of the parameter than X6train to X8train; the values are not told. Short
    scores are of 20 samples, long ones `histogram_score` or `spectrum_score`, each with its defaults, which are those of the framework.

    Parameters
    ----------
    predictions, truths : (T, D) or (T, N) each, under the numbers of their pairs; of some pairs, or of all
    kind : {'dynamical', 'spatio-temporal'}
        Of an ordinary differential equation, or of a field on a periodic grid.
    floor : float
        Scores below it count as much: -100 as in the framework's descriptions of its data; ``-math.inf`` leaves them as they are.

    Returns
    -------
    dict from 'E1' to 'E12', in this order, those of the pairs that are given

    Raises
    ------
    ValueError
        For another kind, pairs that are not the same in both, a number that is no pair's, or what the scores refuse.

    Examples
    --------
    >>> truth = np.sin(np.arange(3000.0).reshape(1000, 3))
    >>> common_task_scores({1: truth, 8: 0 * truth}, {1: truth, 8: truth}, "dynamical")
    {'E1': 100.0, 'E2': 100.0, 'E11': 0.0}

    References
    ----------
    As of `short_time_score`; the pairs from data/ODE_Lorenz/ODE_Lorenz.yaml and data/PDE_KS/PDE_KS.yaml, commit 2550c454.
    """
    if kind not in ("dynamical", "spatio-temporal"):
        raise ValueError(f"kind={kind!r}: give 'dynamical' or 'spatio-temporal'.")
    if set(predictions) != set(truths):
        raise ValueError(f"predictions are of the pairs {list(predictions)}, truths of {list(truths)}: give both of the same.")
    if unknown := set(truths) - set(PAIRS):
        raise ValueError(f"pairs {sorted(unknown, key=str)}: their numbers are 1 to 9.")
    measures: dict[str, Any] = {
        "short": short_time_score,
        "reconstruction": reconstruction_score,
        "long": histogram_score if kind == "dynamical" else spectrum_score,
    }
    scores = {}
    for pair, names in PAIRS.items():
        for name, measure in names.items() if pair in truths else ():
            try:
                score = measures[measure](predictions[pair], truths[pair])
            except ValueError as e:
                raise ValueError(f"pair {pair}: {e}") from None
            scores[name] = max(score, floor)
    return scores


def _checked(prediction: ArrayLike, truth: ArrayLike, steps: int) -> tuple[Array, Array]:
    a, b = _pair(prediction, truth)
    if b.ndim != 2 or 0 in b.shape:
        raise ValueError(f"truth has shape {b.shape}: give (T, D), samples in rows.")
    if not np.isfinite(b).all():
        raise ValueError("truth holds a value that is not finite.")
    if not 1 <= steps <= len(b):
        raise ValueError(f"steps={steps}: there are {len(b)} samples; give 1 to {len(b)}.")
    return a, b


def _near(a: Array, b: Array) -> float:
    size = np.linalg.norm(b, 2)
    if not size > 0:
        raise ValueError("truth is zero: errors relative to it are not defined; leave this pair out.")
    with np.errstate(over="ignore"):
        difference = b - a
    return float(100 * (1 - np.linalg.norm(difference, 2) / size)) if np.isfinite(difference).all() else -np.inf
