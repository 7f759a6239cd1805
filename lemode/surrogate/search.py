r"""A search for hyper-parameters by optuna: seeded, resumable, and cutting short what will not be the best.

What is made small is the geometric mean of the errors one step ahead and of free runs, in standard deviations, on series that no trial
has learned from,

.. math:: \sqrt{e_1\, e_\mathrm{free}}, \qquad e_\mathrm{free} = \langle \min(e_k, 1) \rangle_{k \le h} .

The smallest of many is too good by luck: judge the model that was found on other data.

Source: Akiba, Sano, Yanase, Ohta, Koyama, Optuna: a next-generation hyperparameter optimization framework, KDD 2019.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Estimator
from .callbacks import Callback
from .ensemble_split import hold_out_calibration
from .errors import FitDivergedError, FitWarning
from .origins import free_runs
from .parameters import check_count, check_number
from .recipe import check_seed
from .run import Stopped
from .surrogate import Surrogate

__all__ = ["Tuned", "tune"]

# Of a surrogate whose settings nobody has thought about; of a readout the draw is chosen by the fit itself
SPACES: dict[str, dict[str, Any]] = {
    "all": {"hidden_size": (8, 64), "lr": (2e-3, 3e-2), "dt": (0.1, 1.0), "delays": [0, 2, 5], "window": (50, 400)},
    "readout": {"hidden_size": (100, 800), "dt": (0.1, 1.0), "delays": [None, 0, 4]},
}
SPACES["auto"] = SPACES["both"] = {**SPACES["all"], "width": (100, 800)}
# the longest free runs that are looked at, and how many
HORIZON, RUNS = 200, 40
# a range that spans so much is searched by its logarithm
DECADE = 10.0


@dataclass(frozen=True)
class Tuned:
    """What a search has found.

    Attributes
    ----------
    model : with the best settings, fitted as in its trial
    params : the best settings, those that were searched for
    score : of the best trial
    study : optuna.Study, for its plots and tables: ``study.trials_dataframe()``

    Examples
    --------
    >>> Tuned(lemode.Surrogate(hidden_size=8), {"hidden_size": 8}, 0.1, None).params
    {'hidden_size': 8}
    """

    model: Any
    params: dict[str, Any]
    score: float
    study: Any


def tune(
    X: Any,
    model: Estimator | None = None,
    space: Mapping[str, Any] | None = None,
    trials: int = 30,
    *,
    validation: Any = None,
    horizon: int | None = None,
    storage: str | os.PathLike[str] | None = None,
    name: str = "lemode",
    max_time: float | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> Tuned:
    r"""Search for hyper-parameters of a surrogate: those with the smallest error on series that no trial has seen.

    .. math:: \sqrt{e_1\, e_\mathrm{free}}

    of one step and of free runs, in standard deviations of the training data. A trial whose validation error is above the median of the
    others at its step is cut short.

    Parameters
    ----------
    X : as of `lemode.Surrogate.fit`
    validation : as X, at even times, optional
        What the trials are judged on. Without it a fifth of X is held out: of at least five series every fifth, otherwise the last of the
        time. A fit holds out another part of the rest, for its own choice of weights.
    horizon : int, optional
        Samples of the free runs; 200, or half of what is held out, where it is shorter.
    model : Surrogate or FieldSurrogate, optional
        Its settings are those that are not searched for. It is not changed.
    space : dict, optional
        Of each hyper-parameter what to choose from: a list of values, or a pair of integers or numbers, the ends of a range, which is
        searched by its logarithm where it spans a factor of ten. By default what matters most with this `train`.
    trials : int
        Together with those that the storage has already.
    storage : path or URL, optional
        A file of a journal, or what optuna takes, such as 'sqlite:///search.db': a search that was cut off goes on from there, and
        several processes that are given the same one share the work.
    name : of the study in the storage
    max_time : seconds after which no trial begins
    seed : of the search; that of the model is the same in all trials
    verbose : 0 is quiet

    Returns
    -------
    Tuned
        To learn from all the data with what was found: ``found.model.fit(X)``.

    Raises
    ------
    ImportError
        Without optuna.
    ValueError
        For a space of unknown hyper-parameters or empty ranges; if no trial came to an end.

    Warns
    -----
    FitWarning
        By Ctrl-C, which ends the search with the best trial so far.

    Examples
    --------
    >>> waves = np.sin(0.2 * np.arange(100) + np.arange(6)[:, None])[..., None]
    >>> model = lemode.Surrogate(train="all", steps=20, window=40, washout=10)
    >>> found = tune(waves, model, {"hidden_size": (2, 8), "lr": (1e-3, 1e-1)}, trials=2, verbose=0)
    >>> sorted(found.params), found.model.hidden_size == found.params["hidden_size"], len(found.study.trials)
    (['hidden_size', 'lr'], True, 2)
    """
    try:
        import optuna
    except ImportError as e:
        raise ImportError("tune: the search is optuna's work, which is not installed: pip install 'lemode[tune]'.") from e
    pattern = Surrogate() if model is None else model
    if not isinstance(pattern, Estimator) or not hasattr(pattern, "train"):
        raise ValueError(f"model={model!r}: give a lemode.Surrogate or a lemode.FieldSurrogate.")
    ranges = _checked(pattern, _usual(pattern) if space is None else space)
    wanted, seed = check_count("trials", trials), check_seed(seed)
    limit = None if max_time is None else check_number("max_time", max_time)
    rest, fresh, begin = (X, validation, 0) if validation is not None else hold_out_calibration(X, "validation", "tune")
    steps = None if horizon is None else check_count("horizon", horizon)
    settings = {**pattern.get_params(), "verbose": 0, "warm_start": False}

    def of(params: Mapping[str, Any]) -> Estimator:
        return type(pattern)(**{**settings, **params})

    def objective(trial: Any) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FitWarning)  # the score says what a trial is worth
            try:
                fitted = of({key: _draw(trial, key, choices) for key, choices in ranges.items()})
                fitted.fit(rest, callbacks=[_Pruner(trial)])
            except FitDivergedError as e:
                raise optuna.TrialPruned(str(e)) from e
        if fitted.history_.stopped == Stopped.CALLBACK:
            raise optuna.TrialPruned("its validation error was above the median of the others")
        if fitted.history_.stopped == Stopped.INTERRUPTED:
            raise KeyboardInterrupt
        return _score(fitted, fresh, begin, steps)

    with _quiet(optuna):
        study = _study(optuna, storage, name, seed)
        done = len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)))
        if done < wanted:
            try:
                study.optimize(objective, n_trials=wanted - done, timeout=limit, callbacks=[_say] if verbose else [])
            except KeyboardInterrupt:
                if not _complete(optuna, study):
                    raise
                warnings.warn("the search was interrupted; the best trial so far is kept.", FitWarning, stacklevel=2)
    if not _complete(optuna, study):
        raise ValueError(
            f"none of {len(study.trials)} trials came to an end with a number: give more trials, or a space of smaller lr."
        )
    best = {key: _value(ranges[key], study.best_params[key]) for key in ranges if key in study.best_params}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        found = of(best).fit(rest)
    found.set_params(verbose=pattern.verbose)
    return Tuned(found, best, float(study.best_value), study)


class _Pruner(Callback):
    """Ends a fit whose validation error is above the median of the other trials at this step."""

    def __init__(self, trial: Any) -> None:
        self.trial = trial

    def on_validation(self, report: dict[str, Any]) -> bool:
        if "step" not in report or not math.isfinite(report["validation"]):
            return False
        self.trial.report(report["validation"], report["step"])
        return bool(self.trial.should_prune())


def _score(model: Estimator, fresh: Any, begin: int, horizon: int | None) -> float:
    first = max(begin, model.warmup_)
    if horizon is None:
        left = int(model._series(fresh).data.lengths.max()) - first
        horizon = max(min(HORIZON, left // 2), 1)
    error = free_runs([model.network_], fresh, model.table_, model.warmup_, horizon, RUNS, begin).errors
    one, free = error[:, 0], np.minimum(np.nan_to_num(error, posinf=1.0), 1.0)
    return float(np.sqrt(np.sqrt(np.nanmean(one**2)) * free.mean()))


def _usual(pattern: Estimator) -> dict[str, Any]:
    known = set(pattern._parameter_names()) - set(pattern._unused)
    return {key: choices for key, choices in SPACES[pattern.train].items() if key in known}


def _checked(pattern: Estimator, space: Mapping[str, Any]) -> dict[str, Any]:
    known = pattern._parameter_names()
    if not space:
        raise ValueError("space is empty: name the hyper-parameters to search for.")
    for key, choices in space.items():
        if key not in known:
            raise ValueError(
                f"space: {key!r} is no hyper-parameter of {type(pattern).__name__}: choose from {', '.join(known)}."
            )
        if isinstance(choices, tuple):
            numbers = len(choices) == 2 and all(isinstance(c, (int, float)) and not isinstance(c, bool) for c in choices)
            if not numbers or not choices[0] < choices[1]:
                raise ValueError(
                    f"space: {key}={choices!r}; give the two ends of a range, the smaller first, or a list of values to choose from."
                )
        elif not isinstance(choices, list) or not choices:
            raise ValueError(f"space: {key}={choices!r}; give a list of values, or the two ends of a range as a tuple.")
    return dict(space)


def _draw(trial: Any, key: str, choices: Any) -> Any:
    if isinstance(choices, list):  # by their places: a storage keeps no tuples
        return choices[trial.suggest_int(key, 0, len(choices) - 1)] if len(choices) > 1 else choices[0]
    low, high = choices
    log = low > 0 and high >= DECADE * low
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(key, low, high, log=log)
    return trial.suggest_float(key, low, high, log=log)


def _value(choices: Any, drawn: Any) -> Any:
    return choices[drawn] if isinstance(choices, list) else drawn


def _study(optuna: Any, storage: str | os.PathLike[str] | None, name: str, seed: int) -> Any:
    kept: Any = None if storage is None else os.fspath(storage)
    if kept is not None and "://" not in kept:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        kept = JournalStorage(JournalFileBackend(kept))
    known = kept is not None and any(study.study_name == name for study in optuna.get_all_study_summaries(kept))
    # a search that goes on does not draw again what it drew before
    sampler = optuna.samplers.TPESampler(
        seed=seed + (len(optuna.load_study(study_name=name, storage=kept).trials) if known else 0)
    )
    return optuna.create_study(
        storage=kept, study_name=name, sampler=sampler, pruner=optuna.pruners.MedianPruner(), load_if_exists=True
    )


def _complete(optuna: Any, study: Any) -> list[Any]:
    found: list[Any] = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return found


def _say(study: Any, trial: Any) -> None:
    value = "cut short" if trial.value is None else f"{trial.value:.3g}"
    try:
        best = f", best {study.best_value:.3g}"
    except ValueError:  # none has come to an end
        best = ""
    print(
        f"tune: trial {trial.number}: {value}{best} ({', '.join(f'{k}={v:.4g}' for k, v in trial.params.items())})",
        file=sys.stderr,
    )


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Its own log lines would be said twice."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
