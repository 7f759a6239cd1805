"""Training of the head of a field's network alone, over a core that stays as it was drawn: ridge regression."""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from .forecast import free_run_error
from .losses import one_step_loss
from .network import IncrementNetwork
from .run import History, Stopped
from .series import Series

__all__ = ["RIDGES", "draw", "fit_field_readout"]

RIDGES = tuple(10.0**k for k in range(-12, -1, 2))

# Of the random weights: V for inputs of variance one, the biases, and the spectral radius of each W; chosen on Lorenz63, where V of
# 0.2 to 0.3 and a radius of 0.1 to 0.6 are nearly alike, and V of 1 or biases of 0.3 forecast for a shorter time.
INPUT, BIAS, RADIUS = 0.3, 1.0, 0.5

# samples of the free runs that choose the ridge: in longer ones of a chaotic system all have failed alike
HORIZON = 200


@torch.no_grad()
def draw(core: torch.nn.Module, generator: torch.Generator) -> None:
    """Random weights for a core that is not trained: wider than those that training starts from, which leave it nearly linear.

    Examples
    --------
    For 100 units, recurrent weights of standard deviation 0.05 make a spectral radius of 0.5:

    >>> core = lemode.LEM(1, 100)
    >>> draw(core, torch.Generator().manual_seed(0))
    >>> {name.split(".")[-1]: round(float(p.detach().std()), 2) for name, p in core.named_parameters()}
    {'weight_ih': 0.3, 'weight_hh': 0.05, 'weight_zy': 0.05, 'bias': 0.59}
    """
    for name, p in core.named_parameters():
        fan_in = p[0].numel() if p.dim() > 1 else 1
        scale = (
            INPUT * math.sqrt(3 / fan_in) if "weight_ih" in name else BIAS if p.dim() == 1 else RADIUS * math.sqrt(3 / fan_in)
        )
        p.uniform_(-scale, scale, generator=generator)


@torch.no_grad()
def fit_field_readout(network: IncrementNetwork, series: Series, validation: Series, washout: int, rows: int = 32) -> History:
    r"""Fit the head by ridge regression on the states y of the core, and leave the core alone.

    .. math::

        \min_{C, c}\; \frac{1}{M} \sum_k \Big| \frac{x_{k+1} - x_k}{s} - C\, y_k - c \Big|^2 + \lambda |C|^2

    over all M samples after the washout. :math:`\lambda` is the one of `RIDGES` whose free runs on the validation series are best: the
    smallest one-step error makes free runs that blow up. Sums are in float64, whatever the precision of the network; `rows` series are
    run at a time.

    Raises
    ------
    ValueError
        For series with uneven intervals or missing values.

    Examples
    --------
    >>> waves = torch.sin(torch.linspace(0, 30, 301, dtype=torch.float64)[:, None] + torch.arange(4))[..., None]
    >>> network = IncrementNetwork(lemode.LEM(1, 20, dtype=torch.float64), 20, 1, torch.float64)
    >>> network.set_scales(waves)
    >>> draw(network.core, torch.Generator().manual_seed(0))
    >>> series = Series(network.normalise(waves))
    >>> history = fit_field_readout(network, series, series, washout=50)
    >>> history.validation[-1][1] < 0.01  # one-step error, in increments
    True
    """
    if any(part is not None for part in (series.r, series.mask, validation.r, validation.mask)):
        raise ValueError("train='readout' takes evenly sampled series of one length without missing values: use train='all'.")
    start, history = time.monotonic(), History(stopped=Stopped.SOLVED)
    size, outputs = network.head.in_features + 1, network.head.out_features
    gram, right = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, outputs, dtype=torch.float64)
    count, washout = 0, min(washout, len(series.x) // 2)
    for some in torch.arange(series.x.shape[1]).split(rows):
        features, targets = _regression(network, series.cut(0, len(series.x), some), washout)
        gram += features.T @ features
        right += features.T @ targets
        count += len(features)
    # the constant is free of the penalty: regression of what is left of the means
    mean, target = gram[-1] / count, right[-1] / count
    values, Q = torch.linalg.eigh(gram[:-1, :-1] / count - torch.outer(mean[:-1], mean[:-1]))
    projected = Q.T @ (right[:-1] / count - torch.outer(mean[:-1], target))
    T = len(validation.x)
    warmup, best, weights = max(min(washout, T // 2), 1), math.inf, network.state_dict()
    for ridge in RIDGES:
        solution = Q @ (projected / (values.clamp_min(0) + ridge)[:, None])
        network.head.weight.copy_(solution.T)
        network.head.bias.copy_(target - mean[:-1] @ solution)
        error = free_run_error(network, validation, warmup, min(T - warmup, HORIZON), starts=8)
        if error < best:
            best, weights = error, {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(weights)
    history.validation.append((0, math.sqrt(one_step_loss(network, validation, washout if 2 * washout < T else 0).item())))
    history.seconds = time.monotonic() - start
    return history


def _regression(network: IncrementNetwork, series: Series, washout: int) -> tuple[Tensor, Tensor]:
    """Rows of features (y, 1) and of targets, after the washout, in float64."""
    y, _ = network.features(*series.part(0, -1).known(None))
    y = network.regressors(y)[washout:]
    targets = network.by_point((series.x[1:] - series.x[:-1]) / network.increment)[washout:]
    y, targets = y.flatten(0, -2).double(), targets.flatten(0, -2).double()
    return torch.cat([y, y.new_ones(len(y), 1)], 1), targets
