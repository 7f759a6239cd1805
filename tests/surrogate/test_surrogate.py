"""The surrogate: it learns, keeps scikit-learn's manners, survives files and refuses bad input."""

import json
import os
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lemode
from lemode import Surrogate, Trajectories
from lemode.surrogate import FitDivergedError, FitWarning, storage
from lemode.surrogate.forecast import free_run
from lemode.surrogate.network import IncrementNetwork

T = np.linspace(0, 20, 101)


def waves(n=12, dtype=np.float64):
    phase = np.random.default_rng(0).uniform(0, 6, (n, 1))
    return Trajectories(T, np.stack([np.sin(T + phase), 10 + 3 * np.cos(T + phase)], -1).astype(dtype), ("a", "b"))


def quick(**changes):
    return Surrogate(**{"train": "all", "hidden_size": 6, "steps": 60, "batch_size": 8, "verbose": 0, "washout": 10, **changes})


@pytest.fixture(scope="module")
def model():
    return quick(steps=300).fit(waves())


class TestLearning:
    def test_beats_persistence_and_runs_free(self, model):
        test = waves(5)
        assert model.score(test) > 0.99
        persistence = np.sqrt(np.mean(np.diff(test.x, axis=1) ** 2))
        assert model.rmse(test, washout=10) < 0.03 * persistence
        free = model.forecast(test.x[:, :40], 60)
        # half of a wave's amplitude would be 0.5: the forecast keeps phase and amplitude over three periods
        assert np.abs((free - test.x[:, 40:100])[..., 0]).max() < 0.3

    def test_predict_is_the_residual_head_on_normalised_data(self, model):
        x, net = waves(2).x, model.network_
        u = torch.from_numpy((x - net.mean.numpy()) / net.std.numpy()).transpose(0, 1)
        y, _ = net.core(u)
        expected = (u + net.increment * (y @ net.head.weight.T + net.head.bias)) * net.std + net.mean
        np.testing.assert_allclose(model.predict(x), expected.detach().transpose(0, 1), rtol=1e-12)

    def test_predict_is_causal(self, model):
        x = waves(1).x[0]
        changed = x.copy()
        changed[50:] += 0.1
        np.testing.assert_array_equal(model.predict(x)[:50], model.predict(changed)[:50])
        assert (model.predict(x)[50] != model.predict(changed)[50]).all()

    def test_forecast_feeds_predictions_back(self, model):
        """Entry k of the forecast is the one-step prediction after history and the k entries before it."""
        history = waves(3).x[:, :30]
        free = model.forecast(history, 5)
        for k in range(5):
            series = np.concatenate([history, free[:, :k]], 1)
            np.testing.assert_allclose(model.predict(series)[:, -1], free[:, k], rtol=0, atol=1e-12)

    def test_forecast_of_other_cores_is_the_same_loop(self):
        torch.manual_seed(0)
        net = IncrementNetwork(torch.nn.LSTM(2, 4), 4, 2)
        x = torch.randn(20, 3, 2)
        free = free_run(net, x, 4)
        for k in range(4):
            expected, _ = net.step(torch.cat([x, free[:k]]))
            torch.testing.assert_close(free[k], expected[-1], rtol=0, atol=1e-5)

    def test_scales_come_from_the_training_data_in_float64(self):
        data = waves(8, np.float32)
        model = quick(steps=1).fit(data, validation=data)
        np.testing.assert_allclose(model.network_.mean, data.x.astype(float).mean((0, 1)), rtol=1e-6)
        np.testing.assert_allclose(model.network_.std, data.x.astype(float).std((0, 1)), rtol=1e-6)
        z = (data.x.astype(float) - data.x.astype(float).mean((0, 1))) / data.x.astype(float).std((0, 1))
        np.testing.assert_allclose(model.network_.increment, np.sqrt((np.diff(z, axis=1) ** 2).mean((0, 1))), rtol=1e-5)

    def test_a_constant_variable_is_no_division_by_zero(self):
        x = waves(8).x.copy()
        x[..., 1] = 5.0
        model = quick().fit(x)
        assert np.isfinite(model.predict(x)).all()
        # increments of zero are learned from zero targets: what is left is the untrained head, shrinking
        assert np.abs(model.predict(x)[..., 1] - 5.0).max() < 0.5

    def test_best_weights_of_validation_are_kept(self):
        model = quick(steps=200).fit(waves())
        steps, errors = zip(*model.history_.validation, strict=True)
        assert model.history_.best_step == steps[int(np.argmin(errors))]
        net, x = model.network_, waves().x[4::5]
        u = net.normalise(torch.tensor(x).transpose(0, 1))
        target = (u[1:] - u[:-1]) / net.increment
        error = (net(u[:-1])[0] - target).square().mean().sqrt().item()
        assert error == pytest.approx(min(errors), rel=1e-9)

    def test_windows_of_long_series(self):
        model = quick(window=30, steps=150).fit(waves())
        assert model.score(waves(3)) > 0.8

    def test_a_single_series_is_split_in_time(self):
        model = quick().fit(waves(1).x[0])
        assert len(model.history_.validation) > 0

    def test_max_time_ends_the_fit(self):
        model = quick(steps=10**7, max_time=0.5).fit(waves())
        assert "max_time" in model.history_.stopped
        assert model.history_.validation[-1][0] == len(model.history_.loss)  # the last weights had their chance
        assert model.history_.seconds < 10
        assert len(model.history_.loss) < 10**6

    def test_same_seed_same_model(self):
        a, b, c = (quick(seed=s).fit(waves()).predict(waves(1)) for s in (0, 0, 1))
        assert np.array_equal(a, b)
        assert not np.array_equal(a, c)

    def test_fit_leaves_torch_global_generator_alone(self):
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        quick(steps=5).fit(waves())
        assert torch.equal(torch.rand(1), expected)

    def test_fit_leaves_the_number_of_threads_alone(self):
        torch.set_num_threads(2)
        quick(steps=5).fit(waves())
        assert torch.get_num_threads() == 2

    def test_warm_start_continues(self):
        model = quick(steps=100, warm_start=True).fit(waves())
        first = min(e for _, e in model.history_.validation)
        model.set_params(lr=1e-3).fit(waves())
        assert min(e for _, e in model.history_.validation) < first
        with pytest.raises(ValueError, match="warm_start"):
            model.fit(waves().select(["a"]))

    def test_precision_follows_the_data_unless_told(self):
        assert quick(steps=2).fit(waves()).network_.mean.dtype == torch.float64
        model = quick(steps=2).fit(waves(8, np.float32))
        assert model.network_.mean.dtype == torch.float32
        assert model.predict(waves(1, np.float32)).dtype == np.float32
        model = quick(steps=2, dtype="float32").fit(waves())
        assert model.network_.mean.dtype == torch.float32
        assert model.predict(waves(1)).dtype == np.float64


