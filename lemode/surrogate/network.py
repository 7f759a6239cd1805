"""The network of a surrogate: a recurrent core with a linear head that predicts the next increment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..lem import LEM
from ..ode import MultiscaleODE
from ..schemes import get_scheme
from .parameters import check_count, check_number
from .series import Grid, Series

__all__ = ["BOUNDS", "IncrementNetwork", "both_ends", "check_core", "draw_weights", "scales"]

# what is held where nothing is
BOUNDS = {"lower": -math.inf, "upper": math.inf}


class IncrementNetwork(nn.Module):
    r"""One step ahead along a series, in normalised variables.

    .. math::

        \hat x_{k+1} = \mathrm{clip}\big(x_k + s \odot (C\, y_k + c)\big), \qquad
        y_k = \mathrm{core}(x_k, x_{k-1}, \dots, x_{k-p}, e_k;\ \text{state})_k

    with x = (data - mean) / std, s the scale of the increments of x, p delayed copies and known inputs :math:`e_k`.
    What is read and what is predicted is held between the bounds `lower` and `upper`, `lemode.surrogate.containment`.

    Predicting the increment makes persistence the starting point and leaves to the network only what persistence misses.

    Between uneven samples, with :math:`r_k = (t_{k+1} - t_k) / (\text{usual interval})`, it is the core seen as a differential
    equation: its step that reads :math:`x_k` is :math:`r_{k-1} \Delta t` long, and the increment is :math:`r_k\, s \odot (C\, y_k + c)`.

    Parameters
    ----------
    core : module with the conventions of torch.nn.LSTM (LEM, LSTM, GRU) that reads ``dimension * (1 + delays) + inputs`` features
    hidden_size : features of the core's output
    dimension : D
    delays : p, how many previous values are read beside the present one
    inputs : number of features of the known inputs; `Surrogate` gives each at both ends of the step

    Attributes
    ----------
    mean, std, increment, input_mean, input_std : learned from the training data by `set_scales`
    lower, upper : ``(D,)``, in normalised variables; infinite where nothing is held

    Examples
    --------
    >>> network, data = IncrementNetwork(LEM(2, 4), 4, 2), torch.randn(50, 3, 2).cumsum(0)
    >>> network.set_scales(data)
    >>> x = network.normalise(data)
    >>> predicted, state = network.step(x)
    >>> network.denormalise(predicted).shape
    torch.Size([50, 3, 2])

    Where the head says nothing, it is persistence:

    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.zeros_(network.head.bias)
    >>> torch.equal(network.step(x)[0], x)
    True
    """

    kernel_rollout = True  # whether a free run is `lemode.kernels.rollout`, where the core is a LEM
    reads_everything = False  # whether the head reads x, its differences, known inputs, y and z, or y of the last layer
    constant = 1.0  # what the head's constant is multiplied by
    linear = 0  # of what the head reads, the first so many are the series themselves and known inputs: no ridge holds them back

    mean: Tensor
    std: Tensor
    increment: Tensor
    input_mean: Tensor
    input_std: Tensor
    lower: Tensor
    upper: Tensor

    def __init__(
        self,
        core: nn.Module,
        hidden_size: int,
        dimension: int,
        dtype: torch.dtype | None = None,
        delays: int = 0,
        inputs: int = 0,
    ) -> None:
        super().__init__()
        self.core = core
        self.delays = delays
        self.head = nn.Linear(hidden_size, dimension, dtype=dtype)
        for name in ("mean", "std", "increment"):
            self.register_buffer(name, torch.ones(dimension, dtype=dtype))
        for name in ("input_mean", "input_std"):
            self.register_buffer(name, torch.ones(inputs, dtype=dtype))
        for name, end in BOUNDS.items():
            self.register_buffer(name, torch.full((dimension,), end, dtype=dtype))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Weights as torch and lemode draw them, and scales of one."""
        draw_weights(self, generator)
        for buffer in self.buffers():
            buffer.fill_(1.0)
        for name, end in BOUNDS.items():
            self.get_buffer(name).fill_(end)

    def set_scales(self, x: Tensor, e: Tensor | None = None, r: Tensor | None = None) -> None:
        """Learn the scales from training data x ``(T, n, D)`` and inputs e ``(T, n, m)``, in float64; NaN is a value that is missing.

        r ``(T, n, 2)``: the intervals as in `forward`; increments are per usual interval.
        """
        for buffer, value in zip((self.mean, self.std, self.increment), scales(x.double(), r)):
            buffer.copy_(value)
        if e is not None and e.shape[-1]:
            mean, std = _moments(e.double())
            self.input_mean.copy_(mean)
            self.input_std.copy_(std)

    def fit_scales(self, grid: Grid) -> None:
        """Learn the scales from training data as they were laid out, and a step of the core that their longest interval admits."""
        raw, m = torch.tensor(grid.values).transpose(0, 1), len(self.input_mean)
        x, e = (raw[..., :-m], raw[..., -m:]) if m else (raw, None)
        if grid.r is None:
            self.set_scales(x, e)
        else:
            r = torch.tensor(grid.r).transpose(0, 1)
            self.check_intervals()
            self.set_scales(x, e, r)
            self.fit_steps(float(r.max()))

    def series(self, grid: Grid) -> Series:
        """Laid out data, normalised; the inputs at both ends of each step are known when it is predicted."""
        if grid.r is not None:
            self.check_intervals()
        values, r = (None if a is None else self._time_first(a) for a in (grid.values, grid.r))
        assert values is not None
        m = len(self.input_mean)
        x, e = self.normalise(values[..., :-m] if m else values), None
        if m:
            e = both_ends(self.normalise_inputs(values[..., -m:].nan_to_num()))
        there = x.isfinite()
        if there.all():
            return Series(x, e, r, lead=grid.lead)
        return Series(_last_seen(x, there), e, r, there, grid.lead)

    def _time_first(self, array: NDArray[np.floating[Any]]) -> Tensor:
        return torch.tensor(array.swapaxes(0, 1), dtype=self.mean.dtype)

    def normalise(self, x: Tensor) -> Tensor:
        """Data to normalised variables."""
        return (x - self.mean) / self.std

    def normalise_inputs(self, e: Tensor) -> Tensor:
        """Known inputs to normalised ones."""
        return (e - self.input_mean) / self.input_std

    def denormalise(self, x: Tensor) -> Tensor:
        """Normalised variables to data."""
        return x * self.std + self.mean

    def forward(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """Scaled increments ``C y + c`` for normalised x ``(T, n, D)`` and inputs e ``(T, n, m)``, and the state to go on from.

        r ``(T, n, 2)``: the intervals before and after x[k], in units of the usual one; 1 by default. The increments are those over
        the interval after.
        """
        y, state = self.features(x, e, state, r)
        return self.head(y) if r is None else r[..., 1:] * self.head(y), state

    def features(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """What the head reads: y ``(T, n, hidden_size)``, and the state to go on from."""
        core_state, past = (None, x[:1].expand(self.delays, -1, -1)) if state is None else state
        u = self.core_input(x, e, past)
        y, core_state = self.core(u, core_state) if r is None else self.core(u, core_state, dt=self._core_steps(r[..., 0]))
        series = torch.cat([past, x]) if self.delays else x
        return y, (core_state, series[len(series) - self.delays :])

    def core_input(self, x: Tensor, e: Tensor | None = None, past: Tensor | None = None) -> Tensor:
        """What the core reads ``(T, n, features)`` where the network reads normalised x ``(T, n, D)`` and e ``(T, n, m)``.

        past ``(delays, n, D)``: the values before x; its first one, repeated, by default.
        """
        T, p = len(x), self.delays
        series = torch.cat([x[:1].expand(p, -1, -1) if past is None else past, x]) if p else x
        read = [series[p - j : p - j + T] for j in range(p + 1)]
        if e is not None:
            read.append(e)
        return torch.cat(read, -1) if len(read) > 1 else x

    def regressors(self, y: Tensor) -> Tensor:
        """What the scaled increments are a linear function of: ``(T, n, ..., hidden_size)``."""
        return y

    def by_point(self, x: Tensor) -> Tensor:
        """The variables x ``(T, n, D)`` as the head predicts them from `regressors`."""
        return x

    def held(self, x: Tensor) -> Tensor:
        """x ``(T, n, D)`` between the bounds: bit by bit the same where it is; what is no number stays so."""
        return x.clamp(self.lower, self.upper)

    def spread(self, values: Tensor) -> Tensor:
        """Numbers of the variables ``(D,)`` as `by_point` has them, one for every variable of the network."""
        return values

    def base(self, x: Tensor) -> Tensor:
        """What the increments are added to, for normalised x ``(T, n, D)``."""
        return x

    def white(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """White noise for what is read, in increments ``(T, n, D)``."""
        return torch.randn(shape, generator=generator, dtype=self.mean.dtype)

    def check_intervals(self) -> None:
        """ValueError where the core has no step size that could follow uneven samples."""
        if not isinstance(self.core, LEM):
            raise ValueError(
                f"{type(self.core).__name__} knows no step size: it reads samples one interval apart. Resample the data, or use "
                "lemode.Surrogate."
            )

    def _core_steps(self, since: Tensor) -> Tensor:
        """The core's step sizes; as long as its scheme admits where an interval is longer than any in the training data."""
        assert isinstance(self.core, LEM), "check_intervals was not asked"
        cell = self.core.layers()[0]
        return (cell.dt * since).clamp_max(cell.scheme.max_dt)

    def fit_steps(self, longest: float) -> None:
        """Shorten the core's step to what its scheme admits over the longest interval, in units of the usual one."""
        for cell in self.core.layers() if isinstance(self.core, LEM) else ():
            cell.dt = min(cell.dt, cell.scheme.max_dt / longest)

    def rebuilt_from(self) -> dict[str, int] | None:
        """What a file has to say of the network beside the hyper-parameters; None where these say all."""
        return None

    def core_dt(self) -> float | None:
        """The core's step size, where it has one."""
        return self.core.dt if isinstance(self.core, LEM) else None

    def set_core_dt(self, dt: float | None) -> None:
        """Put back what `core_dt` said; None is no change."""
        if dt is not None and isinstance(self.core, LEM):
            for cell in self.core.layers():
                cell.dt = dt

    def step(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """The next normalised x for the normalised series so far: ``(T, n, D)`` to ``(T, n, D)``, both held between the bounds."""
        x = self.held(x)
        increment, state = self(x, e, state) if r is None else self(x, e, state, r)
        return self.held(self.base(x) + self.increment * increment), state


def check_core(hidden_size: object, dt: object, scheme: str, num_layers: object = 1, delays: object = None) -> None:
    """ValueError for hyper-parameters of which no network can be made.

    Examples
    --------
    >>> check_core(16, 2.0, "imex")
    Traceback (most recent call last):
    ValueError: dt=2.0: scheme 'imex' admits up to 1 in a surrogate; use a smaller dt, or scheme='exponential', which admits every dt.
    """
    check_count("hidden_size", hidden_size)
    check_count("num_layers", num_layers)
    if delays is not None:
        check_count("delays", delays, 0, ": a number of previous values, or None")
    found = get_scheme(scheme)
    if check_number("dt", dt) > found.max_dt:
        raise ValueError(
            f"dt={dt!r}: scheme {found.name!r} admits up to {found.max_dt:g} in a surrogate; use a smaller dt, or "
            "scheme='exponential', which admits every dt."
        )


def both_ends(e: Tensor) -> Tensor:
    """Inputs ``(T, n, m)`` at both ends of each step, ``(T, n, 2 m)``; after the last sample they stay as they are.

    Examples
    --------
    >>> both_ends(torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1))[:, 0]
    tensor([[1., 2.],
            [2., 3.],
            [3., 3.]])
    """
    return torch.cat([e, torch.cat([e[1:], e[-1:]])], -1)


def _last_seen(x: Tensor, there: Tensor) -> Tensor:
    """Missing values replaced by the last one before, or by the mean."""
    index = torch.arange(len(x))[:, None, None].where(there, torch.tensor(-1)).cummax(0).values
    return x.gather(0, index.clamp_min(0)).where(index >= 0, torch.zeros((), dtype=x.dtype))


@torch.no_grad()
def draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Initial weights from the generator: those that constructors draw from torch's global one, which other threads draw from as well.

    TypeError for a layer with weights that is none of `lemode.MultiscaleODE`, torch.nn.Linear and torch's recurrent ones.

    Examples
    --------
    >>> state, layer = torch.random.get_rng_state(), torch.nn.Linear(2, 3, device="meta").to_empty(device="cpu")
    >>> draw_weights(layer, torch.Generator().manual_seed(0))
    >>> bool(layer.weight.abs().max() <= 2**-0.5), torch.equal(torch.random.get_rng_state(), state)
    (True, True)
    """
    for layer in network.modules():
        if isinstance(layer, MultiscaleODE):
            layer.reset_parameters(generator)
        elif isinstance(layer, (nn.Linear, nn.RNNBase)):  # in torch: of the inputs, and of the hidden units
            bound = 1 / math.sqrt(layer.in_features if isinstance(layer, nn.Linear) else layer.hidden_size)
            for p in layer.parameters():
                p.uniform_(-bound, bound, generator=generator)
        elif next(layer.parameters(recurse=False), None) is not None:
            raise TypeError(
                f"{type(layer).__name__} draws its own weights: derive it from MultiscaleODE, nn.Linear or nn.RNNBase."
            )


def scales(x: Tensor, r: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and standard deviation of x ``(T, n, D)``, and the root mean square of its increments in units of the latter; each ``(D,)``.

    Examples
    --------
    >>> mean, std, increment = scales(torch.tensor([0.0, 2.0, 0.0, 2.0], dtype=torch.float64).reshape(4, 1, 1))
    >>> mean.item(), std.item(), increment.item()
    (1.0, 1.0, 2.0)
    """
    mean, std = _moments(x)
    if r is None and x.isfinite().all():
        step = ((x[1:] - x[:-1]) / std).pow(2).mean(dim=(0, 1)).sqrt()
    else:
        step = _rates(x / std, r).pow(2).nanmean(dim=(0, 1)).sqrt()
    return mean, std, torch.where(step > 0, step, torch.ones_like(step))


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over time and series, of what is no NaN; a constant variable is passed through unscaled."""
    if x.isfinite().all():
        mean, std = x.mean(dim=(0, 1)), x.std(dim=(0, 1), correction=0)
    else:
        mean = x.nanmean(dim=(0, 1))
        std = (x - mean).square().nanmean(dim=(0, 1)).sqrt()
    tiny = 1e-12 * x.nan_to_num().abs().amax(dim=(0, 1)) + torch.finfo(torch.float64).tiny
    return mean, torch.where(std > tiny, std, torch.ones_like(std))


def _rates(x: Tensor, r: Tensor | None) -> Tensor:
    """Increments from the value that was seen last, per usual interval; NaN where there are none."""
    there = x.isfinite()
    seen = torch.arange(len(x))[:, None, None].where(there, torch.tensor(-1)).cummax(0).values[:-1]
    clock = (torch.ones(x.shape[:2]) if r is None else r[..., 0]).double().cumsum(0)[..., None].expand_as(x)
    before, then = (s.gather(0, seen.clamp_min(0)) for s in (x, clock))
    return ((x[1:] - before) / (clock[1:] - then)).where(there[1:] & (seen >= 0), torch.nan)
