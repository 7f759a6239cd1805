"""The network of the estimators: a recurrent core, what is read of its outputs, and a linear head."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as apply_dropout

from ..lem import LEM
from .series import Padded

__all__ = ["CELLS", "READOUTS", "SequenceNetwork", "build", "chrono_", "sketch"]

CELLS = ("lem", "lstm", "gru")
"""Cores by name."""

READOUTS = ("last", "mean", "all")
"""What the head reads: the output at the last step of each series, the mean over its steps, or every step."""

Cell = str | Callable[..., nn.Module]


class SequenceNetwork(nn.Module):
    r"""A core along padded series, and a linear head on its outputs.

    .. math:: o = C\,h + c, \qquad h = y_{T}\ \text{('last')} \quad \text{or} \quad \frac{1}{T}\sum_n y_n\ \text{('mean')}

    The core is causal, so that what it makes of the steps before the end of a series does not depend on the padding behind it.

    Examples
    --------
    >>> network = SequenceNetwork(lemode.LEM(2, 8), 8, 3)
    >>> network(Padded.of([np.ones((5, 2)), np.ones((9, 2))])).shape
    torch.Size([2, 3])
    """

    def __init__(self, core: nn.Module, hidden_size: int, outputs: int, readout: str = "last", dropout: float = 0.0) -> None:
        super().__init__()
        self.core, self.readout, self.dropout = core, readout, dropout
        dtype = next(core.parameters()).dtype
        self.head = nn.Linear(hidden_size, outputs, dtype=dtype, device=next(core.parameters()).device)

    def forward(self, series: Padded) -> Tensor:
        """``(n, outputs)``; with the readout 'all' ``(n, T, outputs)``."""
        y = self.core(series.x)[0]
        h = self._read(y, series.lengths)
        if self.dropout:
            h = apply_dropout(h, self.dropout, self.training)
        return self.head(h)

    def _read(self, y: Tensor, lengths: Tensor) -> Tensor:
        if self.readout == "all":
            return y.transpose(0, 1)
        even = bool((lengths == len(y)).all())
        if self.readout == "last":
            return y[-1] if even else y[lengths - 1, torch.arange(len(lengths))]
        if even:
            return y.mean(0)
        inside = torch.arange(len(y))[:, None] < lengths
        return (y * inside[..., None]).sum(0) / lengths[:, None]


def sketch(
    cell: str,
    features: int,
    hidden_size: int,
    outputs: int,
    *,
    num_layers: int = 1,
    dt: float = 1.0,
    readout: str = "last",
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> SequenceNetwork:
    """The network of a cell in `CELLS` on the device 'meta': sizes without memory.

    Examples
    --------
    >>> network = sketch("gru", 3, 8, 2)
    >>> type(network.core).__name__, network.head.weight.shape, network.head.weight.device.type
    ('GRU', torch.Size([2, 8]), 'meta')
    """
    with torch.device("meta"):
        core = (
            LEM(features, hidden_size, num_layers, dt=dt, dtype=dtype)
            if cell == "lem"
            else {"lstm": nn.LSTM, "gru": nn.GRU}[cell](features, hidden_size, num_layers, dtype=dtype)
        )
        return SequenceNetwork(core, hidden_size, outputs, readout, dropout)


def build(
    cell: Cell,
    features: int,
    hidden_size: int,
    outputs: int,
    generator: torch.Generator,
    *,
    num_layers: int = 1,
    dt: float = 1.0,
    init: str = "paper",
    memory: tuple[float, float] | None = None,
    readout: str = "last",
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> SequenceNetwork:
    """The network with its initial weights, all of the generator; torch's global one is neither read nor moved.

    cell is a name, or a function of the sizes (features, hidden_size, num_layers) that makes a module with nn.LSTM's conventions.
    Every parameter is drawn from U(-1/sqrt(d), 1/sqrt(d)); with ``init='timescales'`` the biases are then those of `lemode.init`, or
    `chrono_` for torch's layers, for a memory of ``(shortest, longest)`` steps. Of a function the core is as it comes, drawn by torch's
    generator with a seed of ours.

    Examples
    --------
    >>> one, again = (build("lem", 3, 8, 2, torch.Generator().manual_seed(0)) for _ in range(2))
    >>> torch.equal(one.head.weight, again.head.weight)
    True
    """
    if callable(cell):
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SequenceNetwork(cell(features, hidden_size, num_layers).to(dtype), hidden_size, outputs, readout, dropout)
        _draw(network.head, hidden_size, generator)
        return network
    network = sketch(
        cell, features, hidden_size, outputs, num_layers=num_layers, dt=dt, readout=readout, dropout=dropout, dtype=dtype
    )
    network.to_empty(device="cpu")
    _draw(network, hidden_size, generator)
    if init == "timescales":
        assert memory is not None
        if isinstance(network.core, LEM):
            from ..init import timescales_  # with the analysis, which `import lemode` does not wait for

            timescales_(network.core, *memory, generator)
        else:
            chrono_(network.core, memory[1], generator)
    return network


def _draw(module: nn.Module, hidden_size: int, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(hidden_size)
    with torch.no_grad():
        for p in module.parameters():
            p.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def chrono_(core: Any, longest: float, generator: torch.Generator | None = None) -> None:
    r"""The biases of an nn.LSTM or nn.GRU for memories of up to `longest` steps.

    .. math:: b_f \sim \log U(1, T - 1), \qquad b_i = -b_f

    for forget and input gate of an LSTM; for a GRU its update gate, which keeps the state where it is 1, has :math:`b_f`.

    Examples
    --------
    >>> lstm = torch.nn.LSTM(1, 4)
    >>> chrono_(lstm, 100)
    >>> i, f, g, o = (lstm.bias_ih_l0 + lstm.bias_hh_l0).chunk(4)
    >>> bool(torch.equal(i, -f)), bool((f <= 4.6).all())  # log 99
    (True, True)

    References
    ----------
    Tallec and Ollivier, Can recurrent neural networks warp time?, ICLR 2018, arXiv:1804.11188.
    """
    if not isinstance(core, nn.LSTM | nn.GRU):
        raise TypeError(f"core is {type(core).__name__}: give a torch.nn.LSTM or GRU.")
    d = core.hidden_size
    for name, bias in core.named_parameters():
        if not name.startswith("bias_ih"):
            continue
        other = getattr(core, name.replace("bias_ih", "bias_hh"))
        forget = torch.log(1 + torch.rand(d, generator=generator, dtype=bias.dtype) * max(longest - 2, 0))
        for block, values in {1: forget, 0: -forget}.items() if isinstance(core, nn.LSTM) else {1: forget}.items():
            bias[block * d : (block + 1) * d] = values
            other[block * d : (block + 1) * d] = 0
