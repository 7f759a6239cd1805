"""The surrogate of a field on a periodic grid, such as the solution of a partial differential equation."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..conv import ConvLEM
from ..trajectories import Trajectories
from .base import Array, Estimator
from .data import FitData, lay_out_fit
from .errors import FitWarning
from .field_network import FieldNetwork, reflected
from .field_readout_network import FieldReadoutNetwork
from .fitters import Auto, Fitter, Readout
from .forecast import free_run_peak, free_run_power
from .network import IncrementNetwork, check_core
from .parameters import check_count
from .recipe import FIELD_RECIPE, Recipe
from .run import FREE_RUNS
from .series import Series

__all__ = ["FieldSurrogate"]

# Training series are cut to this many samples, so that a pass for stored states can take a random part of them
PIECE = 200


class FieldSurrogate(Estimator):
    r"""A `Surrogate` of a field on a periodic grid: the same small rule at every point, from the points around it.

    .. math::

        \hat u_{k+1} = \mathrm{clip}(u_k + s\, \delta_k), \qquad
        \delta_k = C\, y_k + c \quad \text{or} \quad \delta_k(i) = C\, (y_k(i) - y_k(i + 1)), \qquad y_k = \mathrm{ConvLEM}(u_k)

    in a field normalised by one mean and one standard deviation of each quantity, with s the root mean square of its increments, C
    and c a linear head. The second form is for ``conserve='mean'``; on a plane it is the sum over both directions over
    :math:`\sqrt 2`. The recipe differs from that of `Surrogate` in what keeps a free run of a chaotic field on its attractor: noise
    on what is read in training, which falls with the error, a running average of the weights, and free runs at every validation:
    weights whose runs leave the attractor are kept only if there are no others.

    Parameters
    ----------
    hidden_size : int
        Components of y and z at each point.
    kernel_size : int
        Odd number of points that are read around each, in each direction: as far as the equation reaches in a sampling
        interval, and at most the points of the grid.
    recurrent_kernel_size : int
        The same for y and z; with 1 the fast dense kernels run the layer.
    channels : int
        Quantities at each point, such as the activator and the inhibitor of a reaction. The data have ``channels * points`` variables,
        all points of the first quantity, then all of the second: ``u.reshape(n, T, -1)`` of an array ``(n, T, channels, *grid)``.
    grid : tuple of int, optional
        Points in each direction of data of more than one, of which the last is the fastest.
    conserve : None or 'mean'
        An invariant to keep exactly: the mean over the grid, of every quantity.
    symmetry : None, 'even', 'odd', or a tuple of 'even' and 'odd' for the channels
        Whether the equation is unchanged by :math:`u(x) \to u(-x)` or by :math:`u(x) \to -u(-x)`, as Kuramoto-Sivashinsky is by the
        second: the mirror images of the training data are then learned from as well.
    input_noise : float or (float, float)
        Standard deviation of the noise, in increments, at the beginning and at the end of training. It falls from well above the one-step
        error that is reached to near it, and never below.
    noisy : float
        Share of the series of a batch that get the noise. The error of one step is learned from the clean ones, the way back to the
        attractor from the others; 1 is less accurate and steadier, as for a larger domain, whose states were not all trained on.
    average : float
        Decay of the running average of the weights.
    train : {'all', 'readout', 'auto'}
        With 'readout' random LEMs read what surrounds each point, and the head is solved for, see
        `lemode.surrogate.field_readout_network.FieldReadoutNetwork`: a minute, in float64, for clean data and a hundred units. A
        `symmetry` that all channels share is then one of the network; noise and filter are chosen on the validation series, and the
        parameters of training, from `input_noise` to `average`, are not used. 'auto' does both, as in `Surrogate`, and keeps what is
        better on the validation series.
    width : int
        Units of the readout of train='auto', whose trained network has `hidden_size`.
    contain : float, optional
        As in `Surrogate`, at every point of the grid. Where a free run is held, its mean is not conserved.
    others : as in `Surrogate`, with other defaults; there are no observe, inputs, delays, continuous, weights and num_layers

    Raises
    ------
    ValueError
        For data that are uneven or do not fit the grid, or a hyper-parameter out of range.

    Examples
    --------
    >>> x = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    >>> waves = np.sin(x - 0.1 * np.arange(60)[:, None] + np.arange(5)[:, None, None])
    >>> warnings.simplefilter("ignore", FitWarning)  # after twenty steps free runs do not stay on the attractor
    >>> model = FieldSurrogate(hidden_size=4, kernel_size=5, steps=20, verbose=0).fit(waves)
    >>> model.forecast(waves[0], steps=7).shape, model.on_grid(32).forecast(np.tile(waves[0], 2), steps=7).shape
    ((7, 16), (7, 32))

    Warns
    -----
    FitWarning
        If free runs leave the attractor, with less than half or more than twice the power of the validation series; or if more accurate
        weights were given up because theirs did. Where these series are no longer than the washout, this is not looked at.

    References
    ----------
    Pathak, Hunt, Girvan, Lu, Ott, Phys. Rev. Lett. 120 (2018) 024102, for surrogates that read neighbourhoods.
    """

    network_: FieldNetwork

    _architecture = (
        "hidden_size", "width", "kernel_size", "recurrent_kernel_size", "channels", "grid", "conserve", "dt", "scheme", "dtype"
    )  # fmt: skip
    _default_recipe = FIELD_RECIPE

    def __init__(
        self,
        hidden_size: int = 32,
        kernel_size: int = 17,
        recurrent_kernel_size: int = 1,
        channels: int = 1,
        grid: tuple[int, ...] | None = None,
        conserve: str | None = None,
        symmetry: str | tuple[str, ...] | None = None,
        input_noise: float | tuple[float, float] = (0.15, 0.003),
        noisy: float = 0.5,
        average: float = 0.995,
        dt: float = 1.0,
        scheme: str = "imex",
        train: str = "all",
        width: int = 100,
        contain: float | None = 1.2,
        budget: str | float = "standard",
        steps: int | None = None,
        max_time: float | None = None,
        batch_size: int = 12,
        window: int = 16,
        washout: int = 15,
        stages: tuple[str, ...] | list[str] = ("one-step",),
        noise: float = 2.0,
        horizon: int = 20,
        optimizer: str = "auto",
        lr: float | None = None,
        dtype: str | None = None,
        seed: int = 0,
        warm_start: bool = False,
        verbose: int = 1,
    ) -> None:
        self.hidden_size = hidden_size
        self.kernel_size = kernel_size
        self.recurrent_kernel_size = recurrent_kernel_size
        self.channels = channels
        self.grid = grid
        self.conserve = conserve
        self.symmetry = symmetry
        self.input_noise = input_noise
        self.noisy = noisy
        self.average = average
        self.dt = dt
        self.scheme = scheme
        self.train = train
        self.width = width
        self.contain = contain
        self.budget = budget
        self.steps = steps
        self.max_time = max_time
        self.batch_size = batch_size
        self.window = window
        self.washout = washout
        self.stages = stages
        self.noise = noise
        self.horizon = horizon
        self.optimizer = optimizer
        self.lr = lr
        self.dtype = dtype
        self.seed = seed
        self.warm_start = warm_start
        self.verbose = verbose

    def _fitter(self) -> Fitter:
        signs = set(self._parity() or ())
        # of channels with signs of their own the mirror images are learned from, as in training
        parity = signs.pop() if len(signs) == 1 else None
        if self.train == "readout":
            return Readout(parity=parity)
        if self.train == "auto":
            return Auto(width=check_count("width", self.width), parity=parity)
        return super()._fitter()

    def _choose_names(self, known: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """All are points of the grid, those of one channel after those of another."""
        self._points(len(known))
        return known, ()

    def _lay_out(self, X: Trajectories | ArrayLike, validation: Trajectories | ArrayLike | None) -> FitData:
        parity = self._parity()

        def more(training: Trajectories) -> Trajectories:
            x = training.x
            if parity is not None:
                x = np.concatenate([x, reflected(x, self._points(x.shape[-1]), parity)])
            x = _pieces(x)
            return Trajectories(training.t[: x.shape[1]], x, training.names)

        return lay_out_fit(X, validation, self._choose_names, self.dtype, "a field surrogate", more)

    def _check_same_network(self, former: Estimator, data: FitData) -> None:
        network, grid = former.network_, self._points(len(data.names))
        assert isinstance(network, FieldNetwork)
        if (grid, self.channels) != (network.grid, network.channels):
            raise ValueError(
                f"warm_start: the model has grid={network.grid}, channels={network.channels}; the data have {grid}, {self.channels}."
            )
        super()._check_same_network(former, data)

    def _warn(self, recipe: Recipe, judge: Series) -> None:
        """Also if free runs along the validation series leave the attractor, or if weights were given up because theirs did."""
        super()._warn(recipe, judge)
        history, judge = self.history_, judge.map(lambda s: s[:, :FREE_RUNS])
        start = max(self.warmup_, judge.lead)
        if len(judge.x) <= start or (judge.x == judge.x[:1, :1]).all():
            return
        power = history.free_power
        if power is None:
            power = free_run_power(self.network_, judge, start, recipe.free_steps)
        remedy = {
            "all": "Train for longer, or raise input_noise or kernel_size; conserve and symmetry help where they apply.",
            "readout": "Take more units (hidden_size) or a larger kernel_size; conserve and symmetry help where they apply.",
        }["readout" if isinstance(self.network_, FieldReadoutNetwork) else "all"]
        errors = dict(history.validation)
        kept, least = errors.get(history.best_step, 0.0), min(errors.values(), default=0.0)
        if not 0.5 <= power <= 2:
            warnings.warn(
                f"free runs leave the attractor: over {recipe.free_steps} steps they have {power:.3g} times the power of the validation "
                f"series. {remedy}",
                FitWarning,
                stacklevel=4,
            )
            return
        peak = free_run_peak(self.network_, judge, start, recipe.free_steps)
        if peak is not None:
            warnings.warn(
                f"free runs have {100 * peak[1]:.2g} % of their power in waves of {peak[0]:.3g} points, more than ten times what the "
                f"validation series have there. {remedy}",
                FitWarning,
                stacklevel=4,
            )
        elif not history.stages and least < kept:
            warnings.warn(
                f"the weights of step {history.best_step} are kept, with a validation error of {kept:.3g} increments: free runs of those "
                f"with a smaller one, down to {least:.3g}, did not keep the power of the validation series. {remedy}",
                FitWarning,
                stacklevel=4,
            )

    def on_grid(self, *grid: int) -> FieldSurrogate:
        """The same surrogate on a grid of another size and the same spacing: fitted on a small domain, run on a large one.

        Its variables are x0, x1, ...: give arrays, or trajectories with these names. ValueError for a grid of another dimension than that
        of the data, or one that is smaller than the kernels.
        """
        self._check_fitted()
        network = self.network_
        widest = network.widest()
        if len(grid) != len(network.grid) or any(not _is_count(g) or g < widest for g in grid):
            raise ValueError(
                f"on_grid{grid}: give the points in each of {len(network.grid)} directions, at least the {widest} of the kernels."
            )
        model = copy.copy(self)
        model.grid = tuple(int(g) for g in grid)
        model.network_ = network.on_grid(model.grid)
        model.names_ = tuple(f"x{i}" for i in range(network.channels * math.prod(model.grid)))
        model.fitted_with_ = {**self.fitted_with_, "grid": model.grid}
        return model

    def _parity(self) -> list[int] | None:
        """The sign of each channel in a mirror."""
        if self.symmetry is None:
            return None
        signs = {"even": 1, "odd": -1}
        parity = (self.symmetry,) * self.channels if isinstance(self.symmetry, str) else self.symmetry
        if not isinstance(parity, (tuple, list)) or len(parity) != self.channels or any(p not in list(signs) for p in parity):
            raise ValueError(
                f"symmetry={self.symmetry!r}: give 'even', 'odd', one of these for each of {self.channels} channels, or None."
            )
        return [signs[p] for p in parity]

    def _points(self, dimension: int) -> tuple[int, ...]:
        if not _is_count(self.channels):
            raise ValueError(f"channels={self.channels!r}: give a positive integer.")
        points, rest = divmod(dimension, self.channels)
        grid = (points,) if self.grid is None else self.grid
        if (
            rest
            or not isinstance(grid, (tuple, list))
            or len(grid) not in (1, 2)
            or not all(_is_count(g) for g in grid)
            or math.prod(grid) != points
        ):
            raise ValueError(
                f"grid={self.grid}, channels={self.channels}: the data have {dimension} variables; give a tuple of the points in each of "
                "1 or 2 directions, and how many quantities there are at each."
            )
        return tuple(int(g) for g in grid)

    def _network(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        check_core(self.hidden_size, self.dt, self.scheme)
        grid = self._points(dimension)
        if isinstance(self.kernel_size, int) and self.kernel_size > min(grid):
            raise ValueError(
                f"kernel_size={self.kernel_size}: the grid has {min(grid)} points in a direction; give at most so many."
            )
        return FieldNetwork(self._core(self.channels, dtype), self.hidden_size, grid, dtype, self.conserve, self.channels)

    def _core(self, features: int, dtype: torch.dtype) -> torch.nn.Module:
        """The recurrent layer."""
        return ConvLEM(
            features, self.hidden_size, self.kernel_size, 1 if self.grid is None else len(self.grid), dt=self.dt,
            recurrent_kernel_size=self.recurrent_kernel_size, scheme=self.scheme, dtype=dtype,
        )  # fmt: skip


def _is_count(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value > 0)


def _pieces(x: Array) -> Array:
    """Series ``(n, T, points)`` as more and shorter ones; less than a piece is lost at the end."""
    _, T, points = x.shape
    if T < 2 * PIECE:
        return x
    return x[:, : T // PIECE * PIECE].reshape(-1, PIECE, points)
