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
from .network import IncrementNetwork
from .recipe import STAGES, Recipe, resolve_budget
from .training import History, Series, train

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
    budget : {'quick', 'standard', 'thorough'} or float
        5,000, 30,000 or 150,000 gradient steps, ended after 45, 180 or 1,200 s where the machine is slower; or seconds.
    steps, max_time : int, float, optional
        Gradient steps and seconds instead of the budget's. A fit that the clock ends depends on the machine.
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
        Weights of the variables in the loss; equal by default, each in units of its increment's standard deviation.
    optimizer : {'auto', 'eigenadam', 'adam'}
        'auto' is `lemode.surrogate.optimizers.EigenAdam` for up to 3,000 parameters.
    lr : float, optional
        Peak learning rate of the cosine schedule, 1e-2 by default.
    dtype : {'float32', 'float64'}, optional
        Precision; that of the data by default.
    seed : int
        Decides initial weights and batches: same seed, same machine, same model.
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
            For data that are empty, not finite, too short or unevenly sampled, a hyper-parameter out of range, or the checkpoint of
            another fit.
        FitDivergedError
            If training diverges before any usable weights were found.

        Warns
        -----
        FitWarning
            If training diverges or is interrupted later; the best weights are restored.
        """
        if y is not None:
            raise ValueError("y: a surrogate learns from X alone; leave y out.")
        names, input_names = self._choose_names(X)
        columns = (*names, *input_names)
        data = _columns(X, columns)
        step = data.step if isinstance(X, Trajectories) else 1.0
        dtype = _torch_dtype(self.dtype, data.x)
        if validation is None:
            training, held_out = _hold_out(data.x)
        else:
            training, held_out = data.x, _columns(validation, columns).x
        recipe = self._recipe(min(training.shape[1], held_out.shape[1]), names)
        D = len(names)
        if self.warm_start and hasattr(self, "network_"):
            if (names, input_names) != (self.names_, self.input_names_):
                raise ValueError(f"warm_start: the model knows {self.names_ + self.input_names_}, the data are {columns}.")
        else:
            network = self._build(D, len(input_names), dtype)
            raw = torch.from_numpy(training).transpose(0, 1)
            network.set_scales(raw[..., :D], raw[..., D:])
            self.network_, self.names_, self.input_names_ = network, names, input_names
        self.step_ = step
        self.n_features_in_ = len(columns)
        self.warmup_ = max(min(self.washout, training.shape[1] - 1), 1)
        self.history_ = train(
            self.network_, self._series(training), self._series(held_out), recipe,
            torch.Generator().manual_seed(self.seed), self.verbose, checkpoint,
        )  # fmt: skip
        return self

    def _choose_names(self, X: Trajectories | ArrayLike) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Variables to predict and to read only, in the order of `observe` and `inputs`."""
        known = X.names if isinstance(X, Trajectories) else tuple(f"x{i}" for i in range(_rank(X).shape[-1]))
        inputs = tuple(self.inputs)
        observe = tuple(name for name in known if name not in inputs) if self.observe is None else tuple(self.observe)
        both = set(observe) & set(inputs)
        if both or not observe:
            raise ValueError(f"observe={observe}, inputs={inputs}: name at least one variable to observe, and none twice.")
        return observe, inputs

    def _recipe(self, T: int, names: tuple[str, ...]) -> Recipe:
        for name in ("steps", "batch_size", "window", "horizon"):
            value = getattr(self, name)
            if (name, value) != ("steps", None) and (not isinstance(value, (int, np.integer)) or value < 1):
                raise ValueError(f"{name}={value!r}: give a positive integer.")
        if not isinstance(self.delays, (int, np.integer)) or self.delays < 0:
            raise ValueError(f"delays={self.delays!r}: give a number of previous values, 0 for none.")
        if not 0 <= self.washout < self.window:
            raise ValueError(f"washout={self.washout!r}: give a number of samples below window={self.window}.")
        for name in ("lr", "max_time"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value!r}: give a positive number, or None.")
        stages = tuple(self.stages)
        if not stages or stages[0] != "one-step" or any(s not in STAGES[1:] for s in stages[1:]):
            raise ValueError(f"stages={stages}: 'one-step' comes first, then any of 'noise', 'closed-loop'.")
        if not self.noise >= 0:
            raise ValueError(f"noise={self.noise!r}: give a number, 0 or more.")
        if T < 3:
            raise ValueError(f"the training or validation series have {T} samples: a surrogate needs at least 3.")
        weights = self.weights
        if weights is not None and (set(weights) - set(names) or not all(w > 0 for w in weights.values())):
            raise ValueError(f"weights={weights}: give positive numbers for variables among {', '.join(names)}.")
        steps, max_time = resolve_budget(self.budget, self.steps, self.max_time)
        return Recipe(
            steps=steps, batch_size=self.batch_size, window=self.window, washout=self.washout, optimizer=self.optimizer,
            lr=self.lr, max_time=max_time, stages=stages, noise=self.noise, horizon=self.horizon,
            weights=None if weights is None else tuple(float(weights.get(name, 1.0)) for name in names),
        )  # fmt: skip

    def _build(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        features = dimension * (1 + self.delays) + 2 * inputs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            core = self._core(features, dtype)
            return IncrementNetwork(core, self.hidden_size, dimension, dtype, self.delays, inputs)

    def _core(self, features: int, dtype: torch.dtype) -> torch.nn.Module:
        """The recurrent layer; `lemode.baselines` puts others here."""
        return LEM(features, self.hidden_size, self.num_layers, dt=self.dt, scheme=self.scheme, dtype=dtype)

    # -- use ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, X: Trajectories | ArrayLike) -> Array:
        """One step ahead along given series: entry k is the prediction of x[k+1] from x[0], ..., x[k].

        X is a Trajectories, ``(n, T, D)`` or ``(T, D)`` array (with the inputs as last columns, where the model has any; the last
        prediction takes them as unchanged). The result has the observed variables, shaped and typed as in X.
        """
        data, single = self._input(X)
        net, series = self.network_, self._series(data.x)
        out, _ = net.step(*series)
        return self._output(net.denormalise(out), data.x.dtype, single)

    def forecast(self, history: Trajectories | ArrayLike, steps: int, inputs: ArrayLike | None = None) -> Array:
        """Free running: warm up on the history, then feed the surrogate with its own predictions.

        Parameters
        ----------
        history : Trajectories, (n, T, D) or (T, D), with at least `warmup_` samples at the training interval
        steps : int
            Number of values to forecast; the first follows the last of the history.
        inputs : (steps, m) or (n, steps, m), where the model has inputs
            Their values at the times of the forecast.

        Returns
        -------
        (n, steps, D) or (steps, D)
        """
        if not isinstance(steps, (int, np.integer)) or steps < 1:
            raise ValueError(f"steps={steps!r}: give a positive integer.")
        data, single = self._input(history)
        T = data.x.shape[1]
        if self.warmup_ > T:
            raise ValueError(
                f"history has {T} samples, the model needs at least {self.warmup_} to find its hidden state: give a "
                "longer history, or fit with a smaller washout."
            )
        values = data.x
        if self.input_names_:
            values = np.concatenate([values, self._future(inputs, values, int(steps))], axis=1)
        elif inputs is not None:
            raise ValueError("inputs: this model has none; leave them out.")
        net, (x, e) = self.network_, self._series(values)
        out = forecast.free_run(
            net, x[:T], int(steps), None if e is None else e[:T], None if e is None else e[T : T + steps - 1]
        )
        return self._output(net.denormalise(out), data.x.dtype, single)

    def _future(self, inputs: ArrayLike | None, history: Array, steps: int) -> Array:
        """Rows to append to the history: nothing known of the observed variables, and the inputs."""
        n, m, D = len(history), len(self.input_names_), len(self.names_)
        if inputs is None:
            raise ValueError(f"inputs are missing: give {', '.join(self.input_names_)} at the {steps} times of the forecast.")
        values = np.asarray(inputs, dtype=history.dtype)
        if values.shape not in {(steps, m), (n, steps, m)}:
            raise ValueError(f"inputs have shape {values.shape}: give ({steps}, {m}), or ({n}, {steps}, {m}) for one each.")
        if not np.isfinite(values).all():
            raise ValueError(f"inputs hold a value that is not finite, first at {tuple(np.argwhere(~np.isfinite(values))[0])}.")
        future = np.zeros((n, steps, D + m), dtype=history.dtype)
        future[..., D:] = values
        return future

    def score(self, X: Trajectories | ArrayLike, y: None = None) -> float:
        """Coefficient of determination R^2 of the one-step increments, averaged over variables: 1 is perfect, persistence is about 0.

        The increments, not the values, are scored: of a densely sampled series, persistence alone explains nearly everything.
        """
        error, truth = self._errors(X)
        spread = ((truth - truth.mean((0, 1))) ** 2).mean((0, 1))
        if not (spread > 0).all():
            raise ValueError("X does not vary in some variable: R^2 is undefined there.")
        return float(np.mean(1 - (error**2).mean((0, 1)) / spread))

    def rmse(self, X: Trajectories | ArrayLike, washout: int = 0) -> float:
        """Root mean square one-step error in the units of the data, over all variables, without the first `washout` predictions."""
        error, _ = self._errors(X)
        if not 0 <= washout < error.shape[1]:
            raise ValueError(f"washout={washout}: the series have {error.shape[1]} predictions.")
        return float(np.sqrt((error[:, washout:] ** 2).mean()))

    def _errors(self, X: Trajectories | ArrayLike) -> tuple[Array, Array]:
        """One-step errors and true increments, ``(n, T - 1, D)`` each, in float64."""
        data, _ = self._input(X)
        if data.x.shape[1] < 2:
            raise ValueError("X has a single sample: an error needs at least two.")
        x = data.x[..., : len(self.names_)].astype(np.float64)
        return self.predict(data.x)[:, :-1] - x[:, 1:], np.diff(x, axis=1)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file (safetensors with JSON metadata); an existing file is replaced atomically."""
        self._check_fitted()
        metadata = {
            "params": self.get_params(),
            "names": self.names_,
            "input_names": self.input_names_,
            "step": self.step_,
            "warmup": self.warmup_,
            "history": vars(self.history_),
        }
        storage.write(path, self.network_.state_dict(), metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Surrogate:
        """Read a model that `save` wrote. Nothing in the file is executed; ValueError if it is foreign, damaged or newer."""
        tensors, metadata = storage.read(path)
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
        data = _columns(X, columns)
        if isinstance(X, Trajectories) and len(data.t) > 1 and abs(data.step / self.step_ - 1) > 1e-6:
            raise ValueError(f"data are sampled every {data.step:g}, the model was fitted at {self.step_:g}: resample them.")
        return data, not isinstance(X, Trajectories) and np.ndim(X) == 2

    def _series(self, values: Array) -> Series:
        """Normalised series of values ``(n, T, D + m)``; the inputs at both ends of each step are known when it is predicted."""
        net, D = self.network_, len(self.names_)
        x = torch.from_numpy(np.ascontiguousarray(values.swapaxes(0, 1))).to(net.mean.dtype)
        if not self.input_names_:
            return Series(net.normalise(x))
        e = net.normalise_inputs(x[..., D:])
        return Series(net.normalise(x[..., :D]), torch.cat([e, torch.cat([e[1:], e[-1:]])], -1))

    @staticmethod
    def _output(x: Tensor, dtype: np.dtype[Any], single: bool) -> Array:
        values = x.transpose(0, 1).numpy().astype(dtype)
        return values[0] if single else np.ascontiguousarray(values)


def _rank(X: ArrayLike) -> Array:
    x = np.asarray(X)
    if x.ndim not in (2, 3):
        raise ValueError(f"data have shape {x.shape}: give (n, T, D), or (T, D) for one series; x[:, None] makes one of D=1.")
    return x


def _columns(X: Trajectories | ArrayLike, columns: tuple[str, ...]) -> Trajectories:
    """The named columns of X; a plain array has them in this order, or is named x0, x1, ..."""
    if isinstance(X, Trajectories):
        return X.select(columns)
    x = _rank(X)
    if x.shape[-1] == len(columns):
        return Trajectories(np.arange(x.shape[-2], dtype=np.float64), x, columns)
    data = Trajectories(np.arange(x.shape[-2], dtype=np.float64), x)
    if not set(columns) <= set(data.names):
        raise ValueError(f"data have {x.shape[-1]} variables, the model knows {len(columns)} ({', '.join(columns)}).")
    return data.select(columns)


def _torch_dtype(name: str | None, x: Array) -> torch.dtype:
    name = str(x.dtype) if name is None else name
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype={name!r}: choose 'float32', 'float64' or None.")
    return torch.float32 if name == "float32" else torch.float64


def _hold_out(x: Array) -> tuple[Array, Array]:
    """Training and validation parts: every fifth trajectory, or the last fifth of the time where there are few."""
    n, T, _ = x.shape
    if n >= 4:
        held = np.arange(n) % 5 == (4 if n > 4 else 3)
        return x[~held], x[held]
    cut = T - max(T // 5, 3)
    if cut < 3:
        raise ValueError(
            f"{n} series of {T} samples: too short to hold out a validation part; give validation=..., or more data."
        )
    return x[:, :cut], x[:, cut:]
