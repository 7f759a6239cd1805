r"""How strongly a run has to be drawn towards the data for its gradients not to explode: generalised teacher forcing.

.. math:: \tilde x_k = (1 - \alpha)\,\hat x_k + \alpha\,x_k, \qquad (\hat x_{k+1}, s_{k+1}) = F(\tilde x_k, s_k)

With :math:`\alpha = 1` it is one-step prediction, with 0 a free run. On a chaotic series gradients of free runs grow exponentially;
``theory/teacher_forcing.py`` has the strength from which on they cannot.

References: Hess, Monfared, Brenner, Durstewitz, ICML 2023, arXiv 2306.04406, for networks whose whole state is forced; not read for its
bounds.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from .network import IncrementNetwork
from .series import Series

__all__ = ["forced_growth", "forcing_strength"]

# of the series along which the strength is found; twins are so far apart, in standard deviations, and growth counts after so many samples
SERIES, SAMPLES, APART, SETTLING = 8, 400, 1e-7, 50
HALVINGS = 7
# standard deviations; of twins further away rounding would say that they do not part
LEFT = 1e4


@torch.no_grad()
def forcing_strength(network: IncrementNetwork, series: Series) -> float:
    r"""The smallest strength at which two runs that are forced by the same data do not part.

    By bisection of `forced_growth`, to :math:`2^{-7}`; 1 where they part with less, or even then, as of a network that never forgets.

    Examples
    --------
    Values double at each step, so that half of a difference has to be taken away:

    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> with torch.no_grad():
    ...     _ = [p.zero_() for p in network.parameters()]
    >>> network.base = lambda x: 2 * x
    >>> forcing_strength(network, Series(torch.zeros(60, 1, 1)))
    0.5
    """
    if forced_growth(network, series, 0.0) <= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if forced_growth(network, series, middle) <= 0 else (middle, high)
    return high


@torch.no_grad()
def forced_growth(network: IncrementNetwork, series: Series, strength: float) -> float:
    r"""How fast two runs part that are forced by the same data, per step.

    .. math:: \lim_{n \to \infty} \frac 1 n \log \Big\| \prod_{k \le n} M_k\,\mathrm{diag}(I, (1 - \alpha) I) \Big\|

    with :math:`M_k` the Jacobian of the closed loop. Of twins in float64, brought back to their first distance at every step; the mean
    over some series. Infinite where the run leaves the data for good.

    Examples
    --------
    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> with torch.no_grad():
    ...     _ = [p.zero_() for p in network.parameters()]
    >>> network.base = lambda x: 2 * x
    >>> [round(forced_growth(network, Series(torch.zeros(60, 1, 1)), strength), 3) for strength in (0.0, 0.5)]
    [0.693, 0.0]
    """
    twin = copy.deepcopy(network).double()
    n = min(series.x.shape[1], SERIES)
    few = series.map(
        lambda s: s[: series.lead + SAMPLES, :n].double() if s.is_floating_point() else s[: series.lead + SAMPLES, :n]
    )
    both = few.map(lambda s: s.repeat(1, 2, 1))
    x, state, growth = both.x[:1].clone(), None, []
    x[:, n:] += APART
    for k in range(len(both.x) - 1):
        now = both.part(k, k + 1)._replace(x=x)
        x, state = twin.step(*now.known(state))
        if not bool((x.abs() < LEFT).all()):
            return math.inf
        leaves = [x, *_leaves(state)]
        distance = torch.stack([(s[:, n:] - s[:, :n]).square().flatten(2).sum((0, 2)) for s in leaves]).sum(0).sqrt()
        growth.append((distance / APART).clamp_min(1e-30).log())
        for s in leaves:
            s[:, n:] = s[:, :n] + (s[:, n:] - s[:, :n]) * (APART / distance.clamp_min(1e-300))[:, None]
        x = x.lerp(both.x[k + 1 : k + 2], strength)
    settled = growth[min(SETTLING, len(growth) // 2) :]
    return float(torch.stack(settled).mean()) if settled else -math.inf


def _leaves(state: Any) -> list[Tensor]:
    if isinstance(state, tuple):
        return [leaf for part in state for leaf in _leaves(part)]
    return [] if state is None else [state]
