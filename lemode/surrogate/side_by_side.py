"""Small LEMs that read the same series and know nothing of each other: one LEM whose recurrent matrices are block diagonal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..lem import LEM

__all__ = ["SideBySide"]

State = tuple[Tensor, Tensor]
MEMBER = 100  # units of the largest member


class SideBySide(nn.Module):
    """A layer of `units` units in members of up to `MEMBER`; a step costs as many times less as there are members.

    What random units are good for is how many there are, and not that each hears of all others.

    Parameters
    ----------
    features : components of what every member reads
    units : of all members together
    dt, scheme, dtype : as in `lemode.LEM`

    Examples
    --------
    >>> core = SideBySide(3, 250, dtype=torch.float64)
    >>> [member.hidden_size for member in core.members]
    [84, 83, 83]
    >>> u = torch.randn(20, 4, 3, dtype=torch.float64)
    >>> y, z = core.states(u)
    >>> torch.allclose(y, core.dense()(u)[0], atol=1e-12)
    True
    """

    def __init__(
        self, features: int, units: int, dt: float = 1.0, scheme: str = "imex", dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        count = -(-units // MEMBER)
        sizes = [units // count + (i < units % count) for i in range(count)]
        self.members = nn.ModuleList(LEM(features, d, dt=dt, scheme=scheme, dtype=dtype) for d in sizes)
        self.hidden_size = units

    @property
    def lems(self) -> list[LEM]:
        """The members, by their type."""
        return [member for member in self.members if isinstance(member, LEM)]

    @property
    def backend(self) -> str:
        """That of all members."""
        return self.lems[0].backend

    @backend.setter
    def backend(self, name: str) -> None:
        for member in self.lems:
            member.backend = name

    def states(self, u: Tensor, state: State | None = None) -> State:
        """y and z of all units at all times, ``(T, N, units)`` each, for u ``(T, N, features)`` and a state ``(1, N, units)`` each."""
        sizes = [member.hidden_size for member in self.lems]
        parts = [None] * len(sizes) if state is None else list(zip(*(s.split(sizes, -1) for s in state)))
        found = [member.states(u, None if s is None else (s[0], s[1]))[0] for member, s in zip(self.lems, parts)]
        y, z = (torch.cat([pair[i] for pair in found], -1) for i in (0, 1))
        return y, z

    def dense(self) -> LEM:
        """The same layer as one LEM, with zeros where members do not hear each other: all that holds for LEM holds for it."""
        first = self.lems[0]
        one = LEM(first.input_size, self.hidden_size, dt=first.dt, scheme=first.layers()[0].scheme.name, dtype=_dtype(first))
        with torch.no_grad():
            for name, p in one.named_parameters():
                p.zero_()
                blocks, begin = p.unflatten(0, (-1, self.hidden_size)), 0
                for member in self.lems:
                    d = member.hidden_size
                    part = member.get_parameter(name).unflatten(0, (-1, d))
                    where = blocks[:, begin : begin + d]
                    (where[..., begin : begin + d] if "_hh" in name or "_zy" in name else where).copy_(part)
                    begin += d
        return one


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype
