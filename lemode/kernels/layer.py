"""One layer of a stack, as plain tensors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Layer"]


class Layer(NamedTuple):
    """The parameters of a `lemode.ode.MultiscaleODE`, and how it is stepped."""

    weight_ih: Tensor
    weight_hh: Tensor
    weight_zy: Tensor
    bias: Tensor
    dt: float = 1.0
    scheme: str = "imex"