def driven(n=12):
    """x' = -x + I(t) with a random sinusoidal current, sampled every 0.2: the current is the last column."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0.5, 2, (2, n, 1))
    current = a * np.sin(b * T)
    # the exact solution from x(0) = 0
    x = a * (np.sin(b * T) - b * np.cos(b * T) + b * np.exp(-T)) / (1 + b**2)
    return Trajectories(T, np.stack([x, current], -1), ("x", "I"))


class TestInputs:
    def test_reads_the_input_at_both_ends_of_the_step_and_predicts_the_rest(self):
        data = driven()
        model = quick(inputs=("I",), steps=300).fit(data)
        assert (model.names_, model.input_names_) == (("x",), ("I",))
        assert model.predict(data).shape == (12, 101, 1)
        assert model.network_.core.input_size == 3  # x, I now, I at the end of the step
        # without the current the same budget leaves far more: it is what drives x
        blind = quick(observe=("x",), steps=300).fit(data)
        assert model.rmse(data) < 0.3 * blind.rmse(data)

    def test_the_input_at_the_end_of_the_step_counts(self):
        data = driven()
        model = quick(inputs=("I",)).fit(data)
        changed = data.x.copy()
        changed[:, 50, 1] += 1.0  # I at t_50 is known when x at t_50 is predicted, in entry 49
        a, b = model.predict(data.x), model.predict(changed)
        np.testing.assert_array_equal(a[:, :49], b[:, :49])
        assert (a[:, 49] != b[:, 49]).all()

    def test_forecast_with_known_inputs_is_the_one_step_loop(self):
        data = driven(3)
        model = quick(inputs=("I",)).fit(driven())
        free = model.forecast(data.x[:, :40], 10, inputs=data.x[:, 40:50, 1:])
        assert free.shape == (3, 10, 1)
        for k in range(10):
            series = data.x[:, : 40 + k + 1].copy()
            series[:, 40 : 40 + k, :1] = free[:, :k]
            np.testing.assert_allclose(model.predict(series)[:, 39 + k], free[:, k], rtol=0, atol=1e-12)
        one = model.forecast(data.x[0, :40], 10, inputs=data.x[0, 40:50, 1:])
        np.testing.assert_allclose(one, free[0], rtol=0, atol=1e-12)

    def test_survives_a_file(self, tmp_path):
        data = driven()
        model = quick(inputs=("I",), delays=1, weights={"x": 2.0}).fit(data)
        model.save(tmp_path / "m.lem")
        again = Surrogate.load(tmp_path / "m.lem")
        assert again.get_params() == model.get_params()
        np.testing.assert_array_equal(again.predict(data), model.predict(data))

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda m, x: m.forecast(x, 5), "inputs are missing: give I at the 5 times"),
            (lambda m, x: m.forecast(x, 5, inputs=np.zeros((4, 1))), r"\(4, 1\): give \(5, 1\), or \(12, 5, 1\)"),
            (lambda m, x: m.forecast(x, 1, inputs=[[np.nan]]), "inputs: .* no value of 'I' at all"),
            (lambda m, x: quick(inputs=("x", "I")).fit(driven()), "at least one variable to observe"),
            (lambda m, x: quick(inputs=("I",), observe=("I",)).fit(driven()), "none twice"),
            (lambda m, x: quick().fit(waves()).forecast(waves(1).x, 2, inputs=[[1.0]]), "leave them out"),
        ],
    )
    def test_bad_inputs(self, call, message):
        data = driven()
        model = quick(inputs=("I",), steps=2).fit(data)
        with pytest.raises(ValueError, match=message):
            call(model, data.x)


class TestDelays:
    def test_reads_previous_values_and_forecasts_with_them(self):
        data = waves()
        model = quick(observe=("a",), delays=3).fit(data)
        net = model.network_
        assert net.core.input_size == 4
        x = net.normalise(torch.tensor(data.x[..., :1]).transpose(0, 1))
        past = [torch.cat([x[:1].expand(j, -1, -1), x[: len(x) - j]]) for j in range(4)]
        expected, _ = net.core(torch.cat(past, -1))
        torch.testing.assert_close(net(x)[0], net.head(expected), rtol=0, atol=1e-14)
        free = model.forecast(data.x[:2, :30, :1], 5)
        for k in range(5):
            series = np.concatenate([data.x[:2, :30, :1], free[:, :k]], 1)
            np.testing.assert_allclose(model.predict(series)[:, -1], free[:, k], rtol=0, atol=1e-12)


class TestStagesAndBudgets:
    def test_fine_tuning_is_kept_only_if_the_free_run_improves(self):
        model = quick(steps=400, stages=("one-step", "noise", "closed-loop"), horizon=10).fit(waves())
        stages = model.history_.stages
        assert [s["name"] for s in stages] == ["noise", "closed-loop"]
        for stage in stages:
            assert stage["kept"] == (stage["free_run_after"] < stage["free_run_before"])
        # what a stage finds is what the one before it left, kept or not
        first_left = stages[0]["free_run_after"] if stages[0]["kept"] else stages[0]["free_run_before"]
        assert stages[1]["free_run_before"] == pytest.approx(first_left, rel=1e-9)

    @pytest.mark.slow
    def test_a_harmful_stage_is_undone(self):
        plain = quick(steps=255, budget="quick").fit(waves())  # 300 less the 15 % of the second stage
        noisy = quick(steps=300, stages=("one-step", "noise"), noise=1e4).fit(waves())
        assert noisy.history_.stages[0]["kept"] is False
        assert len(noisy.history_.loss) == 300
        np.testing.assert_array_equal(noisy.predict(waves()), plain.predict(waves()))

    def test_budgets(self):
        from lemode.surrogate.recipe import BUDGETS, resolve_budget

        assert resolve_budget("quick", None, None) == BUDGETS["quick"]
        assert resolve_budget("standard", 7, None) == (7, None)
        assert resolve_budget("quick", None, 3.0) == (10**9, 3.0)
        assert resolve_budget(12, None, None) == (10**9, 12.0)
        model = quick(steps=None, budget=0.3).fit(waves())
        assert model.history_.stopped == "max_time reached"

    def test_weights_shift_the_effort(self):
        a = quick(weights={"a": 100.0}, steps=150).fit(waves())
        b = quick(weights={"b": 100.0}, steps=150).fit(waves())

        def error(model, k):
            x = waves().x
            return np.abs(model.predict(x)[:, :-1, k] - x[:, 1:, k]).mean()

        assert error(a, 0) < error(b, 0)
        assert error(b, 1) < error(a, 1)


class TestStoredStates:
    def test_a_window_goes_on_from_the_state_that_the_series_leads_to(self):
        from lemode.surrogate.losses import one_step_loss
        from lemode.surrogate.run import Starts
        from lemode.surrogate.series import Grid

        net = quick(inputs=("I",), delays=2, steps=5).fit(driven()).network_
        series = net.series(Grid(driven().x))
        starts, generator = Starts(series, window=20), torch.Generator().manual_seed(0)
        assert len(starts.states) == 1  # before the first pass: from rest, at the start
        offsets = set()
        for _ in range(5):
            starts.refresh(net, generator)
            begins = [b for b, _ in starts.states]
            assert begins[0] == 0
            assert set(np.diff(begins[1:])) == {20}
            assert begins[-1] + 20 <= len(series.x) - 1
            offsets.add(begins[1])
            whole, _ = net(series.x, series.e)
            for begin, state in starts.states:
                part = series.cut(begin, begin + 21, torch.arange(12))
                increments, _ = net(part.x, part.e, state)
                torch.testing.assert_close(increments, whole[begin : begin + 21], rtol=0, atol=1e-12)
        assert len(offsets) > 1
        window, state, washout = starts.draw(4, 7, generator)
        assert window.x.shape == (21, 4, 1)
        assert isinstance(one_step_loss(net, window, washout, None, state).item(), float)

    def test_nothing_is_stored_where_a_window_is_the_series(self):
        from lemode.surrogate.run import Starts
        from lemode.surrogate.series import Series

        net = IncrementNetwork(torch.nn.LSTM(1, 4), 4, 1)
        starts = Starts(Series(torch.randn(30, 5, 1)), window=29)
        starts.refresh(net, torch.Generator())
        assert starts.states == [(0, None)]
        assert starts.draw(2, 3, torch.Generator())[2] == 0  # the start of a series counts


class TestCheckpoint:
    @pytest.mark.parametrize("optimizer", ["eigenadam", pytest.param("adam", marks=pytest.mark.slow)])
    def test_a_fit_that_was_cut_off_goes_on_as_if_nothing_had_happened(self, optimizer, tmp_path, monkeypatch):
        from lemode.surrogate import training

        options = {"steps": 400, "stages": ("one-step", "closed-loop"), "optimizer": optimizer, "horizon": 5, "lr": 3e-3}
        whole = quick(**options).fit(waves())
        path, real, calls = tmp_path / "fit.ckpt", training._stage_loss, []

        def crash(*args):
            calls.append(1)
            if len(calls) in (130, 300):  # in the first stage; after resuming at step 100, in the second
                raise OSError("power cut")
            return real(*args)

        monkeypatch.setattr(training, "_stage_loss", crash)
        for _ in range(2):
            with pytest.raises(OSError, match="power cut"):
                quick(**options).fit(waves(), checkpoint=path)
        resumed = quick(**options).fit(waves(), checkpoint=path)
        np.testing.assert_array_equal(resumed.predict(waves()), whole.predict(waves()))
        assert resumed.history_.loss == whole.history_.loss
        assert resumed.history_.stages == whole.history_.stages

    def test_of_an_older_lemode_is_read(self, tmp_path):
        """Without what has been added to a recipe since, whose defaults do what was done then."""
        path = tmp_path / "fit.ckpt"
        model = quick().fit(waves(), checkpoint=path)
        tensors, metadata = storage.read(path, "lemode checkpoint")
        del metadata["reached"], metadata["recipe"]["free_steps"], metadata["history"]["free_power"], metadata["fingerprint"]
        tensors = {
            name: tensor for name, tensor in tensors.items() if name != "generator_now" and not name.startswith("refreshed.")
        }
        storage.write(path, tensors, metadata, "lemode checkpoint")
        with pytest.warns(FitWarning, match=r"older lemode, which does not say of which class, seed, .* it is"):
            again = quick().fit(waves(), checkpoint=path)
        np.testing.assert_array_equal(again.predict(waves()), model.predict(waves()))

    def test_of_another_fit_is_refused(self, tmp_path):
        path = tmp_path / "fit.ckpt"
        quick().fit(waves(), checkpoint=path)
        with pytest.raises(ValueError, match="with other batch_size; remove the file"):
            quick(batch_size=3).fit(waves(), checkpoint=path)
        with pytest.raises(ValueError, match="with other hidden_size, weights to start from"):
            quick(hidden_size=3).fit(waves(), checkpoint=path)
        with pytest.raises(ValueError, match="not a lemode model"):
            Surrogate.load(path)


class TestDivergence:
    def test_restores_the_best_weights_and_says_so(self, monkeypatch):
        from lemode.surrogate import training

        real, calls = training._stage_loss, []

        def poisoned(*args):
            calls.append(1)
            loss = real(*args)
            return loss * float("nan") if len(calls) > 80 else loss

        monkeypatch.setattr(training, "_stage_loss", poisoned)
        with pytest.warns(FitWarning, match=r"diverged at step .* weights of step (50|100) .* restored"):
            model = quick(steps=500).fit(waves())
        assert model.history_.stopped == "diverged"
        assert np.isfinite(model.predict(waves(1))).all()

    def test_from_the_start_is_an_error(self):
        with pytest.raises(FitDivergedError, match="lower lr"):
            quick(steps=100, lr=1e30, optimizer="adam").fit(waves(12, np.float32))

    def test_an_interrupt_keeps_what_was_learned(self, monkeypatch):
        from lemode.surrogate import training

        real, calls = training._stage_loss, []

        def interrupted(*args):
            calls.append(1)
            if len(calls) == 90:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(training, "_stage_loss", interrupted)
        with pytest.warns(FitWarning, match="was interrupted"):
            model = quick(steps=500).fit(waves())
        assert model.history_.best_step == 50


class TestScikitLearnManners:
    def test_clone_params_and_fitted(self):
        from sklearn.base import clone
        from sklearn.exceptions import NotFittedError
        from sklearn.utils.validation import check_is_fitted

        model = quick(seed=3)
        copy = clone(model)
        assert copy is not model
        assert copy.get_params() == model.get_params()
        with pytest.raises(NotFittedError):
            check_is_fitted(model)
        model.set_params(steps=3).fit(waves())
        check_is_fitted(model)
        assert not hasattr(clone(model), "network_")
        assert repr(Surrogate(seed=3)) == "Surrogate(seed=3)"

    def test_the_constructor_only_stores(self):
        nonsense = {name: object() for name in Surrogate().get_params()}
        assert Surrogate(**nonsense).get_params() == nonsense

    def test_cross_validation(self):
        from sklearn.model_selection import cross_val_score

        scores = cross_val_score(quick(), waves().x, cv=2)
        assert scores.shape == (2,)
        assert np.isfinite(scores).all()

    def test_unknown_parameter(self):
        with pytest.raises(ValueError, match=r"'layers' is no hyper-parameter.*hidden_size"):
            Surrogate().set_params(layers=2)


class TestFiles:
    def test_round_trip(self, model, tmp_path):
        path = tmp_path / "m.lem"
        model.save(path)
        again = Surrogate.load(path)
        assert again.get_params() == model.get_params()
        assert (again.names_, again.step_, again.warmup_) == (model.names_, model.step_, model.warmup_)
        assert again.history_.best_step == model.history_.best_step
        np.testing.assert_array_equal(again.predict(waves(2)), model.predict(waves(2)))
        np.testing.assert_array_equal(again.forecast(waves(1).x, 9), model.forecast(waves(1).x, 9))

    def test_replacing_is_atomic(self, model, tmp_path, monkeypatch):
        path = tmp_path / "m.lem"
        path.write_bytes(b"precious")

        def fails(*args, **kwargs):
            raise OSError("disk full")

        monkeypatch.setattr("lemode.surrogate.storage.save", fails)
        with pytest.raises(OSError, match="disk full"):
            model.save(path)
        assert path.read_bytes() == b"precious"
        assert os.listdir(tmp_path) == ["m.lem"]

    def test_foreign_damaged_and_newer_files(self, model, tmp_path):
        path = tmp_path / "m.lem"
        with pytest.raises(FileNotFoundError, match="no such file"):
            Surrogate.load(path)
        path.write_bytes(b"\x80\x04pickle")
        with pytest.raises(ValueError, match="not a lemode model"):
            Surrogate.load(path)
        save_file({"x": torch.zeros(1)}, path)
        with pytest.raises(ValueError, match="not a lemode model"):
            Surrogate.load(path)
        header = {"format": "lemode model", "format_version": "99", "lemode_version": "9.0", "metadata": "{}"}
        save_file({"x": torch.zeros(1)}, path, header)
        with pytest.raises(ValueError, match=r"lemode 9\.0 in format 99.*upgrade"):
            Surrogate.load(path)
        save_file({"x": torch.zeros(1)}, path, {**header, "format_version": "1"})
        with pytest.raises(ValueError, match="do not fit together"):
            Surrogate.load(path)
        save_file({"x": torch.zeros(1)}, path, {**header, "format_version": "1", "metadata": "{"})
        with pytest.raises(ValueError, match="metadata"):
            Surrogate.load(path)
        model.save(path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ValueError, match="damaged"):
            Surrogate.load(path)

    def test_a_file_of_the_first_format_is_read(self, model, tmp_path):
        """Written before there were continuous models and step sizes of the core's own."""
        path = tmp_path / "m.lem"
        model.save(path)
        tensors, metadata = storage.read(path)
        del metadata["core_dt"], metadata["params"]["continuous"]
        header = {"format": "lemode model", "format_version": "1", "lemode_version": "0.1.0", "metadata": json.dumps(metadata)}
        save_file(tensors, path, header)
        np.testing.assert_array_equal(Surrogate.load(path).predict(waves(2)), model.predict(waves(2)))

    def test_the_format_is_plain(self, model, tmp_path):
        """Header readable as JSON: eight bytes of length, then the header, as safetensors lays down."""
        path = tmp_path / "m.lem"
        model.save(path)
        raw = path.read_bytes()
        header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        assert header["format"] == "lemode model"
        assert header["lemode_version"] == lemode.__version__
        assert json.loads(header["metadata"])["names"] == ["a", "b"]


