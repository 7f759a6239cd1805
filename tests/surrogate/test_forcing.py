"""Runs that are drawn towards the data: the loss, the strength that is enough, and the stage of training."""

import math

import numpy as np
import pytest
import torch

import lemode
from lemode.surrogate.forcing import forced_growth, forcing_strength
from lemode.surrogate.losses import closed_loop_loss, forced_loss, one_step_loss
from lemode.surrogate.network import IncrementNetwork
from lemode.surrogate.series import Series

F64 = torch.float64


def waves():
    return np.sin(0.2 * np.arange(100) + np.arange(6)[:, None])[..., None]


def quick(**changes):
    return lemode.Surrogate(
        **{"hidden_size": 4, "train": "all", "window": 30, "washout": 10, "optimizer": "adam", "verbose": 0, **changes}
    )


def random_network(seed=0, D=2, d=4):
    torch.manual_seed(seed)
    return IncrementNetwork(lemode.LEM(D, d, dtype=F64), d, D, F64)


def memoryless(step, D=1):
    """The map x -> step(x)."""
    network = random_network(D=D)
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()
    network.base = step
    return network


class TestTheLoss:
    def test_with_full_forcing_it_is_that_of_one_step(self):
        network, x = random_network(), torch.randn(12, 3, 2, dtype=F64)
        mask = torch.rand(12, 3, 2) > 0.2
        torch.testing.assert_close(forced_loss(network, Series(x), 1.0, 4), one_step_loss(network, Series(x), 4))
        # what is missing is not judged, and nothing else is
        there = Series(x, None, None, mask)
        increments, _ = network(x[:-1])
        square = (increments - x.diff(dim=0) / network.increment).square()[4:]
        torch.testing.assert_close(forced_loss(network, there, 1.0, 4), square[mask[5:]].mean())

    def test_without_forcing_it_is_that_of_a_free_run(self):
        network, x = random_network(), torch.randn(12, 3, 2, dtype=F64)
        torch.testing.assert_close(
            forced_loss(network, Series(x), 0.0, 0, (1.0, 3.0)), closed_loop_loss(network, Series(x), 1, (1.0, 3.0))
        )

    def test_beside_the_formula_written_out(self):
        network, x, alpha = random_network(), torch.randn(6, 1, 2, dtype=F64), 0.3
        read, state, total = x[0], None, 0.0
        for k in range(5):
            increment, state = network(read[None], None, state)
            found = read + network.increment * increment[0]
            total += ((found - x[k + 1]) / network.increment).square().mean() / 5
            read = (1 - alpha) * found + alpha * x[k + 1]
        torch.testing.assert_close(forced_loss(network, Series(x), alpha, 0), total)

    def test_its_gradient(self):
        network, x = random_network(d=2), torch.randn(5, 2, 2, dtype=F64)

        class Head(torch.nn.Module):
            def __init__(self, w):
                super().__init__()
                self.w = w

            def forward(self, y):
                return y @ self.w.T

        def loss(w):
            network.head = Head(w)
            return forced_loss(network, Series(x), 0.4, 1)

        assert torch.autograd.gradcheck(loss, (torch.randn(2, 2, dtype=F64, requires_grad=True),))


