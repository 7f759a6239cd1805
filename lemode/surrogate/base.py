"""What all surrogates share: a fit that publishes at its end, predictions and forecasts, scores, files."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..trajectories import Trajectories
from . import frames, storage
from .bands import LEAST, Band, check_level, residuals, sample_ahead
from .callbacks import Listeners
from .checkpoint import Checkpoint, digest
from .circle import wrapped
from .containment import check_contain, contain, warn_of_edges, warn_of_outside
from .data import FitData, SeriesData, as_table, in_coordinates, lay_out_fit, lay_out_forecast, lay_out_series
from .errors import FitTimeWarning, FitWarning
from .field_network import FieldNetwork
from .field_readout_network import FieldReadoutNetwork
from .fitters import Fitter, choose_fitter
from .forecast import fill, run_ahead
from .network import BOUNDS, IncrementNetwork
from .parameters import Parameters, check_count, check_number
from .phases import Phases, spend
from .processes import processes
from .reading import Form, Table
from .readout_network import ReadoutNetwork
from .recipe import Recipe, check_seed, checked_recipe
from .run import History, Stopped
from .scaling import hold_constants
from .schema import check_fields, check_model, check_sizes
from .seeds import torch_stream
from .series import Series
from .settling import measure_settling, warn_of_short
from .worth import is_trial, what_it_is_worth

__all__ = ["Estimator"]

Array = NDArray[np.floating[Any]]
E = TypeVar("E", bound="Estimator")


class Estimator(Parameters):
    """A surrogate without its network, which subclasses build; they are `lemode.Surrogate` and `lemode.FieldSurrogate`.

    A fit is the work of a copy. What that has learned is published at the end in one go: after any exception the model is what it was.

    Examples
    --------
    >>> issubclass(lemode.Surrogate, Estimator), issubclass(lemode.FieldSurrogate, Estimator)
    (True, True)
    """

    network_: IncrementNetwork
    names_: tuple[str, ...]
    input_names_: tuple[str, ...]
    step_: float
    training_table_: Table
    warmup_: int
    history_: History
    residuals_: list[list[float]]  # some one-step errors on the validation series, in normalised variables
    fitted_with_: dict[str, Any]  # hyper-parameters, of which the network is built
    report_: dict[str, float]  # only after lemode.fit

    # every surrogate has these hyper-parameters
    hidden_size: int
    dt: float
    scheme: str
    train: str
    contain: float | None
    dtype: str | None
    seed: int
    warm_start: bool
    verbose: int

    # what a network is made of: a warm start or a checkpoint of another one is refused
    _architecture: tuple[str, ...] = ()
    # parameters that a class has from another, and no use for
    _unused: tuple[str, ...] = ()
    # the numbers of a fit that are not asked for
    _default_recipe = Recipe()

    # -- scikit-learn's protocol -------------------------------------------------------------------------------------

    @property
    def n_features_in_(self) -> int:
        """Number of variables that a fit has read, inputs included."""
        return len(self.feature_names_in_)

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the variables that a fit has read, inputs included, in the order of the data."""
        if not hasattr(self, "names_"):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet.")
        table = self.table_
        return np.array([name for name in table.columns if name in table.read], dtype=object)

    @property
    def table_(self) -> Table:
        """How data are read: as those of the fit were. A model on another grid than that has other names."""
        table: Table | None = getattr(self, "training_table_", None)
        if table is not None and table.read == (*self.names_, *self.input_names_):
            return table
        return Table((*self.names_, *self.input_names_), self.names_, self.input_names_, self.step_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def set_output(self: E, *, transform: str | None = None) -> E:
        """What `predict` and `forecast` return: arrays, 'default', or data frames, 'pandas'; as in scikit-learn None changes nothing.

        Where this was never called, what was given: frames for frames, with their names and times, and arrays for arrays. A frame has a
        column for each variable and a row for each time; of several trajectories also a level ``trajectory``.
        """
        if transform not in (None, "default", "pandas"):
            raise ValueError(f"transform={transform!r}: give 'default' or 'pandas'.")
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self

    def _as_asked(self, values: Array, t: Array, form: Form, made: Callable[[], Any]) -> Any:
        """As the data were given, which `made` does, or as `set_output` says."""
        asked = getattr(self, "_sklearn_output_config", {}).get("transform")
        if asked is None or (asked == "pandas" and isinstance(form, frames.FrameForm)):
            return made()
        values = values[0] if form.single else values
        return frames.to_frame(values, t, self.names_) if asked == "pandas" else values

    # -- fitting -----------------------------------------------------------------------------------------------------

    def fit(
        self: E,
        X: Trajectories | ArrayLike,
        y: None = None,
        *,
        validation: Trajectories | ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: float | None = None,
        callbacks: Any = None,
    ) -> E:
        """Learn from trajectories.

        Parameters
        ----------
        X : Trajectories; array (n, T, D), (T, D) or (T,) with a common sampling interval; data frame with its times or dates as index, or
            grouped, each group a trajectory; DataArray or Dataset of xarray; or a list of these, of any lengths. What is NaN in a frame, or
            masked, is missing.
        y : ignored, here for scikit-learn
        validation : as X; chooses the best weights. Without it a fifth of X is held out: trajectories where there are at least
            four, otherwise the last fifth of the time.
        checkpoint : a file that is written at every validation; if it exists, the fit goes on from there
        checkpoint_every : seconds from one time that it is written to the next instead, at the end of a step
        callbacks : a `lemode.surrogate.Callback` or a list of them, told of every step, of every validation and of the end

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data that are empty, not finite or too short, a hyper-parameter out of range, a checkpoint of other data, seed or
            hyper-parameters, or any with train='readout'.
        OSError
            For a checkpoint that cannot be written, or that another fit is writing.
        FitDivergedError
            If training diverges before any usable weights were found.
        KeyboardInterrupt
            By Ctrl-C or SIGTERM before the first validation, or within two seconds after one that ended a fit.

        Warns
        -----
        FitWarning
            If training diverges or is interrupted later, or a callback raises an exception; the best weights are restored. Where the
            checkpoint cannot be written any more, and the fit goes on.
        FitTimeWarning
            If the clock of a named budget ends the fit before its steps are done.
        """
        _no_target(y)
        former = self if self.warm_start and hasattr(self, "network_") else None
        every = None if checkpoint_every is None else check_number("checkpoint_every", checkpoint_every, hint=" of seconds")
        if every is not None and checkpoint is None:
            raise ValueError(f"checkpoint_every={checkpoint_every!r}: there is no checkpoint; give its file as well.")
        worker = self._worker()
        worker._refuse_unused()
        with Listeners(callbacks) as listeners:
            worker._learn(X, validation, checkpoint, every, former)
            listeners.history = worker.history_
        self._publish(worker)
        return self

    def _refuse_unused(self) -> None:
        """ValueError for what would be ignored."""
        name, known = type(self).__name__, self._parameter_names()
        for attribute in vars(self):
            if attribute not in known and not attribute.startswith("_"):
                raise ValueError(f"{attribute}: a {name} has no such hyper-parameter; it has {', '.join(known)}.")
        defaults = type(self)().get_params()
        for parameter in self._unused:
            if getattr(self, parameter) != defaults[parameter]:
                raise ValueError(f"{parameter}={getattr(self, parameter)!r}: {name} has no use for it; leave it out.")

    def _learn(
        self,
        X: Trajectories | ArrayLike,
        validation: Trajectories | ArrayLike | None,
        checkpoint: str | os.PathLike[str] | None,
        every: float | None,
        former: Estimator | None,
    ) -> None:
        """Everything that a fit does, on a model that nobody sees yet."""
        began = time.monotonic()
        check_seed(self.seed)
        data = self._lay_out(X, validation)
        recipe, fitter, factor = self._recipe(data.names), self._fitter(), check_contain(self.contain)
        if recipe.weights is not None:  # an angle has two coordinates of the same weight
            turns = tuple(recipe.weights[data.names.index(name)] for name in data.table.angles)
            recipe = dataclasses.replace(recipe, weights=recipe.weights + turns)
        fitter.check(recipe, checkpoint)
        self.fitted_with_ = self.get_params()
        self.names_, self.input_names_, self.step_, self.training_table_ = (
            data.names,
            data.input_names,
            data.interval,
            data.table,
        )
        self.warmup_ = max(min(recipe.washout, data.samples - 1), 1)
        if former is None:
            self.network_ = network = self._empty(data.table.width, len(data.input_names), data.dtype)
            fitter.draw(network, self.seed)
            network.fit_scales(data.training)
            hold_constants(network, data.training)
        else:
            self._check_same_network(former, data)
            self.network_ = network = copy.deepcopy(former.network_)
        contain(network, data.training, data.validation, factor)
        series, judge = network.series(data.training), network.series(data.validation)
        going_on = None if checkpoint is None else Checkpoint(checkpoint, self._fingerprint(data), every)
        if processes().size > 1:
            processes().check_alike({**self._fingerprint(data), "recipe": recipe})
        with contextlib.nullcontext() if going_on is None else going_on.held():
            laid_out = time.monotonic()
            self.network_, self.history_ = fitter.fit(network, series, judge, recipe, self.seed, self.verbose, going_on)
        fitted = time.monotonic()
        phases: Phases = {}
        spend(phases, "data", laid_out - began)
        # the network is another than that of the judge: that of a readout computes in float64
        series, judge = self.network_.series(data.training), self.network_.series(data.validation)
        along = None if isinstance(self.network_, FieldNetwork) else fill(self.network_, judge)  # a part of a field will do
        self.residuals_ = residuals(self.network_, judge, self.warmup_, along)
        self._warn(recipe, judge)
        sentence = what_it_is_worth(self.network_, series, judge, self.warmup_, self.names_, self.history_, along)
        if not is_trial(self.history_) and not isinstance(self.network_, FieldNetwork):
            self.history_.settling = measure_settling(self.network_, judge, self.warmup_)
        phases |= self.history_.phases
        spend(phases, "judging", time.monotonic() - fitted)
        self.history_.phases = phases
        if validation is None:
            fitter.learn_held_out(self.network_, self.history_)
        if sentence is not None:
            warnings.warn(sentence, FitWarning, stacklevel=4)

    def _warn(self, recipe: Recipe, judge: Series) -> None:
        """What is to be said of a fit that has succeeded; a warning may be an error."""
        p = self.fitted_with_
        named = isinstance(p["budget"], str) and p["steps"] is None and p["max_time"] is None
        if named and self.history_.stopped == Stopped.MAX_TIME:
            warnings.warn(
                f"the clock ended the fit: max_time={recipe.max_time:g} s reached after {len(self.history_.loss):,} of "
                f"{recipe.steps:,} steps of budget={p['budget']!r}. On a faster machine the model is another; steps=... does them all.",
                FitTimeWarning,
                stacklevel=5,
            )

    def _check_same_network(self, former: Estimator, data: FitData) -> None:
        """ValueError if a warm start could not go on with the network there is."""
        if (data.names, data.input_names) != (former.names_, former.input_names_):
            raise ValueError(
                f"warm_start: the model knows {former.names_ + former.input_names_}, the data are {data.names + data.input_names}."
            )
        for name in self._architecture:
            before, now = former.fitted_with_[name], self.fitted_with_[name]
            if before != now:
                raise ValueError(
                    f"warm_start: {name}={now!r}, and the model was fitted with {before!r}; set it back, or warm_start=False."
                )

    def _fingerprint(self, data: FitData) -> dict[str, Any]:
        """What has to be the same for a fit to go on from a checkpoint, by the names of which a refusal speaks."""
        return {
            "class": type(self).__name__,
            "seed": self.seed,
            # a checkpoint is one of training, which the width of a readout beside it does not change
            **{name: _listed(self.fitted_with_[name]) for name in (*self._architecture, "contain") if name != "width"},
            "names": [*self.names_, *self.input_names_],
            "interval": self.step_,
            "training data": digest(data.training),
            "validation data": digest(data.validation),
            # not its buffers: they follow from the data, and the next lemode may have others
            "weights to start from": digest(*self.network_.parameters()),
        }

    def _recipe(self, names: tuple[str, ...]) -> Recipe:
        """The numbers of the fit, checked."""
        settable = {"budget", *(field.name for field in dataclasses.fields(Recipe))}
        numbers = {name: value for name, value in self.get_params().items() if name in settable}
        return checked_recipe(names, self._default_recipe, **numbers)

    def _fitter(self) -> Fitter:
        """How to train; subclasses have more ways."""
        return choose_fitter(self.train)

    def _lay_out(self, X: Trajectories | ArrayLike, validation: Trajectories | ArrayLike | None) -> FitData:
        """The data of a fit; subclasses choose."""
        return lay_out_fit(X, validation, self._choose_names, self.dtype)

    def _build(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        """The network with the initial weights of the seed; torch's global generator is neither read nor moved."""
        network = self._empty(dimension, inputs, dtype)
        self._fitter().draw(network, self.seed)
        return network

    def _empty(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        """The network without weights."""
        network = self._sketch(dimension, inputs, dtype)
        network.to_empty(device="cpu")
        return network

    def _sketch(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        """The network without memory: it has sizes only."""
        with torch.device("meta"):
            return self._network(dimension, inputs, dtype)

    def _choose_names(self, known: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Variables to predict and to read only, of those of the data; subclasses choose."""
        return known, ()

    def _network(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        raise TypeError(f"{type(self).__name__} has no network: use lemode.Surrogate or lemode.FieldSurrogate.")

    # -- use ---------------------------------------------------------------------------------------------------------

    def predict(self, X: Trajectories | ArrayLike) -> Any:
        """One step ahead along given series: entry k is the prediction of x[k+1] from x[0], ..., x[k].

        X is what `fit` takes. Its columns are found by name; those of a plain array are where they were in the data of the fit. After
        the last sample inputs are taken as unchanged. The result has the observed variables, shaped, typed and labelled as X: the row of a
        time has what is predicted, at that time, of the next one.

        Trajectories may be sampled at any times: the prediction is for the time of the next sample, or one usual interval after the
        last. What is missing is replaced by its own prediction; behind the end of a shorter trajectory there is NaN.
        """
        given = self._series(X)
        values = self._predict(given)
        return self._as_asked(values, given.data.t, given.form, lambda: given.form.along(values, self.names_))

    def _predict(self, given: SeriesData) -> Array:
        data, grid = given.data, given.grid
        series = self.network_.series(grid)
        warn_of_outside(self.network_, series, self._coordinate_names())
        _, out = fill(self.network_, series)
        assert out is not None
        values = _time_second(self.network_.denormalise(out), data.x.dtype)
        if grid.at is not None:  # of the steps from one sample to the next, the last one arrives there
            after = np.concatenate([grid.at[:, 1:], np.full((len(data), 1), -1)], 1)
            values = np.take_along_axis(values, np.where(after < 0, grid.at, after - 1).clip(0)[..., None], 1)
        values[~np.isfinite(np.broadcast_to(data.t, values.shape[:2]))] = np.nan
        return values if given.way is None else given.way.undo(values, _next_times(data, self.step_))

    def forecast(
        self,
        history: Trajectories | ArrayLike,
        steps: int | None = None,
        inputs: ArrayLike | None = None,
        *,
        dt: Any = None,
        t: Any = None,
        level: float | None = None,
    ) -> Any:
        """Free running: warm up on the history, then feed the surrogate with its own predictions.

        Parameters
        ----------
        history : as X of a fit, with at least `warmup_` samples
            An array is taken to be sampled at the training interval; Trajectories and frames at any times, with missing values.
        steps : int
            Number of values to forecast; the first follows the last of the history. As many as there are inputs, by default.
        inputs : (steps, m) or (n, steps, m), or a frame with the times of the forecast, where the model has inputs
            Their values at the times of the forecast.
        dt : float, optional
            Interval between the values, the training interval by default.
        t : (steps,) or (n, steps), optional
            The times of the values instead, later than the history, whose times an array counts from 0; dates, where it has dates.
        level : float, optional
            The share of a band, such as 0.9: bounds between which this share of free runs lies, to every step of which an error is
            added that the model made on the validation series. They are independent of each other in time.

        Returns
        -------
        (n, steps, D) or (steps, D), labelled as the history: a frame with the times that follow for a frame. With a level a
        `lemode.surrogate.bands.Band` of three of these.

        Raises
        ------
        ValueError
            For a history that is too short, times that are not behind it, or inputs that do not fit.
        """
        self._check_fitted()
        table, share = self.table_, None if level is None else self._share(level)
        observed = len(table.names)
        data = lay_out_forecast(history, table.read, observed, self.step_, self.warmup_, steps, inputs, dt, t, table)
        warn_of_short(self.history_.settling, data.samples)
        warn_of_outside(self.network_, self.network_.series(data.grid), self._coordinate_names())
        ahead = run_ahead(self.network_, data)
        warn_of_edges(self.network_, ahead, self._coordinate_names())
        values = _time_second(self.network_.denormalise(ahead), data.dtype)

        def labelled(found: Array) -> Any:
            found = (found if data.way is None else data.way.undo(found, data.times)).astype(data.dtype)
            return self._as_asked(found, data.times, data.form, lambda: data.form.ahead(found, data.times, self.names_))

        if share is None:
            return labelled(values)
        bounds = sample_ahead(self.network_, data, self.residuals_, share, torch_stream(check_seed(self.seed), "bands"))
        return Band(labelled(values), labelled(bounds[0]), labelled(bounds[1]), share)

    def _share(self, level: float) -> float:
        """The level, checked; ValueError where the model cannot say how much it errs."""
        share = check_level(level)
        if self.table_.angles:
            raise ValueError(f"level={level}: a band of an angle, {self.table_.angles[0]!r}, has no ends; leave level out.")
        if len(self._known_errors()) < LEAST:
            raise ValueError(
                f"level={level}: the model knows of fewer than {LEAST} of its errors: its validation series was too short, or on another "
                "grid, or an older lemode wrote it. Fit it anew, with more validation data."
            )
        return share

    def _coordinate_names(self) -> tuple[str, ...]:
        """The variable of each number that the network predicts: an angle has two."""
        return (*self.names_, *self.table_.angles)

    def _known_errors(self) -> list[list[float]]:
        """Those of the validation series; none on another grid than theirs."""
        errors = getattr(self, "residuals_", [])
        return errors if errors and len(errors[0]) == self.table_.width else []

    def score(self, X: Trajectories | ArrayLike, y: None = None, *, multioutput: str = "uniform_average") -> Any:
        """Coefficient of determination R^2 of the one-step increments, averaged over variables: 1 is perfect, persistence is about 0.

        The increments, not the values, are scored: of a densely sampled series, persistence alone explains nearly everything. With
        ``multioutput='raw_values'`` one number for each variable, as in scikit-learn's r2_score.

        For another score in a search or a cross-validation give scikit-learn a function, ``scoring=lambda model, X: -model.rmse(X)``:
        those that it knows by name, such as 'neg_mean_squared_error', want a y beside X.
        """
        _no_target(y)
        error, truth = self._errors(X)
        mean = np.nanmean if np.isnan(error).any() else np.mean
        spread = mean((truth - mean(truth, (0, 1))) ** 2, (0, 1))
        if not (spread > 0).all():
            flat = ", ".join(name for name, s in zip(self.names_, spread) if not s > 0)
            raise ValueError(f"X does not vary in {flat}: R^2 is undefined there.")
        return _over_variables(1 - mean(error**2, (0, 1)) / spread, multioutput)

    def rmse(self, X: Trajectories | ArrayLike, washout: int = 0, *, multioutput: str = "pooled") -> Any:
        """Root mean square one-step error in the units of the data, without the first `washout` predictions.

        Over all variables, 'pooled', or of each, ``multioutput='raw_values'``, where they have different units.
        """
        if multioutput not in ("pooled", "raw_values"):
            raise ValueError(f"multioutput={multioutput!r}: give 'pooled' or 'raw_values'.")
        error, _ = self._errors(X)
        if not 0 <= check_count("washout", washout, 0) < error.shape[1]:
            raise ValueError(f"washout={washout}: the series have {error.shape[1]} predictions.")
        square, axes = error[:, washout:] ** 2, None if multioutput == "pooled" else (0, 1)
        found = np.sqrt(np.nanmean(square, axes) if np.isnan(square).any() else square.mean(axes))
        return float(found) if axes is None else found

    def _errors(self, X: Trajectories | ArrayLike) -> tuple[Array, Array]:
        """One-step errors and true increments, ``(n, T - 1, D)`` each, in float64; NaN where a value is missing."""
        given = self._series(X)
        data = given.data
        if data.x.shape[1] < 2:
            raise ValueError("X has a single sample: an error needs at least two.")
        x = data.x[..., : len(self.names_)].astype(np.float64)
        error, truth = self._predict(given)[:, :-1] - x[:, 1:], np.diff(x, axis=1)
        for name in self.table_.angles:
            j = self.names_.index(name)
            error[..., j], truth[..., j] = wrapped(error[..., j]), wrapped(truth[..., j])
        return error, np.where(np.isnan(error), np.nan, truth)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file (safetensors with JSON metadata); an existing file is replaced atomically.

        Raises
        ------
        OSError
            For a folder that is not there or may not be written, or a path that is a folder or a device.
        """
        self._check_fitted()
        storage.write(path, *self._contents())

    def _contents(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What a file holds: tensors, and all else."""
        metadata = {
            "class": type(self).__name__,
            "params": self._worker().get_params(),
            "fitted_with": self.fitted_with_,
            "names": self.names_,
            "input_names": self.input_names_,
            "step": self.step_,
            "table": dataclasses.asdict(self.table_),
            "core_dt": self.network_.core_dt(),
            "warmup": self.warmup_,
            "readout": self.network_.rebuilt_from(),
            "history": vars(self.history_),
            "residuals": self._known_errors(),
            "report": getattr(self, "report_", None),
        }
        return self.network_.state_dict(), metadata

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Read a model that `save` wrote. Nothing in the file is executed; ValueError if it is foreign, damaged or newer."""
        tensors, metadata = storage.read(path)
        # since format 2; before there were others than Surrogate, which is read by this one
        kind = metadata.get("class", "Surrogate" if cls is Estimator else cls.__name__)
        if kind != cls.__name__:
            known = {c.__name__: c for c in _subclasses(cls)}
            if not isinstance(kind, str) or kind not in known:
                raise ValueError(f"{path}: the model is a {kind}: read it with {kind}.load.")
            return known[kind]._restore(path, tensors, metadata)
        return cls._restore(path, tensors, metadata)

    @classmethod
    def _restore(cls, path: str | os.PathLike[str], tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Any:
        try:
            check_model(metadata, tensors)
            check_fields(History, metadata["history"], "history")
            check_fields(Table, metadata.get("table", {}), "table")
            params = {k: _tuples(v) for k, v in metadata["params"].items()}
            # of an older lemode, where set_params after the fit could contradict the network
            fitted_with = {**params, **{k: _tuples(v) for k, v in metadata.get("fitted_with", {}).items()}}
            built = cls(**fitted_with)
            model = cls(**params)
            model.fitted_with_ = built.get_params()
            model.names_, model.input_names_ = tuple(metadata["names"]), tuple(metadata["input_names"])
            model.step_, model.warmup_ = metadata["step"], metadata["warmup"]
            if "table" in metadata:  # an older lemode kept the names that it read, and no others
                model.training_table_ = Table(**metadata["table"])
            model.residuals_ = _numbers(metadata.get("residuals", []), model.table_.width)
            model.history_ = History(**metadata["history"])
            if metadata.get("report") is not None:
                model.report_ = metadata["report"]
            for name, end in BOUNDS.items():  # of an older lemode, which had none
                tensors.setdefault(name, torch.full_like(tensors["mean"], end))
            sizes = model.table_.width, len(model.input_names_), tensors["head.weight"].dtype
            readout = metadata.get("readout")
            if readout is None:
                check_sizes(built._sketch(*sizes), tensors)
            model.network_ = built._empty(*sizes)
            if readout is not None:
                like = FieldReadoutNetwork.like if isinstance(model.network_, FieldNetwork) else ReadoutNetwork.like
                model.network_ = like(model.network_, **readout)
                check_sizes(model.network_, tensors)
            model.network_.load_state_dict(tensors)
            model.network_.set_core_dt(metadata.get("core_dt"))  # since format 2
        except Exception as e:  # whatever comes of contents that anybody may have written
            raise ValueError(f"{path}: the contents of this lemode model do not fit together ({e}).") from e
        return model

    def as_array(self, series: Any) -> Any:
        """One series ``(T, D + m)`` with the columns that the model reads, in its order: those of a frame are found by name.

        What has no names is returned as it is. ValueError for several series, uneven ones, or missing values.
        """
        self._check_fitted()
        if isinstance(series, (np.ndarray, Tensor, list, tuple)):
            return series
        data, _ = as_table(series, self.table_, even="the closed loop")
        if len(data) != 1:
            raise ValueError(f"the history is {len(data)} series: give one.")
        return data.x[0]

    def coordinates(self, series: ArrayLike) -> Tensor:
        """One series ``(T, D)`` of the variables, in the units of the data, as the network knows it: ``(T, width)``, in float64.

        It is normalised, in its own scale where each series has one, and angles are points on a circle.
        """
        self._check_fitted()
        x = np.asarray(series, dtype=np.float64)
        placed, _ = in_coordinates(Trajectories(self.step_ * np.arange(len(x)), x, self.names_), self.table_)
        return self.network_.normalise(torch.tensor(placed.x[0], dtype=torch.float64))

    # -- checks and conversions --------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            name = type(self).__name__
            raise RuntimeError(f"this {name} is not fitted yet: call fit(trajectories) first, or {name}.load(path).")

    def _series(self, X: Trajectories | ArrayLike) -> SeriesData:
        self._check_fitted()
        return lay_out_series(X, self.table_)


def _next_times(data: Trajectories, interval: float) -> Array:
    """Of each sample the time of the next one ``(n, T)``; of the last, one interval later."""
    t = np.broadcast_to(data.t, data.x.shape[:2])
    after = np.concatenate([t[:, 1:], np.full((len(t), 1), np.nan)], 1)
    return np.where(np.isnan(after), t + interval, after)


def _time_second(x: Tensor, dtype: np.dtype[Any]) -> Array:
    """Tensors have time first, what a user has is ``(n, T, D)``."""
    return np.ascontiguousarray(x.transpose(0, 1).numpy().astype(dtype))


def _subclasses(cls: type[Estimator]) -> list[type[Estimator]]:
    return [c for sub in cls.__subclasses__() for c in (sub, *_subclasses(sub))]


def _listed(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    """JSON knows lists only; the defaults are tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _numbers(rows: Any, width: int) -> list[list[float]]:
    """As they are, if they are rows of so many numbers."""
    array = np.asarray(rows, dtype=np.float64).reshape(len(rows), width)
    found: list[list[float]] = array.tolist()
    return found


def _no_target(y: Any) -> None:
    if y is not None:
        raise ValueError(
            "y: a surrogate learns from X alone; leave y out. For another score than R^2 give scikit-learn a function, "
            "scoring=lambda model, X: -model.rmse(X)."
        )


def _over_variables(values: Array, multioutput: str) -> Any:
    if multioutput not in ("uniform_average", "raw_values"):
        raise ValueError(f"multioutput={multioutput!r}: give 'uniform_average' or 'raw_values'.")
    return values if multioutput == "raw_values" else float(np.mean(values))
