"""The continuous surrogate: the equation it says it solves, and what it is for."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from lemode import LEM, Surrogate, Trajectories
from lemode.baselines import GRU
from lemode.surrogate.flow_network import FlowNetwork
from lemode.surrogate.network import IncrementNetwork

T = np.linspace(0, 20, 101)


def at(t, n=24, seed=0):
    """Two waves of n phases at times t, ``(n, T, 2)``."""
    phase = np.random.default_rng(seed).uniform(0, 6, (n, 1))
    return np.stack([np.sin(t + phase), 10 + 3 * np.cos(t + phase)], -1)


def quick(**changes):
    return Surrogate(
        **{"train": "all", "hidden_size": 6, "steps": 300, "batch_size": 16, "verbose": 0, "washout": 10, **changes}
    )


def network(inputs=0, substeps=1, layers=1):
    """Random, with large weights, so that the equation is far from linear."""
    torch.manual_seed(3)
    core = LEM(2 + 2 * inputs, 4, layers, dt=0.8, dtype=torch.float64)
    net = FlowNetwork(core, 4, 2, torch.float64, inputs, substeps)
    for p in net.parameters():
        p.data.mul_(1.5)
    net.increment.copy_(torch.tensor([0.3, 0.7]))
    return net


@pytest.mark.parametrize(("inputs", "layers"), [(0, 1), (1, 1), (0, 2)])
def test_it_solves_its_equation(inputs, layers):
    """Against DOP853 on the equation written down anew, from a sample over an interval of 1.3; the order is four."""
    net = network(inputs, layers=layers)
    x0, s0 = torch.randn(1, 2, dtype=torch.float64), torch.rand(1, 1, 8 * layers, dtype=torch.float64) - 0.5
    e = torch.randn(1, 1, 2, dtype=torch.float64) if inputs else None

    def rate(t, v):
        v = torch.from_numpy(v)
        x, states = v[:2], v[2:].reshape(layers, 2, 4)
        u = x
        if e is not None:
            now = e[0, 0, :1] + t / 1.3 * (e[0, 0, 1:] - e[0, 0, :1])
            u = torch.cat([x, now, now])
        out = []
        for cell, (y, z) in zip(net.core.cells, states):
            dy, dz = (0.8 * f for f in cell.ode(y, z, u))
            out += [dy, dz]
            u = y
        return torch.cat([net.increment * net.head(u + dy), *out]).detach().numpy()

    start = np.concatenate([x0[0], s0[0, 0]])
    exact = solve_ivp(rate, (0, 1.3), start, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    r = torch.tensor([[[1.0, 1.3]]], dtype=torch.float64)
    errors = []
    for substeps in (2, 4, 8, 16):
        net.substeps = substeps
        x, state = net.step(x0[None], e, s0, r)
        errors.append(np.abs(np.concatenate([x[0, 0].detach(), state[0, 0].detach()]) - exact).max())
    slope = np.polyfit(np.log([2, 4, 8, 16]), np.log(errors), 1)[0]
    assert errors[-1] < 1e-6
    assert slope == pytest.approx(-4, abs=0.3)


def test_an_euler_step_is_the_discrete_surrogate():
    net = network()
    explicit = IncrementNetwork(LEM(2, 4, dt=0.8, scheme="explicit", dtype=torch.float64), 4, 2, torch.float64)
    explicit.load_state_dict(dict(net.state_dict()))
    x = torch.randn(1, 3, 2, dtype=torch.float64)
    y, z = torch.rand(2, 3, 4, dtype=torch.float64) - 0.5
    rate = net._rate()(torch.cat([x[0], y, z], -1), None)
    expected, ((y_n, z_n), _) = explicit.step(x, None, ((y[None], z[None]), x[:0]))
    torch.testing.assert_close(torch.cat([x[0], y, z], -1) + rate, torch.cat([expected[0], y_n[0], z_n[0]], -1))


def test_discrete_is_the_increment_network():
    net, x = network(), torch.randn(9, 3, 2, dtype=torch.float64)
    plain = IncrementNetwork(net.core, 4, 2, torch.float64)
    plain.load_state_dict(net.state_dict())
    assert not torch.allclose(net(x)[0], plain(x)[0])
    net.discrete = True
    assert torch.equal(net(x)[0], plain(x)[0])


def test_a_series_may_be_cut_anywhere():
    net, x = network(1), torch.randn(9, 3, 2, dtype=torch.float64)
    e, r = torch.randn(9, 3, 2, dtype=torch.float64), torch.rand(9, 3, 2, dtype=torch.float64)
    whole, _ = net(x, e, None, r)
    first, state = net(x[:4], e[:4], None, r[:4])
    rest, _ = net(x[4:], e[4:], state, r[4:])
    torch.testing.assert_close(torch.cat([first, rest]), whole, rtol=0, atol=1e-13)


@pytest.fixture(scope="module")
def models():
    """The same fit, with and without the differential equation."""
    data = Trajectories(T, at(T), ("a", "b"))
    return quick(continuous=True, steps=400).fit(data), quick(steps=400).fit(data)


def free_error(model, dt, seed=7):
    """Largest error of a over six time units of a free run, history at the training interval."""
    t = T[39] + dt * np.arange(1, round(6 / dt) + 1)
    return np.abs(model.forecast(at(T, 8, seed)[:, :40], t=t) - at(t, 8, seed))[..., 0].max()


@pytest.mark.slow
def test_it_forecasts_at_other_intervals(models):
    continuous, discrete = models
    assert continuous.score(at(T, 8, 5)) > 0.99
    half = free_error(continuous, 0.1)
    assert half < 0.1
    assert half < 0.5 * free_error(discrete, 0.1)  # which takes its steps in proportion
    assert free_error(continuous, 0.05) < 0.1
    # the forecast does not depend on the times that are asked for
    history = at(T, 3)[:, :40]
    fine = continuous.forecast(history, 80, dt=0.05)
    coarse = continuous.forecast(history, 20, dt=0.2)
    assert np.abs(fine[:, 3::4] - coarse).max() < 1e-3


@pytest.mark.slow
def test_a_history_at_another_interval(models):
    continuous, discrete = models
    t = np.arange(0, 15, 0.1)
    data = Trajectories(t, at(t, 8, 5), ("a", "b"))
    assert continuous.rmse(data, washout=20) < 0.5 * discrete.rmse(data, washout=20)


@pytest.mark.slow
def test_it_survives_a_file(models, tmp_path):
    continuous, _ = models
    continuous.save(tmp_path / "m.lem")
    again = Surrogate.load(tmp_path / "m.lem")
    assert again.continuous
    np.testing.assert_array_equal(again.predict(at(T, 2)), continuous.predict(at(T, 2)))
    np.testing.assert_array_equal(again.forecast(at(T, 2), 5, dt=0.13), continuous.forecast(at(T, 2), 5, dt=0.13))


def test_uneven_data_inputs_and_missing_values():
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.uniform(0.1, 0.28, (6, 50)), 1)
    x = np.stack([at(row, 6)[i] for i, row in enumerate(t)])
    x[2, 20, 0] = np.nan
    model = quick(continuous=True, steps=30, inputs=("b",)).fit(Trajectories(t, x, ("a", "b"), missing=True))
    assert model.names_ == ("a",)
    assert len(model.history_.loss) == 30 + 12
    assert np.isfinite(model.predict(Trajectories(t, x, ("a", "b"), missing=True))).all()


@pytest.mark.slow
def test_same_seed_same_model_and_resuming(tmp_path, monkeypatch):
    from lemode.surrogate import training

    data, settings = Trajectories(T, at(T, 8), ("a", "b")), {"continuous": True, "steps": 300, "window": 8, "washout": 4}
    whole = quick(**settings).fit(data)
    real, calls = training._stage_loss, []

    def crash(*args):
        calls.append(1)
        if len(calls) == 405:
            raise OSError("power cut")
        return real(*args)

    monkeypatch.setattr(training, "_stage_loss", crash)
    with pytest.raises(OSError, match="power cut"):
        quick(**settings).fit(data, checkpoint=tmp_path / "c")
    resumed = quick(**settings).fit(data, checkpoint=tmp_path / "c")
    assert resumed.history_.loss == whole.history_.loss
    assert len(calls) < 405 + 30


@pytest.mark.parametrize("model", [GRU(continuous=True), Surrogate(continuous=True, delays=1, train="all")])
def test_bad_calls(model):
    with pytest.raises(ValueError, match="needs a LEM as its core, and delays=0"):
        model.fit(at(T))
