"""The floor of a readout: autoregressions in values and in differences, and the mean of their heads."""

import numpy as np
import pytest
import torch

import lemode
from lemode.surrogate.autoregressions import Autoregressions, Order
from lemode.surrogate.network import IncrementNetwork
from lemode.surrogate.regression import FLOOR
from lemode.surrogate.series import Series

F64 = torch.float64


def found(x, inputs=None):
    x = torch.from_numpy(np.asarray(x, float)).reshape(len(x), 1, -1)
    e = None if inputs is None else torch.from_numpy(inputs).reshape(len(x), 1, -1)
    D, m = x.shape[-1], 0 if e is None else e.shape[-1] // 2
    network = IncrementNetwork(lemode.LEM(D + 2 * m, 1, dtype=F64), 1, D, F64, inputs=m)
    network.set_scales(x)
    series = Series(network.normalise(x), e)
    return network, series, Autoregressions(network, series, None, seed=0)


def walk(n=300, seed=0):
    """Whose increments remember the last one, with a drift."""
    random, d = np.random.default_rng(seed), np.zeros(n)
    for k in range(1, n):
        d[k] = 0.3 + 0.6 * d[k - 1] + random.normal()
    return d.cumsum()


def test_head_in_differences_is_the_least_squares_of_the_differences():
    """Against numpy.linalg.lstsq of the rows that have all that they read."""
    network, series, models = found(walk())
    assert Order(1, False) in models.weights
    models.weights = {Order(1, False): 1.0}
    head = models.heads([(0.0, FLOOR)])[0]
    x, s = series.x[:, 0, 0].numpy(), float(network.increment)
    d = np.diff(x) / s
    A = np.stack([np.ones(len(d) - 1), d[:-1]], 1)
    expected = np.linalg.lstsq(A, d[1:], rcond=None)[0]
    got = head[:, 0].numpy()
    assert got[1] == 0  # of the value itself
    # two columns of order one, 300 rows; the ridge that units are held by does not touch them
    np.testing.assert_allclose([got[0], got[2]], expected, rtol=1e-9)


def test_weights_are_those_of_their_bic():
    """By numpy, on the same rows for all orders; those without weight are left out."""
    x = walk(120, 3)
    _, series, models = found(x)
    x = series.x[:, 0, 0].numpy()
    orders = [p for p in (*range(13), 15, 18, 24) if p == 0 or 3 * (2 + p) <= len(x) - 1 - p]
    skip, d, bic = max(orders), np.diff(x), {}
    for p in orders:
        lags = [d[skip - 1 - j : len(d) - 1 - j] for j in range(p)]
        for level in (True, False):
            A = np.stack([np.ones(len(d) - skip), *([x[skip:-1]] if level else []), *lags], 1)
            error = d[skip:] - A @ np.linalg.lstsq(A, d[skip:], rcond=None)[0]
            bic[Order(p, level)] = len(error) * np.log((error**2).mean()) + A.shape[1] * np.log(len(error))
    least = min(bic.values())
    w = {order: np.exp((least - b) / 2) for order, b in bic.items() if b - least < 10}
    assert set(models.weights) == set(w)
    for order, weight in models.weights.items():
        assert weight == pytest.approx(w[order] / sum(w.values()), rel=1e-6)  # of logarithms of sums of 100 squares


def test_what_comes_back_is_not_taken_for_a_walk():
    random, x = np.random.default_rng(1), np.zeros(500)
    for k in range(1, 500):
        x[k] = 0.5 * x[k - 1] + random.normal()
    _, _, models = found(x)
    assert sum(w for order, w in models.weights.items() if order.level) > 0.999


def test_a_forecast_of_what_drifts_goes_on_from_where_it_is():
    """The level of the training data is left behind: an autoregression of values would come back to it."""
    x = np.linspace(0, 30, 301) + 0.1 * np.random.default_rng(2).normal(size=301).cumsum()
    model = lemode.Surrogate(train="readout", hidden_size=20, washout=20, verbose=0, contain=None, seed=0).fit(x[:, None])
    ahead = model.forecast(x[-50:, None], 300)[:, 0]
    # the slope is known to 0.006, so the end to 1.7; without differences it is 21.9, eight too low
    assert ahead[-1] - x[-1] == pytest.approx(30, abs=4)


def test_inputs_stay_where_the_level_goes():
    u = np.random.default_rng(4).normal(size=401)
    both = np.stack([u, np.r_[u[1:], u[-1]]], 1)
    x = np.r_[0, (0.5 * u[:-1] + 0.01 * np.random.default_rng(5).normal(size=400)).cumsum()]
    network, _, models = found(x, both)
    assert sum(w for order, w in models.weights.items() if not order.level) > 0.5
    head = models.heads([(0.0, FLOOR)])[0][:, 0]
    place = 1 + models.network.linear - 2
    expected = 0.5 / float(network.std * network.increment)
    assert float(head[place]) == pytest.approx(expected, rel=0.01)  # noise of 0.01 on 400 rows
    assert abs(float(head[place + 1])) < 0.01 * expected
