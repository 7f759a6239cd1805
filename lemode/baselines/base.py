"""What the baselines share: normalised data in, and a map from the series so far to the next value."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..trajectories import Trajectories

__all__ = ["Baseline", "need"]

Array = NDArray[np.float64]


class Baseline:
    """A predictor of the next value. Subclasses define `_fit`, `_predict` and `_forecast` on normalised arrays ``(n, T, D)``.

    Hyper-parameters are stored by the constructor, as in scikit-learn; what is learned ends in ``_``.

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

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The hyper-parameters by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self).__init__).parameters if name != "self"}

    def fit(self, X: Trajectories | ArrayLike, y: None = None, *, validation: Any = None) -> Any:
        """Learn from trajectories, ``(n, T, D)``; `validation` is not needed by most and ignored by them."""
        names = self.observe
        if isinstance(X, Trajectories):
            X = X.select(names) if names is not None else X
            self.step_, self.names_ = X.step, X.names
            x = X.x.astype(np.float64)
        else:
            x = np.asarray(X, dtype=np.float64)
            x = x[None] if x.ndim == 2 else x
            self.step_, self.names_ = 1.0, tuple(f"x{i}" for i in range(x.shape[-1]))
        self.mean_, std = x.mean((0, 1)), x.std((0, 1))
        self.std_ = np.where(std > 0, std, 1.0)
        self._fit((x - self.mean_) / self.std_)
        return self

    def predict(self, X: Trajectories | ArrayLike) -> Array:
        """One step ahead: entry k is the prediction of x[k+1] from x[0], ..., x[k]; shaped as X."""
        x, single = self._normalised(X)
        out = self._predict(x) * self.std_ + self.mean_
        return out[0] if single else out

    def forecast(self, history: Trajectories | ArrayLike, steps: int) -> Array:
        """Free run after the history: ``(n, steps, D)``, or ``(steps, D)`` for one series. Not finite where it blows up."""
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
        x = np.asarray(X.select(self.names_).x if isinstance(X, Trajectories) else X, dtype=np.float64)
        if x.ndim not in (2, 3) or x.shape[-1] != len(self.names_):
            raise ValueError(f"data have shape {x.shape}: give (n, T, {len(self.names_)}), or (T, {len(self.names_)}).")
        return (x.reshape(-1, *x.shape[-2:]) - self.mean_) / self.std_, x.ndim == 2

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