NAN = waves(4).x.copy()
NAN[2, 7, 1] = np.nan


class TestBadInput:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: quick().fit(NAN), r"nan in trajectory 2 at time index 7, variable 'x1'"),
            (lambda: quick().fit(np.empty((0, 5, 1))), "no data"),
            (lambda: quick().fit(np.zeros(5)), "1 series of 5 samples: too short"),
            (lambda: quick().fit(np.zeros((8, 2, 1))), "2 samples"),
            (lambda: quick().fit(np.zeros((1, 4, 1))), "too short to hold out"),
            (lambda: quick(observe=["c"]).fit(waves()), r"\['c'\]: choose from a, b"),
            (lambda: quick(steps=0).fit(waves()), "steps=0"),
            (lambda: quick(batch_size=1.5).fit(waves()), r"batch_size=1\.5"),
            (lambda: quick(washout=1000).fit(waves()), "washout=1000"),
            (lambda: quick(lr=-1).fit(waves()), "lr=-1"),
            (lambda: quick(max_time=0).fit(waves()), "max_time=0"),
            (lambda: quick(stages=("noise",)).fit(waves()), "'one-step' comes first"),
            (lambda: quick(stages=("one-step", "magic")).fit(waves()), "magic"),
            (lambda: quick(delays=-1).fit(waves()), "delays=-1"),
            (lambda: quick(noise=-1).fit(waves()), "noise=-1"),
            (lambda: quick(horizon=0).fit(waves()), "horizon=0"),
            (lambda: quick(budget="huge").fit(waves()), "budget='huge': choose 'quick', 'standard', 'thorough'"),
            (lambda: quick(budget=-3).fit(waves()), "budget=-3"),
            (lambda: quick(weights={"q": 1.0}).fit(waves()), "weights=.*among a, b"),
            (lambda: quick(weights={"a": 0.0}).fit(waves()), "weights="),
            (lambda: quick(dtype="float16").fit(waves()), "dtype='float16'"),
            (lambda: quick(optimizer="sgd").fit(waves()), "optimizer='sgd'"),
            (lambda: quick(dt=3.0).fit(waves()), "dt=3"),
            (lambda: quick().fit(waves(), validation=waves().select(["a"])), r"\['b'\]: the data have a, the model reads a, b"),
            (lambda: quick().fit(waves(), waves().x), "leave y out"),
        ],
    )
    def test_of_fit(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda m: m.predict(np.zeros((5, 1))), r"1 variables, the training data had 2 \(a, b\)"),
            (lambda m: m.predict(NAN), "trajectory 2 at time index 7, variable 'b'"),
            (lambda m: m.forecast(waves(1).x[:, :9], 5), r"9 samples, the model needs at least 10"),
            (lambda m: m.forecast(waves(1).x, 0), "steps=0"),
            (lambda m: m.forecast(waves(1).x, 2.5), r"steps=2\.5"),
            (lambda m: m.score(waves(1).x[:, :1]), "single sample"),
            (lambda m: m.score(waves(1).x[:, :1].repeat(20, 1)), "does not vary"),
            (lambda m: m.rmse(waves(1), washout=100), "washout=100"),
            (lambda m: m.predict(Trajectories(T, waves(1).x, ("p", "q"))), "the data have p, q, the model reads a, b"),
        ],
    )
    def test_of_use(self, model, call, message):
        with pytest.raises(ValueError, match=message):
            call(model)

    @pytest.mark.parametrize(
        "call", [lambda m: m.predict(T[:, None]), lambda m: m.save("x"), lambda m: m.forecast(T[:, None], 3)]
    )
    def test_before_fit(self, call):
        with pytest.raises(RuntimeError, match="not fitted yet"):
            call(Surrogate())


