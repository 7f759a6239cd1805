"""Random units beside the trained ones of a core, which read their states: what a head that is solved for may read more of."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..lem import LEM
from .draws import Draw, draw
from .network import IncrementNetwork
from .readout_network import ReadoutNetwork
from .seeds import torch_stream
from .series import Series

__all__ = ["check_one_layer", "with_random_units"]

# Of what a random unit reads of states and series, each of variance one; of FitzHugh-Nagumo's v and 16 trained units, 0.1 and 1 have
# three and six times the error of one step.
READS = 0.3
SERIES = 16  # of which the states are measured
STILL = 1e-6  # a unit that moves by less is not read: what it does elsewhere would be blown up


def check_one_layer(network: IncrementNetwork) -> None:
    """ValueError for a core that random units are not put beside: it has to be a LEM of one layer.

    Examples
    --------
    >>> check_one_layer(IncrementNetwork(torch.nn.LSTM(1, 2), 2, 1))
    Traceback (most recent call last):
    ValueError: train='both' puts random units beside those of a LEM of one layer, and the core is LSTM: use train='auto'.
    """
    core = network.core
    if not isinstance(core, LEM):
        found, remedy = type(core).__name__, "use train='auto'"
    elif core.num_layers > 1:
        found, remedy = f"a LEM of {core.num_layers}", "use num_layers=1, or train='all'"
    else:
        return
    raise ValueError(f"train='both' puts random units beside those of a LEM of one layer, and the core is {found}: {remedy}.")


@torch.no_grad()
def with_random_units(network: IncrementNetwork, series: Series, units: int, seed: int) -> ReadoutNetwork:
    r"""A network whose core has the trained units first, which compute as before, and behind them random ones that read them.

    .. math::

        W_{1,2} = \begin{pmatrix} W & 0 \\ 0 & 0 \end{pmatrix}, \qquad
        W_{z,y} = \begin{pmatrix} W & 0 \\ R\,\mathrm{diag}(\sigma)^{-1} & 0 \end{pmatrix}, \qquad
        V = \begin{pmatrix} V \\ S \end{pmatrix}

    with :math:`\sigma` the standard deviations of the trained states along the series, from which their means are taken off, R and S
    normal, and gates that are open and read nothing: what a random unit says is a function of the present state, and hardly of its own
    past. The head is yet to be solved for.

    Parameters
    ----------
    network : its core is a LEM of one layer, see `check_one_layer`; not modified
    series : normalised
    units : random ones
    seed : of their weights

    Examples
    --------
    >>> network = IncrementNetwork(LEM(1, 4), 4, 1)
    >>> x = torch.sin(torch.linspace(0, 9, 50))[:, None, None]
    >>> wide = with_random_units(network, Series(x), units=30, seed=0)
    >>> wide.core.hidden_size, torch.allclose(wide.features(x.double())[0][..., 1:5].float(), network.features(x)[0], atol=1e-6)
    (34, True)
    """
    core, p = network.core, network.delays
    assert isinstance(core, LEM)
    part = series.map(lambda s: s[:, :SERIES])
    r = None if part.r is None else network._core_steps(part.r[..., 0])
    ((y, z),) = core.states(network.core_input(part.x, part.e, part.x[:1].expand(p, -1, -1)), None, r)
    d, mine = core.hidden_size, core.layers()[0].ode.blocks()
    out = ReadoutNetwork.like(network, d + units, p)
    assert isinstance(out.core, LEM)
    generator = torch_stream(seed, "weights")
    draw(out.core, Draw(input=READS / math.sqrt(mine.V1.shape[1])), generator)
    ode = out.core.layers()[0].ode
    assert ode.bias is not None
    theirs, bias = ode.blocks(), ode.bias.view(4, -1)
    for name in ("W1", "W2", "Wz", "Wy"):
        W: Tensor = getattr(theirs, name)
        W[:, d:], W[:d, :d] = 0.0, getattr(mine, name)
    for V in (theirs.V1, theirs.V2):
        V[d:] = 0.0
    for V, trained in zip((theirs.V1, theirs.V2, theirs.Vz, theirs.Vy), (mine.V1, mine.V2, mine.Vz, mine.Vy)):
        V[:d] = trained
    for b, trained in zip(bias, (mine.b1, mine.b2, mine.bz, mine.by)):
        b[:d] = trained
    theirs.W1[d:], theirs.W2[d:] = 0.0, 0.0
    for W, b, s in ((theirs.Wz, bias[2], y), (theirs.Wy, bias[3], z)):
        states = s.double().flatten(0, 1)
        R = READS / math.sqrt(d) * torch.randn(units, d, dtype=torch.float64, generator=generator)
        spread = states.std(0, correction=0)
        W[d:, :d] = R / spread.where(spread > STILL, math.inf)
        b[d:] -= W[d:, :d] @ states.mean(0)
    return out
