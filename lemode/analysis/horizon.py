r"""How long a forecast is proved to stay within a tolerance.

A free run is a trajectory of a known map, and the true series is one but for its one-step errors.

Proof of statement 8.2: ``theory/along_data.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from .._checks import array, checks, count
from ..lem import LEM
from ..types import Array
from .enclosure import Ball, LayerStep, enclose_layers
from .rounding import U, outward, unit_roundoff
from .tube import Spread, check_work

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CertifiedHorizon", "ClosedLoop", "certified_horizon"]

FAR = 10.0  # standard deviations; beyond them a bound is of no use, and the recursion ends


@dataclass(frozen=True)
class CertifiedHorizon:
    """A forecast with the radius within which it is proved to stay, in the units of the data; see `certified_horizon`.

    Attributes
    ----------
    names : (D,)
    t : (N,)
        Time of each step since the last sample of the history.
    forecast : (N, D)
        Of ``model.forecast``.
    truth : (N, D) or None
        What followed, where it was given.
    radius : (N, D)
        How far the forecast can be from it; inf where nothing is proved.
    tolerance : (D,)
    errors : (D,) or None
        The bound on one-step errors that the statement is conditional on; None where it is about a series that is known.

    Examples
    --------
    >>> found = CertifiedHorizon(
    ...     ("v",), np.arange(1.0, 4), np.zeros((3, 1)), None, np.array([[0.1], [0.2], [0.9]]), np.array([0.5]), np.array([0.05])
    ... )
    >>> found.horizon
    2
    >>> print(found)
    If no one-step error of v exceeds 0.05, the forecast is within 0.5 of v for 2 of 3 steps: proved.
    """

    names: tuple[str, ...]
    t: Array
    forecast: Array
    truth: Array | None
    radius: Array
    tolerance: Array
    errors: Array | None

    @property
    def horizons(self) -> Array:
        """Of each variable the number of steps for which its radius is at most its tolerance, ``(D,)``."""
        within = self.radius <= self.tolerance
        return np.asarray(np.cumprod(within, 0).sum(0))

    @property
    def horizon(self) -> int:
        """The number of steps for which all of them are."""
        return int(self.horizons.min())

    def __str__(self) -> str:
        steps = len(self.radius)
        told = [
            f"the forecast is within {tol:.3g} of {name} for {n} of {steps} steps"
            for name, tol, n in zip(self.names, self.tolerance, self.horizons)
        ]
        said = "; ".join(told) + ": proved."
        if self.errors is None:
            return said[0].upper() + said[1:]
        given = " and ".join(f"{name} exceeds {e:.3g}" for name, e in zip(self.names, self.errors))
        return f"If no one-step error of {given}, {said}"

    def plot(self, variable: int | str = 0, ax: Axes | None = None) -> Axes:
        """The forecast with its certified band: `lemode.plots.certified_forecast`."""
        from ..plots import certified_forecast

        return certified_forecast(self, variable, ax)


@checks(tolerance=array, history=count, steps=count, errors=array)
def certified_horizon(
    model: Any,
    series: ArrayLike,
    tolerance: ArrayLike,
    *,
    history: int | None = None,
    steps: int | None = None,
    errors: ArrayLike | None = None,
    inputs: ArrayLike | None = None,
) -> CertifiedHorizon:
    r"""For how many steps the free run of a surrogate is proved to stay within a tolerance of the truth. Statement 8.2.

    With F the surrogate fed with its own predictions, :math:`V_n` the network along the true series, so that
    :math:`V_{n+1} = F(V_n) + B\varepsilon_n` with the one-step errors :math:`\varepsilon_n`, and :math:`\Phi, R` of
    `lemode.analysis.tube_along`, the free run :math:`\tilde V` has

    .. math::

        |\tilde V_n - V_n| \le \delta_n = \Big|\sum_{k<n} \Phi_{n,k+1} B\varepsilon_k\Big|
            + \sum_{k<n} |\Phi_{n,k+1}|\,(R_k(\delta_k)\,\delta_k + \rho_k)

    with what rounding adds, :math:`\rho`, in the precision that the network runs in. There are two statements:

    - *The data are known:* `series` goes on after the history. The errors :math:`\varepsilon` are computed from it, with their signs.
    - *The future:* `series` is the history, and `errors` bounds the sizes of the one-step errors to come, such as a quantile of those on
      validation series. :math:`\Phi` and R are then taken along the forecast. The statement is conditional on that bound, and says so.

    Nothing of the system behind the data is used. Where the radius reaches the bounds that the model is held between, 8.4, it ends.

    Parameters
    ----------
    model : lemode.Surrogate
        Fitted; a trained network or a readout, of one layer or more.
    series : (T, D + m), or a frame or Trajectories with columns of these names
        In the units of the data, at the interval of the training data: what the model predicts, then its inputs where it has any.
    tolerance : float or (D,)
        In the units of the data.
    history : int, optional
        How many samples the forecast reads, where the data are known; half of them by default.
    steps : int, optional
        How many to forecast: all that follow the history; to be given for the future.
    errors : float or (D,), optional
        A bound on the sizes of future one-step errors, in the units of the data.
    inputs : (steps, m), optional
        Future inputs, for the future.

    Returns
    -------
    CertifiedHorizon
        With ``horizon``, the number of steps, ``radius`` for every step and variable, and ``plot()``.

    Raises
    ------
    TypeError, ValueError
        For another kind of model, one that is not fitted, a model with angles, a season or a scale of each series, a continuous one,
        shapes that do not fit, values that are missing; or more work than some minutes: N steps of D numbers, those of the state
        included, take N^2 D^3 / 2 multiplications.
    RuntimeError
        If the forecast leaves the radius, which would contradict the proof.

    Examples
    --------
    >>> t = 0.2 * np.arange(200)
    >>> x = np.stack([np.sin(t + k) for k in range(6)])[..., None]
    >>> settings = {"hidden_size": 4, "train": "all", "steps": 60, "verbose": False}
    >>> model = lemode.Surrogate(**settings).fit(x[:4], validation=x[4:5])
    >>> found = certified_horizon(model, x[5], tolerance=0.5, history=100)
    >>> bool((np.abs(found.forecast - found.truth) <= found.radius).all()), found.horizon > 0
    (True, True)

    The same for the future, if no error is larger than the largest of the validation series:

    >>> largest = np.abs(model.predict(x[4])[100:-1] - x[4, 101:]).max(0)
    >>> future = certified_horizon(model, x[5, :100], tolerance=0.5, steps=50, errors=largest)
    >>> 0 < future.horizon <= found.horizon
    True
    """
    network = _network(model)
    D, m = len(model.names_), len(network.input_mean)
    data = _series("series", model.as_array(series), D + m, (*model.names_, *model.input_names_))
    tol = _per_variable("tolerance", tolerance, D)
    bound = None if errors is None else _per_variable("errors", errors, D)
    if bound is None:
        if inputs is not None:
            raise ValueError("inputs: they are columns of the series where it goes on after the history; leave them out.")
        known = len(data) // 2 if history is None else history
        steps = len(data) - known if steps is None else steps
        if not (known > 0 and 0 < steps <= len(data) - known):
            raise ValueError(
                f"history={known}, steps={steps}: the series has {len(data)} samples, to be read and to be compared with; for what "
                "lies behind them give errors=, a bound on the one-step errors to come."
            )
        data = data[: known + steps]
    else:
        if history not in (None, len(data)):
            raise ValueError(f"history={history}: with errors= all of the series, {len(data)} samples, is the history.")
        if not steps:
            raise ValueError(f"steps={steps}: say how many to forecast, as errors= is about what is not known yet.")
        known = len(data)
        future = _series("inputs", np.empty((steps, 0)) if inputs is None else inputs, m, model.input_names_)
        if len(future) != steps:
            raise ValueError(f"inputs have {len(future)} rows: give one for each of {steps} steps.")
        data = np.concatenate([data, np.concatenate([np.full((steps, D), np.nan), future], 1)])
    loop = ClosedLoop(network)
    check_work(loop.size, steps, "a horizon")
    forecast = np.asarray(
        model.forecast(data[:known], steps, **({"inputs": data[known:, D:]} if m else {})), dtype=np.float64
    ).reshape(steps, D)
    radius = _radii(loop, data, known, steps, bound)
    truth = None if bound is not None else data[known:, :D]
    if truth is not None and not (np.abs(forecast - truth) <= radius).all():
        raise RuntimeError(
            "the forecast leaves the radius that is proved for it: this contradicts statement 8.2, or the model runs in a way "
            "that this function does not know. Please report it."
        )
    t = model.step_ * np.arange(1.0, steps + 1)
    return CertifiedHorizon(tuple(model.names_), t, forecast, truth, radius, tol, bound)


class ClosedLoop:
    """A surrogate that is fed with its own predictions, as a map of ``(z, y of every layer, x, delayed x)``, enclosed over boxes.

    Examples
    --------
    >>> from lemode.surrogate.network import IncrementNetwork
    >>> network = IncrementNetwork(lemode.LEM(2, 4, dtype=torch.float64), 4, 2, torch.float64)
    >>> loop = ClosedLoop(network)
    >>> image, by, own, running = loop.enclose(np.zeros(10), np.full(10, 1e-3), np.zeros(0))
    >>> by.mid.shape, bool(np.allclose(image[8:], network.step(torch.zeros(1, 1, 2, dtype=torch.float64))[0].detach()))
    ((10, 10), True)
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self.unit = unit_roundoff(network.mean.dtype)
        self.steps = [LayerStep(cell) for cell in network.core.layers()]
        self.D, d = len(network.mean), self.steps[0].d
        self.states, self.lags = 2 * d * len(self.steps), network.delays
        self.size = self.states + self.D * (1 + self.lags)
        C, c, self.mean, self.std, s = (
            p.detach().to("cpu", torch.float64).numpy()
            for p in (network.head.weight, network.head.bias, network.mean, network.std, network.increment)
        )
        self.constant, K = s * c, s[:, None] * C
        self.by_state = np.zeros((self.D, self.states))
        seen = self.D * (1 + self.lags)
        self.by_series, self.by_series_size = np.zeros((self.D, seen)), np.zeros((self.D, seen))
        self.by_input = np.zeros((self.D, self.steps[0].m - seen))
        # where nothing is held the map has a derivative, and it is the same; a delayed value is held as it is read
        self.lower, self.upper = (
            np.tile(end.detach().to("cpu", torch.float64).numpy(), 1 + self.lags) for end in (network.lower, network.upper)
        )
        linear = network.linear
        if not linear:
            self.by_state[:, -d:] = K
        else:  # a head that reads x, its differences over the delays, the inputs, and y, z of each layer
            self.by_series[:, : self.D] = K[:, : self.D]
            self.by_series_size[:, : self.D] = np.abs(K[:, : self.D])
            for j in range(self.lags):
                later, earlier = (slice((j + i) * self.D, (j + i + 1) * self.D) for i in (0, 1))
                slope = K[:, earlier] / s
                self.by_series[:, later] += slope
                self.by_series[:, earlier] -= slope
                for here in (later, earlier):
                    self.by_series_size[:, here] += np.abs(slope)
            self.by_input[:] = K[:, seen:linear]
            y_z = K[:, linear:].reshape(self.D, -1, 2, d)
            self.by_state[:] = y_z[:, :, ::-1].reshape(self.D, -1)
        diagonal = np.arange(self.D)
        self.by_series[diagonal, diagonal] += 1
        self.by_series_size[diagonal, diagonal] += 1
        shift = np.hstack([np.eye(self.D * self.lags), np.zeros((self.D * self.lags, self.D))])
        self.shift = Ball.exact(np.hstack([np.zeros((len(shift), self.states)), shift]))

    def is_held(self, v: Array, e: Array) -> bool:
        """Whether the values in the box within e of v may be at the bounds of the network, beyond which its derivative is another."""
        x = v[self.states :]
        reach = outward(e[self.states :] + 2 * U * np.abs(x), 2)  # the sums below are rounded
        return bool((x - reach <= self.lower).any() or (x + reach >= self.upper).any())

    def enclose(self, v: Array, e: Array, known: Array) -> tuple[Array, Ball, Array, Array]:
        """The image of v ``(size,)``, its derivative over the box within e of v, and what rounding adds, here and in the network."""
        S = self.states
        x = v[S:]
        none = np.zeros(len(known))
        found = enclose_layers(self.steps, v[:S], e[:S], np.concatenate([x, known]), np.concatenate([e[S:], none]), self.unit)
        by_series = Ball(found.by_input.mid[:, : len(x)], found.by_input.rad[:, : len(x)])
        by = Ball(np.hstack([found.by_state.mid, by_series.mid]), np.hstack([found.by_state.rad, by_series.rad]))
        # a coefficient is a product or two, and a sum of those
        to_x = Ball(self.by_state, 4 * U * np.abs(self.by_state)) @ by
        direct = np.hstack([np.zeros((self.D, S)), self.by_series])
        to_x = to_x.plus(Ball(direct, np.hstack([np.zeros((self.D, S)), 16 * U * self.by_series_size])))
        image = self.by_series @ x + self.by_input @ known + self.by_state @ found.image + self.constant
        terms = self.size + len(known) + 16
        heads = np.abs(self.by_state)
        reached = outward(np.abs(found.image) + by.size() @ e, self.size)
        sizes = (
            self.by_series_size @ (np.abs(x) + e[S:]) + np.abs(self.by_input) @ np.abs(known) + heads @ reached
            + np.abs(self.constant)
        )  # fmt: skip
        own, running = (
            outward(heads @ lost + 2 * terms * unit * sizes, terms)
            for lost, unit in ((found.own, U), (found.running, self.unit))
        )
        still = np.zeros(self.D * self.lags)
        whole = [by, to_x, self.shift]
        return (
            np.concatenate([found.image, image, x[: len(still)]]), Ball(*(np.vstack(part) for part in zip(*whole))),
            np.concatenate([found.own, own, still]), np.concatenate([found.running, running, still]),
        )  # fmt: skip


