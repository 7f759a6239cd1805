"""What a fit makes small: the error of one step ahead, of a free run, and of one that is drawn towards the data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .forecast import closed_loop
from .network import IncrementNetwork
from .series import Series

__all__ = ["closed_loop_loss", "forced_loss", "one_step_loss", "trust"]


def one_step_loss(
    network: IncrementNetwork,
    window: Series,
    washout: int,
    weights: tuple[float, ...] | None = None,
    state: Any = None,
    noise: Tensor | None = None,
) -> Tensor:
    """Mean square error of the scaled increments. With noise ``(T - 1, n, D)`` on what is read, the target is still the true next value.

    Examples
    --------
    A network that adds one at every step is right about the first step of 0, 1, 3, and wrong by one about the second:

    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> window = Series(torch.tensor([0.0, 1.0, 3.0]).reshape(3, 1, 1))
    >>> one_step_loss(network, window, washout=0).item(), one_step_loss(network, window, washout=1).item()
    (0.5, 1.0)
    """
    x = window.x[:-1]
    if noise is not None:
        x = x + noise
    increments, _ = network(*window.part(0, -1)._replace(x=x).known(state))
    target = (window.x[1:] - x) / network.increment
    seen = None if window.mask is None else trust(window.mask)[washout:]
    return _mean_square(increments[washout:] - target[washout:], weights, seen)


def closed_loop_loss(
    network: IncrementNetwork, window: Series, warmup: int, weights: tuple[float, ...] | None = None, state: Any = None
) -> Tensor:
    """Mean square error of a free run over the rest of the window, in increments, after `warmup` samples of truth.

    Examples
    --------
    A network that adds one at every step is right about 2, and wrong by one about what follows it in 0, 1, 2, 4:

    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> closed_loop_loss(network, Series(torch.tensor([0.0, 1.0, 2.0, 4.0]).reshape(4, 1, 1)), warmup=2).item()
    0.5
    """
    x, mask = window.x, window.mask
    head, rest = window.part(0, warmup), window.part(warmup, -1)
    predicted, state = network.step(*head.known(state))
    run = closed_loop(network, predicted[-1], state, len(x) - warmup - 1, rest.e, rest.r)
    free = torch.cat([predicted[-1:], run])
    return _mean_square((free - x[warmup:]) / network.increment, weights, None if mask is None else mask[warmup:])


def forced_loss(
    network: IncrementNetwork,
    window: Series,
    strength: float,
    washout: int,
    weights: tuple[float, ...] | None = None,
    state: Any = None,
) -> Tensor:
    r"""Mean square error of a run that is drawn towards the data at every step, in increments, after `washout` steps.

    .. math:: \tilde x_k = (1 - \alpha)\,\hat x_k + \alpha\,x_k, \qquad (\hat x_{k+1}, s_{k+1}) = F(\tilde x_k, s_k)

    With a strength :math:`\alpha = 1` it is one-step prediction, with 0 a free run.

    Examples
    --------
    A network that adds one says 1, 2, 3 of 0, 1, 3, 4 if it is left alone; told everything, it is wrong in the second step only:

    >>> network = IncrementNetwork(lemode.LEM(1, 2), 2, 1)
    >>> _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.ones_(network.head.bias)
    >>> window = Series(torch.tensor([0.0, 1.0, 3.0, 4.0]).reshape(4, 1, 1))
    >>> [round(forced_loss(network, window, strength, washout=2).item(), 3) for strength in (0.0, 0.5, 1.0)]
    [1.0, 0.25, 0.0]
    """
    x, run = window.x[:1], []
    for k in range(len(window.x) - 1):
        predicted, state = network.step(*window.part(k, k + 1)._replace(x=x).known(state))
        run.append(predicted)
        x = predicted.lerp(window.x[k + 1 : k + 2], strength)
    mask = None if window.mask is None else window.mask[1 + washout :]
    return _mean_square((torch.cat(run[washout:]) - window.x[1 + washout :]) / network.increment, weights, mask)


def trust(mask: Tensor) -> Tensor:
    """Weights ``(T - 1, n, D)`` of the errors: 0 where there is no target, and 1 / k^2 where the last value was seen k steps before it.

    What was predicted since has errors that add up; counted in full they would outweigh those of a single step, which are what is wanted.

    Examples
    --------
    The second of four values is missing: nothing is to be learned of it, and a quarter from the step that ends behind it:

    >>> trust(torch.tensor([True, False, True, True]).reshape(4, 1, 1)).flatten()
    tensor([0.0000, 0.2500, 1.0000])
    """
    index = torch.arange(len(mask))[:, None, None]
    seen = index.where(mask, torch.tensor(0)).cummax(0).values[:-1]
    return mask[1:] / (index[1:] - seen).square()


def _mean_square(error: Tensor, weights: tuple[float, ...] | None, trust: Tensor | None = None) -> Tensor:
    """Over what is observed: `trust` weighs the entries, and is 0 for those that are missing."""
    square = error.square()
    if weights is not None:
        w = error.new_tensor(weights)
        square = square * (w / w.mean())
    if trust is None:
        return square.mean()
    total = trust.sum(dtype=error.dtype)
    return (trust * square.where(trust > 0, 0.0)).sum() / total.where(total > 0, 1.0)
