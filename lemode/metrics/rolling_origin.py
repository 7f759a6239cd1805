"""Forecasts from many origins along one series: what a model is worth on measured data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import array, checks, integer

__all__ = ["Evaluation", "Forecaster", "evaluate"]

Array = NDArray[np.float64]


class Forecaster(Protocol):
    """What has a forecast, as `lemode.Surrogate` and the models of `lemode.baselines` do.

    Examples
    --------
    >>> model: Forecaster = lemode.baselines.Persistence().fit(np.arange(20.0)[:, None])
    >>> model.forecast(np.array([[1.0], [2.0]]), 3)[:, 0]
    array([2., 2., 2.])
    """

    def forecast(self, history: Any, steps: int, inputs: Any = None) -> Any:
        """``(steps, D)`` after the history ``(T, D + m)``."""


def _models(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping) or not all(callable(m) or callable(getattr(m, "forecast", None)) for m in value.values()):
        raise TypeError(
            f"{name}: give a dict of names to models that have a forecast, or to functions of a history and a number of steps."
        )
    return value


def _indices(name: str, value: Any) -> NDArray[np.int64]:
    try:
        found = np.atleast_1d(np.asarray(list(value)))
    except TypeError:
        found = np.empty(0, dtype=object)
    if (found.size and found.dtype.kind not in "iu") or found.ndim != 1:
        raise TypeError(f"{name}: give indices of the series, integers.")
    return found.astype(np.int64)


@dataclass(frozen=True)
class Evaluation:
    """Errors of forecasts, of each model ``(origins, horizon, D)``: forecast minus truth, NaN where the truth is missing.

    Examples
    --------
    >>> errors = {"a": np.array([[[1.0], [2.0]], [[-1.0], [4.0]]])}
    >>> evaluation = Evaluation(errors, origins=np.array([5, 6]))
    >>> evaluation.rmse("a").round(2)  # by lead
    array([1.  , 3.16])
    >>> print(evaluation)
    RMSE over 2 origins, by lead
           1      2    all
    a   1.00   3.16   2.35
    """

    errors: Mapping[str, Array]
    origins: NDArray[np.int64]

    def rmse(self, model: str) -> Array:
        """Root mean square error by lead ``(horizon,)``, over origins and variables."""
        return np.asarray(np.sqrt(np.nanmean(self.errors[model] ** 2, axis=(0, 2))))

    def total(self, model: str) -> float:
        """Root mean square error over all leads."""
        return float(np.sqrt(np.nanmean(self.errors[model] ** 2)))

    def skill(self, model: str, reference: str) -> float:
        r"""Share of the reference's squared error that the model does without, :math:`1 - \mathrm{MSE} / \mathrm{MSE}_\mathrm{ref}`.

        1 is perfect, 0 no better than the reference, below 0 worse.
        """
        return 1 - (self.total(model) / self.total(reference)) ** 2

    def table(self, leads: Sequence[int] | None = None) -> str:
        """A line a model, a column for each lead, counted from one: up to six spread over the horizon by default."""
        horizon = next(iter(self.errors.values())).shape[1]
        chosen = (
            np.unique(np.geomspace(1, horizon, min(horizon, 6)).round().astype(int)) if leads is None else np.asarray(leads)
        )
        wide = max(map(len, self.errors))
        lines = [
            f"RMSE over {len(self.origins)} origins, by lead",
            " " * wide + "".join(f"{k:7}" for k in chosen) + f"{'all':>7}",
        ]
        for name in self.errors:
            cells = [*self.rmse(name)[chosen - 1], self.total(name)]
            lines.append(f"{name:{wide}}" + "".join(f"{value:7.3g}" if value >= 1e3 else f"{value:7.2f}" for value in cells))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()


@checks(models=_models, x=array, horizon=integer, origins=_indices, inputs=array, season=integer)
def evaluate(
    models: Mapping[str, Forecaster | Callable[[Array, int], ArrayLike]],
    x: ArrayLike,
    horizon: int,
    origins: Sequence[int] | NDArray[np.integer[Any]],
    *,
    inputs: ArrayLike | None = None,
    season: int | None = None,
) -> Evaluation:
    r"""Rolling-origin evaluation: from every origin k, each model forecasts :math:`x_k, \dots, x_{k+h-1}` from what came before.

    The models have been fitted, and are not fitted again: to data that end before the first origin, or the comparison is worth nothing. Two
    references are always there, ``naive``, the last value, and with a `season` ``seasonal naive``, that of the season before.

    Parameters
    ----------
    models : by name: what has a ``forecast(history, steps)``, or a function ``(history (k, D), steps) -> (steps, D)``
    x : (T,) or (T, D)
        The whole series; NaN is a value that is missing, which is not judged, and is not there in the history either.
    horizon : h, steps of each forecast
    origins : indices k, with :math:`1 \le k \le T - h`
    inputs : (T, m), optional
        Known inputs beside x, for models that have a ``forecast``, and known ahead. In the history they are the columns that the model
        was fitted with as inputs, by its ``feature_names_in_`` and ``input_names_``, and the last ones of a model without these names.
    season : samples of a season

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        For origins outside of the series or before the first season, inputs of another length, or a forecast of another shape or with
        values that are not finite, by model and origin.

    Examples
    --------
    >>> wave = np.sin(2 * np.pi * np.arange(240) / 12) + 0.01 * np.arange(240)
    >>> model = lemode.baselines.Autoregression(12).fit(wave[:160, None])
    >>> print(evaluate({"AR(12)": model}, wave, horizon=12, origins=range(160, 228), season=12).table([1, 6, 12]))
    RMSE over 68 origins, by lead
                        1      6     12    all
    naive            0.36   1.43   0.12   1.01
    seasonal naive   0.12   0.12   0.12   0.12
    AR(12)           0.00   0.03   0.02   0.02

    References
    ----------
    Tashman, Out-of-sample tests of forecasting accuracy, International Journal of Forecasting 16 (2000) 437-450.
    """
    values = np.asarray(x)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or not len(values):
        raise ValueError(f"x has shape {values.shape}: give one series, (T,) or (T, D).")
    T, D = values.shape
    places = np.asarray(origins)
    if season is not None and season < 1:
        raise ValueError(f"season={season}: give a positive number of samples.")
    first = 1 if season is None else season
    if not (places.ndim == 1 and places.size and first <= places.min() and places.max() + horizon <= T and horizon >= 1):
        raise ValueError(
            f"origins from {places.min() if places.size else None} to {places.max() if places.size else None}, horizon={horizon}: "
            f"give indices from {first} to {T - horizon}, so that every forecast has a past{' of a season' if season else ''} and a truth."
        )
    known = None if inputs is None else np.asarray(inputs)
    if known is not None and (known.ndim != 2 or len(known) != T or not np.isfinite(known).all()):
        raise ValueError(f"inputs have shape {known.shape}: give ({T}, m) finite numbers, a row beside each of x.")

    def naive(history: Array, steps: int) -> Array:
        return np.repeat(_last_seen(history)[-1:], steps, 0)

    def seasonal(history: Array, steps: int) -> Array:
        assert season is not None
        return _last_seen(history)[len(history) - season + np.arange(steps) % season]

    everything: dict[str, Any] = {"naive": naive, **({} if season is None else {"seasonal naive": seasonal}), **models}
    errors = {}
    for name, model in everything.items():
        rows = []
        for k in places:
            history, truth = values[:k], values[k : k + horizon]
            if not hasattr(model, "forecast"):
                found = model(history.copy(), horizon)
            elif known is None:
                found = model.forecast(history.copy(), horizon)
            else:
                found = model.forecast(_as_fitted(model, history, known[:k]), horizon, inputs=known[k : k + horizon])
            found = np.asarray(found, dtype=np.float64)
            found = found[:, None] if found.shape == (horizon,) and D == 1 else found
            if found.shape != truth.shape:
                raise ValueError(f"{name}, origin {k}: the forecast has shape {found.shape}; {truth.shape} is asked for.")
            if not np.isfinite(found).all():
                raise ValueError(f"{name}, origin {k}: the forecast has values that are not finite.")
            rows.append(found - truth)
        errors[name] = np.stack(rows)
    return Evaluation(errors, places)


def _as_fitted(model: Any, history: Array, known: Array) -> Array:
    """Both side by side, in the order of the columns that the model was fitted on."""
    both = np.concatenate([history, known], 1)
    names, inputs = (list(getattr(model, name, ())) for name in ("feature_names_in_", "input_names_"))
    if not inputs or len(names) != both.shape[1]:
        return both
    ours = [name for name in names if name not in inputs] + inputs
    return both[:, [ours.index(name) for name in names]]


def _last_seen(history: Array) -> Array:
    """What is missing replaced by the value before it; NaN where there is none."""
    index = np.maximum.accumulate(np.where(np.isfinite(history), np.arange(len(history))[:, None], -1))
    return np.where(index < 0, np.nan, np.take_along_axis(history, index.clip(0), 0))
