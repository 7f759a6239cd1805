r"""Between which values a surrogate reads and predicts: the range of its data and a little more, which no free run leaves.

.. math::

    \hat x_{k+1} = \Pi\big(F(\Pi x_k)\big), \qquad \Pi x = \min(\max(x, \text{lower}), \text{upper}),

whatever F is. Inside nothing is changed, bit by bit. Proof of statement 8.4, and what follows of it: ``theory/containment.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from .data_checks import DataWarning
from .network import IncrementNetwork
from .parameters import check_number
from .series import Grid, Series

__all__ = ["check_contain", "contain", "edges", "warn_of_edges", "warn_of_outside"]

# data whose last part leaves the range of what came before, spread by the second number, will go on to
LATE, DRIFT = 0.2, 1.1
# a free run may touch its bounds so often without a word
SELDOM = 0.01


def check_contain(value: object) -> float | None:
    """The factor, at least 1, or None; ValueError for anything else.

    Examples
    --------
    >>> check_contain(1.5), check_contain(None) is None
    (1.5, True)
    >>> check_contain(0.9)
    Traceback (most recent call last):
    ValueError: contain=0.9: give how many times the range of the data predictions may span, at least 1, or None for no limit.
    """
    if value is None:
        return None
    factor = check_number("contain", value)
    if factor < 1:
        raise ValueError(
            f"contain={value!r}: give how many times the range of the data predictions may span, at least 1, or None for no limit."
        )
    return factor


@torch.no_grad()
def contain(network: IncrementNetwork, training: Grid, validation: Grid, factor: float | None) -> None:
    """Set the bounds of a network: those of its data, spread about their middle by a factor; a network that has some keeps what it has.

    A variable has none that drifts, whose values at the end leave the range of what came before: it will go on to.
    Neither has one that does not vary: it is held by its increments. None takes all bounds away.

    Examples
    --------
    >>> from lemode import LEM
    >>> network = IncrementNetwork(LEM(2, 3, dtype=torch.float64), 3, 2, torch.float64)
    >>> t = torch.arange(100.0).numpy()
    >>> grid = Grid(np.stack([np.cos(t), 0.1 * t], -1)[None])
    >>> network.fit_scales(grid)
    >>> contain(network, grid, grid, 1.5)
    >>> network.denormalise(network.upper).round(decimals=3)
    tensor([1.5000,    inf], dtype=torch.float64)
    """
    lower, upper = (torch.full_like(end, sign * torch.inf) for sign, end in ((-1, network.lower), (1, network.upper)))
    if factor is not None:
        all_low, all_high = _range([_values(network, grid) for grid in (training, validation)])
        early, late = _parts(network, training, validation)
        for end, found in ((lower, all_low), (upper, all_high)):
            middle, half = (all_low + all_high) / 2, (all_high - all_low) / 2
            end.copy_(network.spread(torch.where(half > 0, middle + factor * (found - middle), end[0])))
        if late:
            (low, high), (least, most) = _range(early), _range(late)
            middle, half = (low + high) / 2, DRIFT * (high - low) / 2
            drifts = network.spread((least < middle - half) | (most > middle + half))
            lower[drifts], upper[drifts] = -torch.inf, torch.inf
        was = network.lower.isfinite() & lower.isfinite()
        lower = torch.where(was, torch.minimum(lower, network.lower), lower)
        upper = torch.where(was, torch.maximum(upper, network.upper), upper)
    network.lower.copy_(lower)
    network.upper.copy_(upper)


def edges(network: IncrementNetwork, values: Tensor) -> Tensor:
    """Where normalised values ``(..., D)`` are at a bound.

    Examples
    --------
    >>> from lemode import LEM
    >>> network = IncrementNetwork(LEM(1, 2), 2, 1)
    >>> _ = network.upper.fill_(2.0)
    >>> edges(network, torch.tensor([[1.0], [2.0]])).flatten()
    tensor([False,  True])
    """
    return (values <= network.lower) | (values >= network.upper)


def warn_of_outside(network: IncrementNetwork, read: Series, names: Sequence[str]) -> None:
    """DataWarning where what was observed, and is to be read, is far beyond the bounds, or often: it is read as the bound.

    One value in a hundred may be beyond them, by less than what they span: so it is with noise.

    Examples
    --------
    >>> from lemode import LEM
    >>> network = IncrementNetwork(LEM(1, 2), 2, 1)
    >>> _ = network.upper.fill_(2.0)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", DataWarning)
    ...     warn_of_outside(network, Series(torch.tensor([1.0, 2.0, 2.5]).reshape(3, 1, 1)), ("v",))
    >>> print(str(caught[0].message).split(":")[0])
    1 value of 'v' lies beyond what was seen in training and is read as its edge
    """
    beyond = (read.x < network.lower) | (read.x > network.upper)
    beyond &= torch.ones_like(beyond) if read.mask is None else read.mask
    span = network.upper - network.lower
    far = beyond & ((read.x < network.lower - span) | (read.x > network.upper + span))
    there, share = (flat(0) for flat in (beyond.flatten(0, -2).sum, beyond.flatten(0, -2).double().mean))
    told = (share > SELDOM) | far.flatten(0, -2).any(0)
    if not bool(told.any()):
        return
    j = int(told.nonzero()[0])
    low, high = (_units(network, end, j) for end in (network.lower, network.upper))
    count = f"1 value of {names[j]!r} lies" if there[j] == 1 else f"{int(there[j])} values of {names[j]!r} lie"
    warnings.warn(
        f"{count} beyond what was seen in training and {'is' if there[j] == 1 else 'are'} read as its edge: the model knows {low:.6g} to "
        f"{high:.6g}. Leave out what is no measurement; or fit to such values, or with contain=None.",
        DataWarning,
        stacklevel=5,
    )


def warn_of_edges(network: IncrementNetwork, values: Tensor, names: Sequence[str]) -> None:
    """DataWarning where a normalised forecast ``(steps, n, D)`` is held at a bound at more than one in a hundred times.

    Examples
    --------
    >>> from lemode import LEM
    >>> network = IncrementNetwork(LEM(1, 2), 2, 1)
    >>> _ = network.upper.fill_(2.0)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", DataWarning)
    ...     warn_of_edges(network, torch.tensor([1.0, 2.0, 2.0]).reshape(3, 1, 1), ("v",))
    >>> print(str(caught[0].message).split(":")[0])
    the forecast of 'v' is held at the edge of its data's range from step 2 on, at 2 of 3 times
    """
    there = edges(network, values)
    often = there.double().mean(0).flatten(0, -2).amax(0) > SELDOM if len(values) else there.new_zeros(1)
    if not bool(often.any()):
        return
    j = int(often.nonzero()[0])
    steps = there[..., j].flatten(1).any(1)
    warnings.warn(
        f"the forecast of {names[j]!r} is held at the edge of its data's range from step {int(steps.nonzero()[0]) + 1} on, at "
        f"{int(steps.sum())} of {len(steps)} times: do not trust it from there. contain=None in a new fit sets no bounds.",
        DataWarning,
        stacklevel=4,
    )


def _values(network: IncrementNetwork, grid: Grid) -> Tensor:
    """Normalised, in float64, as the head predicts them: ``(n, G, ..., D)``."""
    m = len(network.input_mean)
    x = torch.tensor(grid.values[..., : grid.values.shape[-1] - m], dtype=torch.float64)
    return network.by_point(network.normalise(x))


def _units(network: IncrementNetwork, end: Tensor, j: int) -> float:
    """A bound of variable j in the units of the data."""
    return float(network.denormalise(end.expand(max(j + 1, len(end))))[j])


def _parts(network: IncrementNetwork, training: Grid, validation: Grid) -> tuple[list[Tensor], list[Tensor]]:
    """What came early in the series, and what came late."""
    early, late = [], []
    for grid in (training, validation):
        x = _values(network, grid)
        begin = grid.lead or round((1 - LATE) * x.shape[1])  # after its past, all of a part that was held out is late
        early.append(x[:, :begin])
        late.append(x[:, begin:])
    return early, late


def _range(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Least and largest of what is there, of each variable."""
    flat = [part.flatten(0, -2) for part in parts if part.numel()]
    low = torch.stack([torch.where(x.isfinite(), x, torch.inf).amin(0) for x in flat]).amin(0)
    high = torch.stack([torch.where(x.isfinite(), x, -torch.inf).amax(0) for x in flat]).amax(0)
    return low, high
