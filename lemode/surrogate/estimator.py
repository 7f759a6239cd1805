"""The surrogate of a dynamical system, with scikit-learn's manners."""

from __future__ import annotations

import inspect
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..lem import LEM
from ..trajectories import Trajectories
from . import forecast, storage
from .continuous import ContinuousNetwork, train_continuous
from .data import (
    Grid,
    as_columns,
    fill,
    forecast_times,
    hold_out,
    lay_out,
    lay_out_future,
    rank,
    to_series,
    torch_dtype,
    usual_interval,
)
from .network import IncrementNetwork
from .readout import draw, fit_readout
from .recipe import Recipe, checked_recipe
from .training import History, train

__all__ = ["Surrogate"]

Array = NDArray[np.floating[Any]]


class Surrogate:
    r"""A LEM network that has learned the flow map of a system from its sampled trajectories.

    .. math:: \hat x_{k+1} = x_k + s \odot (C\, y_k + c), \qquad (y_k, z_k) = \mathrm{LEM}(x_k, e_k;\, y_{k-1}, z_{k-1})

    in variables normalised by the training data, with known inputs :math:`e_k` where there are any. The constructor only stores the
    hyper-parameters; what is learned ends in ``_``.

    Parameters
    ----------
    hidden_size, num_layers, dt, scheme
        The network, see `lemode.LEM`.
    observe : sequence of str, optional
        The variables to learn; all that are no inputs by default. The network's memory stands in for those left out.
    inputs : sequence of str
        Variables that drive the system and are known ahead, such as a current: they are read, not predicted.
    delays : int
        Previous values that are read beside the present one (delay embedding).
    continuous : bool
        Go on from the map from sample to sample to a differential equation, `lemode.surrogate.continuous.ContinuousNetwork`, in 0.4 times as
        many steps: for use at other sampling intervals than that of the training data.
    train : {'all', 'readout'}
        'readout' leaves the network as it was drawn and fits its head alone, by ridge regression, in seconds: an echo state network
        made of LEM. It wants hundreds of units, and no stage, optimizer or budget.
    budget : {'quick', 'standard', 'thorough'} or float
        5,000, 30,000 or 150,000 gradient steps, ended after 45, 180 or 1,200 s where the machine is slower; or seconds.
    steps, max_time : int, float, optional
        Gradient steps, seconds: either one replaces both of a named budget. A fit that the clock ends depends on the machine.
    batch_size : int
        Trajectories in a gradient step.
    window, washout : int
        Samples in a training window, which starts from a stored state of the network; and the least history a forecast needs, a
        fifth of which does not count at the beginning of a window.
    stages : sequence of 'one-step', 'noise', 'closed-loop'
        Training one step ahead comes first. The others fine-tune, on noisy inputs and on free runs, and are undone unless they
        improve the free run on the validation series.
    noise, horizon : float, int
        Input noise in units of the one-step error reached, and steps of the free runs, of these stages.
    weights : dict of name to float, optional
        Weights of the variables in the loss; equal by default, each in units of the root mean square of its increments.
    optimizer : {'auto', 'eigenadam', 'adam'}
        'auto' is `lemode.surrogate.optimizers.EigenAdam`, in blocks for more than 3,000 parameters, while its memory allows.
    lr : float, optional
        Peak learning rate of the cosine schedule, 1e-2 by default.
    dtype : {'float32', 'float64'}, optional
        Precision; that of the data by default.
    seed : int
        Decides initial weights and batches: same seed, same machine, same model, if the steps end the fit and not the clock.
    warm_start : bool
        Continue from the weights of the last fit.
    verbose : int
        0 is quiet.

    Attributes
    ----------
    network_ : IncrementNetwork
        Its ``core`` is a `lemode.LEM`.
    names_, input_names_ : tuple of str
        What is predicted, and what is read only.
    step_ : float
        Sampling interval of the training data (1.0 for plain arrays).
    history_ : History
        Losses, validation errors, the best step and why the fit ended.
    warmup_ : int
        Least number of samples that `forecast` accepts.

    Examples
    --------
    >>> t = np.linspace(0, 20, 101)
    >>> waves = np.sin(t + np.arange(8)[:, None])[..., None]
    >>> model = Surrogate(hidden_size=4, steps=20, verbose=0).fit(Trajectories(t, waves, ("x",)))
    >>> model.predict(waves).shape, model.forecast(waves[0], steps=7).shape
    ((8, 101, 1), (7, 1))
    """

    network_: IncrementNetwork
    names_: tuple[str, ...]
    input_names_: tuple[str, ...]
    history_: History
    report_: dict[str, float]  # only after lemode.fit

    def __init__(
        self,
        hidden_size: int = 16,
        num_layers: int = 1,
        dt: float = 1.0,
        scheme: str = "imex",
        observe: tuple[str, ...] | list[str] | None = None,
        inputs: tuple[str, ...] | list[str] = (),
        delays: int = 0,
        continuous: bool = False,
        train: str = "all",
        budget: str | float = "quick",
        steps: int | None = None,
        max_time: float | None = None,
        batch_size: int = 32,
        window: int = 250,
        washout: int = 50,
        stages: tuple[str, ...] | list[str] = ("one-step",),
        noise: float = 2.0,
        horizon: int = 20,
        weights: dict[str, float] | None = None,
        optimizer: str = "auto",
        lr: float | None = None,
        dtype: str | None = None,
        seed: int = 0,
        warm_start: bool = False,
        verbose: int = 1,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dt = dt
        self.scheme = scheme
        self.observe = observe
        self.inputs = inputs
        self.delays = delays
        self.continuous = continuous
        self.train = train
        self.budget = budget
        self.steps = steps
        self.max_time = max_time
        self.batch_size = batch_size
        self.window = window
        self.washout = washout
        self.stages = stages
        self.noise = noise
        self.horizon = horizon
        self.weights = weights
        self.optimizer = optimizer
        self.lr = lr
        self.dtype = dtype
        self.seed = seed
        self.warm_start = warm_start
        self.verbose = verbose

    # -- scikit-learn's protocol, without importing it ---------------------------------------------------------------

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The hyper-parameters by name."""
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Surrogate:
        """Change hyper-parameters by name; ValueError for an unknown one."""
        for name, value in params.items():
            if name not in self._parameter_names():
                raise ValueError(
                    f"{name!r} is no hyper-parameter of Surrogate: choose from {', '.join(self._parameter_names())}."
                )
            setattr(self, name, value)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=False),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(three_d_array=True),
        )

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        changed = [f"{k}={v!r}" for k, v in self.get_params().items() if v != defaults[k].default]
        return f"{type(self).__name__}({', '.join(changed)})"

    # -- fitting -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        X: Trajectories | ArrayLike,
        y: None = None,
        *,
        validation: Trajectories | ArrayLike | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> Surrogate:
        """Learn from trajectories.

        Parameters
        ----------
        X : Trajectories, or array (n, T, D) or (T, D) with a common sampling interval
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
            For data that are empty, not finite or too short, a hyper-parameter out of range, the checkpoint of another fit, or any with
            train='readout'.
        FitDivergedError
            If training diverges before any usable weights were found.

        Warns
        -----
        FitWarning
            If training diverges or is interrupted later; the best weights are restored.
        """
        if y is not None:
            raise ValueError("y: a surrogate learns from X alone; leave y out.")
        if self.train == "readout" and checkpoint is not None:
            raise ValueError("checkpoint: train='readout' is one regression, with nothing to go on from; leave it out.")
        names, input_names = self._choose_names(X)
        columns, D = (*names, *input_names), len(names)
        data = as_columns(X, columns)
        step = usual_interval(data)
        if validation is None:
            training, held_out = hold_out(data)
        else:
            training, held_out = data, as_columns(validation, columns, step)
        grids = [lay_out(part, step, D) for part in (training, held_out)]
        recipe = self._recipe(min(int(part.lengths.max()) for part in (training, held_out)), names)
        if self.warm_start and hasattr(self, "network_"):
            if (names, input_names) != (self.names_, self.input_names_):
                raise ValueError(f"warm_start: the model knows {self.names_ + self.input_names_}, the data are {columns}.")
        else:
            network = self._build(D, len(input_names), torch_dtype(self.dtype, data.x))
            if self.train == "readout":
                draw(network.core, torch.Generator().manual_seed(self.seed))
            raw = torch.from_numpy(grids[0].values).transpose(0, 1)
            r = None if grids[0].r is None else torch.from_numpy(grids[0].r).transpose(0, 1)
            if r is None:
                network.set_scales(raw[..., :D], raw[..., D:])
            else:
                network.check_intervals()
                network.set_scales(raw[..., :D], raw[..., D:], r=r)
                network.fit_steps(float(r.max()))
            self.network_, self.names_, self.input_names_ = network, names, input_names
        self.step_ = step
        self.n_features_in_ = len(columns)
        self.warmup_ = max(min(self.washout, training.x.shape[1] - 1), 1)
        series, judge = (to_series(self.network_, grid, D) for grid in grids)
        generator = torch.Generator().manual_seed(self.seed)
        if self.train == "readout":
            self.history_ = fit_readout(self.network_, series, judge, recipe.washout)
        elif isinstance(self.network_, ContinuousNetwork):
            self.history_ = train_continuous(self.network_, series, judge, recipe, generator, self.verbose, checkpoint)
        else:
            self.history_ = train(self.network_, series, judge, recipe, generator, self.verbose, checkpoint)
        return self

    def _choose_names(self, X: Trajectories | ArrayLike) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Variables to predict and to read only, in the order of `observe` and `inputs`."""
        known = X.names if isinstance(X, Trajectories) else tuple(f"x{i}" for i in range(rank(X).shape[-1]))
        inputs = tuple(self.inputs)
        observe = tuple(name for name in known if name not in inputs) if self.observe is None else tuple(self.observe)
        both = set(observe) & set(inputs)
        if both or not observe:
            raise ValueError(f"observe={observe}, inputs={inputs}: name at least one variable to observe, and none twice.")
        return observe, inputs

    def _recipe(self, T: int, names: tuple[str, ...]) -> Recipe:
        """The numbers of the fit, checked; subclasses change some."""
        return checked_recipe(self, T, names)

    def _build(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        features = dimension * (1 + self.delays) + 2 * inputs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            core = self._core(features, dtype)
            if self.continuous:
                if not isinstance(core, LEM) or self.delays:
                    raise ValueError("continuous=True: a differential equation needs a LEM as its core, and delays=0.")
                return ContinuousNetwork(core, self.hidden_size, dimension, dtype, inputs)
            return IncrementNetwork(core, self.hidden_size, dimension, dtype, self.delays, inputs)

    def _core(self, features: int, dtype: torch.dtype) -> torch.nn.Module:
        """The recurrent layer; `lemode.baselines` puts others here."""
        return LEM(features, self.hidden_size, self.num_layers, dt=self.dt, scheme=self.scheme, dtype=dtype)

    # -- use ---------------------------------------------------------------------------------------------------------

    def predict(self, X: Trajectories | ArrayLike) -> Array:
        """One step ahead along given series: entry k is the prediction of x[k+1] from x[0], ..., x[k].

        X is a Trajectories, ``(n, T, D)`` or ``(T, D)`` array (with the inputs as last columns, where the model has any; the last
        prediction takes them as unchanged). The result has the observed variables, shaped and typed as in X.

        Trajectories may be sampled at any times: the prediction is for the time of the next sample, or one usual interval after the
        last. What is missing is replaced by its own prediction; behind the end of a shorter trajectory there is NaN.
        """
        data, single = self._input(X)
        grid = lay_out(data, self.step_, len(self.names_))
        _, out = fill(self.network_, to_series(self.network_, grid, len(self.names_)))
        assert out is not None
        values = self._output(self.network_.denormalise(out), data.x.dtype, False)
        if grid.at is not None:  # of the steps from one sample to the next, the last one arrives there
            after = np.concatenate([grid.at[:, 1:], np.full((len(data), 1), -1)], 1)
            values = np.take_along_axis(values, np.where(after < 0, grid.at, after - 1).clip(0)[..., None], 1)
        values[~np.isfinite(np.broadcast_to(data.t, values.shape[:2]))] = np.nan
        return values[0] if single else values

    def forecast(
        self,
        history: Trajectories | ArrayLike,
        steps: int | None = None,
        inputs: ArrayLike | None = None,
        *,
        dt: float | None = None,
        t: ArrayLike | None = None,
    ) -> Array:
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
            return self._output(net.denormalise(out), data.x.dtype, single)
        # the values to come are missing ones
        future[..., :D] = np.nan
        grid, ahead = lay_out_future(data, times, future, self.step_, D)
        series, _ = fill(net, to_series(net, grid, D))
        values = self._output(net.denormalise(series.x), data.x.dtype, False)
        values = np.take_along_axis(values, ahead[..., None], 1)
        return values[0] if single else values

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

    def score(self, X: Trajectories | ArrayLike, y: None = None) -> float:
        """Coefficient of determination R^2 of the one-step increments, averaged over variables: 1 is perfect, persistence is about 0.

        The increments, not the values, are scored: of a densely sampled series, persistence alone explains nearly everything.
        """
        error, truth = self._errors(X)
        mean = np.nanmean if np.isnan(error).any() else np.mean
        spread = mean((truth - mean(truth, (0, 1))) ** 2, (0, 1))
        if not (spread > 0).all():
            raise ValueError("X does not vary in some variable: R^2 is undefined there.")
        return float(np.mean(1 - mean(error**2, (0, 1)) / spread))

    def rmse(self, X: Trajectories | ArrayLike, washout: int = 0) -> float:
        """Root mean square one-step error in the units of the data, over all variables, without the first `washout` predictions."""
        error, _ = self._errors(X)
        if not 0 <= washout < error.shape[1]:
            raise ValueError(f"washout={washout}: the series have {error.shape[1]} predictions.")
        square = error[:, washout:] ** 2
        return float(np.sqrt(np.nanmean(square) if np.isnan(square).any() else square.mean()))

    def _errors(self, X: Trajectories | ArrayLike) -> tuple[Array, Array]:
        """One-step errors and true increments, ``(n, T - 1, D)`` each, in float64; NaN where a value is missing."""
        data, _ = self._input(X)
        if data.x.shape[1] < 2:
            raise ValueError("X has a single sample: an error needs at least two.")
        x = data.x[..., : len(self.names_)].astype(np.float64)
        error, truth = self.predict(data)[:, :-1] - x[:, 1:], np.diff(x, axis=1)
        return error, np.where(np.isnan(error), np.nan, truth)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file (safetensors with JSON metadata); an existing file is replaced atomically."""
        self._check_fitted()
        metadata = {
            "class": type(self).__name__,
            "params": self.get_params(),
            "names": self.names_,
            "input_names": self.input_names_,
            "step": self.step_,
            "core_dt": self.network_.core_dt(),
            "warmup": self.warmup_,
            "history": vars(self.history_),
        }
        storage.write(path, self.network_.state_dict(), metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Surrogate:
        """Read a model that `save` wrote. Nothing in the file is executed; ValueError if it is foreign, damaged or newer.

        `Surrogate.load` reads the model of a subclass, such as `FieldSurrogate`, as what it is.
        """
        tensors, metadata = storage.read(path)
        kind = metadata.get("class", cls.__name__)  # since format 2
        if kind != cls.__name__:
            known = {c.__name__: c for c in _subclasses(cls)}
            if kind not in known:
                raise ValueError(f"{path}: the model is a {kind}: read it with {kind}.load.")
            return known[kind].load(path)
        try:
            # JSON knows lists only; the defaults are tuples
            params: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in metadata["params"].items()}
            model = cls(**params)
            model.names_, model.input_names_ = tuple(metadata["names"]), tuple(metadata["input_names"])
            model.step_, model.warmup_ = metadata["step"], metadata["warmup"]
            model.history_ = History(**metadata["history"])
            model.n_features_in_ = len(model.names_) + len(model.input_names_)
            model.network_ = model._build(len(model.names_), len(model.input_names_), tensors["head.weight"].dtype)
            model.network_.load_state_dict(tensors)
            model.network_.set_core_dt(metadata.get("core_dt"))  # since format 2
        except (KeyError, TypeError, RuntimeError, ValueError) as e:
            raise ValueError(f"{path}: the contents of this lemode model do not fit together ({e}).") from e
        return model

    # -- checks and conversions --------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise RuntimeError("this Surrogate is not fitted yet: call fit(trajectories) first, or Surrogate.load(path).")

    def _input(self, X: Trajectories | ArrayLike) -> tuple[Trajectories, bool]:
        self._check_fitted()
        columns = (*self.names_, *self.input_names_)
        data = as_columns(X, columns, self.step_)
        return data, not isinstance(X, Trajectories) and np.ndim(X) == 2

    @staticmethod
    def _output(x: Tensor, dtype: np.dtype[Any], single: bool) -> Array:
        values = x.transpose(0, 1).numpy().astype(dtype)
        return values[0] if single else np.ascontiguousarray(values)


def _subclasses(cls: type[Surrogate]) -> list[type[Surrogate]]:
    return [c for sub in cls.__subclasses__() for c in (sub, *_subclasses(sub))]
