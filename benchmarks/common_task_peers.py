"""Peers of fields for common_task.py: the same rule at every point of a ring, which reads the points around it."""

import itertools
from abc import ABC, abstractmethod
from itertools import combinations_with_replacement

import numpy as np


class Local(ABC):
    """The same linear head at every point of a ring, on features of what is around it; `features` says which.

    The increment is predicted, from rows of the series and of their mirror images; a mirror image of Kuramoto-Sivashinsky is -u(-x).
    Against the growth of what data do not excite: noise of so many standard deviations on what is read in fitting, and predictions
    pass the filter P / (P + 1e-9 max P), with P the spectrum of the data, and are held in 1.2 times their range, as those of LEM are.
    """

    def __init__(self, reach: int, ridge: float, noise: float) -> None:
        self.reach, self.ridge, self.noise = reach, ridge, noise

    def start(self) -> np.ndarray:
        """What is remembered between samples, nothing by default."""
        return np.zeros((self.points, 0))

    @abstractmethod
    def features(self, window: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of each point, and what is remembered after them."""

    def _window(self, u: np.ndarray) -> np.ndarray:
        return np.stack([np.roll(u, -k) for k in range(-self.reach, self.reach + 1)], 1)

    def fit(self, series: np.ndarray) -> "Local":
        series = series if series.ndim == 3 else series[None]
        self.points, self.scale, rng = series.shape[2], series.std(), np.random.default_rng(0)
        power = (np.abs(np.fft.rfft(series, axis=2)) ** 2).mean((0, 1))
        self.filter = power / (power + 1e-9 * power.max())
        self.bound = 1.2 * np.abs(series).max() / self.scale
        gram = moments = 0.0
        for x in itertools.chain(series, -series[:, :, ::-1]):
            x, state = x / self.scale, self.start()
            seen = x + self.noise * rng.standard_normal(x.shape)
            for k in range(len(x) - 1):
                f, state = self.features(self._window(seen[k]), state)
                if k >= (20 if state.shape[1] else 0):
                    gram, moments = gram + f.T @ f, moments + f.T @ (x[k + 1] - seen[k])
        size = np.diag(gram).mean()
        self.head = np.linalg.solve(gram + self.ridge * size * np.eye(len(gram)), moments)
        return self

    def _along(self, x: np.ndarray, steps: int) -> np.ndarray:
        """One-step predictions along x, then `steps - 1` more, each from the one before."""
        state, out = self.start(), np.empty((len(x) + steps - 1, x.shape[1]))
        for k in range(len(out)):
            u = x[k] / self.scale if k < len(x) else out[k - 1]
            f, state = self.features(self._window(u), state)
            out[k] = np.clip(np.fft.irfft(self.filter * np.fft.rfft(u + f @ self.head), x.shape[1]), -self.bound, self.bound)
        return out * self.scale

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self._along(x, 1)

    def forecast(self, x: np.ndarray, steps: int) -> np.ndarray:
        with np.errstate(all="ignore"):
            return self._along(x, steps)[len(x) - 1 :]


class LocalPolynomial(Local):
    """Monomials of the window: NG-RC at every point, or with degree 1 a linear model."""

    def __init__(self, reach: int = 8, degree: int = 2, ridge: float = 1e-8, noise: float = 0.0) -> None:
        super().__init__(reach, ridge, noise)
        self.monomials = [
            np.array(list(combinations_with_replacement(range(2 * reach + 1), d)), dtype=int) for d in range(2, degree + 1)
        ]

    def features(self, window: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        parts = [np.ones((len(window), 1)), window, *(window[:, m].prod(2) for m in self.monomials)]
        return np.concatenate(parts, 1), state


class LocalReservoir(Local):
    """The same echo state network at every point, which reads the window; its state and the square of it are features."""

    def __init__(self, units: int = 200, reach: int = 8, scaling: float = 0.1, ridge: float = 1e-8, noise: float = 0.0) -> None:
        super().__init__(reach, ridge, noise)
        rng = np.random.default_rng(0)
        w = rng.normal(size=(units, units))
        self.w = 0.5 * w / np.abs(np.linalg.eigvals(w)).max()
        self.w_in = scaling * rng.normal(size=(2 * reach + 1, units))
        self.b = rng.uniform(-0.5, 0.5, units)

    def start(self) -> np.ndarray:
        return np.zeros((self.points, len(self.b)))

    def features(self, window: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        state = np.tanh(state @ self.w + window @ self.w_in + self.b)
        return np.concatenate([np.ones((len(window), 1)), window, state, state**2], 1), state
