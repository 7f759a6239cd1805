"""The network of a surrogate: a recurrent core with a linear head that predicts the next increment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["IncrementNetwork"]


class IncrementNetwork(nn.Module):
    r"""One step ahead along a series, in normalised variables.

    .. math::

        \hat x_{k+1} = x_k + s \odot (C\, y_k + c), \qquad
        y_k = \mathrm{core}(x_k, x_{k-1}, \dots, x_{k-p}, e_k;\ \text{state})_k

    with x = (data - mean) / std, s the scale of the increments of x, p delayed copies and known inputs :math:`e_k`.
    Predicting the increment makes persistence the starting point and leaves to the network only what persistence misses.

    Parameters
    ----------
    core : module with the conventions of torch.nn.LSTM (LEM, LSTM, GRU) that reads ``dimension * (1 + delays) + inputs`` features
    hidden_size : features of the core's output
    dimension : D
    delays : p, how many previous values are read beside the present one
    inputs : number of known inputs

    Attributes
    ----------
    mean, std, increment, input_mean, input_std : learned from the training data by `set_scales`
    """

    mean: Tensor
    std: Tensor
    increment: Tensor
    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self,
        core: nn.Module,
        hidden_size: int,
        dimension: int,
        dtype: torch.dtype | None = None,
        delays: int = 0,
        inputs: int = 0,
    ) -> None:
        super().__init__()
        self.core = core
        self.delays = delays
        self.head = nn.Linear(hidden_size, dimension, dtype=dtype)
        for name in ("mean", "std", "increment"):
            self.register_buffer(name, torch.ones(dimension, dtype=dtype))
        for name in ("input_mean", "input_std"):
            self.register_buffer(name, torch.ones(inputs, dtype=dtype))

    def set_scales(self, x: Tensor, e: Tensor | None = None) -> None:
        """Learn the scales from training data x ``(T, n, D)`` and inputs e ``(T, n, m)``, in float64."""
        x = x.double()
        mean, std = _moments(x)
        step = ((x[1:] - x[:-1]) / std).pow(2).mean(dim=(0, 1)).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.increment.copy_(torch.where(step > 0, step, torch.ones_like(step)))
        if e is not None and e.shape[-1]:
            mean, std = _moments(e.double())
            self.input_mean.copy_(mean)
            self.input_std.copy_(std)

    def normalise(self, x: Tensor) -> Tensor:
        """Data to normalised variables."""
        return (x - self.mean) / self.std

    def normalise_inputs(self, e: Tensor) -> Tensor:
        """Known inputs to normalised ones."""
        return (e - self.input_mean) / self.input_std

    def denormalise(self, x: Tensor) -> Tensor:
        """Normalised variables to data."""
        return x * self.std + self.mean

    def forward(self, x: Tensor, e: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """Scaled increments ``C y + c`` for normalised x ``(T, n, D)`` and inputs e ``(T, n, m)``, and the state to go on from."""
        core_state, past = (None, x[:1].expand(self.delays, -1, -1)) if state is None else state
        series = torch.cat([past, x]) if self.delays else x
        T, p = len(x), self.delays
        features = [series[p - j : p - j + T] for j in range(p + 1)]
        if e is not None:
            features.append(e)
        y, core_state = self.core(torch.cat(features, -1) if len(features) > 1 else x, core_state)
        return self.head(y), (core_state, series[len(series) - p :])

    def step(self, x: Tensor, e: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        """The next normalised x for the normalised series so far: ``(T, n, D)`` to ``(T, n, D)``."""
        increment, state = self(x, e, state)
        return x + self.increment * increment, state


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over time and series; a constant variable is passed through unscaled."""
    mean, std = x.mean(dim=(0, 1)), x.std(dim=(0, 1), correction=0)
    tiny = 1e-12 * x.abs().amax(dim=(0, 1)) + torch.finfo(torch.float64).tiny
    return mean, torch.where(std > tiny, std, torch.ones_like(std))
