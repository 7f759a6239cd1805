"""What the baselines share: normalised data in, and a map from the series so far to the next value."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..surrogate.data import as_table, refuse_uneven, training_table
from ..surrogate.parameters import Parameters, check_count, names_of
from ..surrogate.reading import Form, Table, read

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
    table_: Table  # what the training data were like
    mean_: Array
    std_: Array

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "mean_")

    def fit(self, X: Any, y: None = None, *, validation: Any = None) -> Any:
        """Learn from evenly sampled trajectories, ``(n, T, D)``; `validation` is not needed by most and ignored by them.

        ValueError for data that are uneven or have missing values, and for a y.
        """
        if y is not None:
            raise ValueError(f"y: {type(self).__name__} learns from X alone; leave y out.")
        worker = self._worker()
        observe = None if worker.observe is None else names_of("observe", worker.observe)
        data, table = training_table(read(X, missing=True), lambda known: (observe or known, ()))
        refuse_uneven(data, None, type(self).__name__)
        worker.step_, worker.names_, worker.table_ = data.step, data.names, table
        x = data.x.astype(np.float64)
        worker.mean_, std = x.mean((0, 1)), x.std((0, 1))
        worker.std_ = np.where(std > 0, std, 1.0)
        worker._fit((x - worker.mean_) / worker.std_)
        self._publish(worker)
        return self

    def predict(self, X: Any) -> Any:
        """One step ahead: entry k is the prediction of x[k+1] from x[0], ..., x[k]; shaped and labelled as X."""
        x, _, form = self._normalised(X)
        return form.along(self._predict(x) * self.std_ + self.mean_, self.names_)

    def forecast(self, history: Any, steps: int) -> Any:
        """Free run after the history: ``(n, steps, D)``, or ``(steps, D)`` for one series, labelled as it. Not finite where it blows up."""
        steps = check_count("steps", steps)
        x, t, form = self._normalised(history)
        with np.errstate(over="ignore", invalid="ignore"):
            out = self._forecast(x, steps) * self.std_ + self.mean_
        times = np.broadcast_to(t[-1] + self.step_ * np.arange(1, steps + 1), (len(x), steps))
        return form.ahead(out, times, self.names_)

    def rmse(self, X: Any, washout: int = 0) -> float:
        """Root mean square one-step error in the units of the data, without the first `washout` predictions."""
        x, _, _ = self._normalised(X)
        error = (self._predict(x)[:, washout:-1] - x[:, washout + 1 :]) * self.std_
        return float(np.sqrt((error**2).mean()))

    def _normalised(self, X: Any) -> tuple[Array, Array, Form]:
        if not hasattr(self, "mean_"):
            raise RuntimeError(f"this {type(self).__name__} is not fitted yet: call fit(trajectories) first.")
        data, form = as_table(X, self.table_, type(self).__name__)
        return (data.x.astype(np.float64) - self.mean_) / self.std_, data.t.astype(np.float64), form

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
