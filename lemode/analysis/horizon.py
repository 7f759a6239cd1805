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
from .enclosure import LayerStep, Line, Reach
from .rounding import U, outward, unit_roundoff
from .tube import Spread, check_work

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["CertifiedHorizon", "ClosedLoop", "certified_horizon"]

PARTS = 4  # of a segment from the middle; with more the mean of a rest comes nearer to half of what it is at the end
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
    noise : (D,) or None
        How far from the truth the samples may be; None where the statement is about the very ones that were given.

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
    noise: Array | None = None

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
        conditions = [
            f"no {what} {' and '.join(f'{name} {does} {e:.3g}' for name, e in zip(self.names, values))}"
            for what, does, values in (
                ("sample of", "is off by more than", self.noise),
                ("one-step error of", "exceeds", self.errors),
            )
            if values is not None
        ]
        said = "; ".join(told) + ": proved."
        return f"If {' and '.join(conditions)}, {said}" if conditions else said[0].upper() + said[1:]

    def plot(self, variable: int | str = 0, ax: Axes | None = None) -> Axes:
        """The forecast with its certified band: `lemode.plots.certified_forecast`."""
        from ..plots import certified_forecast

        return certified_forecast(self, variable, ax)


@checks(tolerance=array, history=count, steps=count, errors=array, noise=array)
def certified_horizon(
    model: Any,
    series: ArrayLike,
    tolerance: ArrayLike,
    *,
    history: int | None = None,
    steps: int | None = None,
    errors: ArrayLike | None = None,
    inputs: ArrayLike | None = None,
    noise: ArrayLike | None = None,
) -> CertifiedHorizon:
    r"""For how many steps the free run of a surrogate is proved to stay within a tolerance of the truth. Statement 8.2.

    With F the surrogate fed with its own predictions, :math:`C_n` its free run as it is computed here, and :math:`\Phi, R` along that as in
    `lemode.analysis.tube_along`, the free run :math:`\tilde V` of a network that rounds by :math:`\rho` has

    .. math::

        |\tilde V_n - C_n| \le \delta_n = |\Phi_{n,0}|\,\delta_0 + \sum_{k<n} |\Phi_{n,k+1}|\,(R_k(\delta_k)\,\delta_k + \rho_k) .

    There are two statements:

    - *The data are known:* `series` goes on after the history. How far :math:`C_n` is from it is measured, one-step errors with their
      signs and all; the radius is that and :math:`\delta_n`. Of the one forecast at hand a subtraction says as much. What is proved is
      about every way to compute it in the network's precision, on any machine, and with `noise` about every history within that.
    - *The future:* `series` is the history, and `errors` bounds the sizes of the one-step errors to come, such as a quantile of those on
      validation series; each is one more defect, :math:`\rho`. The statement is conditional on that bound, and says so.

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
    noise : float or (D,), optional
        How far each sample of `series` may be from the true one, in the units of the data: a statement about all series within that, and
        the forecasts of all of their histories. Without it the samples are taken as they are; inputs always are.

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
    bound, off = (
        None if given is None else _per_variable(name, given, D) for name, given in (("errors", errors), ("noise", noise))
    )
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
    check_work(loop.size, steps if off is None else known + steps, "a horizon")
    forecast = np.asarray(
        model.forecast(data[:known], steps, **({"inputs": data[known:, D:]} if m else {})), dtype=np.float64
    ).reshape(steps, D)
    radius = _radii(loop, data, known, steps, bound, np.zeros(D) if off is None else off)
    truth = None if bound is not None else data[known:, :D]
    if truth is not None and not (np.abs(forecast - truth) <= radius).all():
        raise RuntimeError(
            "the forecast leaves the radius that is proved for it: this contradicts statement 8.2, or the model runs in a way "
            "that this function does not know. Please report it."
        )
    t = model.step_ * np.arange(1.0, steps + 1)
    return CertifiedHorizon(tuple(model.names_), t, forecast, truth, radius, tol, bound, off)


class ClosedLoop:
    """A surrogate that is fed with its own predictions, as a map of ``(z, y of every layer, x, delayed x)``, enclosed over boxes.

    Examples
    --------
    >>> from lemode.surrogate.network import IncrementNetwork
    >>> network = IncrementNetwork(lemode.LEM(2, 4, dtype=torch.float64), 4, 2, torch.float64)
    >>> loop = ClosedLoop(network)
    >>> image, A, rest, own, running = loop.enclose(np.zeros(10), np.full(10, 1e-3), np.zeros(0))
    >>> A.shape, bool(np.allclose(image[8:], network.step(torch.zeros(1, 1, 2, dtype=torch.float64))[0].detach()))
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
        self.terms = self.size + len(self.by_input.T) + 16 if linear else d + 4
        self.shift = np.eye(self.D * self.lags, self.size, self.states)

    def is_held(self, v: Array, e: Array) -> bool:
        """Whether the values in the box within e of v may be at the bounds of the network, beyond which its derivative is another."""
        x = v[self.states :]
        reach = outward(e[self.states :] + 2 * U * np.abs(x), 2)  # the sums below are rounded
        return bool((x - reach <= self.lower).any() or (x + reach >= self.upper).any())

    def enclose(
        self, v: Array, e: Array, known: Array, reach: Reach | None = None, parts: int = 1
    ) -> tuple[Array, Array, Array, Array, Array]:
        """One step from what is within e of v, and no farther than `reach` says.

        The image of v ``(size,)``; the derivative ``(size, size)``; the rest, by which the difference of two images differs from the
        derivative times that of their origins; and what rounding adds to an image, here and in the network. With more than one of
        the `parts` one of the two is that of v.
        """
        S, x, eye = self.states, v[self.states :], np.eye(self.size)
        within = (lambda M: outward(np.abs(M) @ e, self.size)) if reach is None else reach
        none = np.zeros(self.size)
        below = np.concatenate([x, known])
        u = Line(below, np.pad(eye[S:], ((0, len(known)), (0, 0))), np.zeros(len(below)), np.pad(e[S:], (0, len(known))))
        lines, own, running = [], [], []
        for i, step in enumerate(self.steps):
            d = step.d
            places = [slice((2 * i + j) * d, (2 * i + j + 1) * d) for j in (0, 1)]
            new, lost, lost_running = step.follow(
                [Line(v[p], eye[p], none[p], e[p]) for p in places], u, within, self.unit, parts
            )
            lines += new
            own.append(lost)
            running.append(lost_running)
            # what the next layer reads has been rounded, twice where two networks are compared
            u = new[1]._replace(rest=outward(new[1].rest + lost[d:] + 2 * lost_running[d:], 4))
        state = Line(*(np.concatenate(part) for part in zip(*lines)))
        # a coefficient of the head is a product or two, and a sum of those
        to_x, heads = state.through(self.by_state), np.abs(self.by_state)
        direct = np.abs(self.by_series) @ e[S:]
        A = np.vstack([state.by, to_x.by + np.hstack([np.zeros((self.D, S)), self.by_series]), self.shift])
        by_rest = to_x.rest + 4 * U * (to_x.size + direct) + 16 * U * (self.by_series_size @ e[S:] + direct + to_x.size)
        image = self.by_series @ x + self.by_input @ known + self.by_state @ state.value + self.constant
        value = np.abs(x[: self.D]) + e[S : S + self.D]
        box = heads @ outward(state.size + state.rest, 2) + self.by_series_size @ e[S:]
        sizes = (
            self.by_series_size @ np.abs(x) + np.abs(self.by_input) @ np.abs(known) + heads @ np.abs(state.value)
            + np.abs(self.constant) + box
        )  # fmt: skip
        # the increment is a sum of small terms, and added to the value in the end; here all of it is one sum
        n = self.terms
        partial = np.minimum(sizes, (sizes + np.abs(image - x[: self.D]) + box) / 2 + 2 * n * U * (sizes + value))
        lost, lost_running = np.concatenate(own), np.concatenate(running)
        own_x = outward(heads @ lost + 2 * n * U * (sizes + value), n)
        run_x = outward(heads @ lost_running + self.unit * (n / (1 - n * self.unit) * partial + 8 * sizes + value), n)
        still = np.zeros(self.D * self.lags)
        return (
            np.concatenate([state.value, image, x[: len(still)]]), A, np.concatenate([state.rest, outward(by_rest, n), still]),
            np.concatenate([lost, own_x, still]), np.concatenate([lost_running, run_x, still]),
        )  # fmt: skip


