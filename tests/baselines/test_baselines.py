"""The baselines share the surrogate's surface and do what their names say."""

import os
import signal

import numpy as np
import pytest

from lemode import FitWarning, Trajectories, baselines
from lemode.surrogate import interrupts
from lemode.systems import Lorenz63

T = np.linspace(0, 20, 101)
PHASE = np.random.default_rng(0).uniform(0, 6, (6, 1))
WAVES = Trajectories(T, np.stack([np.sin(T + PHASE), 10 + 3 * np.cos(T + PHASE)], -1), ("a", "b"))
QUICK = {"hidden_size": 4, "steps": 40, "verbose": 0, "washout": 5}


def make(name):
    options = {
        "LSTM": QUICK,
        "GRU": QUICK,
        "EchoStateNetwork": {"units": 50, "washout": 5},
        "NeuralODE": {"hidden_size": 8, "steps": 30},
        "AlmostLinearRNN": {"units": 6, "rectified": 2, "window": 20, "steps": 20},
        "SINDy": {"degree": 1},
    }
    if name in ("EchoStateNetwork", "SINDy"):
        pytest.importorskip({"EchoStateNetwork": "reservoirpy", "SINDy": "pysindy"}[name])
    return getattr(baselines, name)(**options.get(name, {}))


@pytest.mark.parametrize(
    "name", ["Persistence", "Autoregression", "LSTM", "GRU", "EchoStateNetwork", "NeuralODE", "SINDy", "AlmostLinearRNN"]
)
def test_common_surface(name):
    model = make(name)
    assert model.fit(WAVES, validation=WAVES) is model
    assert model.predict(WAVES).shape == (6, 101, 2)
    assert model.predict(WAVES.x[0]).shape == (101, 2)
    assert model.forecast(WAVES.x[:, :50], 7).shape == (6, 7, 2)
    one = model.forecast(WAVES.x[0, :50], 7)
    assert one.shape == (7, 2)
    # the first value of a free run is the one-step prediction from the end of the history
    np.testing.assert_allclose(one[0], model.predict(WAVES.x[0, :50])[-1], rtol=1e-6, atol=1e-6)
    assert model.rmse(WAVES) > 0
    assert set(model.get_params()) >= {"observe"}


def test_persistence_repeats_and_autoregression_is_exact_on_a_linear_recursion():
    x = WAVES.x
    persistence = baselines.Persistence().fit(WAVES)
    np.testing.assert_allclose(persistence.forecast(x[:, :5], 3), np.repeat(x[:, 4:5], 3, 1), rtol=1e-12)
    ar = baselines.Autoregression(lags=2).fit(WAVES)  # a sampled rotation obeys a linear recursion of the last value
    np.testing.assert_allclose(ar.forecast(x[:, :50], 51), x[:, 50:], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "share"), [("EchoStateNetwork", 0.05), ("SINDy", 0.05), pytest.param("NeuralODE", 0.5, marks=pytest.mark.slow)]
)
def test_learns_lorenz63(name, share):
    """One-step error as a share of persistence's: what each reaches easily, with a factor of two to spare."""
    if name != "NeuralODE":
        pytest.importorskip({"EchoStateNetwork": "reservoirpy", "SINDy": "pysindy"}[name])
    data = Lorenz63().trajectories(10, np.arange(0, 10, 0.025), seed=0)
    options = {"EchoStateNetwork": {"units": 200}, "NeuralODE": {"steps": 100}, "SINDy": {"degree": 2}}[name]
    model = getattr(baselines, name)(**options).fit(data[:8])
    assert model.rmse(data[8:], 50) < share * baselines.Persistence().fit(data[:8]).rmse(data[8:], 50)


def test_errors():
    with pytest.raises(RuntimeError, match="not fitted"):
        baselines.Persistence().predict(WAVES)
    with pytest.raises(ValueError, match="lags=0"):
        baselines.Autoregression(lags=0).fit(WAVES)
    with pytest.raises(ValueError, match=r"data have 5 variables, the training data had 2"):
        baselines.Persistence().fit(WAVES).predict(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="horizon=200"):
        baselines.NeuralODE(horizon=200).fit(WAVES)


