"""The almost-linear recurrent network of the reconstruction literature, trained by sparse teacher forcing."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..surrogate.parameters import check_count, check_number
from ..surrogate.recipe import check_seed
from ..surrogate.seeds import torch_stream
from .base import Array, Baseline
from .gradient_steps import gradient_steps

__all__ = ["AlmostLinearRNN"]


class AlmostLinearRNN(Baseline):
    r"""A linear recursion of which a few units are rectified, whose first units are the data: AL-RNN.

    .. math::

        z_k = a \odot z_{k-1} + W \Phi(z_{k-1}) + h, \qquad \hat x_k = (z_k)_{1..D}, \qquad
        \Phi = (\mathrm{id}, \dots, \mathrm{id}, \mathrm{relu}, \dots, \mathrm{relu})

    Trained on free runs that are brought back every so many steps: there the first D units are set to the data, the others go on (sparse
    teacher forcing), so that gradients of chaotic series stay bounded. A history is read by setting them at every sample. The other units
    begin as a learned linear map of the first value.

    Parameters
    ----------
    units : M, of the state; D of them are the data
    rectified : P of them, the last ones
    interval : samples between two times when the data are set
    window : samples of a training window
    steps, batch_size, lr, max_time : of Adam, with a schedule that falls to a hundredth; `max_time` in seconds ends the fit early
    observe : variables to learn, all by default

    Raises
    ------
    ValueError
        When fitted, for fewer units than variables and rectified ones, or series that are shorter than a window.

    Examples
    --------
    >>> wave = np.stack([np.sin(0.3 * np.arange(200)), np.cos(0.3 * np.arange(200))], -1)
    >>> model = AlmostLinearRNN(units=5, rectified=2, interval=5, window=20, steps=30, batch_size=8).fit(wave)
    >>> model.forecast(wave, steps=10).shape
    (10, 2)

    References
    ----------
    Brenner, Hemmer, Monfared, Durstewitz, NeurIPS 2024, arXiv 2410.14240; sparse teacher forcing: Mikhaeil, Monfared, Durstewitz,
    NeurIPS 2022, arXiv 2110.07238. Written from the equations.
    """

    def __init__(
        self,
        units: int = 30,
        rectified: int = 10,
        interval: int = 16,
        window: int = 100,
        steps: int = 2000,
        batch_size: int = 64,
        lr: float = 3e-3,
        max_time: float | None = None,
        seed: int = 0,
        observe: tuple[str, ...] | None = None,
    ) -> None:
        self.units = units
        self.rectified = rectified
        self.interval = interval
        self.window = window
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.max_time = max_time
        self.seed = seed
        self.observe = observe

    def _fit(self, x: Array) -> None:
        for name in ("units", "rectified", "interval", "window", "steps", "batch_size"):
            check_count(name, getattr(self, name))
        check_number("lr", self.lr)
        check_seed(self.seed)
        if self.max_time is not None:
            check_number("max_time", self.max_time, hint=", or None")
        n, T, D = x.shape
        if self.units < D + self.rectified:
            raise ValueError(
                f"units={self.units}: {D} are the data and {self.rectified} rectified; give {D + self.rectified} or more."
            )
        if not 1 < self.window <= T:
            raise ValueError(f"window={self.window}: the series have {T} samples; give 2 to {T}.")
        M, generator = self.units, torch_stream(self.seed, "weights")

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        # nearly the identity: the state moves slowly at first, as sampled data do
        self.weights_ = {
            "a": torch.full((M,), 0.95, dtype=torch.float64),
            "W": 0.05 * random(M, M) / math.sqrt(M),
            "h": torch.zeros(M, dtype=torch.float64),
            "L": random(D, M - D) / math.sqrt(D),
        }
        # what a unit is not below: nothing, or zero
        self.floor_ = torch.full((M,), -math.inf, dtype=torch.float64)
        self.floor_[M - self.rectified :] = 0.0
        parameters = [w.requires_grad_() for w in self.weights_.values()]
        data, batches = torch.from_numpy(x), torch_stream(self.seed, "batches")

        def loss() -> Tensor:
            rows = torch.randint(0, n, (self.batch_size,), generator=batches)
            begin = torch.randint(0, T - self.window + 1, (self.batch_size,), generator=batches)
            truth = data[rows[:, None], begin[:, None] + torch.arange(self.window)].transpose(0, 1)
            z, errors = self._begin(truth[0]), []
            for k in range(1, self.window):
                z = self._step(z)
                errors.append(z[:, :D] - truth[k])
                if k % self.interval == 0:
                    z = torch.cat([truth[k], z[:, D:]], 1)
            return torch.stack(errors).square().mean()

        gradient_steps(parameters, loss, self.steps, lambda progress: self.lr * 0.01**progress, self.max_time, largest=1.0)
        for p in parameters:
            p.requires_grad_(False)

    def _begin(self, x: Tensor) -> Tensor:
        return torch.cat([x, x @ self.weights_["L"]], 1)

    def _step(self, z: Tensor) -> Tensor:
        w = self.weights_
        rectified = torch.maximum(z, self.floor_)
        return torch.addcmul(torch.addmm(w["h"], rectified, w["W"].T), w["a"], z)

    @torch.no_grad()
    def _read(self, x: Array) -> tuple[Tensor, Tensor]:
        """Predictions of the next values ``(T, n, D)``, and the state after the last."""
        data, D = torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2))), x.shape[-1]
        z, out = self._begin(data[0]), []
        for k in range(len(data)):
            z = self._step(torch.cat([data[k], z[:, D:]], 1))
            out.append(z[:, :D])
        return torch.stack(out), z

    def _predict(self, x: Array) -> Array:
        return self._read(x)[0].transpose(0, 1).numpy()

    @torch.no_grad()
    def _forecast(self, x: Array, steps: int) -> Array:
        z, out = self._read(x)[1], []
        for _ in range(steps):
            out.append(z[:, : x.shape[-1]])
            z = self._step(z)
        return torch.stack(out, 1).numpy()