class TestTheStrength:
    @pytest.mark.parametrize("slope", [1.3, 1.9])
    def test_of_the_tent_map(self, slope):
        """Its exponent is log(slope) everywhere, so that a share of 1 - 1 / slope has to be taken away."""
        tent = memoryless(lambda x: slope * torch.minimum(x, 1 - x))
        x, series = torch.tensor([[0.2345]], dtype=F64), []
        for _ in range(400):
            series.append(x)
            x = slope * torch.minimum(x, 1 - x)
        series = Series(torch.stack(series))
        assert forced_growth(tent, series, 0.2) == pytest.approx(math.log(0.8 * slope), abs=1e-6)  # twins 1e-7 apart
        assert 0 <= forcing_strength(tent, series) - (1 - 1 / slope) <= 2**-7

    def test_of_a_map_whose_slope_depends_on_where_it_is(self):
        """Forced by its own trajectory it stays there, and a difference is multiplied by (1 - strength) f'(x) each time."""
        logistic = memoryless(lambda x: 3.9 * x * (1 - x))
        x = [torch.tensor([[0.2345]], dtype=F64)]
        for _ in range(199):
            x.append(3.9 * x[-1] * (1 - x[-1]))
        slopes = torch.stack([(3.9 * (1 - 2 * v)).abs().log() for v in x[50:-1]])  # after what settles
        # twins 1e-7 apart see slopes that differ by as much, relative to small ones
        assert forced_growth(logistic, Series(torch.stack(x)), 0.3) == pytest.approx(
            float(slopes.mean()) + math.log(0.7), abs=1e-5
        )

    def test_what_forgets_by_itself_needs_none_and_what_leaves_needs_some(self):
        series = Series(torch.randn(200, 2, 1, dtype=F64))
        assert forcing_strength(memoryless(lambda x: 0.9 * x), series) == 0.0
        away = memoryless(lambda x: 4 * x)
        assert forced_growth(away, series, 0.0) == math.inf
        assert 0.75 <= forcing_strength(away, series) <= 0.75 + 2**-7

    def test_a_state_that_does_not_forget_is_not_helped(self):
        """Two gates that feed on each other: the pair (0, 0) of the state is unstable, whatever is read."""
        network = memoryless(lambda x: 0.5 * x)
        with torch.no_grad():
            ode = network.core.cells[0].ode
            ode.blocks().Wz.copy_(3 * torch.eye(4))
            ode.blocks().Wy.copy_(3 * torch.eye(4))
            ode.blocks().Vz.fill_(0.1)
        assert forcing_strength(network, Series(torch.zeros(60, 1, 1, dtype=F64))) == 1.0


class TestTheStage:
    def test_it_runs_and_says_how_strongly(self):
        model = quick(steps=200, stages=("one-step", "forced"), horizon=10).fit(waves())
        (stage,) = model.history_.stages
        assert stage["name"] == "forced"
        assert 0 <= stage["strength"] <= 1
        assert stage["kept"] == (stage["free_run_after"] < stage["free_run_before"])

    def test_it_changes_the_weights_by_forced_runs(self, monkeypatch):
        seen = []

        def spy(network, window, strength, washout, weights, state):
            seen.append((len(window.x), strength))
            return forced_loss(network, window, strength, washout, weights, state)

        monkeypatch.setattr("lemode.surrogate.training.forced_loss", spy)
        monkeypatch.setattr("lemode.surrogate.training.forcing_strength", lambda network, series: 0.25)
        quick(steps=100, stages=("one-step", "forced"), horizon=7, washout=10).fit(waves())
        assert seen == [(18, 0.25)] * 15  # 15 % of the steps; washout, horizon, and the sample that they begin with

    @pytest.mark.parametrize(
        "model",
        [
            quick(delays=2),
            quick(num_layers=2),
            quick(continuous=True),
            quick(angles=("x0",)),
            lemode.baselines.LSTM(hidden_size=3, window=30, washout=10, verbose=0),
            lemode.FieldSurrogate(hidden_size=2, kernel_size=3, conserve="mean", window=16, verbose=0),
            lemode.FieldSurrogate(hidden_size=2, kernel_size=3, recurrent_kernel_size=3, window=16, verbose=0),
        ],
        ids=["delays", "layers", "continuous", "angles", "LSTM", "field", "field that reads its neighbours' states"],
    )
    @pytest.mark.filterwarnings("ignore::lemode.surrogate.FitWarning")  # of so few steps
    def test_of_every_kind_of_network(self, model):
        field = np.sin(np.arange(8) * np.pi / 4 - 0.1 * np.arange(60)[:, None] + np.arange(6)[:, None, None])
        data = field if isinstance(model, lemode.FieldSurrogate) else waves()
        model.set_params(steps=20, stages=("one-step", "forced"), horizon=4).fit(data)
        assert 0 <= model.history_.stages[-1]["strength"] <= 1
        assert np.isfinite(model.history_.loss).all()

    def test_with_missing_and_uneven_data(self):
        x = np.sin(0.2 * np.arange(120))[:, None]
        x[30:33] = np.nan
        data = lemode.Trajectories(np.cumsum(np.random.default_rng(0).uniform(0.8, 1.2, 120)), x[None], ("v",), missing=True)
        model = quick(steps=60, stages=("one-step", "forced"), window=30, washout=5, horizon=5).fit(data)
        assert np.isfinite(model.history_.loss).all()
