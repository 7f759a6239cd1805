"""Uneven samples, trajectories of different lengths, missing values: one grid, one rule, no leak."""

import numpy as np
import pytest
import torch

import lemode
from lemode import Surrogate, Trajectories
from lemode.surrogate.data import PAST, hold_out
from lemode.surrogate.forecast import fill
from lemode.surrogate.losses import closed_loop_loss, one_step_loss
from lemode.surrogate.recipe import Recipe
from lemode.surrogate.run import Starts
from lemode.surrogate.series import Grid, Series, lay_out, usual_interval
from lemode.surrogate.training import train

T = np.linspace(0, 20, 101)
NAN = np.nan


def at(t, n=12, seed=0):
    """Two waves of n phases at times t ``(T,)``, ``(n, T, 2)``."""
    phase = np.random.default_rng(seed).uniform(0, 6, (n, 1))
    return np.stack([np.sin(t + phase), 10 + 3 * np.cos(t + phase)], -1)


def dropped(n=12, seed=0, share=0.3, lengths=True):
    """The waves at interval 0.2 with a share of the samples left out, and of different lengths."""
    rng, x, series = np.random.default_rng(seed + 1), at(T, n, seed), []
    for i in range(n):
        keep = rng.random(len(T)) >= share
        keep[: 1 + (i == 0)] = True
        end = rng.integers(60, 102) if lengths else 101
        series.append((T[:end][keep[:end]], x[i, :end][keep[:end]]))
    return Trajectories.ragged(series, ("a", "b"))


