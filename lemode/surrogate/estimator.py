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
from .training import History, Recipe, train

__all__ = ["Surrogate"]

Array = NDArray[np.floating[Any]]


class Surrogate:
    r"""A LEM network that has learned the flow map of a system from its sampled trajectories.

    .. math:: \hat x_{k+1} = x_k + s \odot (C\, y_k + c), \qquad (y_k, z_k) = \mathrm{LEM}(x_k;\, y_{k-1}, z_{k-1})

    in variables normalised by the training data. The constructor only stores the hyper-parameters; what is learned ends in ``_``.

    Parameters
    ----------
    hidden_size, num_layers, dt, scheme
        The network, see `lemode.LEM`.
    observe : sequence of str, optional
        The variables to learn; all by default. The network's memory stands in for those left out.
    steps, batch_size : int
        Gradient steps, and trajectories in each.
    window, washout : int
        Samples in a training window; its first `washout` samples do not count unless the series starts there. Also the
        least history a forecast needs.
    optimizer : {'auto', 'eigenadam', 'adam'}
        'auto' is `lemode.surrogate.optimizers.EigenAdam` for up to 3,000 parameters.
    lr : float, optional
        Peak learning rate of the cosine schedule, 1e-2 by default.
    max_time : float, optional
        Seconds after which training ends; the schedule then follows the clock and results depend on the machine.
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
    names_ : tuple of str
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
    history_: History
    report_: dict[str, float]  # only after lemode.fit

    def __init__(
        self,
        hidden_size: int = 16,
        num_layers: int = 1,
        dt: float = 1.0,
        scheme: str = "imex",
        observe: tuple[str, ...] | list[str] | None = None,
        steps: int = 2000,
        batch_size: int = 32,
        window: int = 1000,
        washout: int = 50,
        optimizer: str = "auto",
        lr: float | None = None,
        max_time: float | None = None,
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
        self.steps = steps
        self.batch_size = batch_size
        self.window = window
        self.washout = washout
        self.optimizer = optimizer
        self.lr = lr
        self.max_time = max_time
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
        return f"Surrogate({', '.join(changed)})"

    # -- fitting -----------------------------------------------------------------------------------------------------

    def fit(
        self, X: Trajectories | ArrayLike, y: None = None, *, validation: Trajectories | ArrayLike | None = None
    ) -> Surrogate:
        """Learn from trajectories.

        Parameters
        ----------
        X : Trajectories, or array (n, T, D) or (T, D) with a common sampling interval
        y : ignored, here for scikit-learn
        validation : as X; chooses the best weights. Without it a fifth of X is held out: trajectories where there are at least
            four, otherwise the last fifth of the time.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data that are empty, not finite, too short or unevenly sampled, or a hyper-parameter out of range.
        FitDivergedError
            If training diverges before any usable weights were found.

        Warns
        -----
        FitWarning
            If training diverges or is interrupted later; the best weights are restored.
        """
        if y is not None:
            raise ValueError("y: a surrogate learns from X alone; leave y out.")
        data = self._trajectories(X, fitting=True)
        step = data.step if isinstance(X, Trajectories) else 1.0
        dtype = _torch_dtype(self.dtype, data.x)
        if validation is None:
            training, held_out = _hold_out(data.x)
        else:
            training, held_out = data.x, self._trajectories(validation, fitting=True).x
            if held_out.shape[-1] != data.x.shape[-1]:
                raise ValueError(f"validation has {held_out.shape[-1]} variables, X has {data.x.shape[-1]}.")
        recipe = self._recipe(min(training.shape[1], held_out.shape[1]))
        x = _time_first(training, dtype)
        if not (self.warm_start and hasattr(self, "network_")):
            network = self._build(data.x.shape[-1], dtype)
            network.set_scales(torch.from_numpy(training).transpose(0, 1))
            self.network_, self.names_ = network, data.names
        elif data.names != self.names_:
            raise ValueError(f"warm_start: the model knows {self.names_}, the data are {data.names}.")
        self.step_ = step
        self.n_features_in_ = data.x.shape[-1]
        self.warmup_ = min(self.washout, training.shape[1] - 1) if self.washout else 1
        net = self.network_
        generator = torch.Generator().manual_seed(self.seed)
        self.history_ = train(
            net, net.normalise(x), net.normalise(_time_first(held_out, dtype)), recipe, generator, self.verbose
        )
        return self

    def _recipe(self, T: int) -> Recipe:
        for name in ("steps", "batch_size", "window"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"{name}={value!r}: give a positive integer.")
        if not 0 <= self.washout < self.window:
            raise ValueError(f"washout={self.washout!r}: give a number of samples below window={self.window}.")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"lr={self.lr!r}: give a positive number, or None.")
        if self.max_time is not None and not self.max_time > 0:
            raise ValueError(f"max_time={self.max_time!r}: give a positive number of seconds, or None.")
        if T < 3:
            raise ValueError(f"the training or validation series have {T} samples: a surrogate needs at least 3.")
        return Recipe(
            steps=self.steps, batch_size=self.batch_size, window=self.window, washout=self.washout,
            optimizer=self.optimizer, lr=self.lr, max_time=self.max_time,
        )  # fmt: skip

    def _build(self, dimension: int, dtype: torch.dtype) -> IncrementNetwork:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            core = LEM(dimension, self.hidden_size, self.num_layers, dt=self.dt, scheme=self.scheme, dtype=dtype)
            return IncrementNetwork(core, self.hidden_size, dimension, dtype)

    # -- use ---------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def predict(self, X: Trajectories | ArrayLike) -> Array:
        """One step ahead along given series: entry k is the prediction of x[k+1] from x[0], ..., x[k].

        X is a Trajectories, ``(n, T, D)`` or ``(T, D)`` array; the result is shaped and typed as its values.
        """
        data, single = self._input(X)
        net = self.network_
        out, _ = net.step(net.normalise(self._tensor(data.x)))
        return self._output(net.denormalise(out), data.x.dtype, single)

    def forecast(self, history: Trajectories | ArrayLike, steps: int) -> Array:
        """Free running: warm up on the history, then feed the surrogate with its own predictions.

        Parameters
        ----------
        history : Trajectories, (n, T, D) or (T, D), with at least `warmup_` samples at the training interval
        steps : int
            Number of values to forecast; the first follows the last of the history.

        Returns
        -------
        (n, steps, D) or (steps, D)
        """
        if not isinstance(steps, (int, np.integer)) or steps < 1:
            raise ValueError(f"steps={steps!r}: give a positive integer.")
        data, single = self._input(history)
        if data.x.shape[1] < self.warmup_:
            raise ValueError(
                f"history has {data.x.shape[1]} samples, the model needs at least {self.warmup_} to find its hidden state: give a "
                "longer history, or fit with a smaller washout."
            )
        net = self.network_
        out = forecast.free_run(net, net.normalise(self._tensor(data.x)), int(steps))
        return self._output(net.denormalise(out), data.x.dtype, single)

    def score(self, X: Trajectories | ArrayLike, y: None = None) -> float:
        """Coefficient of determination R^2 of the one-step increments, averaged over variables: 1 is perfect, persistence is about 0.

        The increments, not the values, are scored: of a densely sampled series, persistence alone explains nearly everything.
        """
        data, _ = self._input(X)
        self._need_two(data)
        truth = np.diff(data.x, axis=1)
        error = self.predict(data.x)[:, :-1] - data.x[:, 1:]
        spread = ((truth - truth.mean((0, 1))) ** 2).mean((0, 1))
        if not (spread > 0).all():
            raise ValueError("X does not vary in some variable: R^2 is undefined there.")
        return float(np.mean(1 - (error.astype(np.float64) ** 2).mean((0, 1)) / spread))

    def rmse(self, X: Trajectories | ArrayLike, washout: int = 0) -> float:
        """Root mean square one-step error in the units of the data, over all variables, without the first `washout` predictions."""
        data, _ = self._input(X)
        self._need_two(data)
        if not 0 <= washout < data.x.shape[1] - 1:
            raise ValueError(f"washout={washout}: the series have {data.x.shape[1] - 1} predictions.")
        error = self.predict(data.x)[:, washout:-1].astype(np.float64) - data.x[:, washout + 1 :]
        return float(np.sqrt((error**2).mean()))

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file (safetensors with JSON metadata); an existing file is replaced atomically."""
        self._check_fitted()
        metadata = {
            "params": self.get_params(),
            "names": self.names_,
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
            model = cls(**metadata["params"])
            model.names_, model.step_, model.warmup_ = tuple(metadata["names"]), metadata["step"], metadata["warmup"]
            model.history_ = History(**metadata["history"])
            model.n_features_in_ = len(model.names_)
            model.network_ = model._build(len(model.names_), tensors["head.weight"].dtype)
            model.network_.load_state_dict(tensors)
        except (KeyError, TypeError, RuntimeError, ValueError) as e:
            raise ValueError(f"{path}: the contents of this lemode model do not fit together ({e}).") from e
        return model

    # -- checks and conversions --------------------------------------------------------------------------------------

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise RuntimeError("this Surrogate is not fitted yet: call fit(trajectories) first, or Surrogate.load(path).")

    def _trajectories(self, X: Trajectories | ArrayLike, fitting: bool = False) -> Trajectories:
        if isinstance(X, Trajectories):
            names = self.observe if fitting else self.names_
            return X.select(tuple(names)) if names is not None else X
        x = np.asarray(X)
        if x.ndim not in (2, 3):
            raise ValueError(
                f"data have shape {x.shape}: give (n, T, D), or (T, D) for one series; x[:, None] makes one of D=1."
            )
        names = () if fitting else self.names_
        if fitting and self.observe is not None:
            names = tuple(self.observe)
        if not fitting and x.shape[-1] != len(self.names_):
            raise ValueError(
                f"data have {x.shape[-1]} variables, the model knows {len(self.names_)} ({', '.join(self.names_)})."
            )
        return Trajectories(np.arange(x.shape[-2], dtype=np.float64), x, names)

    def _input(self, X: Trajectories | ArrayLike) -> tuple[Trajectories, bool]:
        self._check_fitted()
        data = self._trajectories(X)
        if isinstance(X, Trajectories):
            if len(data.t) > 1 and abs(data.step / self.step_ - 1) > 1e-6:
                raise ValueError(
                    f"data are sampled every {data.step:g}, the model was fitted at {self.step_:g}: resample them."
                )
            return data, False
        return data, np.ndim(X) == 2

    @staticmethod
    def _need_two(data: Trajectories) -> None:
        if data.x.shape[1] < 2:
            raise ValueError("X has a single sample: an error needs at least two.")

    def _tensor(self, x: Array) -> Tensor:
        return _time_first(x, self.network_.mean.dtype)

    @staticmethod
    def _output(x: Tensor, dtype: np.dtype[Any], single: bool) -> Array:
        values = x.transpose(0, 1).numpy().astype(dtype)
        return values[0] if single else np.ascontiguousarray(values)


def _time_first(x: Array, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.swapaxes(0, 1))).to(dtype)


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
