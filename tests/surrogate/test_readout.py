"""train='readout': a random core under a head that is solved for, `lemode.surrogate.readout`."""

import re

import numpy as np
import pytest
import torch

import lemode
from lemode import LEM, FieldSurrogate, Surrogate, Trajectories
from lemode.baselines import LSTM
from lemode.surrogate import FitWarning, readout, regression
from lemode.surrogate.draws import Draw, draw, drawn, separate
from lemode.surrogate.flow_network import FlowNetwork
from lemode.surrogate.head_errors import free_errors, known_rows, luck
from lemode.surrogate.network import IncrementNetwork
from lemode.surrogate.readout import Judge, _unlike, choose, fit_readout
from lemode.surrogate.readout_network import ReadoutNetwork
from lemode.surrogate.regression import FLOOR, Regression
from lemode.surrogate.run import History
from lemode.surrogate.series import Series
from lemode.systems import FitzHughNagumo, ForcedFitzHughNagumo, Lorenz63

F64 = torch.float64
LORENZ = Lorenz63().trajectories(10, np.arange(0, 15, 0.05), seed=0)


@pytest.fixture
def few_draws(monkeypatch):
    """Two draws: the search is not what is tested."""
    monkeypatch.setattr(readout, "DRAWS", (Draw(0, 0.3, 0.5), Draw(2, 0.1, 0.1)))


def fitted(data=LORENZ, units=60, **settings):
    return Surrogate(**{"hidden_size": units, "train": "readout", "washout": 20, "verbose": 0, **settings}).fit(data)


def random_network(D=2, units=5, delays=1, inputs=0, layers=1):
    like = IncrementNetwork(lemode.LEM(D * (1 + delays) + 2 * inputs, units, layers), units, D, delays=delays, inputs=inputs)
    network = ReadoutNetwork.like(like, units, delays)
    draw(network.core, Draw(), torch.Generator().manual_seed(0))
    network.increment.copy_(torch.tensor([0.5, 0.25])[:D])
    return network


def random_series(T=30, n=4, D=2, inputs=0, seed=0):
    rng = np.random.default_rng(seed)
    e = torch.from_numpy(rng.standard_normal((T, n, 2 * inputs))) if inputs else None
    return Series(torch.from_numpy(rng.standard_normal((T, n, D)).cumsum(0)), e)


# -- the network ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2])
def test_features_are_the_series_and_all_of_the_state(layers):
    """Against the layer's own states and values taken one by one."""
    network, series = random_network(delays=2, inputs=1, layers=layers), random_series(inputs=1)
    f, _ = network.features(*series.known())
    x, e, s = series.x, series.e, network.increment
    k, i = 7, 3
    read = torch.stack([torch.cat([*(x[max(j - p, 0), i] for p in range(3)), e[j, i]]) for j in range(k + 1)])
    states = [(y[:, 0], z[:, 0]) for y, z in network.core.states(read.unsqueeze(1))]
    linear = [x[k, i], (x[k, i] - x[k - 1, i]) / s, (x[k - 1, i] - x[k - 2, i]) / s, e[k, i]]
    expected = torch.cat([*linear, *(v[k] for yz in states for v in yz)])
    # a batch of four and a single one sum in another order
    torch.testing.assert_close(f[k, i], expected, rtol=1e-12, atol=1e-12)
    assert network.linear == len(torch.cat(linear))


def test_a_series_in_two_parts_is_the_series():
    network, series = random_network(delays=2), random_series()
    whole, _ = network.step(series.x)
    first, state = network.step(series.x[:11])
    second, _ = network.step(series.x[11:], None, state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-12, atol=1e-12)  # other blocks, other order of sums


