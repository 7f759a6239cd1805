"""Errors of heads on the validation series, of free runs and of single steps, for many heads at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .forecast import fill, free_run, runs_in_kernel
from .losses import trust
from .network import IncrementNetwork
from .readout_network import Heads
from .regression import BLOCK, spread, windows
from .series import Series

__all__ = ["luck"]

F64 = torch.float64

# validation series of which every step is looked at, and how many rows at most, of a field those of all points
JUDGED_SERIES, JUDGED = 8, 40_000
# what is better by less is not told apart
TIE = 1.02


def luck(validation: Series, increment: Tensor | None = None) -> float:
    r"""By what part the best of many heads may be better than another without being so.

    .. math:: \min\big(2 / \sqrt{N},\; 1/2\big), \qquad N = N_\mathrm{judged} \min\big(1,\; \langle |\Delta x / s|^2 \rangle\big)

    A quiet end of a series says little of the rest: values count as far as they move as the training data do.

    Parameters
    ----------
    validation : normalised; what is judged comes after its lead
    increment : s ``(D,)``, the scale of increments in the training data; all values count by default

    Examples
    --------
    >>> [luck(Series(torch.zeros(n + 1, 1, 1))) for n in (9, 100, 10_000)]
    [0.5, 0.2, 0.02]
    >>> quiet = Series(0.1 * (torch.arange(10_001.0) % 2).reshape(-1, 1, 1))
    >>> round(luck(quiet, torch.ones(1)), 3)
    0.2
    """
    begin = validation.lead
    steps = validation.x[begin:].diff(dim=0)
    there = torch.ones_like(steps, dtype=torch.bool) if validation.mask is None else validation.mask[begin + 1 :]
    count = float(there.sum())
    if increment is not None:
        square = (steps / increment).square().where(there, torch.zeros(())).sum()
        count = min(count, float(square))
    return min(2 / math.sqrt(max(count, 1.0)), 0.5)


@torch.no_grad()
def free_errors(network: IncrementNetwork, heads: Tensor, series: Series, warmup: int, horizon: int, starts: int) -> Tensor:
    r"""How far free runs with each head leave the truth, ``(heads,)``: from :math:`\min(\mathrm{nrmse}, 1)`, averaged over starts.

    It is the mean over the first 10, 20, 40, ... samples, and the mean of these: what is followed early counts, however soon a chaotic
    system is lost.
    """
    places = spread(series.x, warmup + horizon, starts)
    window, state = series.map(lambda s: windows(s, places, warmup + horizon)), None
    if window.mask is None and warmup > 1:  # whatever the head is, what was seen has left the same state
        state = network.step(*window.part(0, warmup - 1).known())[1]
        window, warmup = window.part(warmup - 1, None), 1
    there = (torch.ones_like(window.x, dtype=torch.bool) if window.mask is None else window.mask)[warmup:]
    errors = []
    for free in _runs(network, heads.to(window.x.dtype), window, state, warmup):
        error = (free - window.x[warmup:, None]).square()
        error = error.where(there[:, None], 0.0).sum(-1) / there.sum(-1).clamp_min(1)[:, None]
        errors.append(error.sqrt().clamp(max=1.0).nan_to_num(1.0))
    judged = there.any(-1)[:, None].to(F64)
    error = (torch.cat(errors, 1).double() * judged).sum(2) / judged.sum(2).clamp_min(1)
    lengths = sorted({min(10 * 2**j, len(error)) for j in range(30)})
    return torch.stack([error[:h].mean(0) for h in lengths]).mean(0)


def _runs(network: IncrementNetwork, heads: Tensor, window: Series, state: Any, warmup: int) -> Iterator[Tensor]:
    """Free runs ``(horizon, heads, starts, D)`` of some heads after the other, from the state before the window."""
    former, S = network.head, window.x.shape[1]
    if window.mask is None and runs_in_kernel(network, window.r):
        own = head_of(network)
        e, coming = (None, None) if window.e is None else (window.e[:warmup], window.e[warmup:-1])
        try:
            for head in heads:
                set_head(network, head)
                yield free_run(network, window.x[:warmup], len(window.x) - warmup, e, coming, state)[:, None]
        finally:
            set_head(network, own)
        return
    seen = torch.ones_like(window.x, dtype=torch.bool) if window.mask is None else window.mask.clone()
    seen[warmup:] = False
    window = window._replace(mask=seen)
    numbers = warmup * network.by_point(window.x[:1])[..., 0].numel() * heads.shape[1]
    try:
        for some in heads.split(max(BLOCK // numbers, 1)):
            network.head = Heads(some)  # type: ignore[assignment]
            wide = window.map(partial(_beside_itself, copies=len(some)))
            free = fill(network, wide, state=_beside_itself(state, len(some)))[0].x[warmup:]
            yield free.view(len(free), len(some), S, -1)
    finally:
        network.head = former


@torch.no_grad()
def one_step_errors(network: IncrementNetwork, heads: Tensor, series: Series) -> Tensor:
    """Root mean square error of one step with each head, ``(heads,)``, in standard deviations.

    Over all steps after the lead; where there is none, the first ones count, too.
    """
    together = heads.permute(1, 0, 2).flatten(1)
    known, total, count = known_rows(series), torch.zeros(len(heads), dtype=F64), 0.0
    few = torch.arange(min(series.x.shape[1], JUDGED_SERIES))
    points = network.by_point(series.x[:1, :1])[..., 0].numel()
    part = series.cut(0, series.lead + max(JUDGED // (points * len(few)), 50), few)
    s = network.by_point(network.increment * torch.ones_like(part.x[:1, :1])).double()[..., None, :]
    block = max(BLOCK // (points * len(few) * heads.shape[1]), 1)
    state = None
    for begin in range(0, len(part.x) - 1, block):
        end = min(begin + block, len(part.x) - 1)
        now = part.part(begin, end)
        f, state = network.features(*now.known(state))
        f = network.regressors(torch.cat([f.new_full((*f.shape[:-1], 1), network.constant), f], -1)).double()
        if now.r is not None:
            f = f * now.r[..., 1:]
        truth = network.by_point(part.x[begin + 1 : end + 1] - network.base(now.x)).double()
        w = None if known is None else network.by_point(known[begin:end, few]).double()
        skip = max(series.lead - begin, 0)
        f, truth, w = f[skip:], truth[skip:], None if w is None else w[skip:]
        found = (f.flatten(0, -2) @ together).view(*f.shape[:-1], len(heads), -1)
        square = (found * s - truth[..., None, :]).square()
        total += (square if w is None else w[..., None, :] * square).flatten(0, -3).sum((0, 2))
        count += truth.numel() if w is None else float(w.sum())
    return (total / max(count, 1.0)).sqrt().nan_to_num(math.inf)


def known_rows(series: Series) -> Tensor | None:
    """Weights ``(T - 1, n, D)`` of the steps from k to k + 1: one where all that is read and what is predicted was observed.

    None where everything was. Where hardly any step has all that it reads, weights are those of `lemode.surrogate.losses.trust`.
    """
    if series.mask is None:
        return None
    whole = series.mask[1:] & series.mask[:-1].all(-1, keepdim=True)
    return whole.double() if whole.sum() >= 0.1 * series.mask[1:].sum() else trust(series.mask).double()


def set_head(network: IncrementNetwork, coefficients: Tensor) -> None:
    """Put coefficients ``(1 + features, D)``, of the one first, into the network."""
    with torch.no_grad():
        network.head.bias.copy_(coefficients[0])
        network.head.weight.copy_(coefficients[1:].T)


def head_of(network: IncrementNetwork) -> Tensor:
    """The coefficients ``(1 + features, D)`` of a network, of the one first, in float64."""
    return torch.cat([network.head.bias[None], network.head.weight.T]).detach().double()


def _beside_itself(s: Any, copies: int) -> Any:
    """Series, or a state of them, which are in the second dimension, so many times."""
    if isinstance(s, tuple):
        return tuple(_beside_itself(part, copies) for part in s)
    return s if s is None or copies == 1 else s.repeat(1, copies, *[1] * (s.dim() - 2))