@torch.no_grad()
def _radii(loop: ClosedLoop, data: Array, known: int, steps: int, errors: Array | None) -> Array:
    """How far the network's free run can be from the truth, in the units of the data, ``(steps, D)``."""
    network, D, S = loop.network, loop.D, loop.states
    mean, std = loop.mean, loop.std
    dtype = network.mean.dtype
    drives = _both_ends(network.normalise_inputs(torch.tensor(data[:, D:], dtype=dtype)))
    past = network.normalise(torch.tensor(data[:known, :D], dtype=dtype))[:, None]
    drive = drives[:known, None] if drives.shape[1] else None
    # the very numbers with which the forecast begins
    first, ((y, z), lags) = network.step(past, drive)
    state = torch.stack([z[:, 0], y[:, 0]], 1).reshape(-1)
    run = [state, first[-1, 0], *lags[:, 0].flip(0)]
    begun = torch.cat(run).to("cpu", torch.float64).numpy()
    e = drives.to("cpu", torch.float64).numpy()
    x = (data[:, :D] - mean) / std
    v, center, noise = begun.copy(), np.zeros(loop.size), np.zeros(loop.size)
    if errors is None:
        v[S:] = np.concatenate([x[known - j] for j in range(1 + loop.lags)])
        center = begun - v
        noise[S:] = 2 * U * np.abs(center[S:])
    here = slice(S, S + D)

    def allowed(reach: Array) -> Array:
        """The errors to come, as they are where the network's prediction, of such a size, has come back to the units of the data."""
        return outward((np.zeros(D) if errors is None else errors + 4 * loop.unit * (std * reach + np.abs(mean))) / std, 4)

    if errors is not None:
        noise[here] = allowed(np.abs(v[here]))
    spread = Spread(loop.size, steps)
    spread.add(noise[:, None])
    radius = np.full((steps, D), np.inf)
    for n in range(steps):
        delta = outward(np.abs(center) + spread.total()[:, 0], 2)
        if loop.is_held(v, delta):
            break
        # back in the units of the data: their normalisation in float64, and the network's way back
        size = std * (np.abs(v[here]) + delta[here]) + np.abs(mean)
        radius[n] = outward(std * delta[here] + (4 * loop.unit + 8 * U) * size, 8)
        if n == steps - 1 or not delta.max() <= FAR:
            break
        image, by, own, running = loop.enclose(v, delta, e[known + n])
        A = by.mid
        step = np.zeros(loop.size)
        if errors is None:
            step[here] = image[here] - x[known + n + 1]
            v = np.concatenate([image[:S], x[known + n + 1], image[S + D :]])
        else:
            v = image
        lost = (by.rad + 2 * (loop.size + 2) * U * np.abs(A)) @ delta + 4 * U * np.abs(step) + own + running
        if errors is not None:  # the network along the truth rounds as well
            lost += running
            lost[here] += allowed(np.abs(image[here]) + by.size()[here] @ delta)
        center = A @ center + step
        spread.advance(A, outward(lost, loop.size)[:, None])
    return radius


