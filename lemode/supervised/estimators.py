"""LEM for scikit-learn's kind of problem: a label or a number for every series."""

from __future__ import annotations

import os
import warnings
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..surrogate.errors import FitWarning
from ..surrogate.parameters import Parameters, check_count, check_number
from ..surrogate.recipe import check_seed
from ..surrogate.seeds import stream, torch_stream
from ..tasks.base import split
from ..threads import one_thread
from . import files
from .network import CELLS, READOUTS, Cell, SequenceNetwork, build
from .series import Padded, Scales, read_series
from .training import History, Recipe, train

__all__ = ["LEMClassifier", "LEMRegressor", "SequenceEstimator"]

E = TypeVar("E", bound="SequenceEstimator")

# of a network with fewer parameters, threads are slower than one
SMALL = 20_000
# series that are run at a time where no gradient is needed
CHUNK = 256


class SequenceEstimator(Parameters):
    """What the classifier and the regressor share: reading, the network, a fit that publishes at its end.

    Examples
    --------
    >>> issubclass(lemode.LEMClassifier, SequenceEstimator), issubclass(lemode.LEMRegressor, SequenceEstimator)
    (True, True)
    """

    network_: SequenceNetwork
    scales_: Scales
    history_: History
    n_features_in_: int

    hidden_size: int
    num_layers: int
    cell: Cell
    dt: float
    init: str
    tau_max: float | None
    readout: str
    dropout: float
    lr: float
    batch_size: int
    steps: int
    max_time: float | None
    validation_fraction: float
    patience: int | None
    dtype: str
    seed: int
    verbose: int

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def fit(self: E, X: Any, y: ArrayLike, *, validation: tuple[Any, ArrayLike] | None = None) -> E:
        """Learn from series and their targets.

        Parameters
        ----------
        X : (n, T, D), (n, T), or a list of series (T_i, D) or (T_i,) of any lengths
            Time before features. Of arrays as aeon has them, ``(n, D, T)``, give ``X.swapaxes(1, 2)``.
        y : (n,)
            Labels of any kind, or numbers; for the regressor also ``(n, k)``.
        validation : (X, y), optional
            By which the best weights are chosen, and the fit ended; without it a `validation_fraction` of X is held out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For series that are empty, not finite or do not fit each other, targets that are missing or unknown, a hyper-parameter out of
            range.
        FitDivergedError
            If the loss is not finite before there are weights to keep.

        Warns
        -----
        FitWarning
            If it is not finite later, or no series are left to hold out.
        DataWarning
            If there are more features than steps.
        """
        worker = self._worker()
        worker._fit(X, y, validation)
        self._publish(worker)
        return self

    def _fit(self, X: Any, y: ArrayLike, validation: tuple[Any, ArrayLike] | None) -> None:
        recipe = self._recipe()
        series = read_series(X)
        self.n_features_in_ = series[0].shape[1]
        targets = self._read_targets("y", y, len(series), new=True)
        if validation is None:
            rows, held = self._hold_out(targets)
            held_series = [series[i] for i in held]
            series, held_targets, targets = [series[i] for i in rows], targets[held], targets[rows]
        else:
            held_series, held_targets = self._given(validation)
        self.scales_ = Scales.of(series)
        self._prepare(targets)
        seed, dtype, longest = check_seed(self.seed), self._dtype(), max(len(s) for s in series)
        self._fitted_with = {name: getattr(self, name) for name in files.SIZES}
        self.network_ = build(
            self.cell, self.n_features_in_, self.hidden_size, self._outputs(), torch_stream(seed, "weights"),
            num_layers=self.num_layers, dt=self.dt, init=self.init, memory=self._memory(longest), readout=self.readout,
            dropout=self.dropout, dtype=dtype,
        )  # fmt: skip
        data, goal = self._padded(series), self._encoded(targets)
        generator = torch_stream(seed, "batches")
        order = torch.empty(0, dtype=torch.int64)

        def loss() -> Tensor:
            nonlocal order
            if not len(order):
                order = torch.randperm(len(data), generator=generator)
            rows, order = order[: self.batch_size], order[self.batch_size :]
            return self._loss(self.network_(data.take(rows)), goal[rows])

        def validate() -> float:
            return float(self._loss(self._outputs_of(held_data), held_goal))

        held_data, held_goal = (self._padded(held_series), self._encoded(held_targets)) if held_series else (data, goal)
        small = sum(p.numel() for p in self.network_.parameters()) < SMALL
        with one_thread(small), torch.random.fork_rng(devices=[], enabled=self.dropout > 0):
            if self.dropout:  # torch draws what is dropped
                torch.manual_seed(seed)
            self.history_ = train(self.network_, loss, validate if held_series else None, recipe, self.verbose)

    # -- checks ------------------------------------------------------------------------------------------------------

    def _recipe(self) -> Recipe:
        for name in ("hidden_size", "num_layers", "batch_size", "steps"):
            check_count(name, getattr(self, name))
        if not callable(self.cell) and self.cell not in CELLS:
            raise ValueError(
                f"cell={self.cell!r}: choose from {', '.join(map(repr, CELLS))}, or give a function that makes a core."
            )
        if self.init not in ("paper", "timescales"):
            raise ValueError(f"init={self.init!r}: give 'paper' or 'timescales'.")
        if self.readout not in READOUTS[:2]:
            raise ValueError(f"readout={self.readout!r}: give 'last' or 'mean'.")
        for name in ("dropout", "validation_fraction"):
            value = getattr(self, name)
            if not 0 <= check_number(name, value, zero=True) < 1:
                raise ValueError(f"{name}={value!r}: give a share from 0 to below 1.")
        if self.tau_max is not None:
            check_number("tau_max", self.tau_max, hint=", or None for the length of the series")
        self._dtype()
        patience = None if self.patience is None else check_count("patience", self.patience, hint=", or None for all steps")
        seconds = None if self.max_time is None else check_number("max_time", self.max_time, hint=", or None")
        return Recipe(steps=self.steps, lr=check_number("lr", self.lr), patience=patience, max_time=seconds)

    def _dtype(self) -> torch.dtype:
        known = {"float32": torch.float32, "float64": torch.float64}
        if self.dtype not in known:
            raise ValueError(f"dtype={self.dtype!r}: give 'float32' or 'float64'.")
        return known[self.dtype]

    def _memory(self, longest: int) -> tuple[float, float]:
        """Shortest and longest time scale, in steps: what biases of 0 would give, and the length of the series."""
        shortest = 2 / self.dt
        return shortest, max(shortest, float(longest) if self.tau_max is None else self.tau_max)

    def _hold_out(self, targets: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows to learn from and to validate on, of every class alike."""
        everything = np.arange(len(targets))
        if not self.validation_fraction:
            return everything, everything[:0]
        by = targets if targets.ndim == 1 else targets[:, 0]
        seed = int(stream(check_seed(self.seed), "split").integers(2**32))
        rows, held = split(by, (1 - self.validation_fraction, self.validation_fraction), seed)
        if len(held) and len(rows):
            return rows, held
        warnings.warn(
            f"{len(targets)} series are too few to hold out validation_fraction={self.validation_fraction:g} of every class: the last "
            "weights are kept, after all steps.",
            FitWarning,
            stacklevel=4,
        )
        return everything, everything[:0]

    def _given(self, validation: Any) -> tuple[list[NDArray[Any]], NDArray[Any]]:
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise ValueError("validation: give a pair (X, y).")
        series = read_series(validation[0], self.n_features_in_)
        return series, self._read_targets("y of validation", validation[1], len(series), new=False)

    def _padded(self, series: list[NDArray[Any]]) -> Padded:
        return Padded.of([self.scales_.normalise(s) for s in series], self.network_.head.weight.dtype)

    def _outputs_of(self, data: Padded) -> Tensor:
        rows = torch.arange(len(data))
        return torch.cat([self.network_(data.take(part)) for part in rows.split(CHUNK)])

    @torch.no_grad()
    def _run(self, X: Any) -> NDArray[np.float64]:
        self._check_fitted()
        series = read_series(X, self.n_features_in_)
        return self._outputs_of(self._padded(series)).double().numpy()

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file (safetensors with JSON metadata); an existing file is replaced atomically.

        Raises
        ------
        OSError
            For a folder that is not there or may not be written.
        TypeError
            For a core of one's own, or labels that are neither text, integers nor booleans.
        """
        self._check_fitted()
        files.write(path, self, self._own())

    @classmethod
    def load(cls: type[E], path: str | os.PathLike[str]) -> E:
        """Read a model that `save` wrote. Nothing in the file is executed; ValueError if it is foreign, damaged or newer."""
        model, own = files.read(path, {cls.__name__: cls})
        try:
            model._restore(own)
        except (KeyError, TypeError, ValueError) as e:
            raise ValueError(f"{path}: the metadata of this {files.KIND} are damaged ({e}).") from e
        loaded: E = model
        return loaded

    def _check_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise RuntimeError(f"this {type(self).__name__} is not fitted yet: call fit(X, y) first.")

    # -- what the two have of their own ------------------------------------------------------------------------------

    def _read_targets(self, name: str, y: ArrayLike, n: int, new: bool) -> NDArray[Any]:
        raise NotImplementedError

    def _prepare(self, targets: NDArray[Any]) -> None:
        raise NotImplementedError

    def _outputs(self) -> int:
        raise NotImplementedError

    def _encoded(self, targets: NDArray[Any]) -> Tensor:
        raise NotImplementedError

    def _loss(self, outputs: Tensor, goal: Tensor) -> Tensor:
        raise NotImplementedError

    def _own(self) -> dict[str, Any]:
        """What it has learned beside its network, for a file."""
        raise NotImplementedError

    def _restore(self, own: dict[str, Any]) -> None:
        raise NotImplementedError


def _targets(name: str, y: Any, n: int) -> NDArray[Any]:
    values = np.asarray(y.detach().cpu() if isinstance(y, Tensor) else y)
    if values.ndim == 0 or len(values) != n:
        raise ValueError(
            f"{name} has {len(values) if values.ndim else 'no'} entries, X has {n} series: give one target for each."
        )
    return values


class LEMClassifier(SequenceEstimator):
    r"""A classifier of series, in scikit-learn's manner: LEM along each, a linear head on its last output, softmax.

    .. math:: p(c \mid u_1, \ldots, u_T) = \mathrm{softmax}_c(C\,y_T + c)

    trained by Adam on the cross entropy, weighted by class; the weights are kept that are best on series that are held out, and the fit
    ends when there were no better ones for a while.

    Parameters
    ----------
    hidden_size, num_layers : int
        Of the core.
    cell : {'lem', 'lstm', 'gru'} or function
        The core. torch's layers run through the same code; a function ``(features, hidden_size, num_layers)`` makes another one, with the
        conventions of torch.nn.LSTM.
    dt : float
        Of LEM, see `lemode.LEM`.
    init : {'paper', 'timescales'}
        U(-1/sqrt(d), 1/sqrt(d)), or with gate biases for time scales from ``2/dt`` to `tau_max` steps, `lemode.init.timescales_`; for
        torch's layers chrono initialisation, arXiv:1804.11188.
    tau_max : float, optional
        In steps; the length of the longest series by default.
    readout : {'last', 'mean'}
        What the head reads: the output at the last step, or the mean over all.
    dropout : float
        Share of the outputs that the head does not see while it learns.
    class_weight : dict, 'balanced' or None
        What an error of a class costs, beside that of another; 'balanced' is inverse to how often it is there.
    lr, batch_size, steps : learning rate, series a step, gradient steps at most
    max_time : float, optional
        Seconds at most.
    validation_fraction : float
        Share of the series that are held out, of every class alike; 0 for none, and then the last weights are kept.
    patience : int or None
        Validations, one every 25 steps, without a better one that end the fit; None for all steps.
    dtype : {'float32', 'float64'}
    seed : int
        Of the weights, the batches and what is held out.
    verbose : int
        0 is quiet.

    Attributes
    ----------
    classes_ : (k,)
        The labels, sorted.
    n_features_in_ : int
    network_ : torch module
        ``network_.core`` is a `lemode.LEM`, for `lemode.analysis`.
    history_ : History
        Losses, validation errors, the best step and why the fit ended.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((int(T), 2)) for T in rng.integers(20, 40, 60)]
    >>> y = np.array(["up" if x[:, 0].mean() > 0 else "down" for x in X])
    >>> model = LEMClassifier(hidden_size=8, steps=150, lr=0.02, verbose=0).fit(X, y)
    >>> model.classes_, model.predict_proba(X).shape, model.score(X, y) > 0.8
    (array(['down', 'up'], dtype='<U4'), (60, 2), True)
    """

    classes_: NDArray[Any]
    _estimator_type = "classifier"  # scikit-learn before 1.6

    def __init__(
        self,
        hidden_size: int = 32,
        num_layers: int = 1,
        cell: Cell = "lem",
        dt: float = 1.0,
        init: str = "paper",
        tau_max: float | None = None,
        readout: str = "last",
        dropout: float = 0.0,
        class_weight: dict[Any, float] | str | None = None,
        lr: float = 3e-3,
        batch_size: int = 32,
        steps: int = 1000,
        max_time: float | None = None,
        validation_fraction: float = 0.2,
        patience: int | None = 20,
        dtype: str = "float32",
        seed: int = 0,
        verbose: int = 1,
    ) -> None:
        self.hidden_size, self.num_layers, self.cell, self.dt = hidden_size, num_layers, cell, dt
        self.init, self.tau_max, self.readout, self.dropout = init, tau_max, readout, dropout
        self.class_weight, self.lr, self.batch_size, self.steps, self.max_time = class_weight, lr, batch_size, steps, max_time
        self.validation_fraction, self.patience, self.dtype = validation_fraction, patience, dtype
        self.seed, self.verbose = seed, verbose

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=True, three_d_array=True),
        )

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The probability of every class, ``(n, k)``, in the order of `classes_`.

        Examples
        --------
        >>> X, y = np.random.default_rng(0).random((8, 10)), [0, 1] * 4
        >>> model = LEMClassifier(hidden_size=4, steps=5, validation_fraction=0, verbose=0).fit(X, y)
        >>> bool(np.allclose(model.predict_proba(X).sum(1), 1))
        True
        """
        outputs = self._run(X)
        p = np.exp(outputs - outputs.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable label of each series, ``(n,)``."""
        outputs = self._run(X)
        return self.classes_[outputs.argmax(1)]

    def score(self, X: Any, y: ArrayLike) -> float:
        """The share of labels that are right; a label that no training series had is an error, and ValueError if all are."""
        found = self.predict(X)
        truth = _targets("y", y, len(found))
        if not np.isin(truth, self.classes_).any():
            raise ValueError(
                f"y has none of the labels of the fit, {_some(self.classes_)}: its first is {truth.tolist()[0]!r}."
            )
        return float(np.mean(found == truth))

    def _read_targets(self, name: str, y: ArrayLike, n: int, new: bool) -> NDArray[Any]:
        labels = _targets(name, y, n)
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        if labels.ndim != 1:
            raise ValueError(f"{name} has shape {labels.shape}: give one label for each series, (n,).")
        missing = np.array([label is None or type(label).__name__ == "NAType" or label != label for label in labels.tolist()])
        if missing.any():
            raise ValueError(f"{name}[{missing.argmax()}] is {labels[missing.argmax()]}: leave out series without a label.")
        if labels.dtype.kind == "f" and (labels != np.round(labels)).any():
            odd = labels[labels != np.round(labels)][0]
            raise ValueError(f"{name} has the number {odd:g} among its labels: for numbers take LEMRegressor.")
        if new:
            self.classes_ = np.unique(labels)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"{name} has a single label, {self.classes_.tolist()[0]!r}: give series of two classes at least."
                )
        unknown = ~np.isin(labels, self.classes_)
        if unknown.any():
            raise ValueError(
                f"{name} has the label {labels[unknown].tolist()[0]!r}: the training series have {_some(self.classes_)}."
            )
        return np.searchsorted(self.classes_, labels)

    def _prepare(self, targets: NDArray[Any]) -> None:
        k, given = len(self.classes_), self.class_weight
        counts = np.bincount(targets, minlength=k)
        if given is None:
            weights = np.ones(k)
        elif isinstance(given, str) and given == "balanced":
            weights = len(targets) / (k * np.maximum(counts, 1))
        elif isinstance(given, dict):
            strange = [label for label in given if label not in self.classes_.tolist()]
            if strange:
                raise ValueError(f"class_weight has the label {strange[0]!r}: the training series have {_some(self.classes_)}.")
            weights = np.array([check_number(f"class_weight[{c!r}]", given.get(c, 1.0)) for c in self.classes_.tolist()])
        else:
            raise ValueError(f"class_weight={given!r}: give a dict of labels and weights, 'balanced' or None.")
        self._weights = torch.tensor(weights / weights[targets].mean(), dtype=self._dtype())

    def _outputs(self) -> int:
        return len(self.classes_)

    def _encoded(self, targets: NDArray[Any]) -> Tensor:
        return torch.from_numpy(targets)

    def _loss(self, outputs: Tensor, goal: Tensor) -> Tensor:
        # not torch's mean, which divides by the weights of the batch: one without a rare class would count for as much as one with it
        return (cross_entropy(outputs, goal, reduction="none") * self._weights[goal]).mean()

    def _own(self) -> dict[str, Any]:
        if self.classes_.dtype.kind not in "Uiubf":
            raise TypeError(f"labels of {self.classes_.dtype} are not written: give text, integers or booleans as labels.")
        return {"classes": self.classes_.tolist(), "labels": self.classes_.dtype.str}

    def _restore(self, own: dict[str, Any]) -> None:
        self.classes_ = np.array(own["classes"], dtype=np.dtype(own["labels"]))
        if self.classes_.shape != (self.network_.head.out_features,):
            raise ValueError("'classes' are not as many as the outputs")


