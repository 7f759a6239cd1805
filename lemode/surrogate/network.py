"""The network of a surrogate: a recurrent core with a linear head that predicts the next increment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["IncrementNetwork"]


class IncrementNetwork(nn.Module):
    r"""One step ahead along a series, in normalised variables.

    .. math:: \hat x_{k+1} = x_k + s \odot (C\, y_k + c), \qquad x = (\text{data} - \mu) / \varsigma

    :math:`y_k` is the output of the recurrent core after :math:`x_0, \dots, x_k`; :math:`\mu, \varsigma` are mean and standard
    deviation of the data and s that of the increments of x. Predicting the increment makes persistence the starting
    point and leaves to the network only what persistence misses.

    Parameters
    ----------
    core : module with the conventions of torch.nn.LSTM (LEM, LSTM, GRU)
    dimension : D
    """

    mean: Tensor
    std: Tensor
    increment: Tensor

    def __init__(self, core: nn.Module, hidden_size: int, dimension: int, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.core = core
        self.head = nn.Linear(hidden_size, dimension, dtype=dtype)
        for name in ("mean", "std", "increment"):
            self.register_buffer(name, torch.ones(dimension, dtype=dtype))

    def set_scales(self, x: Tensor) -> None:
        """Learn mean, standard deviation and increment scale from the training data ``(T, n, D)``, in float64."""
        x = x.double()
        std = x.std(dim=(0, 1), correction=0)
        tiny = 1e-12 * x.abs().amax(dim=(0, 1)) + torch.finfo(torch.float64).tiny
        std = torch.where(std > tiny, std, torch.ones_like(std))  # a constant variable is passed through unscaled
        step = ((x[1:] - x[:-1]) / std).pow(2).mean(dim=(0, 1)).sqrt()
        self.mean.copy_(x.mean(dim=(0, 1)))
        self.std.copy_(std)
        self.increment.copy_(torch.where(step > 0, step, torch.ones_like(step)))

    def normalise(self, x: Tensor) -> Tensor:
        """Data to normalised variables."""
        return (x - self.mean) / self.std

    def denormalise(self, x: Tensor) -> Tensor:
        """Normalised variables to data."""
        return x * self.std + self.mean

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Scaled increments ``C y + c`` for normalised x ``(T, n, D)``, and the last state of the core."""
        y, state = self.core(x, state)
        return self.head(y), state

    def step(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The next normalised x for the normalised series so far: ``(T, n, D)`` to ``(T, n, D)``."""
        increment, state = self(x, state)
        return x + self.increment * increment, state
