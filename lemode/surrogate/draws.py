"""How random cores are drawn: the settings that are tried, and the weights of one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from .network import IncrementNetwork
from .readout_network import ReadoutNetwork
from .seeds import torch_stream

__all__ = ["DRAWS", "Draw", "draw"]


@dataclass(frozen=True)
class Draw:
    """How a random core is drawn: V normal with standard deviation `input`, W with spectral radius `radius`, biases uniform in (-1, 1).

    Attributes
    ----------
    gate : added to b1 and b2: gates that are open keep the last few samples apart, closed ones average over many
    delays : previous values that are read beside the present one

    Examples
    --------
    >>> Draw(input=0.1)
    Draw(delays=0, input=0.1, radius=0.5, gate=2.0)
    """

    delays: int = 0
    input: float = 0.3
    radius: float = 0.5
    gate: float = 2.0


# No setting is good for all: of these, FitzHugh-Nagumo from v alone chooses the widest V, Lorenz63 a narrow one, and a noisy series
# of a system with a long delay the last, whose memory is long.
DRAWS = tuple(
    replace(how, delays=delays)
    for delays in (0, 2, 6)
    for how in (
        *(Draw(input=v, radius=w) for v, w in ((0.3, 0.5), (0.1, 0.5), (0.1, 0.1), (0.03, 0.1), (0.3, 0.9), (1.0, 0.5))),
        Draw(input=0.1, radius=1.3, gate=0.0),
    )
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
    return out