@torch.no_grad()
def _radii(loop: ClosedLoop, data: Array, known: int, steps: int, errors: Array | None, noise: Array) -> Array:
    """How far the network's free run can be from the truth, in the units of the data, ``(steps, D)``."""
    network, D, S = loop.network, loop.D, loop.states
    mean, std, lower, upper = loop.mean, loop.std, loop.lower[:D], loop.upper[:D]
    dtype, here = network.mean.dtype, slice(S, S + D)
    drives = _both_ends(network.normalise_inputs(torch.tensor(data[:, D:], dtype=dtype)))
    e = drives.to("cpu", torch.float64).numpy()

    def allowed(reach: Array) -> Array:
        """The errors to come, as they are where the network's prediction, of such a size, has come back to the units of the data."""
        return outward((np.zeros(D) if errors is None else errors + 4 * loop.unit * (std * reach + np.abs(mean))) / std, 4)

    first = np.zeros(loop.size)
    if noise.any():  # all histories, from the first sample on, which a network reads for its delayed values as well
        start = 0
        x = ((data[:known, :D] - mean) / std).clip(lower, upper)
        read = outward((noise + 8 * loop.unit * (np.abs(data[:known, :D]) + np.abs(mean))) / std, 4)
        v = np.concatenate([np.zeros(S), *[x[0]] * (1 + loop.lags)])
        first[S:] = np.tile(read[0], 1 + loop.lags)
    else:  # the very numbers with which the forecast begins
        start = known
        past = network.normalise(torch.tensor(data[:known, :D], dtype=dtype))[:, None]
        predicted, ((y, z), lags) = network.step(past, drives[:known, None] if drives.shape[1] else None)
        run = [torch.stack([z[:, 0], y[:, 0]], 1).reshape(-1), predicted[-1, 0], *lags[:, 0].flip(0)]
        v = torch.cat(run).to("cpu", torch.float64).numpy()
        if errors is not None:
            first[here] = allowed(np.abs(v[here]))
    spread = Spread(loop.size, known + steps - start)
    spread.add(first[:, None])
    radius = np.full((steps, D), np.inf)
    for k in range(start, known + steps):
        delta = spread.total()[:, 0]
        if k >= known:
            if loop.is_held(v, delta):
                break
            # back in the units of the data: their normalisation in float64, and the network's way back
            size = std * (np.abs(v[here]) + delta[here]) + np.abs(mean)
            apart = std * delta[here] + (4 * loop.unit + 8 * U) * size
            if errors is None:
                apart += np.abs(std * v[here] + mean - data[k, :D]) + 2 * U * np.abs(data[k, :D]) + noise
            radius[k - known] = outward(apart, 8)
        if k == known + steps - 1 or not delta.max() <= FAR:
            break
        image, A, rest, own, running = loop.enclose(v, delta, e[k], spread.reach, PARTS if errors is None else 1)
        v = image.copy()
        lost = rest + 2 * (loop.size + 2) * U * (np.abs(A) @ delta) + own + running
        if errors is not None:  # the network along the truth rounds as well
            lost += running
            lost[here] += allowed(np.abs(image[here]) + outward(np.abs(A[here]) @ delta + rest[here], loop.size))
        if k + 1 < known:  # what is read next is no prediction
            A[here], lost[here], v[here] = 0.0, read[k + 1], x[k + 1]
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
