"""What all surrogates share: a fit that publishes at its end, predictions and forecasts, scores, files."""

from __future__ import annotations

import copy
import os
import warnings
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..trajectories import Trajectories
from . import checkpoint as checkpoints
from . import forecast, frames, storage
from .continuous import ContinuousNetwork, train_continuous
from .data import (
    Grid,
    as_columns,
    fill,
    forecast_times,
    hold_out,
    known_names,
    lay_out,
    lay_out_future,
    to_series,
    torch_dtype,
    usual_interval,
)
from .errors import FitTimeWarning
from .network import IncrementNetwork
from .parameters import Parameters, check_count
from .readout import draw, fit_readout
from .recipe import Recipe, check_seed, checked_recipe
from .seeds import torch_stream
from .training import History, train

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
    warmup_: int
    history_: History
    fitted_with_: dict[str, Any]  # hyper-parameters, of which the network is built

    # every surrogate has these hyper-parameters
    hidden_size: int
    dt: float
    scheme: str
    train: str
    dtype: str | None
    seed: int
    warm_start: bool
    verbose: int

    # what a network is made of: a warm start or a checkpoint of another one is refused
    _architecture: tuple[str, ...] = ()
    # parameters that a class has from another, and no use for
    _unused: tuple[str, ...] = ()

    # -- scikit-learn's protocol -------------------------------------------------------------------------------------

    @property
    def n_features_in_(self) -> int:
        """Number of variables that a fit has read, inputs included."""
        return len(self.feature_names_in_)

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the variables that a fit has read, inputs last."""
        if not hasattr(self, "names_"):
            raise AttributeError(f"this {type(self).__name__} is not fitted yet.")
        return np.array([*self.names_, *self.input_names_], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def set_output(self: E, *, transform: str | None = None) -> E:
        """Whether `predict` and `forecast` return arrays, 'default', or data frames, 'pandas'; as in scikit-learn None changes nothing.

        A frame has a column for each variable and a row for each time; of several trajectories also a level ``trajectory``.
        """
        if transform not in (None, "default", "pandas"):
            raise ValueError(f"transform={transform!r}: give 'default' or 'pandas'.")
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}
        return self

    def _as_asked(self, values: Array, t: Array) -> Any:
        if getattr(self, "_sklearn_output_config", {}).get("transform") != "pandas":
            return values
        return frames.to_frame(values, t, self.names_)

    # -- fitting -----------------------------------------------------------------------------------------------------

    def fit(
        self: E,
        X: Trajectories | ArrayLike,
        y: None = None,
        *,
        validation: Trajectories | ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> E:
        """Learn from trajectories.

        Parameters
        ----------
        X : Trajectories, array (n, T, D) or (T, D) with a common sampling interval, or a data frame (T, D) with its times as index
        y : ignored, here for scikit-learn
        validation : as X; chooses the best weights. Without it a fifth of X is held out: trajectories where there are at least
            four, otherwise the last fifth of the time.
        checkpoint : a file that is written at every validation; if it exists, the fit goes on from there

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data that are empty, not finite or too short, a hyper-parameter out of range, a checkpoint of other data, seed or
            hyper-parameters, or any with train='readout'.
        OSError
            For a checkpoint that cannot be written.
        FitDivergedError
            If training diverges before any usable weights were found.
        KeyboardInterrupt
            By Ctrl-C before the first validation, or within two seconds after one that ended a fit.

        Warns
        -----
        FitWarning
            If training diverges or is interrupted later; the best weights are restored.
        FitTimeWarning
            If the clock of a named budget ends the fit before its steps are done.
        """
        _no_target(y)
        former = self if self.warm_start and hasattr(self, "network_") else None
        worker = self._worker()
        worker._refuse_unused()
        worker._learn(X, validation, checkpoint, former)
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
        former: Estimator | None,
    ) -> None:
        """Everything that a fit does, on a model that nobody sees yet."""
        if checkpoint is not None:
            if self.train == "readout":
                raise ValueError("checkpoint: train='readout' is one regression, with nothing to go on from; leave it out.")
            storage.check_writable(checkpoint)
        names, input_names = self._choose_names(known_names(X))
        columns, D = (*names, *input_names), len(names)
        data = as_columns(X, columns)
        step = usual_interval(data)
        if validation is None:
            training, held_out = hold_out(data)
        else:
            training, held_out = data, as_columns(validation, columns, step)
        grids = [lay_out(part, step, D) for part in (training, held_out)]
        recipe = self._recipe(min(int(part.lengths.max()) for part in (training, held_out)), names)
        dtype = torch_dtype(self.dtype, data.x)
        self.fitted_with_ = self.get_params()
        if former is not None:
            self._check_same_network(former, names, input_names)
            network = copy.deepcopy(former.network_)
        else:
            network = self._build(D, len(input_names), dtype)
            if self.train == "readout":
                draw(network.core, torch_stream(self.seed, "weights"))
            raw = torch.tensor(grids[0].values).transpose(0, 1)
            x, e = raw[..., :D], raw[..., D:] if input_names else None
            if grids[0].r is None:
                network.set_scales(x, e)
            else:
                r = torch.tensor(grids[0].r).transpose(0, 1)
                network.check_intervals()
                network.set_scales(x, e, r)
                network.fit_steps(float(r.max()))
        self.network_, self.names_, self.input_names_, self.step_ = network, names, input_names, step
        self.warmup_ = max(min(recipe.washout, training.x.shape[1] - 1), 1)
        series, judge = (to_series(network, grid, D) for grid in grids)
        if self.train == "readout":
            self.history_ = fit_readout(network, series, judge, recipe.washout)
            return
        fingerprint = None if checkpoint is None else self._fingerprint(grids)
        options = (recipe, torch_stream(self.seed, "batches"), self.verbose, checkpoint, fingerprint)
        if isinstance(network, ContinuousNetwork):
            self.history_ = train_continuous(network, series, judge, *options)
        else:
            self.history_ = train(network, series, judge, *options)
        p = self.fitted_with_
        named = isinstance(p["budget"], str) and p["steps"] is None and p["max_time"] is None
        if named and self.history_.stopped.startswith("max_time"):
            warnings.warn(
                f"the clock ended the fit: {self.history_.stopped} after {len(self.history_.loss):,} of {recipe.steps:,} steps of "
                f"budget={p['budget']!r}. On a faster machine the model is another; steps=... does them all.",
                FitTimeWarning,
                stacklevel=4,
            )

    def _check_same_network(self, former: Estimator, names: tuple[str, ...], input_names: tuple[str, ...]) -> None:
        """ValueError if a warm start could not go on with the network there is."""
        if (names, input_names) != (former.names_, former.input_names_):
            raise ValueError(
                f"warm_start: the model knows {former.names_ + former.input_names_}, the data are {names + input_names}."
            )
        for name in self._architecture:
            before, now = former.fitted_with_[name], self.fitted_with_[name]
            if before != now:
                raise ValueError(
                    f"warm_start: {name}={now!r}, and the model was fitted with {before!r}; set it back, or warm_start=False."
                )

    def _fingerprint(self, grids: list[Grid]) -> dict[str, Any]:
        """What has to be the same for a fit to go on from a checkpoint, by the names of which a refusal speaks."""
        return {
            "class": type(self).__name__,
            "seed": self.seed,
            **{name: _listed(self.fitted_with_[name]) for name in self._architecture},
            "names": [*self.names_, *self.input_names_],
            "interval": self.step_,
            "training data": checkpoints.digest(grids[0]),
            "validation data": checkpoints.digest(grids[1]),
            "weights to start from": checkpoints.digest(*self.network_.state_dict().values()),
        }

    def _recipe(self, T: int, names: tuple[str, ...]) -> Recipe:
        """The numbers of the fit, checked; subclasses change some."""
        return checked_recipe(self.get_params(), T, names)

    def _build(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        """The network with the initial weights of the seed; torch's global generator is neither read nor moved."""
        check_seed(self.seed)
        with torch.device("meta"):
            network = self._network(dimension, inputs, dtype)
        network.to_empty(device="cpu")
        network.reset_parameters(torch_stream(self.seed, "weights"))
        return network

    def _choose_names(self, known: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Variables to predict and to read only, of those of the data; subclasses choose."""
        return known, ()

    def _network(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        raise TypeError(f"{type(self).__name__} has no network: use lemode.Surrogate or lemode.FieldSurrogate.")

    # -- use ---------------------------------------------------------------------------------------------------------

    def predict(self, X: Trajectories | ArrayLike) -> Any:
        """One step ahead along given series: entry k is the prediction of x[k+1] from x[0], ..., x[k].

        X is a Trajectories, ``(n, T, D)`` or ``(T, D)`` array (with the inputs as last columns, where the model has any; the last
        prediction takes them as unchanged). The result has the observed variables, shaped and typed as in X.

        Trajectories may be sampled at any times: the prediction is for the time of the next sample, or one usual interval after the
        last. What is missing is replaced by its own prediction; behind the end of a shorter trajectory there is NaN.
        """
        data, single = self._input(X)
        values = self._predict(data)
        return self._as_asked(values[0] if single else values, data.t)

    def _predict(self, data: Trajectories) -> Array:
        grid = lay_out(data, self.step_, len(self.names_))
        _, out = fill(self.network_, to_series(self.network_, grid, len(self.names_)))
        assert out is not None
        values = self._output(self.network_.denormalise(out), data.x.dtype, False)
        if grid.at is not None:  # of the steps from one sample to the next, the last one arrives there
            after = np.concatenate([grid.at[:, 1:], np.full((len(data), 1), -1)], 1)
            values = np.take_along_axis(values, np.where(after < 0, grid.at, after - 1).clip(0)[..., None], 1)
        values[~np.isfinite(np.broadcast_to(data.t, values.shape[:2]))] = np.nan
        return values

    def forecast(
        self,
        history: Trajectories | ArrayLike,
        steps: int | None = None,
        inputs: ArrayLike | None = None,
        *,
        dt: float | None = None,
        t: ArrayLike | None = None,
    ) -> Any:
        """Free running: warm up on the history, then feed the surrogate with its own predictions.

        Parameters
        ----------
        history : Trajectories, (n, T, D) or (T, D), with at least `warmup_` samples
            An array is taken to be sampled at the training interval; Trajectories at any times, with missing values.
        steps : int
            Number of values to forecast; the first follows the last of the history.
        inputs : (steps, m) or (n, steps, m), where the model has inputs
            Their values at the times of the forecast.
        dt : float, optional
            Interval between the values, the training interval by default.
        t : (steps,) or (n, steps), optional
            The times of the values instead, later than the history, whose times an array counts from 0.

        Returns
        -------
        (n, steps, D) or (steps, D)

        Raises
        ------
        ValueError
            For a history that is too short, times that are not behind it, or inputs that do not fit.
        """
        data, single = self._input(history)
        shortest = int(data.lengths.min())
        if self.warmup_ > shortest:
            raise ValueError(
                f"history has {shortest} samples, the model needs at least {self.warmup_} to find its hidden state: give a "
                "longer history, or fit with a smaller washout."
            )
        usual = t is None and (dt is None or dt == self.step_)
        times = forecast_times(data, steps, self.step_ if dt is None and t is None else dt, t)
        future = self._future(inputs, data.x, times.shape[1])
        net, D = self.network_, len(self.names_)
        if usual and lay_out(data, self.step_, D).plain:
            T, steps = data.x.shape[1], times.shape[1]
            x, e, _, _ = to_series(net, Grid(np.concatenate([data.x, future], axis=1)), D)
            out = forecast.free_run(
                net, x[:T], steps, None if e is None else e[:T], None if e is None else e[T : T + steps - 1]
            )
            return self._as_asked(self._output(net.denormalise(out), data.x.dtype, single), times)
        # the values to come are missing ones
        future[..., :D] = np.nan
        grid, ahead = lay_out_future(data, times, future, self.step_, D)
        series, _ = fill(net, to_series(net, grid, D))
        values = self._output(net.denormalise(series.x), data.x.dtype, False)
        values = np.take_along_axis(values, ahead[..., None], 1)
        return self._as_asked(values[0] if single else values, times)

    def _future(self, inputs: ArrayLike | None, history: Array, steps: int) -> Array:
        """Rows to append to the history: nothing known of the observed variables, and the inputs."""
        n, m, D = len(history), len(self.input_names_), len(self.names_)
        future = np.zeros((n, steps, D + m), dtype=history.dtype)
        if not m:
            if inputs is not None:
                raise ValueError("inputs: this model has none; leave them out.")
            return future
        if inputs is None:
            raise ValueError(f"inputs are missing: give {', '.join(self.input_names_)} at the {steps} times of the forecast.")
        values = np.asarray(inputs, dtype=history.dtype)
        if values.shape not in {(steps, m), (n, steps, m)}:
            raise ValueError(f"inputs have shape {values.shape}: give ({steps}, {m}), or ({n}, {steps}, {m}) for one each.")
        if not np.isfinite(values).all():
            raise ValueError(f"inputs hold a value that is not finite, first at {tuple(np.argwhere(~np.isfinite(values))[0])}.")
        future[..., D:] = values
        return future

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

    def rmse(self, X: Trajectories | ArrayLike, washout: int = 0) -> float:
        """Root mean square one-step error in the units of the data, over all variables, without the first `washout` predictions."""
        error, _ = self._errors(X)
        if not 0 <= check_count("washout", washout, 0) < error.shape[1]:
            raise ValueError(f"washout={washout}: the series have {error.shape[1]} predictions.")
        square = error[:, washout:] ** 2
        return float(np.sqrt(np.nanmean(square) if np.isnan(square).any() else square.mean()))

    def _errors(self, X: Trajectories | ArrayLike) -> tuple[Array, Array]:
        """One-step errors and true increments, ``(n, T - 1, D)`` each, in float64; NaN where a value is missing."""
        data, _ = self._input(X)
        if data.x.shape[1] < 2:
            raise ValueError("X has a single sample: an error needs at least two.")
        x = data.x[..., : len(self.names_)].astype(np.float64)
        error, truth = self._predict(data)[:, :-1] - x[:, 1:], np.diff(x, axis=1)
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
        metadata = {
            "class": type(self).__name__,
            "params": self._worker().get_params(),
            "fitted_with": self.fitted_with_,
            "names": self.names_,
            "input_names": self.input_names_,
            "step": self.step_,
            "core_dt": self.network_.core_dt(),
            "warmup": self.warmup_,
            "history": vars(self.history_),
        }
        storage.write(path, self.network_.state_dict(), metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """Read a model that `save` wrote. Nothing in the file is executed; ValueError if it is foreign, damaged or newer."""
        tensors, metadata = storage.read(path)
        kind = metadata.get("class", cls.__name__)  # since format 2
        if kind != cls.__name__:
            known = {c.__name__: c for c in _subclasses(cls)}
            if kind not in known:
                raise ValueError(f"{path}: the model is a {kind}: read it with {kind}.load.")
            return known[kind]._restore(path, tensors, metadata)
        return cls._restore(path, tensors, metadata)

    @classmethod
    def _restore(cls, path: str | os.PathLike[str], tensors: dict[str, Tensor], metadata: dict[str, Any]) -> Any:
        try:
            params = {k: _tuples(v) for k, v in metadata["params"].items()}
            # of an older lemode, where set_params after the fit could contradict the network
            fitted_with = {**params, **{k: _tuples(v) for k, v in metadata.get("fitted_with", {}).items()}}
            built = cls(**fitted_with)
            model = cls(**params)
            model.fitted_with_ = built.get_params()
            model.names_, model.input_names_ = tuple(metadata["names"]), tuple(metadata["input_names"])
            model.step_, model.warmup_ = metadata["step"], metadata["warmup"]
            model.history_ = History(**metadata["history"])
            model.network_ = built._build(len(model.names_), len(model.input_names_), tensors["head.weight"].dtype)
            model.network_.load_state_dict(tensors)
            model.network_.set_core_dt(metadata.get("core_dt"))  # since format 2
        except (KeyError, TypeError, RuntimeError, ValueError) as e:
            raise ValueError(f"{path}: the contents of this lemode model do not fit together ({e}).") from e
        return model

    # -- checks and conversions --------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            name = type(self).__name__
            raise RuntimeError(f"this {name} is not fitted yet: call fit(trajectories) first, or {name}.load(path).")

    def _input(self, X: Trajectories | ArrayLike) -> tuple[Trajectories, bool]:
        self._check_fitted()
        columns = (*self.names_, *self.input_names_)
        data = as_columns(X, columns, self.step_)
        return data, not isinstance(X, Trajectories) and np.ndim(X) == 2

    @staticmethod
    def _output(x: Tensor, dtype: np.dtype[Any], single: bool) -> Array:
        values = x.transpose(0, 1).numpy().astype(dtype)
        return values[0] if single else np.ascontiguousarray(values)


def _subclasses(cls: type[Estimator]) -> list[type[Estimator]]:
    return [c for sub in cls.__subclasses__() for c in (sub, *_subclasses(sub))]


def _listed(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    """JSON knows lists only; the defaults are tuples."""
    return tuple(value) if isinstance(value, list) else value


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