def test_a_missing_package_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "reservoirpy.nodes", None)
    with pytest.raises(ImportError, match=r"needs reservoirpy: pip install 'lemode\[baselines\]'"):
        baselines.EchoStateNetwork().fit(WAVES)


def test_noise_on_the_reservoir_shrinks_its_readout():
    """As a ridge would, but of the reservoir alone; and it is the seed's noise."""
    pytest.importorskip("reservoirpy")
    data = Lorenz63().trajectories(4, np.arange(0, 10, 0.025), seed=0)
    plain, noisy, again = (baselines.EchoStateNetwork(units=50, noise=s).fit(data) for s in (0.0, 0.01, 0.01))
    norms = [np.linalg.norm(m.readout_.Wout[:50]) for m in (plain, noisy)]
    assert norms[1] < 0.5 * norms[0]  # measured: a fifth
    assert np.array_equal(noisy.readout_.Wout, again.readout_.Wout)


def test_a_polynomial_map_is_found_exactly():
    """x' = 2 x y, y' = x - y + 0.3 x^2 of normalised variables is of degree 2 in the data's own, too."""
    rng = np.random.default_rng(0)
    x = np.empty((20, 30, 2))
    x[:, 0] = rng.uniform(-0.5, 0.5, (20, 2))
    for k in range(29):
        a, b = x[:, k].T
        x[:, k + 1] = np.stack([0.9 * a - 0.2 * a * b, 0.5 * a + 0.8 * b + 0.3 * a**2], -1)
    model = baselines.Polynomial(degree=2).fit(x)
    assert model.rmse(x) < 1e-12  # rounding
    np.testing.assert_allclose(model.forecast(x[:, :5], 25), x[:, 5:], rtol=0, atol=1e-11)
    # with one value before, what is not seen follows from it: y_k = (x_{k+1} / x_k - 0.9) / -0.2 is no polynomial, of two a little better
    blind = [baselines.Polynomial(degree=3, delays=p, observe=("x0",)).fit(x).rmse(x[..., :1]) for p in (0, 1)]
    assert blind[1] < 0.5 * blind[0]
    with pytest.raises(ValueError, match=r"degree=30, delays=3: [\d,]+ monomials; give less"):
        baselines.Polynomial(degree=30, delays=3).fit(x)


def test_the_reservoir_solved_exactly_is_at_least_as_good():
    pytest.importorskip("reservoirpy")
    plain = baselines.EchoStateNetwork(units=100, ridge=1e-9).fit(WAVES)
    exact = baselines.EchoStateNetwork(units=100, ridge=1e-18, solver="exact").fit(WAVES)
    assert exact.rmse(WAVES, 50) < 0.1 * plain.rmse(WAVES, 50)
    x = WAVES.x
    np.testing.assert_allclose(exact.forecast(x[:, :80], 21), x[:, 80:], atol=1e-3)
    with pytest.raises(ValueError, match="solver='cholesky': give 'reservoirpy' or 'exact'"):
        baselines.EchoStateNetwork(units=10, solver="cholesky").fit(WAVES)


@pytest.mark.parametrize(
    ("name", "step", "settings"),
    [
        ("NeuralODE", "_solve", {"hidden_size": 3}),
        ("AlmostLinearRNN", "_begin", {"units": 3, "rectified": 1, "window": 10}),
    ],
)
def test_a_signal_ends_a_fit_with_the_weights_of_its_step(name, step, settings, monkeypatch):
    pytest.importorskip("torchdiffeq")
    kind, count = getattr(baselines, name), [0]
    real = getattr(kind, step)

    def once_a_step(self, *arguments):
        count[0] += 1
        if count[0] == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, *arguments)

    monkeypatch.setattr(interrupts, "_interrupted", -np.inf)
    monkeypatch.setattr(kind, step, once_a_step)
    with pytest.warns(FitWarning, match="interrupted at step 4 of 50; its weights are kept"):
        model = kind(**settings, steps=50, batch_size=4).fit(np.sin(0.3 * np.arange(60))[:, None])
    assert count[0] == 4
    assert np.isfinite(model.predict(np.zeros((5, 1)))).all()
