"""The network of a readout: a random core that stays as it was drawn, under a head that reads all of its state and the series itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..lem import LEM
from .network import IncrementNetwork
from .series import Series

__all__ = ["Heads", "ReadoutNetwork", "by_blocks", "random_core", "say"]

BLOCK = 20_000_000  # numbers that the heads read at a time


class ReadoutNetwork(IncrementNetwork):
    r"""One step ahead along a series, in normalised variables, by a head that is linear in everything the network knows.

    .. math::

        \hat x_{k+1} = \mathrm{clip}\big(x_k + s \odot (A\, a_k + C f_k)\big), \qquad
        a_k = \big(1,\; x_k,\; (x_k - x_{k-1}) / s,\; \dots,\; (x_{k-p+1} - x_{k-p}) / s,\; e_k\big), \qquad f_k = (y_k, z_k)

    with y and z of every layer of a LEM that reads :math:`x_k, \dots, x_{k-p}` and :math:`e_k`. With C = 0 it is the linear
    autoregression with the same inputs, which is its floor. It is in float64: coefficients are large, and cancel.

    Parameters
    ----------
    core : LEM in float64 that reads ``dimension * (1 + delays) + 2 * inputs`` features
    dimension, delays, inputs : as in `lemode.surrogate.network.IncrementNetwork`

    Examples
    --------
    >>> network = ReadoutNetwork(lemode.LEM(2 * 3, 10, dtype=torch.float64), dimension=2, delays=2)
    >>> network.head.in_features, network.linear  # x and two differences of each, outside the penalty; y and z, inside
    (26, 6)
    >>> predicted, state = network.step(torch.randn(50, 3, 2, dtype=torch.float64))
    >>> predicted.shape
    torch.Size([50, 3, 2])
    """

    reads_everything = True

    def __init__(self, core: LEM, dimension: int, delays: int = 0, inputs: int = 0) -> None:
        super().__init__(core, 1, dimension, torch.float64, delays, inputs)
        self.linear = dimension * (1 + delays) + 2 * inputs  # those at both ends of a step
        self.head = nn.Linear(self.linear + 2 * core.hidden_size * core.num_layers, dimension, dtype=torch.float64)

    @classmethod
    def like(cls, network: IncrementNetwork, units: int, delays: int) -> ReadoutNetwork:
        """With the scales of another network, and a core like its own but for its size; the weights are yet to be drawn."""
        core, D, inputs = random_core(network), network.head.out_features, len(network.input_mean)
        features = D * (1 + delays) + 2 * inputs
        with torch.device("meta"):  # so that torch's global generator is left alone
            out = cls(
                LEM(features, units, core.num_layers, dt=core.dt, scheme=core.layers()[0].scheme.name, dtype=torch.float64),
                D,
                delays,
                inputs,
            )
        out.to_empty(device="cpu")
        for name, buffer in network.named_buffers(recurse=False):
            getattr(out, name).copy_(buffer)
        return out

    def rebuilt_from(self) -> dict[str, int]:
        """Its size, for `like`."""
        assert isinstance(self.core, LEM)
        return {"units": self.core.hidden_size, "delays": self.delays}

    def forward(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """As in `IncrementNetwork`, a block of time after the other."""
        return by_blocks(self._increments, Series(x, e, r), state, self.head.in_features)

    def _increments(self, part: Series, state: Any) -> tuple[Tensor, Any]:
        return super().forward(part.x, part.e, state, part.r)

    def features(self, x: Tensor, e: Tensor | None = None, state: Any = None, r: Tensor | None = None) -> tuple[Tensor, Any]:
        """What the head reads: :math:`(a_k, f_k)` without the one, ``(T, n, features)``, and the state to go on from."""
        core, p, T = self.core, self.delays, len(x)
        assert isinstance(core, LEM)
        core_state, past = (None, x[:1].expand(p, -1, -1)) if state is None else state
        states = core.states(self.core_input(x, e, past), core_state, None if r is None else self._core_steps(r[..., 0]))
        series = torch.cat([past, x]) if p else x
        lags = [series[p - j : p - j + T] for j in range(p + 1)]
        a = [x, *((later - earlier) / self.increment for later, earlier in pairwise(lags))]
        f = [v for yz in states for v in yz]
        y_n, z_n = (torch.stack([s[i][-1] for s in states]) for i in (0, 1))
        return torch.cat([*a, *([] if e is None else [e]), *f], -1), ((y_n, z_n), series[len(series) - p :])


def by_blocks(run: Callable[[Series, Any], tuple[Tensor, Any]], series: Series, state: Any, numbers: int) -> tuple[Tensor, Any]:
    """What `run` finds for a block of time after the other: what the head reads of all times, so many numbers of each, fills the memory.

    Examples
    --------
    >>> by_blocks(lambda part, last: (part.x + last, last), Series(torch.arange(3.0).reshape(3, 1, 1)), 1.0, BLOCK)[0].flatten()
    tensor([1., 2., 3.])
    """
    block, parts = max(BLOCK // (series.x.shape[1] * numbers), 1), []
    for begin in range(0, len(series.x), block):
        out, state = run(series.part(begin, begin + block), state)
        parts.append(out)
    return torch.cat(parts), state


class Heads(nn.Module):
    """Many heads at a time, each for its own share of the series: ``(T, heads * n, ..., features)`` to ``(T, heads * n, ..., D)``.

    Parameters
    ----------
    coefficients : ``(heads, 1 + features, D)``, of the one first

    Examples
    --------
    >>> heads = Heads(torch.tensor([[[1.0], [0.0]], [[0.0], [2.0]]]))  # 1, and 2 x
    >>> heads(torch.tensor([5.0, 6.0, 5.0, 6.0]).reshape(1, 4, 1)).flatten()
    tensor([ 1.,  1., 10., 12.])
    """

    def __init__(self, coefficients: Tensor) -> None:
        super().__init__()
        self.coefficients = coefficients
        self.in_features, self.out_features = coefficients.shape[1] - 1, coefficients.shape[2]

    def forward(self, features: Tensor, begin: int = 0) -> Tensor:
        """One product for all; of some columns, from `begin` on, where these are not all: the constant goes with the first."""
        T, c = len(features), len(self.coefficients)
        f = features.reshape(T, c, -1, features.shape[-1]).transpose(0, 1).reshape(c, -1, features.shape[-1])
        columns = self.coefficients[:, 1 + begin : 1 + begin + features.shape[-1]]
        out = torch.bmm(f, columns) if begin else torch.baddbmm(self.coefficients[:, :1], f, columns)
        return out.view(c, T, -1, out.shape[-1]).transpose(0, 1).reshape(*features.shape[:-1], -1)


def say(head: nn.Module, features: Tensor, begin: int) -> Tensor:
    """What a head says of some of its columns, from `begin` on, which are given; its constant goes with the first.

    Examples
    --------
    >>> head, f = torch.nn.Linear(5, 2), torch.randn(3, 5)
    >>> torch.allclose(say(head, f[:, :2], 0) + say(head, f[:, 2:], 2), head(f), atol=1e-6)
    True
    """
    if isinstance(head, Heads):
        return head.forward(features, begin)
    assert isinstance(head, nn.Linear)
    columns = head.weight[:, begin : begin + features.shape[-1]]
    return nn.functional.linear(features, columns, None if begin else head.bias)


def random_core(network: IncrementNetwork) -> LEM:
    """The core of a network, which a readout is to have one like; ValueError if it is no LEM.

    Examples
    --------
    >>> random_core(IncrementNetwork(LEM(1, 2), 2, 1)).hidden_size
    2
    """
    if not isinstance(network.core, LEM):
        raise ValueError(f"train='readout' draws a LEM, and the core is {type(network.core).__name__}: use lemode.Surrogate.")
    return network.core
