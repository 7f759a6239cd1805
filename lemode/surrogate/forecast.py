"""Free-running forecast: the surrogate fed with its own predictions; and so what is missing in a series is filled in."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..kernels import Layer, rollout
from ..lem import LEM
from .data import ForecastData
from .field_network import FieldNetwork
from .network import IncrementNetwork
from .series import Series

__all__ = [
    "closed_loop",
    "fill",
    "free_run",
    "free_run_error",
    "free_run_peak",
    "free_run_power",
    "run_ahead",
    "runs_in_kernel",
]


@torch.no_grad()
def fill(
    network: IncrementNetwork, series: Series, trailing: bool = True, state: object = None
) -> tuple[Series, Tensor | None]:
    """The series with the network's own predictions in place of what is missing, and the predictions ``(T, n, D)`` along it.

    Without `trailing` nothing is filled in behind the last value of a series, and there are no predictions. The state is that before the
    first value; at rest by default.

    Examples
    --------
    With a network that adds one at every step, and of four samples two missing:

    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> x = torch.tensor([1.0, 0.0, 0.0, 7.0]).reshape(4, 1, 1)
    >>> mask = torch.tensor([True, False, False, True]).reshape(4, 1, 1)
    >>> filled, predictions = fill(network, Series(x, mask=mask))
    >>> filled.x.flatten(), predictions.flatten()
    (tensor([1., 2., 3., 7.]), tensor([2., 3., 4., 8.]))
    """
    if series.mask is None:
        return series, network.step(*series.known(state))[0] if trailing else None
    x, missing = series.x.clone(), ~series.mask
    if not trailing:
        missing &= series.mask.any(-1, keepdim=True).flip(0).int().cummax(0).values.flip(0).bool()
    begin, predictions = 0, []
    stops = (missing.flatten(1).any(1)).nonzero().flatten().tolist()
    for end in [k for k in stops if k] + [len(x)] * trailing:  # all that is observed between two stops is read in one go
        predicted, state = network.step(*series._replace(x=x).part(begin, end).known(state))
        predictions.append(predicted)
        if end < len(x):
            x[end] = torch.where(missing[end], predicted[-1], x[end])
        begin = end
    return series._replace(x=x), torch.cat(predictions) if trailing else None


@torch.no_grad()
def free_run(
    network: IncrementNetwork,
    history: Tensor,
    steps: int,
    e: Tensor | None = None,
    e_future: Tensor | None = None,
    state: object = None,
) -> Tensor:
    """Warm up on the normalised history ``(T, n, D)``, then run free: the next ``steps`` values ``(steps, n, D)``.

    Known inputs, normalised: e ``(T, n, m)`` beside the history, and e_future ``(steps - 1, n, m)`` beside the values that are fed back.
    The state is that before the history; at rest by default.

    Examples
    --------
    With a network that adds one at every step:

    >>> network = IncrementNetwork(LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> history = torch.tensor([4.0, 5.0]).reshape(2, 1, 1)
    >>> free_run(network, history, 3).flatten()
    tensor([6., 7., 8.])
    """
    predicted, state = network.step(history, e, state)
    first = predicted[-1]
    if steps <= 1:
        return predicted[-1:][:steps]
    if runs_in_kernel(network):
        rest = _lem_rollout(network, first, state, steps - 1, e_future)
    else:
        rest = closed_loop(network, first, state, steps - 1, e_future)
    return torch.cat([first[None], rest])


@torch.no_grad()
def run_ahead(network: IncrementNetwork, data: ForecastData) -> Tensor:
    """The normalised values ``(steps, n, D)`` at the times of a forecast.

    Examples
    --------
    With a network that adds one at every step:

    >>> from lemode.surrogate.data import lay_out_forecast
    >>> network = IncrementNetwork(LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> network.mean.zero_()
    tensor([0.])
    >>> data = lay_out_forecast([[4.0], [5.0]], ("v",), 1, 1.0, 1, steps=3, inputs=None, dt=None, t=None)
    >>> run_ahead(network, data).flatten()
    tensor([6., 7., 8.])
    """
    series = network.series(data.grid)
    if data.places is not None:  # the values to come are missing ones
        filled = fill(network, series)[0].x
        places = torch.from_numpy(data.places.T)[..., None]
        return filled.gather(0, places.expand(-1, -1, filled.shape[-1]))
    steps = data.times.shape[1]
    history, coming = series.part(0, -steps), series.part(-steps, -1)
    return free_run(network, history.x, steps, history.e, coming.e)


def closed_loop(
    network: IncrementNetwork, x: Tensor, state: object, steps: int, e: Tensor | None = None, r: Tensor | None = None
) -> Tensor:
    """The plain loop: from x ``(n, D)`` and the network's state, the next values ``(steps, n, D)``; differentiable.

    Examples
    --------
    What the plain loop finds is what the compiled kernel of `free_run` does:

    >>> network = IncrementNetwork(LEM(1, 4), 4, 1)
    >>> history = torch.randn(20, 3, 1)
    >>> predicted, state = network.step(history)
    >>> rest = closed_loop(network, predicted[-1], state, steps=9)
    >>> torch.allclose(rest, free_run(network, history, 10)[1:], atol=1e-5)
    True
    """
    xs = []
    x = x[None]
    for k in range(steps):
        now = Series(x, None if e is None else e[k : k + 1], None if r is None else r[k : k + 1])
        x, state = network.step(*now.known(state))
        xs.append(x)
    return torch.cat(xs)


def runs_in_kernel(network: IncrementNetwork, r: Tensor | None = None) -> bool:
    """Whether free runs, of the intervals r, are `lemode.kernels.rollout`, which prepares the weights once and not at every step.

    Examples
    --------
    >>> runs_in_kernel(IncrementNetwork(LEM(1, 2), 2, 1)), runs_in_kernel(IncrementNetwork(torch.nn.LSTM(1, 2), 2, 1))
    (True, False)
    """
    return r is None and network.kernel_rollout and isinstance(network.core, LEM)


def _lem_rollout(network: IncrementNetwork, x0: Tensor, state: Any, steps: int, e: Tensor | None) -> Tensor:
    core, ((y, z), past) = network.core, state
    assert isinstance(core, LEM)
    layers = [
        Layer(c.ode.weight_ih, c.ode.weight_hh, c.ode.weight_zy, c.ode.stacked_bias(), c.dt, c.scheme.name)
        for c in core.layers()
    ]
    s, states = network.increment, list(zip(y.unbind(0), z.unbind(0), strict=True))
    weight, whole = network.head.weight, network.reads_everything
    if whole:  # differences are read in increments
        D, p = len(s), network.delays
        weight = torch.cat([weight[:, :D], weight[:, D : D + p * D] / s.repeat(p), weight[:, D + p * D :]], 1)
    head = s[:, None] * weight, s * network.head.bias
    before, bounds = past if network.delays else None, (network.lower, network.upper)
    return rollout(layers, *head, x0, states, steps, True, e, *bounds, before, whole)


def free_run_error(network: IncrementNetwork, series: Series, warmup: int, horizon: int, starts: int = 4) -> float:
    r"""How far free runs leave the truth: the mean over time, series and starts of :math:`\min(\mathrm{nrmse}, 1)`.

    Clipped at one, what the mean of the data would score, so that chaotic systems are judged by how long they are followed and
    a periodic one by its phase. The series ``(T, n, D)`` are normalised; what is missing in them is not judged.

    Examples
    --------
    A network that adds one at every step is right about 0, 1, 2, ..., and not about what is constant:

    >>> network = IncrementNetwork(LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> ramp = Series(torch.arange(12.0).reshape(12, 1, 1))
    >>> free_run_error(network, ramp, warmup=2, horizon=5), free_run_error(network, Series(0 * ramp.x), warmup=2, horizon=5)
    (0.0, 1.0)
    """
    x, e, r, mask, _ = series
    T = len(x)
    horizon = max(1, min(horizon, T - warmup))
    begins = sorted({int(b) for b in torch.linspace(0, T - warmup - horizon, starts)})
    errors = []
    for b in begins:
        mid, end = b + warmup, b + warmup + horizon
        if r is None and mask is None:
            free = free_run(
                network, x[b:mid], horizon, None if e is None else e[b:mid], None if e is None else e[mid : end - 1]
            )
            errors.append((free - x[mid:end]).square().mean(-1).sqrt().clamp(max=1.0).nan_to_num(1.0).mean())
            continue
        whole = series.part(b, end)
        seen = torch.ones_like(x[b:end], dtype=torch.bool) if mask is None else mask[b:end].clone()
        there = seen[warmup:].clone()
        seen[warmup:] = False
        error = (fill(network, whole._replace(mask=seen))[0].x[warmup:] - x[mid:end]).square().where(there, 0.0)
        judged = there.any(-1)
        if judged.any():
            error = (error.sum(-1) / there.sum(-1).clamp_min(1)).sqrt().clamp(max=1.0).nan_to_num(1.0)
            errors.append(error[judged].mean())
    return float(torch.stack(errors).mean()) if errors else 1.0


def free_run_power(network: IncrementNetwork, series: Series, warmup: int, steps: int) -> float:
    r"""Power of free runs from the beginnings of the series over that of the truth: 1 on the attractor, infinite after a blow-up.

    .. math:: \langle \hat x^2 \rangle / \langle x^2 \rangle

    over the same times, so that it is 1 for a perfect model of what decays, too; of several variables, or quantities of a field, that of
    the worst.
    Where the series end before the free runs, what comes after counts if it has more power than the truth ever had, or the training
    data. The series ``(T, n, D)`` are normalised, even and complete. A variable that hardly varies is not judged.

    Examples
    --------
    >>> network = IncrementNetwork(LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> ramp = Series(torch.arange(12.0).reshape(12, 1, 1))  # which this network goes on for ever
    >>> free_run_power(network, ramp, warmup=2, steps=10), free_run_power(network, ramp, warmup=2, steps=200) > 2
    (1.0, True)
    >>> free_run_power(network, Series(torch.ones(12, 1, 1)), warmup=2, steps=10)
    50.5
    """
    runs = (network.by_point(x) for x in (free_run(network, series.x[:warmup], steps), series.x[warmup:]))
    free, truth = (x.double().square().flatten(1, -2).mean(1) for x in runs)
    n = min(len(free), len(truth))
    ratio, after = free[:n].mean(0) / truth[:n].mean(0), free[n:]
    if len(after):  # the training data have the power one
        ratio = torch.maximum(ratio, after.mean(0) / truth.amax(0).clamp_min(1.0))
    ratio = ratio[truth.mean(0) > 1e-6].nan_to_num(math.inf, posinf=math.inf)
    return float(ratio[ratio.log().abs().argmax()]) if len(ratio) else 1.0


@torch.no_grad()
def free_run_peak(network: FieldNetwork, series: Series, warmup: int, steps: int) -> tuple[float, float] | None:
    """The wavelength, in points, and the share of the power of what free runs of a field have and the truth does not; None if nothing.

    That is the wavenumber of most power among those with a fiftieth of it all, and ten times that of the series.

    Examples
    --------
    >>> from lemode import ConvLEM
    >>> class Checkered(FieldNetwork):  # whose fields are never without a wave of two points
    ...     def step(self, x, e=None, state=None, r=None):
    ...         return torch.sin(x) + 0.2 * (-1) ** torch.arange(8.0), state
    >>> x = torch.sin(2 * torch.pi * torch.arange(8) / 8).expand(20, 3, 8)
    >>> wavelength, share = free_run_peak(Checkered(ConvLEM(1, 2, 3), 2, (8,)), Series(x), warmup=2, steps=5)
    >>> wavelength, 0.6 < share < 0.8
    (2.0, True)
    """
    free, truth = (network.spectrum(x).double() for x in (free_run(network, series.x[:warmup], steps), series.x))
    for power in (free, truth):  # the mean is no wave
        power.flatten(1)[:, 0] = 0.0
    share = (free / free.sum()).where((free > 10 * truth) & free.isfinite(), 0.0)
    if not float(share.max()) > 0.02:
        return None
    place = [int(i) for i in torch.unravel_index(share.argmax(), share.shape)][1:]
    along = [min(k, n - k) / n for k, n in zip(place, network.grid)]
    return 1 / math.hypot(*along), float(share.max())
