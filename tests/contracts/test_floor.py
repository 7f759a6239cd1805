"""A readout or a small trained network forecasts no series worse than a linear autoregression, written here by hand, by a tenth or more.

Fourteen are made up and six measured; what is compared is out of sample. The defaults, but for fewer units and steps.
"""

import numpy as np
import pytest

import lemode
from lemode.systems import FitzHughNagumo, Lorenz63, MackeyGlass, Roessler, VanDerPol

sm = pytest.importorskip("statsmodels.api")

T = 400
t = np.arange(T)


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape or (T, 1))


def flow(system, step, samples=T):
    return system.trajectories(1, step * np.arange(samples + 300), seed=3).x[0, 300:, :1]


def recurrence(step, pushes=(0.0,) * T):
    x = [0.3, 0.2]
    for push in pushes:
        x.append(step(x[-1], x[-2]) + push)
    return np.array(x[2:])[:, None]


def driven():
    """A slow relaxation to an input that jumps; the input is known."""
    u, push, x = np.repeat(noise(1, T // 20), 20), 0.02 * noise(2, T), np.zeros(T)
    for k in range(1, T):
        x[k] = 0.9 * x[k - 1] + 0.3 * np.tanh(u[k - 1]) + push[k]
    return np.c_[x, u]


def beats():
    """Three, of somewhat other height; none is in the last fifth of the four fifths that are given."""
    k, x = np.arange(1024), 0.01 * noise(9, 1024, 1)
    for at, height in ((190, 1.0), (518, 1.1), (848, 0.9)):
        s = (k - at) / 4.0
        x[:, 0] += height * ((1 - s**2) * np.exp(-(s**2) / 2) + 0.3 * np.exp(-(((k - at - 80) / 20) ** 2) / 2))
    return x


SERIES = {
    "sine": lambda: np.sin(0.3 * t)[:, None],
    "sine and noise": lambda: np.sin(0.3 * t)[:, None] + 0.1 * noise(3),
    "white noise": lambda: noise(4),
    "random walk": lambda: noise(5).cumsum(0),
    "AR(2)": lambda: recurrence(lambda x, y: 1.2 * x - 0.5 * y, noise(6, T)),
    "Henon": lambda: recurrence(lambda x, y: 1 - 1.4 * x * x + 0.3 * y),
    "square wave": lambda: np.where(t % 20 < 10, 1.0, -1.0)[:, None],
    "van der Pol": lambda: flow(VanDerPol(mu=3.0), 0.2),
    "FitzHugh-Nagumo and noise": lambda: flow(FitzHughNagumo(), 1.0) + 0.05 * noise(7),
    "Roessler": lambda: flow(Roessler(), 0.3),
    # in 300 samples one of its wings is hardly seen, and what is forecast there is a guess
    "Lorenz63 and noise": lambda: flow(Lorenz63(), 0.05, 3 * T) + 0.5 * noise(8, 3 * T, 1),
    "driven": driven,
    "Mackey-Glass": lambda: flow(MackeyGlass(), 2.0),
    "beats": beats,
    "sunspots": lambda: sm.datasets.sunspots.load_pandas().data[["SUNACTIVITY"]].to_numpy(),
    "CO2": lambda: sm.datasets.co2.load_pandas().data[["co2"]].resample("MS").mean().interpolate().to_numpy()[-T:],
    "El Nino": lambda: sm.datasets.elnino.load_pandas().data.iloc[:, 1:].stack().to_numpy()[-T:, None],
    "Nile": lambda: sm.datasets.nile.load_pandas().data[["volume"]].to_numpy(),
    "unemployment": lambda: sm.datasets.macrodata.load_pandas().data[["unemp"]].to_numpy(),
    "inflation": lambda: sm.datasets.macrodata.load_pandas().data[["infl"]].to_numpy(),
}


class Autoregression:
    """x_k = c + sum a_j x_{k-j} + b u_{k-1}, of the order with the smallest BIC, by numpy's least squares."""

    def __init__(self, given):
        most = min(12, len(given) // 12)
        rows = {p: self.rows(given[most - p :], p) for p in range(1, most + 1)}
        target = given[most:, 0]

        def bic(p):
            A = rows[p]
            w = np.linalg.lstsq(A, target, rcond=None)[0]
            return len(target) * np.log(max(np.mean((target - A @ w) ** 2), 1e-300)) + A.shape[1] * np.log(len(target))

        self.p = min(rows, key=bic)
        self.weights = np.linalg.lstsq(self.rows(given, self.p), given[self.p :, 0], rcond=None)[0]

    def rows(self, x, p):
        n = len(x) - p
        lags = [x[p - 1 - j : p - 1 - j + n, :1] for j in range(p)]
        return np.concatenate([np.ones((n, 1)), *lags, x[p - 1 : -1, 1:]], 1)

    def forecast(self, history, steps, inputs=None):
        x = list(history[:, 0])
        u = np.r_[history[-1:, 1:], history[:0, 1:] if inputs is None else inputs]
        for k in range(steps):
            drive = u[k] if history.shape[1] > 1 else []
            x.append(float(np.r_[1.0, x[: -self.p - 1 : -1], drive] @ self.weights))
        return np.array(x[-steps:])[:, None]


def errors(model, x, begin, steps):
    """Root mean squares of one step and of free runs, from every third origin."""
    free = []
    for k in range(begin, len(x) - steps + 1, 3):
        known = {"inputs": x[k : k + steps, 1:]} if x.shape[1] > 1 else {}
        free.append(np.asarray(model.forecast(x[:k], steps, **known))[:, 0] - x[k : k + steps, 0])
    return np.sqrt(np.mean(np.square(free), 0)[0]), np.sqrt(np.mean(np.square(free)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lemode.surrogate.FitWarning", "ignore::lemode.surrogate.DataWarning")
@pytest.mark.parametrize("name", SERIES)
def test_no_worse_than_an_autoregression(name):
    x = SERIES[name]()
    cut, steps = 4 * len(x) // 5, min(10, len(x) // 20)
    inputs = [f"x{j}" for j in range(1, x.shape[1])]
    model = lemode.Surrogate(hidden_size=4, width=100, steps=200, inputs=inputs, verbose=0).fit(x[:cut])
    ours, theirs = (np.sqrt(np.prod(errors(m, x, cut, steps))) for m in (model, Autoregression(x[:cut])))
    # another order of nearly the same BIC, and what was chosen on a fifth of the data; 1e-9 where both are exact
    assert ours <= 1.1 * theirs + 1e-9 * x.std()
