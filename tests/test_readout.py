"""train='readout': ridge regression on the states of a random network."""

import numpy as np
import pytest
import torch

from lemode import LEM, FieldSurrogate, Surrogate
from lemode.surrogate import readout
from lemode.surrogate.seeds import torch_stream
from lemode.systems import Lorenz63

DATA = Lorenz63().trajectories(10, np.arange(0, 15, 0.05), seed=0)


def normalised(model, x):
    return model.network_.normalise(torch.tensor(x)).transpose(0, 1)


def test_head_solves_the_ridge_problem_and_the_core_is_as_it_was_drawn(monkeypatch):
    monkeypatch.setattr(readout, "RIDGES", (1e-3,))
    model = Surrogate(hidden_size=20, train="readout", washout=10, verbose=0).fit(DATA[:8], validation=DATA[8:])
    net, x = model.network_, normalised(model, DATA.x[:8])
    drawn = Surrogate(hidden_size=20)._build(3, 0, torch.float64).core
    readout.draw(drawn, torch_stream(0, "weights"))
    for p, q in zip(net.core.parameters(), drawn.parameters(), strict=True):
        assert torch.equal(p, q)
    with torch.no_grad():
        y, _ = net.core(x[:-1])
        error = (net.head(y) - (x[1:] - x[:-1]) / net.increment)[10:].reshape(-1, 3)
        y = y[10:].reshape(-1, 20)
        # the gradient of mean square error + ridge is zero; of sums over 2,300 rows of numbers of order one, 1e-10 is rounding
        torch.testing.assert_close(y.T @ error / len(y), -1e-3 * net.head.weight.T, rtol=0, atol=1e-10)
        torch.testing.assert_close(error.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-10)


def test_the_ridge_is_the_one_with_the_best_free_runs(monkeypatch):
    errors = {}

    def watched(network, *rest, plain=readout.free_run_error, **more):
        errors[float(network.head.weight.norm())] = error = plain(network, *rest, **more)
        return error

    monkeypatch.setattr(readout, "free_run_error", watched)
    model = Surrogate(hidden_size=100, train="readout", verbose=0).fit(DATA[:8], validation=DATA[8:])
    assert len(errors) == len(readout.RIDGES)
    assert errors[float(model.network_.head.weight.detach().norm())] == min(errors.values()) < max(errors.values())


def test_learns_lorenz63_in_a_second():
    model = Surrogate(hidden_size=200, train="readout", verbose=0).fit(DATA[:8], validation=DATA[8:])
    persistence = np.sqrt(np.mean(np.diff(DATA.x[8:], axis=1) ** 2))
    assert model.rmse(DATA[8:], 50) < 1e-3 * persistence  # measured: 2e-4; trained by gradients, 16 units reach it in a minute


def test_random_weights_have_the_scales_that_are_said():
    core = LEM(3, 400, dtype=torch.float64)
    readout.draw(core, torch.Generator().manual_seed(0))
    ode = core.cells[0].ode.requires_grad_(False)
    # 1,200 numbers: the largest is within 1 % of the edge of the uniform distribution
    assert float(ode.weight_ih.abs().max()) == pytest.approx(readout.INPUT, rel=0.01)
    assert float(ode.bias.abs().max()) == pytest.approx(readout.BIAS, rel=0.01)
    for W in (ode.blocks().W1, ode.blocks().Wz, ode.blocks().Wy):
        radius = float(torch.linalg.eigvals(W).abs().max())  # the circular law: O(d^-1/2) about it
        assert radius == pytest.approx(readout.RADIUS, rel=0.15)


def test_a_field_with_a_conserved_mean():
    rng = np.random.default_rng(0)
    points = 2 * np.pi * np.arange(16) / 16
    waves = 0.3 + np.sin(points - 0.1 * np.arange(80)[:, None] + rng.uniform(0, 6, (6, 1, 1)))
    model = FieldSurrogate(hidden_size=20, kernel_size=5, conserve="mean", train="readout", verbose=0).fit(waves)
    free = model.forecast(waves[:, :30], 50)
    np.testing.assert_allclose(free.mean(-1), 0.3, atol=1e-12)  # rounding
    np.testing.assert_allclose(free, waves[:, 30:], atol=0.05)  # a travelling wave: of amplitude 1, over most of a period


def test_bad_input():
    with pytest.raises(ValueError, match="train='head'"):
        Surrogate(train="head", verbose=0).fit(DATA)
    with pytest.raises(ValueError, match="choose one of the two"):
        Surrogate(train="readout", continuous=True, verbose=0).fit(DATA)
    with pytest.raises(ValueError, match="nothing to go on from"):
        Surrogate(train="readout", verbose=0).fit(DATA, checkpoint="fit.ckpt")