def test_memory_is_that_of_a_block(monkeypatch):
    """Predictions along many series are those of a block of time after the other, and no more features are there at once."""
    network, series = random_network(delays=2, inputs=1), random_series(T=40, n=6, inputs=1)
    whole, (state, past) = network.step(*series.known())
    seen, features = [], ReadoutNetwork.features
    monkeypatch.setattr(ReadoutNetwork, "features", lambda self, x, *rest: seen.append(x.shape[:2]) or features(self, x, *rest))
    monkeypatch.setattr("lemode.surrogate.readout_network.BLOCK", 6 * (network.linear + 10) * 7)
    found, (state_too, past_too) = network.step(*series.known())
    assert seen == [(7, 6)] * 5 + [(5, 6)]
    torch.testing.assert_close(found, whole, rtol=1e-12, atol=1e-12)  # other blocks, other order of sums
    for a, b in zip((*state, past), (*state_too, past_too), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# -- the least-squares problem -------------------------------------------------------------------------------------------------


@torch.no_grad()
def rows_of(network, series):
    """Of 64 series, as many as there are beginnings in a fit: with fewer, it takes more of them."""
    f, _ = network.features(*series.part(0, -1).known())
    F = torch.cat([torch.ones_like(f[..., :1]), f], -1).flatten(0, 1).numpy()
    return F, ((series.x[1:] - series.x[:-1]) / network.increment).flatten(0, 1).numpy()


def test_without_ridge_and_noise_it_is_least_squares():
    network, series = random_network(), random_series(T=60, n=64)
    F, t = rows_of(network, series)
    found = Regression(network, series, None, torch.Generator()).heads([(0.0, 0.0), (0.0, FLOOR)]).numpy()
    np.testing.assert_allclose(found[0], np.linalg.lstsq(F, t, rcond=None)[0], rtol=1e-8, atol=1e-8)  # condition 1e4
    linear = np.linalg.lstsq(F[:, : 1 + network.linear], t, rcond=None)[0]
    np.testing.assert_allclose(found[1, : 1 + network.linear], linear, rtol=1e-9, atol=1e-9)
    assert np.abs(found[1, 1 + network.linear :]).max() < 1e-100


def test_noise_is_what_noisy_series_ask_for_on_average():
    """The gradient of the expectation is zero: J by automatic differentiation, along the whole sequence."""
    network, series = random_network(), random_series(T=12, n=64)
    nu, ridge = 0.3, 1e-3
    (head,) = Regression(network, series, None, torch.Generator().manual_seed(1)).heads([(nu, ridge)]).numpy()
    F, t = rows_of(network, series)
    some = regression.NOISY_SERIES
    xi = torch.zeros_like(series.x[:-1])
    xi[:, :some] = network.white((11, some, 2), torch.Generator().manual_seed(1))
    network.core.backend = "reference"  # which forward mode goes through

    def features(x):
        return network.features(x)[0]

    _, J = torch.func.jvp(features, (series.x[:-1],), (network.increment * xi,))
    J = torch.cat([torch.zeros_like(J[..., :1]), J], -1).flatten(0, 1).detach().numpy()
    xi = xi.flatten(0, 1).numpy()
    J, xi = (v.reshape(11, 64, -1)[:, :some].reshape(11 * some, -1) for v in (J, xi))
    gradient = F.T @ (F @ head - t) / len(F) + nu**2 * J.T @ (J @ head + xi) / len(J)
    gradient[1 + network.linear :] += ridge * head[1 + network.linear :]
    # a central difference of half width 1e-3 has an error of 1e-6 times third derivatives of order one
    assert np.abs(gradient).max() < 1e-5 < 0.1 * np.abs(nu**2 * J.T @ xi / len(J)).max()


def test_rows_that_are_not_known_do_not_count():
    network, series = random_network(), random_series(T=60, n=64)
    mask = torch.ones_like(series.x, dtype=torch.bool)
    mask[20:23, 1] = False
    mask[40:, 2] = False
    series = series._replace(mask=mask)
    known = known_rows(series)
    found = Regression(network, series, known, torch.Generator()).heads([(0.0, 0.0)])[0].numpy()
    F, t = rows_of(network, series)
    there = known.all(-1).flatten().numpy()
    assert there.sum() == 64 * 59 - 4 - 20
    np.testing.assert_allclose(found, np.linalg.lstsq(F[there], t[there], rcond=None)[0], rtol=1e-8, atol=1e-8)


def test_variables_that_are_missing_at_different_times():
    network, series = random_network(delays=0), random_series(T=80, n=64)
    mask = torch.ones_like(series.x, dtype=torch.bool)
    mask[5::7, :, 0] = False
    known = known_rows(series._replace(mask=mask))
    found = Regression(network, series, known, torch.Generator()).heads([(0.0, 0.0)])[0].numpy()
    F, t = rows_of(network, series)
    for d in range(2):
        there = known[..., d].flatten().numpy() > 0
        np.testing.assert_allclose(found[:, d], np.linalg.lstsq(F[there], t[there, d], rcond=None)[0], rtol=1e-8, atol=1e-8)


# -- the choice ----------------------------------------------------------------------------------------------------------------


def heads_that(increments):
    """Heads of a network of D=1 that say a constant."""
    out = torch.zeros(len(increments), 1 + 1 + 2 * 3, 1, dtype=F64)
    out[:, 0, 0] = torch.tensor(increments, dtype=F64)
    return out


def test_the_best_head_is_chosen_and_none_worse_than_the_reference():
    network = random_network(1, units=3, delays=0)
    network.increment.fill_(1.0)
    ramp = Series(0.1 * torch.arange(60.0, dtype=F64)[:, None, None].expand(-1, 3, 1))
    pairs = [(0.0, 1e-6), (0.0, 1e-3), (0.1, 1e-3)]
    say = {"validation": ramp, "warmup": 5, "horizon": 20, "finalists": 2}
    found = choose(network, heads_that([0.2, 0.11, 0.3]), pairs, heads_that([0.15])[0], **say)
    assert (found.noise, found.ridge) == pairs[1]
    assert found.one_step == pytest.approx(0.01)  # every step is 0.11 instead of 0.1
    assert found.reference_one_step == pytest.approx(0.05)
    none = choose(network, heads_that([0.2, 0.3, 0.4]), pairs, heads_that([0.15])[0], **say)
    assert np.isnan(none.ridge)
    assert none.free == none.reference_free
    torch.testing.assert_close(none.coefficients, heads_that([0.15])[0])
    # what is not told apart: the largest ridge, then the largest noise
    same = choose(network, heads_that([0.11, 0.11, 0.11]), pairs, heads_that([0.15])[0], **{**say, "finalists": 3})
    assert (same.noise, same.ridge) == pairs[2]
    blown = choose(network, heads_that([np.inf, np.nan, 1e300]), pairs, heads_that([0.15])[0], **say)
    assert np.isnan(blown.ridge)


@pytest.mark.parametrize("delays", [0, 2])
def test_what_was_seen_before_a_free_run_is_read_once_for_all_heads(delays):
    """Against the path of series with gaps, in which every head reads it for itself; and no head is mistaken for another."""
    network, series = random_network(delays=delays, inputs=1), random_series(T=60, inputs=1)
    heads = 0.1 * torch.randn(3, 1 + network.head.in_features, 2, dtype=F64, generator=torch.Generator().manual_seed(3))
    everything = series._replace(mask=torch.ones_like(series.x, dtype=torch.bool))
    found, expected = (free_errors(network, heads, s, warmup=20, horizon=10, starts=4) for s in (series, everything))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)  # products of other sizes are rounded differently
    assert found.diff().abs().min() > 1e-6


