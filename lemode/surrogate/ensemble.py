"""Several surrogates that differ by their seeds: their mean, bands that calibration vouches for, and a horizon of trust."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..trajectories import Trajectories
from . import storage
from .bands import check_level
from .base import Array, Estimator, _no_target, _subclasses
from .conformal import least_windows
from .containment import warn_of_edges, warn_of_outside
from .data import SeriesData, lay_out_forecast
from .ensemble_split import hold_out_calibration
from .jobs import spread_over
from .origins import FreeRuns, ahead, free_runs, mean_and_spread, over_variables
from .parameters import Parameters, check_count, check_number
from .recipe import check_seed
from .reliability import Calibration, Reliability, calibrate, cross_judged
from .run import Stopped
from .schema import check_types
from .seeds import stream
from .settling import warn_of_short
from .surrogate import Surrogate
from .trust_horizon import TrustRule

__all__ = ["Ensemble", "EnsembleForecast"]

# free runs along series that the fits have seen, and along fresh ones
SEEN, FRESH = 200, 1000
CONTENTS: dict[str, Any] = {
    "members": list[dict[str, Any]],
    "params": dict[str, Any],
    "names": list[str],
    "threshold": float,
    "rate": float,
    "confidence": float,
}


@dataclass(frozen=True)
class EnsembleForecast:
    """A forecast with what is known of its errors. ``np.asarray`` of it is `values`.

    Attributes
    ----------
    values : (steps, D) or (n, steps, D), labelled as the history
        The mean of the members. Of a chaotic system it is no trajectory once they have parted: then it tends to the mean of the climate.
    lower, upper : alike
        Between which a share `level` of the truths lies, at each lead and for each variable; NaN at leads that calibration has not seen.
    level : float
    spread : alike
        1.4826 times the median distance of the members from their mean.
    trust : int, or (n,) of int
        For so many values the forecast is expected to stay within the threshold of the normalised error: ``values[:trust]``. Never more
        than `calibrated`.
    members : (members, steps, D) or (members, n, steps, D)
        What each of them forecasts.
    calibrated : int
        The longest lead of the calibration.

    Examples
    --------
    >>> found = EnsembleForecast(np.zeros((2, 1)), -np.ones((2, 1)), np.ones((2, 1)), 0.9, np.ones((2, 1)), 1, np.zeros((3, 2, 1)), 50)
    >>> np.asarray(found).shape, found.values[: found.trust].shape
    ((2, 1), (1, 1))
    """

    values: Any
    lower: Any
    upper: Any
    level: float
    spread: Any
    trust: Any
    members: Array
    calibrated: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.values, dtype=dtype) if copy else np.asarray(self.values, dtype=dtype)


class Ensemble(Estimator):
    r"""Surrogates that differ by their seeds, with bands and horizons calibrated on series that no fit has seen.

    A forecast is the mean of theirs. It has the smallest squared error, and where members part it fails with them, so that their spread
    foretells when. Bands are split-conformal, `lemode.surrogate.conformal`, for each lead and each variable; the stated horizon,
    `lemode.surrogate.trust_horizon`, is for all variables together.

    **What that is worth.** Where calibration series and new ones are drawn alike and independently, as trajectories from random initial
    states are, a band of 90 % holds the truth with a probability of at least 90 %, for each lead and variable by itself; whole
    trajectories lie in it less often. Windows of one long series depend on each other, and its future may be unlike its past: then there
    is no promise, only what was measured, `reliability_`. Beyond the longest lead of the calibration nothing was, and bands are NaN.

    Parameters
    ----------
    n : int
        Members, 3 or more. More of them say better when a forecast fails; 8 to 12 are enough.
    surrogate : Surrogate, FieldSurrogate, or dict of the settings of a Surrogate
        What the members are but for their seeds; a readout of 300 units by default.
    horizon : int, optional
        The longest lead that is calibrated, in sampling intervals; by default a quarter of the longest calibration series, or of what
        was held out of it.
    threshold : float
        Of the normalised error that a forecast is expected to keep within: the root mean square over the variables, in standard
        deviations of the training data.
    confidence : float
        Share of the stated horizons that are not to be overrun by failure.
    seed : int
        Decides those of the members; that of `surrogate` is not used.
    n_jobs : int, optional
        How many members are fitted at a time, by joblib; ``joblib.parallel_config`` says so, too, and spreads them over machines.

    Attributes
    ----------
    members_ : list of Surrogate or FieldSurrogate
    calibration_ : lemode.surrogate.reliability.Calibration
    reliability_ : lemode.surrogate.reliability.Reliability or None
        Coverage by lead of bands of 50 and 90 %, and how many stated horizons were not overrun: calibrated by one half of the
        calibration windows and measured on the other. None where there are too few for that.
    names_, input_names_, step_, warmup_, table_, n_features_in_, feature_names_in_
        As of the members.

    Examples
    --------
    >>> t = np.linspace(0, 20, 101)
    >>> waves = np.sin(t + np.arange(30)[:, None])[..., None] + 0.01 * np.random.default_rng(0).normal(size=(30, 101, 1))
    >>> settings = {"hidden_size": 2, "train": "all", "steps": 20, "window": 40, "washout": 10, "verbose": 0, "contain": None}
    >>> model = Ensemble(3, settings, horizon=20).fit(waves[:10], calibration=waves[10:25])
    >>> found = model.forecast(waves[-1, :81], steps=20, level=0.9)
    >>> found.values.shape, found.lower.shape, 0 <= found.trust <= 20
    ((20, 1), (20, 1), True)

    References
    ----------
    Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, Journal of the American Statistical Association 113 (2018) 1094-1111, for split-conformal
    bands whose width is adapted; Leutbecher and Palmer, Journal of Computational Physics 227 (2008) 3515-3539, for ensembles of forecasts.
    """

    members_: list[Estimator]
    calibration_: Calibration
    reliability_: Reliability | None

    def __init__(
        self,
        n: int = 8,
        surrogate: Estimator | dict[str, Any] | None = None,
        horizon: int | None = None,
        threshold: float = 0.4,
        confidence: float = 0.9,
        seed: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.n = n
        self.surrogate = surrogate
        self.horizon = horizon
        self.threshold = threshold
        self.confidence = confidence
        self.seed = seed
        self.n_jobs = n_jobs

    # -- scikit-learn's protocol -------------------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The hyper-parameters by name; those of a surrogate, too, as ``surrogate__hidden_size``, unless `deep` is False."""
        own = super().get_params()
        if deep and isinstance(self.surrogate, Parameters):
            own |= {f"surrogate__{name}": value for name, value in self.surrogate.get_params().items()}
        return own

    def set_params(self, **params: Any) -> Any:
        """Change hyper-parameters by name, ``surrogate__hidden_size`` of the surrogate; ValueError for an unknown one, and then none is."""
        inner = {name.removeprefix("surrogate__"): value for name, value in params.items() if name.startswith("surrogate__")}
        outer = {name: value for name, value in params.items() if not name.startswith("surrogate__")}
        surrogate: Any = outer.get("surrogate", self.surrogate)
        if inner:
            if not isinstance(surrogate, Parameters):
                raise ValueError(
                    f"surrogate__{next(iter(inner))}: the surrogate is {surrogate!r}; give surrogate=lemode.Surrogate(...) first."
                )
            known = surrogate.get_params()
            for name in inner:
                if name not in known:
                    raise ValueError(
                        f"{name!r} is no hyper-parameter of {type(surrogate).__name__}: choose from {', '.join(known)}."
                    )
        super().set_params(**outer)
        if inner:
            surrogate.set_params(**inner)
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "network_":
            raise _NoNetworkError("an Ensemble has no network of its own: each of its members_ has one.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __sklearn_is_fitted__(self) -> bool:
        return "members_" in vars(self)

    # -- fitting -----------------------------------------------------------------------------------------------------

    def fit(  # type: ignore[override]
        self,
        X: Trajectories | ArrayLike,
        y: None = None,
        *,
        validation: Trajectories | ArrayLike | None = None,
        calibration: Trajectories | ArrayLike | None = None,
    ) -> Ensemble:
        """Fit the members, and calibrate their forecasts by free runs along series that none of them has seen.

        Parameters
        ----------
        X, validation : as of `lemode.Surrogate.fit`
        calibration : as X, at even times; values may be missing
            Series, as many as can be: with n of them the coverage of a band of 90 % has a standard deviation of 0.3 over the root of n.
            Without them a fifth of X is held out for this: of at least five series every fifth, otherwise the last fifth of the time.

        Raises
        ------
        ValueError
            As `lemode.Surrogate.fit`; for too few calibration windows; for data of which no part can be held out.
        ImportError
            For ``n_jobs`` without joblib.
        KeyboardInterrupt
            By Ctrl-C or SIGTERM, also where a fit of a single surrogate would end with the best weights so far.
        """
        _no_target(y)
        worker = self._worker()
        worker._refuse_unused()
        worker._fit_members(X, validation, calibration)
        self._publish(worker)
        return self

    def _fit_members(self, X: Any, validation: Any, calibration: Any) -> None:
        n, seed = check_count("n", self.n, 3, ": with fewer there is no spread"), check_seed(self.seed)
        threshold, confidence = check_number("threshold", self.threshold), _check_confidence(self.confidence)
        if self.horizon is not None:
            check_count("horizon", self.horizon)
        pattern = _pattern(self.surrogate)
        rest, fresh, begin = (X, calibration, 0) if calibration is not None else hold_out_calibration(X)
        seeds = stream(seed, "members").integers(2**31, size=n)
        models = [type(pattern)(**{**pattern.get_params(), "seed": int(s)}) for s in seeds]
        self.members_ = spread_over(_fitted, [(model, rest, validation) for model in models], self.n_jobs, "n_jobs")
        first = self.members_[0]
        self.names_, self.input_names_, self.step_ = first.names_, first.input_names_, first.step_
        self.training_table_, self.warmup_ = first.training_table_, first.warmup_
        horizon = self.horizon if self.horizon is not None else self._usual_horizon(fresh, begin)
        networks = [member.network_ for member in self.members_]
        fresh_runs = free_runs(networks, fresh, self.table_, self.warmup_, horizon, FRESH, begin)
        seen_runs = free_runs(networks, rest, self.table_, self.warmup_, horizon, SEEN)
        self.calibration_ = calibrate(seen_runs, fresh_runs, threshold, confidence)
        self.reliability_ = cross_judged(seen_runs, fresh_runs, threshold, confidence, self.names_)

    def _usual_horizon(self, fresh: Any, begin: int) -> int:
        data = self._series(fresh).data
        return max((int(data.lengths.max()) - max(begin, self.warmup_)) // 4, 1)

    # -- use ---------------------------------------------------------------------------------------------------------

    def _predict(self, given: SeriesData) -> Array:
        """The mean of what the members predict."""
        found = np.stack([member._predict(given) for member in self.members_])
        return np.asarray(found.mean(0), dtype=found.dtype)

    def forecast(
        self,
        history: Trajectories | ArrayLike,
        steps: int | None = None,
        inputs: ArrayLike | None = None,
        *,
        dt: Any = None,
        t: Any = None,
        level: float | None = 0.9,
    ) -> EnsembleForecast:
        """Free running of all members.

        Parameters
        ----------
        history, inputs : as of `lemode.Surrogate.forecast`
        steps : int, optional
            As many as there are inputs, or else the longest calibrated lead, by default.
        dt, t : not taken: bands and horizons are calibrated by lead, in sampling intervals
        level : float
            The share of the bands.

        Raises
        ------
        ValueError
            As `lemode.Surrogate.forecast`; for a level beyond what so many calibration windows can vouch for.
        """
        self._check_fitted()
        for name, value in (("dt", dt), ("t", t)):
            if value is not None:
                raise ValueError(
                    f"{name}: the bands of an ensemble are calibrated at leads of whole sampling intervals, {self.step_:g}; leave it out, "
                    "or ask each of members_."
                )
        calibration, share = self.calibration_, check_level(0.9 if level is None else level)
        H, table = calibration.horizon, self.table_
        if least_windows(share) > len(calibration.scores):
            raise ValueError(
                f"level={level}: needs at least {least_windows(share)} calibration windows, and there are {len(calibration.scores)}; fit "
                "with more calibration data, or give a smaller level."
            )
        if inputs is None:
            # when members part is seen as far ahead as it was calibrated, however few values are asked for
            asked = H if steps is None else check_count("steps", steps)
            steps = max(asked, H)
        data = lay_out_forecast(
            history, table.read, len(table.names), self.step_, self.warmup_, steps, inputs, None, None, table
        )
        warn_of_short(self.members_[0].history_.settling, data.samples)
        if inputs is not None:
            asked = data.times.shape[1]
        networks = [member.network_ for member in self.members_]
        warn_of_outside(networks[0], networks[0].series(data.grid), self.names_)
        members, unit = ahead(networks, data, lambda network, x: warn_of_edges(network, x[:asked], self.names_))
        values, spread = mean_and_spread(members)
        near = spread[:, :H] / unit[:, :H]
        half = np.full_like(spread, np.nan)
        half[:, :H] = calibration.half_width(share, near) * unit[:, :H]
        trust = np.minimum(calibration.rule.state(over_variables(near), H), asked)
        times, members = data.times[:, :asked], members[:, :, :asked]

        def labelled(found: Array) -> Any:
            found = found[:, :asked].astype(data.dtype)
            return self._as_asked(found, times, data.form, lambda: data.form.ahead(found, times, self.names_))

        single = data.form.single
        return EnsembleForecast(
            labelled(values), labelled(values - half), labelled(values + half), share, labelled(spread),
            int(trust[0]) if single else trust, members[:, 0] if single else members, H,
        )  # fmt: skip

    def adapted(self, series: Trajectories | ArrayLike, begin: int = 0, rate: float = 0.01) -> Ensemble:
        """An ensemble whose bands have followed one measured series, up to its end: wider where they have missed, else narrower.

        For the future of a series, which may be unlike its past: `lemode.surrogate.conformal.adaptive`. Stated horizons stay what they are.

        Parameters
        ----------
        series : at even times, as X of a fit
            To its end, from which the next forecast is made.
        begin : the first sample that the fit, its calibration included, has not seen
        rate : by how much of a miss the level of a band is changed at a time
            After n windows what is proved of the share of misses is about ``1 / (rate * n)``; large ones make bands infinite at times.

        Raises
        ------
        ValueError
            For several series, or one that is too short; for a rate that is not positive.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> wave = np.sin(0.3 * np.arange(160))[:, None] + 0.1 * rng.normal(size=(160, 1))
        >>> wave[120:] += rng.normal(size=(40, 1))  # noisier than it was
        >>> settings = {"hidden_size": 2, "train": "all", "steps": 5, "window": 40, "washout": 10, "verbose": 0, "contain": None}
        >>> model = Ensemble(3, settings, horizon=3).fit(wave[:120])
        >>> now = model.adapted(wave, begin=120, rate=0.05)
        >>> before, after = (m.forecast(wave, 3) for m in (model, now))
        >>> bool((after.upper - after.lower > before.upper - before.lower).all())
        True
        """
        self._check_fitted()
        check_number("rate", rate)
        model = copy.copy(self)
        model.calibration_ = self.calibration_.adapted(self._along(series, begin, None), rate)
        return model

    def reliability(self, X: Trajectories | ArrayLike, begin: int = 0, rate: float | None = None) -> Reliability:
        """Coverage of the bands and fate of the stated horizons along series ``X``, which should be new to the ensemble from `begin` on.

        With a rate X is one series, every sample from `begin` on is an origin, and the bands have followed it up to there, see `adapted`.

        Examples
        --------
        >>> waves = np.sin(np.linspace(0, 20, 101) + np.arange(30)[:, None])[..., None]
        >>> settings = {"hidden_size": 2, "train": "all", "steps": 5, "window": 40, "washout": 10, "verbose": 0, "contain": None}
        >>> model = Ensemble(3, settings, horizon=20).fit(waves[:10], calibration=waves[10:20])
        >>> bool(model.reliability(waves[20:]).coverage[1].mean() > 0.8)  # of the bands of 90 %
        True
        """
        self._check_fitted()
        if rate is not None:
            check_number("rate", rate)
        runs = self._along(X, begin, FRESH if rate is None else None)
        return self.calibration_.judge(runs, self.names_, rate)

    def _along(self, X: Any, begin: int, most: int | None) -> FreeRuns:
        networks = [member.network_ for member in self.members_]
        start = check_count("begin", begin, 0)
        return free_runs(networks, X, self.table_, self.warmup_, self.calibration_.horizon, most, start)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write members and calibration to one file, as `lemode.Surrogate.save`."""
        self._check_fitted()
        contents = [member._contents() for member in self.members_]
        tensors = {f"{k}.{name}": tensor for k, (part, _) in enumerate(contents) for name, tensor in part.items()}
        calibration, judged = self.calibration_, self.reliability_
        numbers = {"scores": calibration.scores, "power": calibration.power, "rule": np.array(calibration.rule)}
        if calibration.later is not None:
            numbers["later"] = calibration.later
        tensors |= {f"calibration.{name}": torch.tensor(values, dtype=torch.float64) for name, values in numbers.items()}
        if judged is not None:
            for name in ("coverage", "width", "stated", "valid"):
                tensors[f"reliability.{name}"] = torch.tensor(np.asarray(getattr(judged, name), dtype=np.float64))
        pattern = _pattern(self.surrogate)
        params = {
            **self._worker().get_params(deep=False),
            "surrogate": {"class": type(pattern).__name__, "params": pattern._worker().get_params()},
        }
        metadata = {
            "class": "Ensemble", "params": params, "names": self.names_, "members": [part for _, part in contents],
            "threshold": calibration.threshold, "rate": calibration.rate, "confidence": calibration.confidence,
        }  # fmt: skip
        storage.write(path, tensors, metadata)

    @classmethod
    def _restore(cls, path: str | os.PathLike[str], tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Any:
        try:
            check_types(metadata, {**CONTENTS, "class": str}, {})
            known = {c.__name__: c for c in _subclasses(Estimator) if not issubclass(c, Ensemble)}
            params = dict(metadata["params"])
            pattern = params["surrogate"]
            params["surrogate"] = _known(known, pattern["class"])(
                **{k: tuple(v) if isinstance(v, list) else v for k, v in pattern["params"].items()}
            )
            model = cls(**params)
            model.members_ = [
                _known(known, part.get("class"))._restore(path, _under(tensors, f"{k}."), part)
                for k, part in enumerate(metadata["members"])
            ]
            first = model.members_[0]
            if (
                any((m.names_, m.input_names_) != (first.names_, first.input_names_) for m in model.members_)
                or [*first.names_] != metadata["names"]
            ):
                raise ValueError("the members know different variables")
            model.names_, model.input_names_, model.step_ = first.names_, first.input_names_, first.step_
            model.training_table_, model.warmup_ = first.table_, first.warmup_
            threshold, confidence = metadata["threshold"], metadata["confidence"]
            numbers = _under(tensors, "calibration.")
            scores, power, rule = (numbers[name].double().numpy() for name in ("scores", "power", "rule"))
            if (
                scores.ndim != 3
                or scores.shape[2] != len(first.names_)
                or power.shape != scores.shape[1:2]
                or rule.shape != (2,)
            ):
                raise ValueError(f"calibration of shapes {scores.shape}, {power.shape}, {rule.shape}")
            later = numbers["later"].double().numpy() if "later" in numbers else None
            if later is not None and later.shape[1:] != scores.shape[1:]:
                raise ValueError(f"scores of shapes {scores.shape}, {later.shape}")
            model.calibration_ = Calibration(
                scores, power, TrustRule(*map(float, rule)), threshold, confidence, later, metadata["rate"]
            )
            judged = {name: tensor.numpy() for name, tensor in _under(tensors, "reliability.").items()}
            model.reliability_ = None
            if judged:
                model.reliability_ = Reliability.restored(judged, threshold, confidence, first.names_)
        except (KeyError, TypeError, AttributeError, IndexError, RuntimeError, ValueError) as e:
            raise ValueError(f"{path}: the contents of this lemode ensemble do not fit together ({e}).") from e
        return model

    # -- checks ------------------------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if "members_" not in vars(self):
            raise RuntimeError("this Ensemble is not fitted yet: call fit(trajectories) first, or Ensemble.load(path).")


class _NoNetworkError(AttributeError, TypeError):
    """For ``hasattr``, and for the commands of the shell, which end with the sentence."""


def _fitted(model: Estimator, X: Any, validation: Any) -> Estimator:
    model.fit(X, validation=validation)
    if model.history_.stopped == Stopped.INTERRUPTED:  # who ends one member means them all
        raise KeyboardInterrupt
    return model


def _pattern(surrogate: Any) -> Estimator:
    """What the members are but for their seeds."""
    if surrogate is None:
        surrogate = {"hidden_size": 300, "train": "readout", "verbose": 0}
    if isinstance(surrogate, dict):
        surrogate = Surrogate().set_params(**surrogate)
    if not isinstance(surrogate, Estimator) or isinstance(surrogate, Ensemble):
        raise ValueError(
            f"surrogate={surrogate!r}: give a lemode.Surrogate, a lemode.FieldSurrogate, or a dict of settings of the first."
        )
    if surrogate.warm_start:
        raise ValueError("surrogate.warm_start=True: the members of an ensemble begin anew; leave it out.")
    angles = getattr(surrogate, "angles", ())
    if angles:
        raise ValueError(
            f"surrogate.angles={angles!r}: the mean and the bands of an angle have no place on a line; observe its sine and "
            "cosine."
        )
    return surrogate


def _check_confidence(value: object) -> float:
    number = check_number("confidence", value, hint=" below 1, such as 0.9")
    if number >= 1:
        raise ValueError(f"confidence={value!r}: give a share below 1, such as 0.9.")
    return number


def _known(known: dict[str, type[Estimator]], name: Any) -> type[Estimator]:
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"a member is a {name!r}, which is no surrogate of this lemode")
    return known[name]


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
