"""A plain neural ODE: a small tanh network as the right-hand side, solved by torchdiffeq."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..surrogate.network import draw_weights
from ..surrogate.parameters import check_count, check_number
from ..surrogate.recipe import check_seed
from ..surrogate.seeds import torch_stream
from .base import Baseline, need
from .gradient_steps import gradient_steps

__all__ = ["NeuralODE"]

Array = NDArray[np.float64]
FIXED = ("euler", "midpoint", "rk4")  # methods of torchdiffeq with steps of one size


class NeuralODE(Baseline):
    r"""A tanh network with two hidden layers as the right-hand side, trained on short free runs. Needs the full state.

    .. math:: \dot x = f_\theta(x), \qquad \min_\theta \sum_k \sum_{j \le h} |\hat x(t_{k+j}) - x_{k+j}|^2, \quad \hat x(t_k) = x_k

    in normalised variables, each error in units of its variable's increment; h is the horizon.

    Parameters
    ----------
    hidden_size : units of each of the two layers
    horizon : samples of the free runs in training
    steps, batch_size, lr, max_time : of Adam with a cosine schedule; `max_time` in seconds ends the fit early
    method : of torchdiffeq, with `substeps` steps between samples

    Raises
    ------
    ValueError
        When fitted, for a horizon that is not shorter than the series.

    Examples
    --------
    >>> t = np.linspace(0, 12, 121)
    >>> circle = np.stack([np.cos(t), np.sin(t)], -1)
    >>> model = NeuralODE(hidden_size=8, horizon=2, steps=20, batch_size=16).fit(circle)
    >>> model.forecast(circle, steps=20).shape
    (20, 2)

    References
    ----------
    Chen, Rubanova, Bettencourt, Duvenaud, Neural Ordinary Differential Equations, NeurIPS 2018, arXiv:1806.07366.
    """

    def __init__(
        self,
        hidden_size: int = 32,
        horizon: int = 5,
        steps: int = 2000,
        batch_size: int = 512,
        lr: float = 3e-3,
        max_time: float | None = None,
        method: str = "rk4",
        substeps: int = 1,
        seed: int = 0,
        observe: tuple[str, ...] | None = None,
    ) -> None:
        self.hidden_size = hidden_size
        self.horizon = horizon
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.max_time = max_time
        self.method = method
        self.substeps = substeps
        self.seed = seed
        self.observe = observe

    def _fit(self, x: Array) -> None:
        for name in ("hidden_size", "horizon", "steps", "batch_size", "substeps"):
            check_count(name, getattr(self, name))
        check_number("lr", self.lr)
        check_seed(self.seed)
        if self.max_time is not None:
            check_number("max_time", self.max_time, hint=", or None")
        if self.substeps != 1 and self.method not in FIXED:
            raise ValueError(f"substeps={self.substeps}: method={self.method!r} chooses its steps; leave substeps out.")
        if self.horizon >= x.shape[1]:
            raise ValueError(f"horizon={self.horizon}: the series have {x.shape[1]} samples; give fewer.")
        D, h = x.shape[-1], self.hidden_size
        with torch.device("meta"):
            field = nn.Sequential(nn.Linear(D, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, D)).double()
        self.field_ = field.to_empty(device="cpu")
        draw_weights(self.field_, torch_stream(self.seed, "weights"))
        data, generator = torch.from_numpy(x), torch_stream(self.seed, "batches")
        increment = data.diff(dim=1).square().mean((0, 1)).sqrt()
        T = x.shape[1]

        def loss() -> Tensor:
            rows = torch.randint(0, len(x), (self.batch_size,), generator=generator)
            begin = torch.randint(0, T - self.horizon, (self.batch_size,), generator=generator)
            truth = torch.stack([data[rows, begin + k] for k in range(self.horizon + 1)])
            return ((self._solve(truth[0], self.horizon) - truth) / increment).square().mean()

        def rate(progress: float) -> float:
            return self.lr * 0.5 * (1 + math.cos(math.pi * progress))

        gradient_steps(self.field_.parameters(), loss, self.steps, rate, self.max_time)

    def _solve(self, x0: Tensor, steps: int) -> Tensor:
        """``(steps + 1, n, D)`` in units of the sampling interval."""
        t = torch.arange(steps + 1, dtype=x0.dtype)
        options: dict[str, Any] = {"step_size": 1.0 / self.substeps} if self.method in FIXED else {}
        solution: Tensor = need("torchdiffeq", "NeuralODE").odeint(
            lambda s, v: self.field_(v), x0, t, method=self.method, options=options
        )
        return solution

    @torch.no_grad()
    def _predict(self, x: Array) -> Array:
        flat = torch.from_numpy(x.reshape(-1, x.shape[-1]))
        return self._solve(flat, 1)[1].numpy().reshape(x.shape)

    @torch.no_grad()
    def _forecast(self, x: Array, steps: int) -> Array:
        return self._solve(torch.from_numpy(np.ascontiguousarray(x[:, -1])), steps)[1:].transpose(0, 1).numpy()
