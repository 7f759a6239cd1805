"""Bands around a forecast: free runs that err at every step as the model erred on the validation series."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .data import ForecastData
from .forecast import fill
from .network import IncrementNetwork
from .parameters import check_number
from .series import Grid, Series

__all__ = ["LEAST", "Band", "check_level", "residuals", "sample_ahead"]

Array = NDArray[np.floating[Any]]

# free runs of a band: its ends at 90 % are then the twentieth from below and above
RUNS = 400
# errors that are kept, and numbers that they have in all
KEPT, NUMBERS = 200, 20_000
# of a field with more variables, so many series and what is kept of them: all would take longer than its fit
WIDE, WIDE_SERIES = 64, 4
# with fewer a band says nothing of 90 %
LEAST = 10


class Band(NamedTuple):
    """A forecast with the bounds between which a share `level` of the free runs lies, at every time; each is labelled as the history.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=300)
    >>> walk = np.cumsum(noise)[:, None]
    >>> model = lemode.Surrogate(hidden_size=2, steps=20, window=50, washout=5, verbose=0, train="all").fit(walk)
    >>> ahead = model.forecast(walk, steps=10, level=0.9)
    >>> width = ahead.upper - ahead.lower
    >>> bool(1 < width[0, 0] < 6), bool(width[-1, 0] > width[0, 0])
    (True, True)
    """

    values: Any
    lower: Any
    upper: Any
    level: float


def check_level(level: object) -> float:
    """A share between 0 and 1; ValueError otherwise.

    Examples
    --------
    >>> check_level(95)
    Traceback (most recent call last):
    ValueError: level=95: give a share of the free runs between 0 and 1, such as 0.9.
    """
    hint = " of the free runs between 0 and 1, such as 0.9"
    try:
        share = check_number("level", level)
    except ValueError:
        share = 1.0
    if share >= 1:
        raise ValueError(f"level={level!r}: give a share{hint}.")
    return share


@torch.no_grad()
def residuals(
    network: IncrementNetwork, series: Series, skip: int, along: tuple[Series, Tensor | None] | None = None
) -> list[list[float]]:
    """One-step errors along normalised series ``(T, n, D)``, truth minus prediction: some 200, evenly spread over all; the first `skip`, or
    those of the lead, are of a network that wakes up, and left out where they are not all. `along` is what `fill` says of the series, where
    it was asked already.

    Examples
    --------
    A network that adds one at every step:

    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> residuals(network, Series(torch.tensor([0.0, 1.5, 2.0]).reshape(3, 1, 1)), skip=0)
    [[0.5], [-0.5]]
    """
    skip = max(skip, series.lead)
    if series.x.shape[-1] > WIDE:
        series = series.map(lambda s: s[: skip + 1 + KEPT // WIDE_SERIES, :WIDE_SERIES])
    T, n = series.x.shape[:2]
    filled, predicted = fill(network, series) if along is None else along
    assert predicted is not None
    error = (filled.x[1:T, :n] - predicted[: T - 1, :n]).double()
    there = torch.ones(error.shape[:2], dtype=torch.bool)
    if series.mask is not None:
        seen = series.mask.all(-1)
        there = seen[1:] & seen[:-1]
    begin = skip if skip < len(error) - 1 and there[skip:].sum() >= LEAST else 0
    rows = error[begin:][there[begin:]]
    rows = rows[rows.isfinite().all(-1)]
    kept = min(KEPT, max(LEAST, NUMBERS // rows.shape[-1]))
    if len(rows) > kept:
        rows = rows[torch.linspace(0, len(rows) - 1, kept).long()]
    found: list[list[float]] = rows.tolist()
    return found


@torch.no_grad()
def sample_ahead(
    network: IncrementNetwork, data: ForecastData, errors: list[list[float]], level: float, generator: torch.Generator
) -> tuple[Array, Array]:
    """The bounds ``(n, steps, D)`` between which a share `level` of free runs lies, to each step of which one of the errors is added.

    Examples
    --------
    A network that adds one at every step, and erred by a half:

    >>> from lemode.surrogate.data import lay_out_forecast
    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias), network.mean.zero_()
    >>> data = lay_out_forecast([[4.0], [5.0]], ("v",), 1, 1.0, 1, steps=2, inputs=None, dt=None, t=None)
    >>> lower, upper = sample_ahead(network, data, [[-0.5], [0.5]] * 5, 0.9, torch.Generator().manual_seed(0))
    >>> lower.flatten(), upper.flatten()
    (array([5.5, 6. ], dtype=float32), array([6.5, 8. ], dtype=float32))
    """
    pool = torch.tensor(errors, dtype=network.mean.dtype)
    steps = data.times.shape[1]
    low, high = [], []
    for i in range(len(data.times)):
        grid, D = data.grid, len(errors[0])
        r = None if grid.r is None else grid.r[i : i + 1]
        series = network.series(Grid(grid.values[i : i + 1], r))
        seen: NDArray[np.bool_] = np.asarray(np.isfinite(grid.values[i, :, :D]).any(-1))
        begin = int(np.flatnonzero(seen)[-1]) + 1
        places = np.arange(len(seen) - steps, len(seen)) if data.places is None else data.places[i]
        runs = _run(network, series, begin, int(places[-1]) + 1, pool, generator)
        values = network.denormalise(runs[torch.from_numpy(places - begin)]).numpy()  # (steps, runs, D)
        # a run that is no number any more has left the band on both sides
        tail = (1 - level) / 2
        low.append(np.quantile(np.nan_to_num(values, nan=-np.inf, posinf=np.inf, neginf=-np.inf), tail, 1, method="lower"))
        high.append(np.quantile(np.nan_to_num(values, nan=np.inf, posinf=np.inf, neginf=-np.inf), 1 - tail, 1, method="higher"))
    return np.stack(low), np.stack(high)


def _run(network: IncrementNetwork, series: Series, begin: int, end: int, pool: Tensor, generator: torch.Generator) -> Tensor:
    """Normalised free runs ``(end - begin, RUNS, D)`` of one series."""
    whole = fill(network, series)[0]
    predicted, state = network.step(*whole.part(0, begin).known())
    if all(leaf.dim() > 1 and leaf.shape[1] == 1 for leaf in _leaves(state)):  # a long history is read once
        predicted, state = predicted.expand(-1, RUNS, -1), _spread(state)
        whole = whole.map(lambda s: s.expand(-1, RUNS, *s.shape[2:]))
    else:  # the state of a field has points where others have series
        whole = whole.map(lambda s: s.expand(-1, RUNS, *s.shape[2:]))
        predicted, state = network.step(*whole.part(0, begin).known())
    x, found = predicted[-1:], []
    for k in range(begin, end):
        x = x + pool[torch.randint(len(pool), (RUNS,), generator=generator)]
        found.append(x)
        if k + 1 < end:
            x, state = network.step(*whole.part(k, k + 1)._replace(x=x).known(state))
    return torch.cat(found)


def _leaves(state: Any) -> list[Tensor]:
    if isinstance(state, (tuple, list)):
        return [leaf for part in state for leaf in _leaves(part)]
    return [] if state is None else [state]


def _spread(state: Any) -> Any:
    """The state of one series as that of all runs."""
    if isinstance(state, (tuple, list)):
        return tuple(_spread(part) for part in state)
    return None if state is None else state.expand(-1, RUNS, *state.shape[2:]).contiguous()