class TestFitInOneCall:
    @pytest.mark.study
    def test_van_der_pol_in_two_lines(self, capsys):
        model = lemode.fit(
            lambda t, x: np.array([x[1], 5 * (1 - x[0] ** 2) * x[1] - x[0]]),
            x0=[2.0, 0.0], t=np.linspace(0, 30, 301), n=20, steps=400, hidden_size=8, names=("x", "v"),
        )  # fmt: skip
        assert model.names_ == ("x", "v")
        assert model.report_["rmse"] < 0.2 * model.report_["persistence_rmse"]
        assert "one step ahead, test RMSE" in capsys.readouterr().out

    def test_quiet_and_from_a_system_or_trajectories(self, capsys):
        t = np.linspace(0, 40, 101)
        model = lemode.fit(lemode.systems.FitzHughNagumo(), t=t, n=10, steps=20, verbose=0, observe=["v"], size="small")
        assert model.names_ == ("v",)
        again = lemode.fit(waves(), steps=20, verbose=0, size="small")
        assert again.names_ == ("a", "b")
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err == ""

    def test_trajectories_with_inputs_and_of_several_lengths(self):
        settings = {"steps": 5, "window": 40, "washout": 10, "verbose": 0}
        forced = lemode.systems.ForcedFitzHughNagumo().trajectories(10, 0.4 * np.arange(100), seed=0)
        model = lemode.fit(forced, observe=["v"], inputs=["I"], size="small", **settings)
        assert all(np.isfinite(value) for value in model.report_.values())
        ragged = lemode.Trajectories.ragged([(forced.t[: 60 + k], x[: 60 + k]) for k, x in enumerate(forced.x)], forced.names)
        report = lemode.fit(ragged, observe=["v"], size="small", **settings).report_
        assert np.isnan(report.pop("free_run_error"))
        assert all(np.isfinite(value) for value in report.values())

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: lemode.fit(lambda t, x: -x, t=T), "x0 is missing"),
            (lambda: lemode.fit(lambda t, x: -x, x0=[1.0]), "t is missing"),
            (lambda: lemode.fit(waves(), t=T), "leave them out"),
            (lambda: lemode.fit(waves(4)), "at least 5"),
            (lambda: lemode.fit(lambda t, x: -x, x0=[1.0], t=T, layers=3), "layers"),
        ],
    )
    def test_bad_calls(self, call, message):
        with pytest.raises((ValueError, TypeError), match=message):
            call()


def test_import_is_light():
    import subprocess
    import sys

    heavy = "matplotlib numba sklearn lightning sympy pandas torchdiffeq scipy.integrate"
    code = f"import lemode, sys; print([m for m in {heavy.split()} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_no_warnings_of_ours_in_a_plain_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(steps=5).fit(waves()).forecast(waves(1).x, 5)
