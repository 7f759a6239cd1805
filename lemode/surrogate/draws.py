"""How random cores are drawn: the settings that are tried, and the weights of one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import torch

from .network import IncrementNetwork
from .readout_network import ReadoutNetwork, random_core
from .seeds import torch_stream

__all__ = ["DRAWS", "Draw", "draw"]


@dataclass(frozen=True)
class Draw:
    """How a random core is drawn: V normal with standard deviation `input`, W with spectral radius `radius`, biases uniform in (-1, 1).

    Attributes
    ----------
    gate : added to b1 and b2: gates that are open keep the last few samples apart, closed ones average over many
    delays : previous values that are read beside the present one
    apart : half of the units read the series alone, a tenth the known inputs alone, and no unit the inputs at the end of a step, which the
        head reads. What a jump of an input does to a unit is new to the head, so some are spared; and where an input is a force, what the
        series does by itself, and what the inputs have been, are functions of less.

    Examples
    --------
    >>> Draw(input=0.1)
    Draw(delays=0, input=0.1, radius=0.5, gate=2.0, apart=False)
    """

    delays: int = 0
    input: float = 0.3
    radius: float = 0.5
    gate: float = 2.0
    apart: bool = False

    def numbers(self) -> dict[str, float]:
        """By name, as a history keeps them."""
        return {name: float(value) if isinstance(value, bool) else value for name, value in asdict(self).items()}


# shares of the units that read the series alone, and the inputs alone
SERIES, INPUTS = 0.5, 0.1

# No setting is good for all: of these, FitzHugh-Nagumo from v alone chooses the widest V, Lorenz63 a narrow one, both with noise gates
# that are half closed, and a noisy series of a system with a long delay the last, whose memory is long. Of noisy series with many samples
# a period gates that are nearly closed average over a dozen, and need no delays.
DRAWS = (
    *(
        replace(how, delays=delays)
        for delays in (0, 2, 6)
        for how in (
            *(Draw(input=v, radius=w) for v, w in ((0.3, 0.5), (0.1, 0.5), (0.1, 0.1), (0.03, 0.1), (0.3, 0.9), (1.0, 0.5))),
            Draw(input=0.3, radius=0.9, gate=0.0),
            Draw(input=0.1, radius=1.3, gate=0.0),
        )
    ),
    *(Draw(input=v, radius=w, gate=g) for v, w, g in ((0.1, 0.9, -1.5), (0.3, 0.9, -2.0), (0.1, 0.5, -2.0))),
)


@torch.no_grad()
def draw(core: torch.nn.Module, how: Draw, generator: torch.Generator) -> None:
    """Random weights for a core that is not trained: wider than those that training starts from, which leave it nearly linear.

    Examples
    --------
    For 100 units, recurrent weights of standard deviation 0.05 make a spectral radius of 0.5:

    >>> core = lemode.LEM(1, 100)
    >>> draw(core, Draw(), torch.Generator().manual_seed(0))
    >>> {name.split(".")[-1]: round(float(p.detach().std()), 2) for name, p in core.named_parameters()}
    {'weight_ih': 0.29, 'weight_hh': 0.05, 'weight_zy': 0.05, 'bias': 1.19}
    """
    for name, p in core.named_parameters():
        if p.dim() == 1:
            p.uniform_(-1, 1, generator=generator)
            p[: len(p) // 2] += how.gate  # blocks are in the order 1, 2, z, y
        else:
            scale = how.input if "weight_ih" in name else how.radius / math.sqrt(p.shape[1])
            p.normal_(0, scale, generator=generator)


def drawn(like: IncrementNetwork, how: Draw, units: int, seed: int) -> ReadoutNetwork:
    out = ReadoutNetwork.like(like, units, how.delays)
    draw(out.core, how, torch_stream(seed, "weights"))
    if how.apart:
        separate(out)
    return out


@torch.no_grad()
def separate(network: ReadoutNetwork) -> None:
    """Weights from what a unit is not to read, see `Draw.apart`, are zero; the other ones stay.

    Examples
    --------
    >>> network = ReadoutNetwork(lemode.LEM(1 + 2, 10, dtype=torch.float64), 1, inputs=1)
    >>> separate(network)
    >>> (network.core.cells[0].ode.blocks().V1 != 0).int()  # of x, of the input now, and of that at the end of the step
    tensor([[0, 1, 0],
            [1, 1, 0],
            [1, 1, 0],
            [1, 1, 0],
            [1, 1, 0],
            [1, 0, 0],
            [1, 0, 0],
            [1, 0, 0],
            [1, 0, 0],
            [1, 0, 0]], dtype=torch.int32)
    """
    core, m = random_core(network), len(network.input_mean)
    d = core.hidden_size
    k = torch.arange(d)
    of_inputs, of_series = k < INPUTS * d, k >= d - SERIES * d
    # by row the unit that reads, by column what is read
    units = ~(of_inputs[:, None] & ~of_inputs | of_series[:, None] & ~of_series)
    read = torch.ones(d, network.linear, dtype=torch.bool)
    read[of_inputs, : network.linear - 2 * m] = False
    read[of_series, network.linear - 2 * m :] = False
    read[:, network.linear - m :] = False
    for cell in core.layers():
        for name, p in cell.ode.named_parameters():
            if p.dim() == 2:
                allowed = read if "weight_ih" in name else units
                p.mul_(allowed.repeat(len(p) // d, 1))
        read = units
