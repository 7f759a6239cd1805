"""An echo state network by reservoirpy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..surrogate.least_squares import StreamingQR
from ..surrogate.parameters import check_count, check_number
from ..surrogate.recipe import check_seed
from ..surrogate.seeds import stream
from .base import Baseline, need

__all__ = ["EchoStateNetwork"]

Array = NDArray[np.float64]


class EchoStateNetwork(Baseline):
    r"""Echo state network: a random reservoir with a ridge readout that predicts the increment.

    .. math:: r_k = (1 - a) r_{k-1} + a \tanh(W r_{k-1} + W_{in} x_k + b), \qquad \hat x_{k+1} = x_k + s \odot W_{out} (r_k, x_k)

    Parameters
    ----------
    units, spectral_radius, leak, input_scaling, ridge
        Size of the reservoir, and what matters in it; choose them by the free run on validation data.
    solver : {'reservoirpy', 'exact'}
        Whose least squares: reservoirpy's, by normal equations, whose ridge is that of a sum over samples; or that of the readouts of
        `lemode.Surrogate`, with the series and a constant outside the penalty, whose ridge is that of a mean.
    noise : standard deviation of the noise on the reservoir's state in fitting, which keeps the free run of a chaotic system stable
    washout : samples of each series that are not fitted

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 40, 401))[:, None]
    >>> model = EchoStateNetwork(units=50).fit(wave[:300])
    >>> bool(np.abs(model.forecast(wave[:300], steps=100) - wave[300:400]).max() < 0.05)
    True

    References
    ----------
    Jaeger and Haas, Science 304 (2004) 78-80; Trouvain, Pedrelli, Dinh, Hinaut, ReservoirPy, ICANN 2020.
    """

    def __init__(
        self,
        units: int = 500,
        spectral_radius: float = 0.5,
        leak: float = 1.0,
        input_scaling: float = 0.5,
        ridge: float = 1e-7,
        solver: str = "reservoirpy",
        noise: float = 0.0,
        washout: int = 50,
        seed: int = 0,
        observe: tuple[str, ...] | None = None,
    ) -> None:
        self.units = units
        self.spectral_radius = spectral_radius
        self.leak = leak
        self.input_scaling = input_scaling
        self.ridge = ridge
        self.solver = solver
        self.noise = noise
        self.washout = washout
        self.seed = seed
        self.observe = observe

    def _fit(self, x: Array) -> None:
        check_count("units", self.units)
        for name in ("spectral_radius", "input_scaling", "ridge", "noise"):
            check_number(name, getattr(self, name), zero=True)
        check_number("leak", self.leak)
        if self.solver not in ("reservoirpy", "exact"):
            raise ValueError(f"solver={self.solver!r}: give 'reservoirpy' or 'exact'.")
        check_seed(self.seed)
        if check_count("washout", self.washout, 0) >= x.shape[1] - 1:
            raise ValueError(f"washout={self.washout}: the series have {x.shape[1]} samples; give fewer.")
        nodes = need("reservoirpy.nodes", "EchoStateNetwork")
        self.reservoir_ = nodes.Reservoir(
            self.units, lr=self.leak, sr=self.spectral_radius, input_scaling=self.input_scaling, input_connectivity=1.0,
            bias=need("reservoirpy.mat_gen", "EchoStateNetwork").uniform(low=-0.5, high=0.5), seed=stream(self.seed, "weights"),
        )  # fmt: skip
        self.increment_ = np.sqrt((np.diff(x, axis=1) ** 2).mean((0, 1)))
        states = [self._features(series[:-1])[self.washout :] for series in x]
        rng = stream(self.seed, "noise")
        for state in states:
            state[:, : self.units] += self.noise * rng.standard_normal((len(state), self.units))
        targets = [(np.diff(series, axis=0) / self.increment_)[self.washout :] for series in x]
        if self.solver == "reservoirpy":
            self.readout_ = nodes.Ridge(ridge=self.ridge)
            self.readout_.fit(states, targets)
        else:
            self.readout_ = self._exact(states, targets)

    def _exact(self, states: list[Array], targets: list[Array]) -> SimpleNamespace:
        d, D = self.units, targets[0].shape[1]
        fit = StreamingQR(1 + D + d, D, 1 + D)
        with threadpool_limits(1, "blas"):
            for state, target in zip(states, targets):
                fit.add(np.concatenate([np.ones((len(state), 1)), state[:, d:], state[:, :d]], 1), target)
            c = fit.solve([self.ridge])[0].coefficients
        return SimpleNamespace(Wout=np.concatenate([c[1 + D :], c[1 : 1 + D]]), bias=c[0])

    def _features(self, series: Array) -> Array:
        """Reservoir states along one series ``(T, D)`` from rest, with the input beside them."""
        if self.reservoir_.initialized:
            self.reservoir_.reset()
        return np.concatenate([self.reservoir_.run(series), series], 1)

    def _predict(self, x: Array) -> Array:
        return np.stack([s + self.increment_ * (self._features(s) @ self.readout_.Wout + self.readout_.bias) for s in x])

    def _forecast(self, x: Array, steps: int) -> Array:
        out = np.empty((len(x), steps, x.shape[-1]))
        for i, series in enumerate(x):
            features, value = self._features(series)[-1], series[-1]
            for k in range(steps):
                value = value + self.increment_ * (features @ self.readout_.Wout + self.readout_.bias)
                out[i, k] = value
                features = np.concatenate([self.reservoir_.step(value), value])
        return out