def uneven(n=6, seed=3, low=0.1, high=0.28, end=60):
    """Each wave at times of its own, with no common grid."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(low, high, (n, end)), 1)
    x = np.stack([at(t, n, seed)[i] for i, t in enumerate(times)])
    return Trajectories.ragged([(t[: end - 4 * i], v[: end - 4 * i]) for i, (t, v) in enumerate(zip(times, x))], ("a", "b"))


def quick(**changes):
    return Surrogate(**{"train": "all", "hidden_size": 6, "steps": 60, "batch_size": 8, "verbose": 0, "washout": 10, **changes})


@pytest.fixture(scope="module")
def model():
    """Fitted at the interval 0.2."""
    return quick(steps=300).fit(Trajectories(T, at(T), ("a", "b")))


@pytest.fixture(scope="module")
def uneven_model():
    return quick(steps=300).fit(uneven(12))


class TestTrajectories:
    def test_ragged_pads_with_nan(self):
        data = Trajectories.ragged([([0, 1, 3], [[1.0], [2], [3]]), ([5.0], [[4.0]])], ["v"])
        np.testing.assert_array_equal(data.t, [[0, 1, 3], [5, NAN, NAN]])
        np.testing.assert_array_equal(data.x[..., 0], [[1, 2, 3], [4, NAN, NAN]])
        np.testing.assert_array_equal(data.lengths, [3, 1])
        np.testing.assert_array_equal(data.intervals(), [1, 2])
        assert data[1].x.shape == (1, 1, 1)
        assert data[[1, 0]].lengths.tolist() == [1, 3]
        assert not data.even()
        assert Trajectories.ragged([([0, 1, 2], np.zeros((3, 1))), ([7, 8], np.zeros((2, 1)))]).step == 1.0

    def test_what_is_given_in_the_padding_is_not_kept(self):
        data = Trajectories(np.array([[0.0, 1, 2], [0, 1, NAN]]), np.ones((2, 3, 1)))
        assert np.isnan(data.x[1, 2, 0])
        assert np.isfinite(data.x[0]).all()

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: Trajectories(T[:3], [[1.0], [NAN], [2]]), r"nan in trajectory 0 at time index 1.*missing=True"),
            (lambda: Trajectories(T[:3], [[1.0], [np.inf], [2]], missing=True), r"inf in trajectory 0 at time index 1"),
            (lambda: Trajectories(T[:2], [[NAN], [NAN]], missing=True), "trajectory 0 has no value of 'x0' at all"),
            (lambda: Trajectories.ragged([([0, 1], [[1.0], [NAN]])]), "nan in trajectory 0 at time index 1"),
            (lambda: Trajectories.ragged([]), "no trajectories"),
            (lambda: Trajectories.ragged([([0, 1], [[1.0], [2]]), ([0], [[1.0, 2]])]), r"trajectory 1: .* \(1, 2\).*D=1"),
            (lambda: Trajectories.ragged([([0, NAN], [[1.0], [2]])]), "trajectory 0: .*finite times"),
            (lambda: Trajectories.ragged([([0, 1], [[1.0], [2]]), ([1, 0], [[1.0], [2]])]), "trajectory 1: .*increasing"),
            (lambda: Trajectories(np.array([[0, NAN, 2.0]]), np.zeros((1, 3, 1))), "ends in NaN"),
            (lambda: Trajectories(np.zeros((3, 2)), np.zeros((2, 2, 1))), r"\(2,\), or \(2, 2\)"),
        ],
    )
    def test_bad_calls(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


class TestGrid:
    def test_even_data_are_the_grid(self):
        data = Trajectories.ragged([(T, x) for x in at(T)], ("a", "b"))
        assert lay_out(data, 0.2, 2).plain
        assert usual_interval(data) == pytest.approx(0.2)

    def test_a_gap_is_crossed_in_the_steps_nearest_to_the_usual_one(self):
        t = np.array([0, 1, 2.2, 4.4, 7.0])  # intervals 1, 1.2, 2.2, 2.6 in 1, 1, 2, 3 steps
        grid = lay_out(Trajectories(t, t[:, None]), 1.0, 1)
        np.testing.assert_array_equal(grid.at, [[0, 1, 2, 4, 7]])
        np.testing.assert_array_equal(grid.values[0, :, 0], [0, 1, 2.2, NAN, 4.4, NAN, NAN, 7])
        ahead = [1, 1.2, 1.1, 1.1, 2.6 / 3, 2.6 / 3, 2.6 / 3, 1]
        np.testing.assert_allclose(grid.r[0, :, 1], ahead, rtol=1e-12)
        np.testing.assert_allclose(grid.r[0, :, 0], [1, *ahead[:-1]], rtol=1e-12)

    def test_inputs_go_straight_across_a_gap(self):
        t = np.array([0, 1, 3.0])
        grid = lay_out(Trajectories(t, np.stack([t, 10 * t], -1)), 1.0, 1)
        np.testing.assert_array_equal(grid.values[0, :, 1], [0, 10, 20, 30])
        assert grid.r is None

    def test_the_usual_interval(self):
        assert usual_interval(dropped(share=0.6)) == pytest.approx(0.2)  # an even grid with holes, wherever the median lies
        data = uneven()
        assert usual_interval(data) == np.median(data.intervals())

    def test_scales_leave_out_what_is_missing_and_are_per_usual_interval(self):
        t = np.array([0, 1, 2.2, 4.4])
        x = np.array([[1.0, NAN], [2, 5], [NAN, 7], [6, 1]])
        model = quick(steps=1, washout=1)
        data = Trajectories(t, np.stack([x] * 5), ("a", "b"), missing=True)
        net = model.fit(data).network_
        step = np.median(np.diff(t))
        np.testing.assert_allclose(net.mean, [3, 13 / 3], rtol=1e-12)
        np.testing.assert_allclose(net.std, [np.std([1, 2, 6]), np.std([5, 7, 1])], rtol=1e-12)
        rates = [np.array([1, 4 / 3.4]) * step, np.array([2 / 1.2, -6 / 2.2]) * step]
        np.testing.assert_allclose(net.increment * net.std, [np.sqrt(np.mean(r**2)) for r in rates], rtol=1e-12)

    @pytest.mark.parametrize("n", [2, 9])
    def test_hold_out(self, n):
        training, held_out, lead = hold_out(dropped(n))
        if n == 9:
            assert (len(training), len(held_out), lead) == (8, 1, 0)
        else:
            np.testing.assert_array_equal(training.lengths + held_out.lengths - lead, dropped(n).lengths)
            assert len(held_out) == 2
            assert 0 < lead == training.lengths.min()
            assert held_out.t[0, lead - 1] == training.t[0, training.lengths[0] - 1] < held_out.t[0, lead]

    def test_no_more_than_so_much_of_the_past(self):
        data = Trajectories(np.arange(20_000.0), np.zeros((20_000, 1)))
        training, held_out, lead = hold_out(data)
        assert (training.x.shape[1], held_out.x.shape[1], lead) == (16_000, 4000 + PAST, PAST)


class TestRegularIsUntouched:
    def test_even_data_in_ragged_form_give_the_same_model(self):
        regular = quick(stages=("one-step", "noise")).fit(Trajectories(T, at(T), ("a", "b")))
        data = Trajectories.ragged([(T, x) for x in at(T)], ("a", "b"), missing=True)
        ragged = quick(stages=("one-step", "noise")).fit(data)
        assert regular.history_.loss == ragged.history_.loss
        np.testing.assert_array_equal(regular.predict(at(T)), ragged.predict(data))
        np.testing.assert_array_equal(regular.forecast(at(T), 9), ragged.forecast(data, 9))


class TestUse:
    def test_uneven_steps_are_those_of_the_ode_and_the_increment_is_in_proportion(self, uneven_model):
        """By hand: LEM with dt times the interval before, the head times the interval after."""
        net = uneven_model.network_
        t = np.array([0, 1, 1.8, 3.1, 4.0]) * uneven_model.step_
        x = at(t, 1)[0]
        u = net.normalise(torch.tensor(x))[:, None]
        r = torch.tensor([1, 1, 0.8, 1.3, 0.9], dtype=torch.float64)
        y, _ = net.core(u, dt=(net.core.dt * r).clamp_max(1.0))
        ahead = torch.tensor([1, 0.8, 1.3, 0.9, 1], dtype=torch.float64)
        expected = net.denormalise(u + ahead[:, None, None] * net.increment * net.head(y))[:, 0]
        np.testing.assert_allclose(uneven_model.predict(Trajectories(t, x, ("a", "b")))[0], expected.detach(), rtol=1e-10)

    def test_lem_keeps_its_bound_over_the_longest_interval(self, uneven_model):
        core = uneven_model.network_.core
        data = uneven(12)
        longest = lay_out(data, uneven_model.step_, 2).r.max()
        assert longest > 1.2
        assert core.dt == pytest.approx(1 / longest, rel=0.1)  # of the training part
        assert quick(steps=1, scheme="exponential").fit(data).network_.core.dt == 1.0

    @pytest.mark.parametrize("make", [lambda: dropped(6), lambda: uneven(6)])
    def test_a_batch_is_its_trajectories_one_by_one(self, make, model):
        """As many trajectories as hidden units, each on times of its own."""
        data = make()
        assert len(data) == model.hidden_size
        together, free = model.predict(data), model.forecast(data, 7, dt=0.33)
        for i, one in enumerate(data):
            k = data.lengths[i]
            np.testing.assert_allclose(together[i, :k], model.predict(one)[0], rtol=0, atol=1e-12)
            assert np.isnan(together[i, k:]).all()
            np.testing.assert_allclose(free[i], model.forecast(one, 7, dt=0.33)[0], rtol=0, atol=1e-12)

    def test_a_missing_value_is_replaced_by_its_own_prediction(self, model):
        x = at(T, 3)
        x[0, 30], x[1, 40, 1], x[1, 41] = NAN, NAN, NAN
        data = Trajectories(T, x, ("a", "b"), missing=True)
        out = model.predict(data)
        patched = x.copy()
        for i, k in ((0, 30), (1, 40), (1, 41)):
            patched[i, k] = np.where(np.isnan(x[i, k]), model.predict(patched[i, :k])[-1], x[i, k])
        np.testing.assert_allclose(out, model.predict(patched), rtol=0, atol=1e-12)

    def test_a_sample_left_out_is_a_missing_one(self, model):
        x = at(T, 1)[0]
        keep = np.ones(101, dtype=bool)
        keep[[20, 21, 50]] = False
        gap = model.predict(Trajectories(T[keep], x[keep], ("a", "b")))[0]
        x[~keep] = NAN
        whole = model.predict(Trajectories(T, x, ("a", "b"), missing=True))[0]
        arrives = np.append(np.flatnonzero(keep)[1:] - 1, 100)
        np.testing.assert_allclose(gap, whole[arrives], rtol=0, atol=1e-12)

    def test_double_interval_is_every_second_step(self, model):
        history = at(T, 3)[:, :40]
        free = model.forecast(history, 20)
        np.testing.assert_allclose(model.forecast(history, 10, dt=0.4), free[:, 1::2], rtol=0, atol=1e-12)
        np.testing.assert_allclose(model.forecast(history, t=T[40:60]), free, rtol=0, atol=1e-12)
        picked = [41, 45, 46, 52]
        np.testing.assert_allclose(model.forecast(history[1], t=T[picked]), free[1, np.array(picked) - 40], rtol=0, atol=1e-12)

    def test_half_the_interval_follows_the_wave(self, model):
        history, t = at(T, 5, seed=7)[:, :40], T[39] + 0.1 * np.arange(1, 31)
        truth = at(t, 5, seed=7)
        free = model.forecast(history, 30, dt=0.1)
        ignored = model.forecast(history, 30)
        error = np.abs(free - truth)[..., 0].max()
        print(error, np.abs(ignored - truth)[..., 0].max())
        assert error < 0.3
        assert error < 0.3 * np.abs(ignored - truth)[..., 0].max()

    def test_inputs_at_uneven_times(self):
        x = np.concatenate([at(T, 8), np.sin(T)[None, :, None].repeat(8, 0)], -1)
        model = quick(inputs=("I",)).fit(Trajectories(T, x, ("a", "b", "I")))
        free = model.forecast(x[:, :40], 10, inputs=x[:, 40:50, 2:])
        # the input between is that of a straight line: at double the interval it has to be one to say the same
        line = x.copy()
        line[:, 40:51, 2] = 0.3 * np.arange(1, 12) + line[:, 39:40, 2]
        fine = model.forecast(line[:, :40], 10, inputs=line[:, 40:50, 2:])
        coarse = model.forecast(line[:, :40], 5, inputs=line[:, 41:50:2, 2:], dt=0.4)
        np.testing.assert_allclose(coarse, fine[:, 1::2], rtol=0, atol=1e-12)
        assert np.abs(fine - free).max() > 1e-3

    def test_errors_are_over_what_was_measured(self, model):
        x = at(T, 4)
        x[0, 30], x[2, 50:60, 0] = NAN, NAN
        data = Trajectories(T, x, ("a", "b"), missing=True)
        error = model.predict(data)[:, :-1] - x[:, 1:]
        assert model.rmse(data) == pytest.approx(np.sqrt(np.nanmean(error**2)), rel=1e-12)
        assert 0.9 < model.score(data) <= 1

    def test_survives_a_file(self, uneven_model, tmp_path):
        uneven_model.save(tmp_path / "m.lem")
        again = Surrogate.load(tmp_path / "m.lem")
        assert again.network_.core.dt == uneven_model.network_.core.dt < 1
        np.testing.assert_array_equal(again.predict(uneven()), uneven_model.predict(uneven()))

    def test_other_cores_refuse_uneven_samples_and_take_missing_ones(self):
        from lemode.baselines import GRU

        settings = {"hidden_size": 4, "steps": 2, "verbose": 0, "washout": 10}
        with pytest.raises(ValueError, match="GRU knows no step size"):
            GRU(**settings).fit(uneven())
        assert np.isfinite(GRU(**settings).fit(dropped()).forecast(at(T, 1)[0, :20], 3)).all()
        fields = np.random.default_rng(0).normal(size=(6, 60, 8))
        with pytest.raises(ValueError, match="a field surrogate takes even samples only: interpolate"):
            lemode.surrogate.FieldSurrogate(hidden_size=4, kernel_size=3, steps=1, verbose=0).fit(
                Trajectories(np.cumsum(np.linspace(1, 1.4, 60)), fields)
            )

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda m: m.forecast(at(T), 3, dt=0), "dt=0"),
            (lambda m: m.forecast(at(T)), "steps=None"),
            (lambda m: m.forecast(at(T), 3, t=[21.0]), "leave steps and dt out"),
            (lambda m: m.forecast(at(T), t=[19.0]), "behind the history, which ends at 20"),
            (lambda m: m.forecast(at(T), t=[22.0, 21.0]), "increasing"),
            (lambda m: m.forecast(at(T), t=np.zeros((3, 2))), r"\(3, 2\): give \(steps,\), or \(12, steps\)"),
            (lambda m: m.forecast(Trajectories.ragged([(T[:9], at(T)[0, :9])], ("a", "b")), 3), "9 samples"),
            (lambda m: m.predict(Trajectories([0, 0.2, 1e4], np.zeros((3, 2)), ("a", "b"))), "gap of .* after time index 1"),
        ],
    )
    def test_bad_calls(self, call, message, model):
        with pytest.raises(ValueError, match=message):
            call(model)

    def test_a_missing_input_is_an_error(self):
        x = at(T, 5)
        x[0, 3, 1] = NAN
        with pytest.raises(ValueError, match="known ahead by definition"):
            quick(inputs=("b",)).fit(Trajectories(T, x, ("a", "b"), missing=True))


class TestFit:
    def test_nothing_leaks_from_padding_or_from_what_is_missing(self):
        """Other numbers there, in everything that training reads, and the same weights bit by bit."""
        data = dropped()
        weights = []
        for junk in (0.0, 1e6):
            net = quick(inputs=("b",))._build(1, 1, torch.float64)
            grid = lay_out(data, 0.2, 1)
            raw = torch.tensor(grid.values).transpose(0, 1)
            net.set_scales(raw[..., :1], raw[..., 1:])
            series = net.series(grid)
            assert (~series.mask).sum() > 200
            ended = ~series.mask.flip(0).int().cummax(0).values.flip(0).bool()
            x = series.x.where(series.mask | (torch.arange(len(series.x)) == 0)[:, None, None], series.x + junk)
            e = series.e.where(~ended, series.e + junk)
            recipe = Recipe(steps=60, batch_size=8, window=30, washout=10, stages=("one-step", "closed-loop"), horizon=5)
            train(net, Series(x, e, None, series.mask), Series(x, e, None, series.mask), recipe, torch.Generator(), 0)
            weights.append(torch.cat([p.flatten() for p in net.parameters()]))
        assert torch.equal(*weights)

    def test_a_window_is_drawn_from_series_that_have_not_ended(self):
        mask = torch.ones(60, 5, 1, dtype=torch.bool)
        mask[25:, :3] = False
        starts = Starts(Series(torch.zeros(60, 5, 1), None, None, mask), window=10)
        starts.states = [(30, None)]
        window, _, _ = starts.draw(5, 2, torch.Generator())
        assert window.mask.all()
        assert window.x.shape[1] == 2

    def test_losses_are_over_what_is_there(self):
        torch.manual_seed(0)
        net = quick()._build(2, 0, torch.float64)
        x, mask = torch.randn(20, 3, 2, dtype=torch.float64), torch.rand(20, 3, 2) > 0.3
        increments, _ = net(x[:-1])
        square = (increments - x.diff(dim=0)).square()
        total = weight = 0.0
        for k in range(4, 19):
            for i, j in np.ndindex(3, 2):
                before = [m for m in range(k + 1) if mask[m, i, j]]
                w = mask[k + 1, i, j] / (k + 1 - (before[-1] if before else 0)) ** 2
                total, weight = total + w * square[k, i, j], weight + w
        torch.testing.assert_close(one_step_loss(net, Series(x, None, None, mask), 4), total / weight)
        free = closed_loop_loss(net, Series(x, None, None, mask), 12)
        whole = closed_loop_loss(net, Series(x), 12)
        assert free != whole
        torch.testing.assert_close(closed_loop_loss(net, Series(x, None, None, torch.ones_like(mask)), 12), whole)

    def test_what_is_read_is_refreshed_in_training(self):
        """At every validation the stored series hold the network's own predictions where a value is missing."""
        net = quick()._build(1, 0, torch.float64)
        x = torch.randn(30, 4, 1, dtype=torch.float64)
        mask = torch.rand(30, 4, 1) > 0.4
        mask[0], mask[20:, 1] = True, False
        starts = Starts(Series(x, None, None, mask), window=10)
        starts.refresh(net, torch.Generator())
        filled = starts.series.x
        predicted, _ = net.step(filled)
        inside = mask.flip(0).int().cummax(0).values.flip(0).bool()
        torch.testing.assert_close(filled[1:][~mask[1:] & inside[1:]], predicted[:-1][~mask[1:] & inside[1:]])
        assert torch.equal(filled[mask], x[mask])
        assert torch.equal(filled[~inside], x[~inside])
        everything, along = fill(net, Series(x, None, None, mask))
        torch.testing.assert_close(along, net.step(everything.x)[0])

    @pytest.mark.slow
    def test_reaches_the_fit_to_complete_data(self):
        """30 % of the samples left out, and different lengths: one step ahead on the same complete test data."""
        test = at(T, 20, seed=9)
        ratios = []
        for seed in range(2):
            complete = quick(steps=300, seed=seed).fit(Trajectories(T, at(T, 24), ("a", "b"))).rmse(test, washout=10)
            ratios.append(quick(steps=300, seed=seed).fit(dropped(24)).rmse(test, washout=10) / complete)
        # measured 1.3, 1.3 and 1.7 with three seeds; 8, 5 and 9 where what is missing is read as the last value seen
        assert np.exp(np.mean(np.log(ratios))) < 2.5

    def test_stages_and_resuming(self, tmp_path, monkeypatch):
        from lemode.surrogate import training

        options = {"steps": 200, "stages": ("one-step", "noise", "closed-loop"), "horizon": 5, "window": 30}
        whole = quick(**options).fit(uneven())
        real, calls = training._stage_loss, []

        def crash(*args):
            calls.append(1)
            if len(calls) == 130:
                raise OSError("power cut")
            return real(*args)

        monkeypatch.setattr(training, "_stage_loss", crash)
        with pytest.raises(OSError, match="power cut"):
            quick(**options).fit(uneven(), checkpoint=tmp_path / "c")
        resumed = quick(**options).fit(uneven(), checkpoint=tmp_path / "c")
        assert resumed.history_.loss == whole.history_.loss
        assert resumed.history_.stages == whole.history_.stages
        assert all(np.isfinite(s["free_run_before"]) for s in whole.history_.stages)

    def test_float32_stays_float32(self):
        x = dropped()
        data = Trajectories(x.t, x.x.astype(np.float32), x.names)
        model = quick(steps=2).fit(data)
        assert model.predict(data).dtype == np.float32
        assert model.forecast(data, 3, dt=0.13).dtype == np.float32


def test_grid_of_one_sample_is_plain():
    assert lay_out(Trajectories([0.0], [[1.0]]), 0.2, 1).plain
    assert isinstance(lay_out(Trajectories([0.0, 1, 3], np.zeros((3, 1))), 1.0, 1), Grid)
    assert lemode.Trajectories is Trajectories
