"""What the baselines share: normalised data in, and a map from the series so far to the next value."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..surrogate.data import even_and_complete, known_names
from ..surrogate.parameters import Parameters, check_count, names_of
from ..trajectories import Trajectories

__all__ = ["Baseline", "need"]

Array = NDArray[np.float64]


class Baseline(Parameters):
    """A predictor of the next value. Subclasses define `_fit`, `_predict` and `_forecast` on normalised arrays ``(n, T, D)``.

    Hyper-parameters are stored by the constructor, as in scikit-learn; what is learned ends in ``_``, and is there when `_fit` has
    returned, not before: it is done by a copy.

    Examples
    --------
    A predictor of one's own takes three lines and has the whole surface:

    >>> class Mean(Baseline):
    ...     def _fit(self, x): pass
    ...     def _predict(self, x): return np.zeros_like(x)  # of the normalised data
    >>> wave = np.sin(np.linspace(0, 60, 601))[:, None] + 2
    >>> mean = Mean().fit(wave)
    >>> mean.forecast(wave, steps=3).shape, round(mean.rmse(wave), 2)
    ((3, 1), 0.7)
    """

    observe: tuple[str, ...] | None = None
    step_: float
    names_: tuple[str, ...]
    mean_: Array
    std_: Array

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "mean_")

    def fit(self, X: Trajectories | ArrayLike, y: None = None, *, validation: Any = None) -> Any:
        """Learn from evenly sampled trajectories, ``(n, T, D)``; `validation` is not needed by most and ignored by them.

        ValueError for data that are uneven or have missing values, and for a y.
        """
        if y is not None:
            raise ValueError(f"y: {type(self).__name__} learns from X alone; leave y out.")
        worker = self._worker()
        names = known_names(X) if worker.observe is None else names_of("observe", worker.observe)
        data = even_and_complete(X, names, None, type(self).__name__)
        worker.step_, worker.names_ = data.step, data.names
        x = data.x.astype(np.float64)
        worker.mean_, std = x.mean((0, 1)), x.std((0, 1))
        worker.std_ = np.where(std > 0, std, 1.0)
        worker._fit((x - worker.mean_) / worker.std_)
        self._publish(worker)
        return self

    def predict(self, X: Trajectories | ArrayLike) -> Array:
        """One step ahead: entry k is the prediction of x[k+1] from x[0], ..., x[k]; shaped as X."""
        x, single = self._normalised(X)
        out = self._predict(x) * self.std_ + self.mean_
        return out[0] if single else out

    def forecast(self, history: Trajectories | ArrayLike, steps: int) -> Array:
        """Free run after the history: ``(n, steps, D)``, or ``(steps, D)`` for one series. Not finite where it blows up."""
        steps = check_count("steps", steps)
        x, single = self._normalised(history)
        with np.errstate(over="ignore", invalid="ignore"):
            out = self._forecast(x, steps) * self.std_ + self.mean_
        return out[0] if single else out

    def rmse(self, X: Trajectories | ArrayLike, washout: int = 0) -> float:
        """Root mean square one-step error in the units of the data, without the first `washout` predictions."""
        x, _ = self._normalised(X)
        error = (self._predict(x)[:, washout:-1] - x[:, washout + 1 :]) * self.std_
        return float(np.sqrt((error**2).mean()))

    def _normalised(self, X: Trajectories | ArrayLike) -> tuple[Array, bool]:
        if not hasattr(self, "mean_"):
            raise RuntimeError(f"this {type(self).__name__} is not fitted yet: call fit(trajectories) first.")
        x = even_and_complete(X, self.names_, self.step_, type(self).__name__).x.astype(np.float64)
        return (x - self.mean_) / self.std_, not isinstance(X, Trajectories) and np.ndim(X) == 2

    def _fit(self, x: Array) -> None:
        raise TypeError(f"{type(self).__name__} defines no fit.")

    def _predict(self, x: Array) -> Array:
        raise TypeError(f"{type(self).__name__} defines no prediction.")

    def _forecast(self, x: Array, steps: int) -> Array:
        """By default: append the last prediction to the series, `steps` times."""
        series = x
        for _ in range(steps):
            series = np.concatenate([series, self._predict(series)[:, -1:]], 1)
        return series[:, x.shape[1] :]


def need(package: str, what: str) -> Any:
    """Import a package of the extra `baselines`; ImportError says how to get it.

    Examples
    --------
    >>> need("numpy", "this example").__name__
    'numpy'
    >>> need("a_package_that_is_not_there", "this example")
    Traceback (most recent call last):
    ImportError: this example needs a_package_that_is_not_there: pip install 'lemode[baselines]'.
    """
    try:
        return importlib.import_module(package)
    except ImportError as e:
        raise ImportError(f"{what} needs {package.split('.')[0]}: pip install 'lemode[baselines]'.") from e