def test_the_second_look_is_at_heads_that_are_not_alike():
    """Where the ridge says all, many noises make one head; the one with the largest of both stands for them."""
    pairs = [(0.0, 1e-8), (1e-4, 1e-8), (0.2, 1e-8), (0.0, 1e-6), (0.0, 1e-22)]
    assert _unlike([0.1, 0.1 + 1e-9, 0.1 + 2e-9, 0.2, 0.05], pairs) == [4, 2, 3]
    assert _unlike([np.inf, 0.2], pairs) == [1, 0]
    assert _unlike([0.1, 0.10009, 0.10018], pairs) == [1, 2]  # each is like the one before, the last one not like the first


def test_a_slow_memory_is_judged_after_it_has_settled():
    """Of FitzHugh-Nagumo with noise nearly closed gates look twice as bad and more after one washout as after those that there are."""
    clean = torch.from_numpy(FitzHughNagumo().trajectories(28, 0.4 * np.arange(1000), seed=11).x[..., :1].swapaxes(0, 1).copy())
    noisy = clean + 0.05 * clean.std() * torch.randn(clean.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    like = IncrementNetwork(LEM(1, 100, dtype=F64), 100, 1, F64)
    like.set_scales(noisy)
    series, validation = (Series(like.normalise(part)) for part in (noisy[:, :16], noisy[:, 16:]))
    network = drawn(like, Draw(0, 0.1, 0.9, -1.5), 100, seed=0)
    early, settled = (Judge.along(validation, 50, 0, past).solve(network, series, None).free for past in (1, readout.PAST))
    assert settled < 0.5 * early


def test_random_weights_have_the_scales_that_are_said():
    core = lemode.LEM(3, 400, dtype=F64)
    draw(core, Draw(input=0.2, radius=0.7, gate=2.0), torch.Generator().manual_seed(0))
    ode = core.cells[0].ode.requires_grad_(False)
    assert float(ode.weight_ih.std()) == pytest.approx(0.2, rel=0.05)  # of 4,800 numbers: known to 1 %
    b1, b2, bz, by = ode.bias.chunk(4)
    for b, middle in ((b1, 2.0), (b2, 2.0), (bz, 0.0), (by, 0.0)):
        assert float((b - middle).abs().max()) == pytest.approx(1.0, rel=0.02)  # 400 numbers: the largest is near the edge
    for W in (ode.blocks().W1, ode.blocks().Wz, ode.blocks().Wy):
        radius = float(torch.linalg.eigvals(W).abs().max())  # the circular law: O(d^-1/2) about it
        assert radius == pytest.approx(0.7, rel=0.15)


@pytest.mark.parametrize("layers", [1, 2])
def test_units_that_are_kept_apart_see_what_they_are_said_to(layers):
    network = random_network(units=20, inputs=1, layers=layers)
    separate(network)
    series = random_series(inputs=1)
    first, last = slice(0, 2), slice(10, 20)  # a tenth, and half

    def states(x, e):
        ys, zs = zip(*network.core.states(network.core_input(x, e, x[:1].expand(1, -1, -1))))
        return torch.cat([*ys, *zs], 1)[7]  # at one time, of every layer

    def moved(x, e):
        change = (states(x, e) - states(series.x, series.e)).abs().amax(0) > 0
        return change[first].any().item(), change[2:10].all().item(), change[last].any().item()

    other = torch.randn(series.x.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    assert moved(series.x + other, series.e) == (False, True, True)
    now, end = series.e.clone(), series.e.clone()
    now[..., 0] += other[..., 0]
    end[..., 1] += other[..., 0]
    assert moved(series.x, now) == (True, True, False)
    assert moved(series.x, end) == (False, False, False)
    f, g = (network.features(series.x, e)[0] for e in (series.e, end))
    assert not torch.equal(f[..., : network.linear], g[..., : network.linear])  # the head reads it


@pytest.mark.slow
def test_jumps_of_a_known_input_are_no_noise():
    """The current of a step is that of its beginning: what it jumps to at the end is nothing that a unit should know."""
    data = ForcedFitzHughNagumo().trajectories(40, 0.4 * np.arange(401), seed=3, current="steps")
    model = Surrogate(hidden_size=100, train="readout", observe=("v",), inputs=("I",), verbose=0).fit(
        data[:24], validation=data[24:32]
    )
    assert model.history_.chosen["apart"]
    tried = model.history_.tried
    best, without = (min(row["free_error"] for row in tried if row["apart"] == apart) for apart in (True, False))
    assert best < 0.7 * without  # measured: a half


# -- whole fits ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_learns_lorenz63_in_seconds():
    model = fitted(units=100)
    fresh = Lorenz63().trajectories(4, np.arange(0, 15, 0.05), seed=1)
    persistence = np.sqrt(np.mean(np.diff(fresh.x, axis=1) ** 2))
    assert (
        model.rmse(fresh) < 5e-4 * persistence
    )  # measured 1e-4, and 1e-6 after 50 samples; 16 units trained for a minute: 1e-3
    chosen = model.history_.chosen
    assert chosen["units"] == 100
    assert chosen["free_error"] < 0.5 * chosen["linear_free_error"]
    assert len(model.history_.tried) == len(readout.DRAWS) + 1 + len(readout.FAR)


@pytest.mark.slow
def test_same_seed_same_model_and_another_is_another(few_draws):
    a, b, c = (fitted(units=20, seed=seed).network_.head.weight for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_it_survives_a_file_with_the_delays_that_were_chosen(few_draws, tmp_path):
    model = fitted(units=20, observe=["x"])
    assert model.network_.delays == model.history_.chosen["delays"]
    model.save(tmp_path / "m.lem")
    again = lemode.Surrogate.load(tmp_path / "m.lem")
    x = LORENZ.x[:2, :60, :1]
    assert np.array_equal(again.forecast(x, 30), model.forecast(x, 30))
    assert again.history_.chosen == pytest.approx(model.history_.chosen, nan_ok=True)


def test_a_warm_start_keeps_the_core_and_solves_for_the_head_again(few_draws):
    model = fitted(units=20, warm_start=True)
    core = {k: v.clone() for k, v in model.network_.core.state_dict().items()}
    head = model.network_.head.weight.clone()
    other = Lorenz63(rho=32.0).trajectories(10, np.arange(0, 15, 0.05), seed=2)
    before = model.rmse(other)
    model.fit(other)
    assert all(torch.equal(v, core[k]) for k, v in model.network_.core.state_dict().items())
    assert not torch.equal(model.network_.head.weight, head)
    assert model.rmse(other) < 0.5 * before


def test_a_warm_start_that_would_forget_is_refused(few_draws):
    model = fitted(units=4, train="all", steps=3, window=40, warm_start=True)
    before = model.forecast(LORENZ.x[0, :50], 5)
    with pytest.raises(ValueError, match="warm_start: train='readout' would draw a core of its own"):
        model.set_params(train="readout").fit(LORENZ)
    assert np.array_equal(model.forecast(LORENZ.x[0, :50], 5), before)


class TestAuto:
    """The default: a readout, then a trained network, and what is better."""

    def settings(self, **more):
        return {"units": 4, "train": "auto", "width": 20, "steps": 3, "window": 40, **more}

    def test_is_the_default(self):
        assert Surrogate().train == "auto"

    @pytest.mark.slow
    def test_a_warm_start_goes_on_with_the_core_that_was_kept(self, few_draws):
        model = fitted(**self.settings(warm_start=True))
        assert model.history_.kept.startswith("readout")
        core, head = {k: v.clone() for k, v in model.network_.core.state_dict().items()}, model.network_.head.weight.clone()
        model.fit(Lorenz63(rho=32.0).trajectories(10, np.arange(0, 15, 0.05), seed=2))
        assert all(torch.equal(v, core[k]) for k, v in model.network_.core.state_dict().items())
        assert not torch.equal(model.network_.head.weight, head)

    def test_a_core_that_is_no_lem_is_trained(self):
        model = LSTM(**{"hidden_size": 4, "steps": 3, "window": 40, "washout": 20, "verbose": 0}).fit(LORENZ)
        assert (len(model.history_.loss), model.history_.kept, model.history_.chosen) == (3, "", {})

    def test_a_continuous_one_too(self):
        model = fitted(**self.settings(continuous=True))
        assert isinstance(model.network_, FlowNetwork)

    @pytest.mark.slow
    def test_where_the_training_diverges_the_readout_is_there(self, few_draws):
        with pytest.warns(FitWarning, match="the training diverged before it found any weights; the readout is kept"):
            model = fitted(**self.settings(lr=1e30, optimizer="adam", steps=60))
        assert isinstance(model.network_, ReadoutNetwork)
        assert model.history_.kept == "readout: the training diverged"

    @pytest.mark.slow
    def test_an_interrupt_keeps_it_too_and_a_second_one_ends_the_loop(self, few_draws, monkeypatch):
        def stopped(*args, **more):
            raise KeyboardInterrupt

        monkeypatch.setattr("lemode.surrogate.interrupts._interrupted", -1e9)
        monkeypatch.setattr("lemode.surrogate.fitters.train", stopped)
        with pytest.warns(FitWarning, match="the training was interrupted before it found any weights"):
            model = fitted(**self.settings())
        assert isinstance(model.network_, ReadoutNetwork)
        monkeypatch.setattr("lemode.surrogate.interrupts.AGAIN", 1e9)
        with pytest.raises(KeyboardInterrupt):
            fitted(**self.settings())


@pytest.mark.parametrize(("dimension", "delays"), [(28, {0, 2, 6}), (101, {0})])
def test_wide_data_are_not_read_many_times_over(dimension, delays):
    few = torch.randn(40, 3, dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    network = IncrementNetwork(LEM(dimension, 4, dtype=torch.float64), 4, dimension, torch.float64)
    network.set_scales(few)
    series = Series(network.normalise(few))
    _, history, _ = fit_readout(network, series, series, washout=5, seed=0)
    assert {how["delays"] for how in history.tried} == delays


def test_a_season_is_found_in_values_of_long_ago(few_draws):
    """Every month is what it was a year before, and the months have nothing to do with each other: nothing nearer tells of it."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=12)[np.arange(360) % 12] + 0.05 * rng.normal(size=360))[:, None]
    model = fitted(x, units=20)
    assert model.network_.delays >= 11
    found = lemode.evaluate({"readout": model}, x, 12, range(340, 348), season=12)
    assert found.total("readout") < found.total("seasonal naive")  # which has the noise twice


def test_delays_that_are_asked_for_are_used(few_draws):
    assert fitted(units=10, delays=3).network_.delays == 3
    assert {t["delays"] for t in fitted(units=10, delays=3).history_.tried} == {3}


@pytest.mark.filterwarnings("ignore:free runs leave the data:lemode.surrogate.FitWarning")  # those of the blind one
def test_known_inputs_are_read(few_draws):
    """x' = -x + e: exactly linear in what is known at both ends of a step, but for the curvature of e."""
    rng, dt = np.random.default_rng(0), 0.1
    t = dt * np.arange(200)
    w, p = rng.uniform(0.5, 2, (2, 12, 1))
    e = np.sin(w * t + 3 * p)
    x = np.empty((12, 200))
    c = 1 / (1 + w**2)  # x = c (sin - w cos) is the periodic solution
    x = c * (np.sin(w * t + 3 * p) - w * np.cos(w * t + 3 * p))
    data = Trajectories(t, np.stack([x, e], -1), ("x", "e"))
    model = fitted(data, units=20, inputs=["e"], observe=["x"])
    blind = fitted(data, units=20, observe=["x"])
    assert model.rmse(data) < 0.05 * blind.rmse(data)


def test_gaps_missing_values_and_short_series(few_draws):
    """A fifth of the values is gone, a series ends early, times are uneven: rows that are known are exact, and enough."""
    rng, t = np.random.default_rng(0), np.cumsum(np.r_[0.0, np.random.default_rng(1).uniform(0.09, 0.11, 249)])
    phases = rng.uniform(0, 6, (12, 1))
    x = np.stack([np.sin(t + phases), np.cos(t + phases)], -1)
    holes = x.copy()
    holes[rng.uniform(size=x.shape) < 0.05] = np.nan
    holes[3, 150:] = np.nan
    model = fitted(Trajectories(t, holes, ("a", "b"), missing=True), units=30)
    persistence = np.sqrt(np.mean(np.diff(x, axis=1) ** 2))
    assert model.rmse(Trajectories(t, x, ("a", "b"))) < 0.01 * persistence


@pytest.mark.slow
def test_float32_data_are_fitted_to_their_own_rounding(few_draws):
    data = LORENZ.x.astype(np.float32)
    model, exact = fitted(data), fitted()
    assert model.network_.head.weight.dtype == F64
    assert model.predict(data).dtype == np.float32
    # noise of 1e-6, where the fit to exact data has an error of that size or above
    assert model.rmse(data) < 2 * exact.rmse(LORENZ) + 1e-5


@pytest.mark.filterwarnings("ignore:the training data do not vary")
@pytest.mark.parametrize("kind", ["white", "walk", "autoregression", "constant", "trend"])
def test_never_worse_than_the_linear_autoregression(kind, few_draws):
    rng = np.random.default_rng(3)
    T, noise = 300, rng.standard_normal((3, 300))
    x = {
        "white": noise,
        "walk": noise.cumsum(1),
        "constant": np.full((3, T), 2.5),
        "trend": 0.3 * np.arange(T) + noise,
        "autoregression": np.zeros((3, T)),
    }[kind]
    if kind == "autoregression":
        for k in range(2, T):
            x[:, k] = 1.6 * x[:, k - 1] - 0.8 * x[:, k - 2] + noise[:, k]
    model = Surrogate(hidden_size=40, train="readout", washout=20, verbose=0).fit(x[..., None])
    chosen = model.history_.chosen
    assert chosen["free_error"] <= readout.TIE * chosen["linear_free_error"]
    assert chosen["one_step_error"] <= readout.TIE * chosen["linear_one_step_error"]
    assert np.isfinite(model.forecast(x[0, :100, None], 1000)).all()


@pytest.mark.slow
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
        Surrogate(train="head", verbose=0).fit(LORENZ)
    with pytest.raises(ValueError, match="choose one of the two"):
        Surrogate(train="readout", continuous=True, verbose=0).fit(LORENZ)
    with pytest.raises(ValueError, match="nothing to go on from"):
        Surrogate(train="readout", verbose=0).fit(LORENZ, checkpoint="fit.ckpt")
    with pytest.raises(ValueError, match=r"the core is LSTM: use lemode\.Surrogate"):
        lemode.baselines.LSTM(train="readout", verbose=0).fit(LORENZ)


class TestNoiseGetsTheAutoregression:
    """x_k = 1.2 x_{k-1} - 0.5 x_{k-2} + noise: lags that BIC finds likely, by hand, and no weight on any unit."""

    @pytest.fixture
    def x(self):
        rng = np.random.default_rng(1)
        x = np.zeros(400)
        for k in range(2, 400):
            x[k] = 1.2 * x[k - 1] - 0.5 * x[k - 2] + rng.normal()
        return x[:, None]

    def check(self, model, x, training, rows, atol=1e-11):
        """The mean of the least squares of each order, weighted by exp(-BIC / 2) on the training part.

        Rows are the k of whose x[k] the prediction is learned. Some ten QRs of values up to 5 agree to 1e-12 or so.
        """

        def lags(p, rows):
            return np.concatenate([np.ones((len(rows), 1)), *(x[rows - j] for j in range(1, p + 1))], 1)

        orders, judged = (*range(1, 14), 16, 19, 25), training[training >= 25]
        bic, predicted, later = [], [], np.arange(25, 400)
        for p in orders:
            w = np.linalg.lstsq(lags(p, judged), x[judged], rcond=None)[0]
            error = np.mean((x[judged] - lags(p, judged) @ w) ** 2)
            bic.append(len(judged) * np.log(error) + (p + 1) * np.log(len(judged)))
            known = rows[rows >= p]
            predicted.append(lags(p, later) @ np.linalg.lstsq(lags(p, known), x[known], rcond=None)[0])
        likely = np.where(np.subtract(bic, min(bic)) < 10, np.exp(-np.subtract(bic, min(bic)) / 2), 0)
        expected = np.tensordot(likely / likely.sum(), predicted, 1)
        net = model.network_
        assert float(net.head.weight[:, net.linear :].detach().abs().max()) == 0.0
        assert net.delays == orders[np.flatnonzero(likely)[-1]] - 1
        np.testing.assert_allclose(model.predict(x)[24:-1], expected, rtol=0, atol=atol)

    def test_of_what_is_given(self, few_draws, x):
        """The last fifth is held out to choose, and learned from in the end; 0.05 lie between the two."""
        self.check(fitted(x, units=20), x, np.arange(320), np.arange(400))

    def test_of_a_validation_part_nothing_is_learned(self, few_draws, x):
        model = Surrogate(hidden_size=20, train="readout", verbose=0).fit(x[:320], validation=x[320:])
        self.check(model, x, np.arange(320), np.arange(320))

    def test_what_is_missing_is_no_row(self, few_draws, x):
        """Of the held-out part as of the other; but rows that read values of the network's own weigh a little."""
        holes = x.copy()
        holes[350:360] = np.nan
        model = fitted(Trajectories(np.arange(400.0), holes[None], "x0", missing=True), units=20)
        self.check(model, x, np.arange(320), np.r_[:350, 362:400], atol=0.02)


def test_a_head_that_went_wrong_with_the_held_out_part_is_not_taken(few_draws, monkeypatch):
    """With ridges near rounding that happened: a solution of a thousand columns is good or bad by its last bits."""
    expected = Surrogate(hidden_size=60, train="readout", washout=20, verbose=0).fit(LORENZ[:8], validation=LORENZ[8:])
    monkeypatch.setattr(Regression, "add", lambda *_: monkeypatch.setattr(Regression, "heads", lambda self, pairs: wrong))
    wrong = torch.zeros(1, *reversed(expected.network_.head.weight.shape), dtype=F64)
    wrong = torch.cat([wrong, wrong[:, :1]], 1)
    order = [0, 1, 2, 3, 8, 4, 5, 6, 7, 9]  # every fifth is held out
    model = fitted(LORENZ[order], units=60)
    assert float(model.network_.head.weight.detach().abs().max()) > 0
    np.testing.assert_array_equal(model.forecast(LORENZ.x[0, :50], 20), expected.forecast(LORENZ.x[0, :50], 20))


def test_rows_that_join_later_are_rows():
    """Two sets of series, one after the other, have the solution of both together; where the second misses a value, that row is none."""
    network, both = random_network(), random_series(n=140)
    first, second = (both.cut(0, 30, torch.arange(*ends)) for ends in ((0, 70), (70, 140)))
    known = torch.ones_like(both.x[1:], dtype=F64)
    known[10, 80] = 0
    pairs = [(0.0, 1e-12), (0.0, 1e-3)]

    def regression(series, known=None):
        return Regression(network, series, known, torch.Generator().manual_seed(0))

    later = regression(first)
    later.add(second, known[:, 70:])
    expected = regression(both, known).heads(pairs)
    # QR in another order; the condition is 1e3 or so
    torch.testing.assert_close(later.heads(pairs), expected, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(regression(first).heads(pairs), expected, atol=1e-3)


def test_what_is_better_by_luck_is_not_taken():
    """On 25 steps of one, a head that adds a tenth of one is better than none by less than 40 %, and one that adds one is right."""
    network, series = random_network(D=1, units=3, delays=0), Series(torch.arange(26.0, dtype=F64).reshape(26, 1, 1))
    none = torch.zeros(1 + network.head.in_features, 1, dtype=F64)
    for step, taken in ((0.1, False), (1.0, True)):
        head = none.clone()
        head[0] = step / network.increment
        found = choose(network, head[None], [(0.0, 1e-6)], none, series, 5, 10, finalists=0)
        assert (found.ridge == 1e-6) == taken


def test_a_quiet_end_decides_little():
    """A trained network that is better where nothing happens does not win by it, and of an end as lively as the rest all values count."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((401, 1, 2)).cumsum(0))
    increment = x.diff(dim=0).square().mean((0, 1)).sqrt()
    lively, plain = luck(Series(x), increment), luck(Series(x))
    assert lively == pytest.approx(plain, rel=1e-12)
    assert luck(Series(x), 3 * increment) == pytest.approx(3 * plain)
    assert luck(Series(x, lead=301), increment) == pytest.approx(
        2 / np.sqrt(200), rel=0.2
    )  # of 200 squares a scatter of a tenth
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[100:] = False
    # the first sample is read, and not judged
    assert luck(Series(x, mask=mask), increment) == pytest.approx(2 / np.sqrt(198), rel=0.2)


def test_why_the_one_with_the_larger_errors_is_kept_is_said(monkeypatch, few_draws):
    monkeypatch.setattr(
        readout.Judge, "errors", lambda self, net: (2.0, 2.0) if isinstance(net, ReadoutNetwork) else (1.9, 1.9)
    )
    settings = {"hidden_size": 2, "train": "auto", "width": 20, "steps": 5, "window": 20, "washout": 5, "verbose": 0}
    kept = Surrogate(**settings).fit(np.sin(np.linspace(0, 9, 91))[:, None]).history_.kept
    assert kept.startswith("readout: ")
    assert kept.endswith(
        "1.9 of the trained network, which is not better by more than chance would have it on values that are few, or move little"
    )


def test_auto_lets_a_trained_network_settle_before_it_is_judged(monkeypatch, few_draws):
    """A network that takes 200 samples to forget that it began at rest is as good as another from there on."""
    walks = np.random.default_rng(0).standard_normal((6, 1000, 1)).cumsum(1)

    def slow(self, network, series, judge, recipe, seed, verbose=1, checkpoint=None):
        with torch.no_grad():
            for p in network.parameters():
                p.zero_()
            bias = network.core.cells[0].ode.blocks()
            bias.b2.fill_(-np.log(29.0))  # a thirtieth of the way at every step
            bias.by.fill_(20.0)  # towards one
            network.head.weight[0, 0], network.head.bias[0] = -1.0, 1.0
        return network, History()

    monkeypatch.setattr("lemode.surrogate.fitters.Gradient.fit", slow)
    model = Surrogate(train="auto", width=20, hidden_size=2, verbose=0).fit(walks[:4], validation=walks[4:])
    free, _, trained, _ = (
        float(v) for v in re.findall(r"\d[\d.e-]*(?= and| of|,)", model.history_.kept.split("one step, are")[1])
    )
    # persistence, as is the readout; with fifty samples it would have drifted by six increments
    assert trained == pytest.approx(free, rel=0.05)


@pytest.mark.parametrize(("series", "warmup"), [(9, 400), (10, 600)])
def test_auto_gives_both_networks_all_the_past_there_is(monkeypatch, few_draws, series, warmup):
    """Where there are enough series for free runs from the beginning of each: a user has no less."""
    walks, seen = np.random.default_rng(0).standard_normal((4 + series, 1000, 1)).cumsum(1), []

    def errors(judge, network):
        seen.append((judge.warmup, judge.horizon))
        return 1.0, 1.0

    monkeypatch.setattr("lemode.surrogate.fitters.Judge.errors", errors)
    options = {"train": "auto", "width": 20, "hidden_size": 2, "steps": 2, "washout": 50, "verbose": 0}
    Surrogate(**options).fit(walks[:4], validation=walks[4:])
    assert seen == [(warmup, 400)] * 2
