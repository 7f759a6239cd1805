"""Linear autoregressions of several orders and the mean of their heads: the floor that a readout must not fall below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .draws import Draw, drawn
from .head_errors import known_rows, one_step_errors
from .network import IncrementNetwork
from .readout_network import ReadoutNetwork
from .regression import FLOOR, Regression
from .seeds import torch_stream
from .series import Series

__all__ = ["Autoregressions"]

F64 = torch.float64

# where the previous values would be more columns than these they are not looked at
WIDE = 200

# delays of linear autoregressions, and how many series, and samples of each, on which they are compared
ORDERS, BIC_SERIES, BIC_SAMPLES = (*range(13), 15, 18, 24), 16, 2000
EXACT = 1e-14  # smaller errors, in standard deviations, are those of rounding
UNLIKELY = 10.0  # an order whose BIC is larger by this has less than 0.7 % of the weight of the best


class Order(NamedTuple):
    """Of an autoregression.

    Attributes
    ----------
    delays : previous values that are read beside the present one
    level : whether the next increment depends on the value itself, or on the differences alone, as in a random walk

    Examples
    --------
    >>> Order(delays=1, level=False)
    Order(delays=1, level=False)
    """

    delays: int
    level: bool


class Autoregressions:
    r"""Linear autoregressions of several orders, in values and in differences, each on all rows that it has, and the mean of their heads.

    .. math:: \bar C = \sum_p w_p C_p, \qquad w_p \propto e^{-\mathrm{BIC}_p / 2}

    The weights are those of Bayesian model averaging (Raftery, Sociological Methodology 25, 1995): where the data do not tell orders
    apart, none is chosen. The BIC is that on a part of the training data, on the same rows for all. An autoregression in differences
    does not come back to the mean of the training data, which a series that drifts has left behind.

    Parameters
    ----------
    network : whose scales are taken
    series, known : as of a `Regression`
    seed : of the weights and of the noise

    Examples
    --------
    >>> x = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 1, 1)).cumsum(0))
    >>> network = IncrementNetwork(lemode.LEM(1, 1, dtype=torch.float64), 1, 1, torch.float64)
    >>> network.set_scales(x)
    >>> series = Series(network.normalise(x))
    >>> found = Autoregressions(network, series, None, seed=0).weights
    >>> for order, w in found.items():  # a random walk has no lag, and no level
    ...     if w > 0.01:
    ...         print(*order, round(w, 2))
    0 True 0.06
    0 False 0.9
    1 False 0.05
    """

    def __init__(self, network: IncrementNetwork, series: Series, known: Tensor | None, seed: int) -> None:
        self.weights = _weights_of_orders(network, series)
        plain = [drawn(network, Draw(delays), 1, seed) for delays in dict.fromkeys(order.delays for order in self.weights)]
        self.network = plain[-1]
        self.parts = [Regression(net, series, known, torch_stream(seed, "noise"), skip=net.delays) for net in plain]

    def add(self, series: Series, known: Tensor | None) -> None:
        """As of a `Regression`."""
        for part in self.parts:
            part.add(series, known)

    def heads(self, pairs: Sequence[tuple[float, float]]) -> Tensor:
        """As of a `Regression`: more lags are further columns, so a head of fewer is one with zeros there."""
        by_delays, parts = {part.network.delays: part for part in self.parts}, []
        for order, w in self.weights.items():
            heads = by_delays[order.delays].heads(pairs, _levels(self.network, order))
            parts.append(w * torch.stack([with_units(h, self.network, order.delays) for h in heads]))
        return torch.stack(parts).sum(0)


def _levels(network: IncrementNetwork, order: Order) -> range:
    """The columns of a row, of which the first is one, that an autoregression of this order does not read."""
    return range(0) if order.level else range(1, 1 + network.head.out_features)


def _weights_of_orders(network: IncrementNetwork, series: Series) -> dict[Order, float]:
    """Weights of the orders that are likely, the fewest delays first."""
    D, inputs = network.head.out_features, 2 * len(network.input_mean)
    few = series.cut(0, BIC_SAMPLES, torch.arange(min(series.x.shape[1], BIC_SERIES)))
    known = known_rows(few)

    def rows(skip: int) -> float:
        return (len(few.x) - 1 - skip) * few.x.shape[1] if known is None else float(known[skip:].sum()) / D

    columns = {delays: 1 + D * (1 + delays) + inputs for delays in ORDERS if not delays or D * (1 + delays) <= WIDE}
    orders = [delays for delays, count in columns.items() if not delays or 3 * count <= rows(delays)]
    skip, bic = max(orders), {}
    judged = few._replace(lead=skip)
    for delays in orders:
        plain = drawn(network, Draw(delays), 1, 0)
        regression = Regression(plain, few, known, torch_stream(0, "noise"), noisy=1, skip=skip)
        for order in (Order(delays, True), Order(delays, False)):
            levels = _levels(network, order)
            head = regression.heads([(0.0, FLOOR)], levels)
            error, count = float(one_step_errors(plain, head, judged)[0]), columns[delays] - len(levels)
            bic[order] = rows(skip) * 2 * math.log(max(error, EXACT)) + count * math.log(max(rows(skip), 1.0))
    least = min(bic.values())
    likely = {order: math.exp((least - b) / 2) for order, b in bic.items() if b - least < UNLIKELY}
    return {order: w / sum(likely.values()) for order, w in likely.items()}


def with_units(coefficients: Tensor, network: ReadoutNetwork, delays: int) -> Tensor:
    """The linear columns of a head of so many delays, as a head of this network, which has as many or more."""
    out = torch.zeros(1 + network.head.in_features, network.head.out_features, dtype=F64)
    D = network.head.out_features
    seen, inputs = 1 + D * (1 + delays), network.linear - D * (1 + network.delays)
    out[:seen] = coefficients[:seen]
    out[1 + network.linear - inputs : 1 + network.linear] = coefficients[seen : seen + inputs]
    return out