class LEMRegressor(SequenceEstimator):
    r"""A regressor of series, in scikit-learn's manner: LEM along each, and a linear head on its last output.

    .. math:: \hat y = \bar y + s \odot (C\,y_T + c)

    with mean and standard deviation of the training targets, trained on the squared error in units of s; else as `LEMClassifier`.

    Parameters
    ----------
    hidden_size, num_layers, cell, dt, init, tau_max, readout, dropout, lr, batch_size, steps, max_time, validation_fraction, patience,
    dtype, seed, verbose
        As of `LEMClassifier`; what is held out has small and large targets alike.

    Attributes
    ----------
    n_features_in_, network_, history_
        As of `LEMClassifier`.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((100, 20, 1))
    >>> y = X[:, :, 0].mean(1)
    >>> model = LEMRegressor(hidden_size=8, steps=200, lr=0.02, verbose=0).fit(X, y)
    >>> model.predict(X).shape, model.score(X, y) > 0.8
    ((100,), True)
    """

    _estimator_type = "regressor"  # scikit-learn before 1.6

    def __init__(
        self,
        hidden_size: int = 32,
        num_layers: int = 1,
        cell: Cell = "lem",
        dt: float = 1.0,
        init: str = "paper",
        tau_max: float | None = None,
        readout: str = "last",
        dropout: float = 0.0,
        lr: float = 3e-3,
        batch_size: int = 32,
        steps: int = 1000,
        max_time: float | None = None,
        validation_fraction: float = 0.2,
        patience: int | None = 20,
        dtype: str = "float32",
        seed: int = 0,
        verbose: int = 1,
    ) -> None:
        self.hidden_size, self.num_layers, self.cell, self.dt = hidden_size, num_layers, cell, dt
        self.init, self.tau_max, self.readout, self.dropout = init, tau_max, readout, dropout
        self.lr, self.batch_size, self.steps, self.max_time = lr, batch_size, steps, max_time
        self.validation_fraction, self.patience, self.dtype = validation_fraction, patience, dtype
        self.seed, self.verbose = seed, verbose

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=True, multi_output=True),
            regressor_tags=RegressorTags(),
            input_tags=InputTags(two_d_array=True, three_d_array=True),
        )

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The number for each series, ``(n,)``, or ``(n, k)`` if it was fitted on k of them."""
        values = self._run(X) * self._target_scales.std + self._target_scales.mean
        return values[:, 0] if self._flat else values

    def score(self, X: Any, y: ArrayLike) -> float:
        r"""The coefficient of determination :math:`R^2`, the mean over the targets where there are several."""
        found = self.predict(X)
        truth = self._read_targets("y", y, len(found), new=False)
        found = found.reshape(truth.shape)
        spread = ((truth - truth.mean(0)) ** 2).sum(0)
        if not (spread > 0).all():
            raise ValueError("y does not vary: R^2 is undefined.")
        return float((1 - ((truth - found) ** 2).sum(0) / spread).mean())

    def _read_targets(self, name: str, y: ArrayLike, n: int, new: bool) -> NDArray[Any]:
        values = _targets(name, y, n)
        try:
            numbers = values.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name} is of {values.dtype}: give numbers; for labels take LEMClassifier.") from None
        if numbers.ndim > 2:
            raise ValueError(f"{name} has shape {numbers.shape}: give (n,) or (n, k).")
        bad = ~np.isfinite(numbers).reshape(n, -1).all(1)
        if bad.any():
            raise ValueError(f"{name}[{bad.argmax()}] is {values[bad.argmax()]}: leave out series without a finite target.")
        if new:
            self._flat, self._k = numbers.ndim == 1, 1 if numbers.ndim == 1 else numbers.shape[1]
        if (1 if numbers.ndim == 1 else numbers.shape[1]) != self._k:
            raise ValueError(f"{name} has shape {numbers.shape}: the model was fitted with {self._k} targets for each series.")
        return numbers.reshape(n, self._k)

    def _prepare(self, targets: NDArray[Any]) -> None:
        self._target_scales = Scales.of([targets])

    def _outputs(self) -> int:
        return self._k

    def _encoded(self, targets: NDArray[Any]) -> Tensor:
        return torch.tensor(self._target_scales.normalise(targets), dtype=self._dtype())

    def _loss(self, outputs: Tensor, goal: Tensor) -> Tensor:
        return (outputs - goal).square().mean()

    def _own(self) -> dict[str, Any]:
        scales = self._target_scales
        return {"mean": scales.mean.tolist(), "std": scales.std.tolist(), "flat": self._flat}

    def _restore(self, own: dict[str, Any]) -> None:
        self._k, self._flat = self.network_.head.out_features, bool(own["flat"])
        self._target_scales = Scales(*(np.array(own[name], dtype=np.float64) for name in ("mean", "std")))
        if self._target_scales.mean.shape != (self._k,) or self._target_scales.std.shape != (self._k,):
            raise ValueError("the scales of the targets are not as many as the outputs")


def _some(labels: NDArray[Any]) -> str:
    shown = ", ".join(repr(label) for label in labels[:5].tolist())
    return shown + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