def _both_ends(e: torch.Tensor) -> torch.Tensor:
    """A network reads the inputs at both ends of a step; behind the last sample they stay."""
    return torch.cat([e, torch.cat([e[1:], e[-1:]])], -1)


def _network(model: Any) -> Any:
    """The network, if this module knows how it runs; TypeError or ValueError otherwise."""
    name = type(model).__name__
    if not hasattr(model, "forecast"):
        raise TypeError(f"model is {name}: give a fitted lemode.Surrogate.")
    network = getattr(model, "network_", None)
    if network is None:
        raise ValueError(f"this {name} is not fitted yet, or has no network: call fit first.")
    core, table = getattr(network, "core", None), model.table_
    if not isinstance(core, LEM) or core.bidirectional or hasattr(network, "grid"):
        raise TypeError(
            f"model is {name}: a horizon is certified for lemode.Surrogate, whose core is a LEM on variables, not fields."
        )
    if hasattr(network, "substeps"):
        raise ValueError("continuous=True: a horizon is certified for the discrete network; fit one with continuous=False.")
    for what, found in (("angles", table.angles), ("a season", table.periods), ("scale='series'", table.scale == "series")):
        if found:
            raise ValueError(f"the model has {what}: a horizon is certified in fixed linear scales; fit one without.")
    return network


def _series(name: str, value: ArrayLike, columns: int, names: tuple[str, ...]) -> Array:
    found = array(name, value)
    if found.ndim != 2 or found.shape[1] != columns or not len(found):
        raise ValueError(f"{name} has shape {found.shape}: give (T, {columns}), the columns {', '.join(names) or 'none'}.")
    if not np.isfinite(found).all():
        raise ValueError(
            f"{name} has values that are missing or not finite: nothing is proved about a series with gaps; fill them."
        )
    return found


def _per_variable(name: str, value: ArrayLike, D: int) -> Array:
    found = np.asarray(value, dtype=np.float64)
    if found.shape not in ((), (1,), (D,)) or not (np.isfinite(found) & (found > 0)).all():
        raise ValueError(f"{name}={found.tolist()}: give a positive number, or one for each of {D} variables.")
    return np.broadcast_to(found, (D,)).copy()
