"""What a user had is not lost: a fit publishes at its end, goes on only from its own checkpoint, and ends as it is told to."""

import inspect
import threading
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import lemode
from lemode import FieldSurrogate, Surrogate, Trajectories, baselines
from lemode.surrogate import FitDivergedError, FitTimeWarning, FitWarning, interrupts, recipe, training
from lemode.surrogate.base import Estimator
from lemode.surrogate.field_network import FieldNetwork

pytestmark = pytest.mark.filterwarnings("ignore:free runs leave the attractor")

T = 0.2 * np.arange(40)
WAVES = np.stack([np.sin(T + p) for p in range(5)])[..., None]
FIELD = np.stack([np.sin(np.arange(8) * np.pi / 4 - 0.1 * np.arange(40)[:, None] + p) for p in range(5)])
SMALL = {"hidden_size": 3, "steps": 4, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0}
FIELD_SMALL = {"hidden_size": 2, "kernel_size": 3, "steps": 4, "verbose": 0}


@pytest.fixture(autouse=True)
def _short_free_runs(monkeypatch):
    """Of the fits of fields, whose climate is not what is tested here."""
    monkeypatch.setattr(FieldSurrogate, "_default_recipe", replace(recipe.FIELD_RECIPE, free_steps=20))


def surrogate(**changes):
    return Surrogate(**{"train": "all", **SMALL, **changes})


# every kind of fit there is, with data for it
FITS = {
    "gradient": (surrogate, WAVES),
    "readout": (lambda **c: surrogate(train="readout", **c), WAVES),
    "continuous": (lambda **c: surrogate(continuous=True, **c), WAVES),
    "field": (lambda **c: FieldSurrogate(**{**FIELD_SMALL, **c}), FIELD),
    "LSTM": (lambda **c: baselines.LSTM(**{**SMALL, **c}), WAVES),
    "GRU": (lambda **c: baselines.GRU(**{**SMALL, **c}), WAVES),
    "Autoregression": (baselines.Autoregression, WAVES),
    "NeuralODE": (lambda: baselines.NeuralODE(hidden_size=2, steps=2, horizon=2), WAVES),
    "SINDy": (lambda: baselines.SINDy(degree=1, threshold=1e-6), WAVES),
    "EchoStateNetwork": (lambda: baselines.EchoStateNetwork(units=5, washout=5), WAVES),
}
TRAINED = ["gradient", "continuous", "field", "LSTM", "GRU"]


def made(kind):
    if kind in ("SINDy", "EchoStateNetwork"):
        pytest.importorskip({"SINDy": "pysindy", "EchoStateNetwork": "reservoirpy"}[kind])
    make, data = FITS[kind]
    return make(), data


def failing(model, monkeypatch, error):
    """Let the fit of this model fail as late as it can, when everything is learned."""
    if isinstance(model, Estimator):
        for module, name in (("fitters", "train"), ("fitters", "fit_readout")):
            real = getattr(getattr(lemode.surrogate, module), name)

            def late(*args, real=real):
                real(*args)
                raise error

            monkeypatch.setattr(f"lemode.surrogate.{module}.{name}", late)
    else:
        real = type(model)._fit

        def late(self, x):
            real(self, x)
            raise error

        monkeypatch.setattr(type(model), "_fit", late)


class TestPublishLast:
    @pytest.mark.parametrize("kind", FITS)
    @pytest.mark.parametrize("error", [FitDivergedError("diverged"), KeyboardInterrupt(), MemoryError()], ids=repr)
    def test_a_fit_that_fails_leaves_no_trace(self, kind, error, monkeypatch):
        model, data = made(kind)
        with monkeypatch.context() as broken:
            failing(model, broken, error)
            before = dict(vars(model))
            with pytest.raises(type(error)):
                model.fit(data)
            assert vars(model) == before  # not fitted
        with pytest.raises(RuntimeError, match="not fitted"):
            model.predict(data)
        model.fit(data)
        expected, before = model.predict(data), dict(vars(model))
        failing(model, monkeypatch, error)
        with pytest.raises(type(error)):
            model.fit(3 * data[:4, :35] + 1)
        assert all(vars(model)[k] is v for k, v in before.items())
        assert set(vars(model)) == set(before)
        np.testing.assert_array_equal(model.predict(data), expected)

    @pytest.mark.parametrize("kind", TRAINED)
    def test_a_warm_start_trains_a_copy(self, kind, monkeypatch):
        make, data = FITS[kind]
        model = make(warm_start=True).fit(data)
        expected = model.predict(data)
        real, calls = training._stage_loss, []

        def crash(*args):
            calls.append(1)
            if len(calls) == 3:
                raise OSError("power cut")
            return real(*args)

        monkeypatch.setattr(training, "_stage_loss", crash)
        with pytest.raises(OSError, match="power cut"):
            model.fit(data)
        np.testing.assert_array_equal(model.predict(data), expected)
        monkeypatch.setattr(training, "_stage_loss", real)
        assert not np.array_equal(model.fit(data).predict(data), expected)

    def test_a_warning_that_is_an_error_too(self, monkeypatch):
        model = FieldSurrogate(**FIELD_SMALL).fit(FIELD)
        before = dict(vars(model))
        monkeypatch.setattr("lemode.surrogate.run.free_run_power", lambda *args: 9.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(FitWarning, match="leave the attractor"):
                model.fit(FIELD)
        assert all(vars(model)[k] is v for k, v in before.items())

    def test_nothing_of_an_earlier_fit_is_left(self):
        model = surrogate().fit(WAVES)
        model.report_ = {"rmse": 0.0}  # as lemode.fit leaves it
        assert not hasattr(model.fit(WAVES), "report_")

    def test_a_warm_start_of_another_network_is_refused(self):
        model = surrogate(warm_start=True).fit(WAVES)
        with pytest.raises(ValueError, match="warm_start: hidden_size=5, and the model was fitted with 3"):
            model.set_params(hidden_size=5).fit(WAVES)
        model.set_params(hidden_size=3, scheme="explicit")
        with pytest.raises(ValueError, match="warm_start: scheme='explicit', and the model was fitted with 'imex'"):
            model.fit(WAVES)

    def test_set_params_is_all_or_nothing(self):
        model = surrogate()
        with pytest.raises(ValueError, match="layers"):
            model.set_params(hidden_size=7, layers=2)
        assert model.hidden_size == 3


class TestCheckpoints:
    @pytest.mark.parametrize("kind", TRAINED)
    def test_of_another_fit_is_refused_by_name(self, kind, tmp_path):
        make, data = FITS[kind]
        path = tmp_path / "c"
        model = make().fit(data, checkpoint=path)
        np.testing.assert_array_equal(make().fit(data, checkpoint=path).predict(data), model.predict(data))
        changed = data.copy()
        changed[0, 7, 0] = np.nextafter(changed[0, 7, 0], 9)
        for what, call in {
            "training data, validation data": lambda: make().fit(1000 + 500 * data, checkpoint=path),
            "training data": lambda: make().fit(changed, checkpoint=path),
            "validation data": lambda: make().fit(data, validation=data, checkpoint=path),
            "seed": lambda: make(seed=5).fit(data, checkpoint=path),
            "interval": lambda: make().fit(Trajectories(T, data), checkpoint=path),
            "lr": lambda: make(lr=0.5).fit(data, checkpoint=path),
            **({"scheme": lambda: make(scheme="explicit").fit(data, checkpoint=path)} if kind not in ("LSTM", "GRU") else {}),
        }.items():
            with pytest.raises(
                ValueError, match=f"the checkpoint of a fit with other .*{what}.*; remove the file to start anew"
            ):
                call()

    def test_names_count(self, tmp_path):
        surrogate().fit(Trajectories(T, WAVES, "v"), checkpoint=tmp_path / "c")
        with pytest.raises(ValueError, match="with other names;"):
            surrogate().fit(Trajectories(T, WAVES, "w"), checkpoint=tmp_path / "c")

    def test_the_weights_of_a_warm_start_count(self, tmp_path):
        model = surrogate(warm_start=True).fit(WAVES)
        model.fit(WAVES, checkpoint=tmp_path / "c")
        with pytest.raises(ValueError, match="with other weights to start from;"):
            model.fit(WAVES, checkpoint=tmp_path / "c")

    def test_a_file_that_cannot_be_written_is_found_before_training(self, tmp_path, monkeypatch):
        monkeypatch.setattr("lemode.surrogate.fitters.train", None)
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            surrogate().fit(WAVES, checkpoint=tmp_path / "no" / "c")
        with pytest.raises(IsADirectoryError, match="is a folder"):
            surrogate().fit(WAVES, checkpoint=tmp_path)


class TestHistory:
    def test_of_a_continuous_fit_is_that_of_both_parts(self):
        discrete = surrogate(steps=10).fit(WAVES).history_
        both = surrogate(steps=10, continuous=True).fit(WAVES).history_
        assert len(both.loss) == 10 + 4
        assert both.loss[:10] == discrete.loss
        assert both.validation[: len(discrete.validation)] == discrete.validation
        assert both.validation[-1][0] == both.best_step == 14

    @pytest.mark.parametrize("kind", ["gradient", "continuous", "field", "LSTM"])
    def test_the_clock_of_a_named_budget_is_named_however_quiet(self, kind, monkeypatch):
        make, data = FITS[kind]
        monkeypatch.setitem(recipe.BUDGETS, "quick", (10**6, 0.05))
        with pytest.warns(FitTimeWarning, match=r"the clock ended the fit: max_time=.* of 1,000,000 steps of budget='quick'"):
            model = make(steps=None, budget="quick").fit(data)
        assert model.history_.stopped.startswith("max_time")

    @pytest.mark.parametrize("asked", [{"max_time": 0.05}, {"budget": 0.05}, {"steps": 10**6, "max_time": 0.05}])
    def test_seconds_that_were_asked_for_are_no_surprise(self, asked, recwarn):
        model = surrogate(**{"steps": None, **asked}).fit(WAVES)
        assert model.history_.stopped == "max_time reached"
        assert not [w for w in recwarn if issubclass(w.category, FitWarning)]


class TestInterrupts:
    """Ctrl-C is a KeyboardInterrupt in the step where it comes."""

    @pytest.fixture
    def press(self, monkeypatch):
        """Let the steps with these numbers, counted over all fits, raise it."""
        monkeypatch.setattr(interrupts, "_interrupted", -np.inf)
        real, now = training._stage_loss, {"step": 0, "at": ()}

        def watched(*args):
            now["step"] += 1
            if now["step"] in now["at"]:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(training, "_stage_loss", watched)
        return lambda *steps: now.update(at=steps)

    def test_one_ends_a_fit_and_a_second_the_loop_around_it(self, press, monkeypatch):
        press(60, 120)  # both after a validation: what was learned so far is there to be kept
        done = []

        def loop():
            for _ in range(5):
                done.append(surrogate(steps=100, optimizer="adam").fit(WAVES).history_.stopped)

        with pytest.warns(FitWarning, match="Ctrl-C again within 2 s"), pytest.raises(KeyboardInterrupt):
            loop()
        assert done == ["interrupted"]

    def test_a_second_one_later_ends_its_own_fit(self, press, monkeypatch):
        press(60, 120)
        clock = iter(np.arange(1e6) * 1.0)  # every look at it is a second
        monkeypatch.setattr(time, "monotonic", lambda: next(clock))
        with pytest.warns(FitWarning, match="was interrupted"):
            done = [surrogate(steps=100, optimizer="adam").fit(WAVES).history_.stopped for _ in range(3)]
        assert done == ["interrupted", "interrupted", "all steps done"]

    def test_of_the_first_part_of_a_continuous_fit_ends_all_of_it(self, press):
        press(60)
        with pytest.warns(FitWarning, match="was interrupted"):
            history = surrogate(steps=100, optimizer="adam", continuous=True).fit(WAVES).history_
        assert (history.stopped, len(history.loss)) == ("interrupted", 59)

    def test_one_before_anything_was_learned_is_passed_on(self, press):
        press(3)
        with pytest.raises(KeyboardInterrupt):
            surrogate(steps=100, optimizer="adam").fit(WAVES)


class TestRandomNumbers:
    def test_every_purpose_has_a_stream_of_its_own(self):
        from lemode.surrogate.seeds import PURPOSES, stream, torch_stream

        drawn = {float(s(seed, p).random()) for s in (stream,) for seed in (0, 1) for p in PURPOSES}
        assert len(drawn) == 2 * len(PURPOSES)
        assert len({torch_stream(seed, p).initial_seed() for seed in (0, 1) for p in PURPOSES}) == 2 * len(PURPOSES)

    @pytest.mark.parametrize("kind", FITS)
    def test_no_fit_moves_a_global_generator_even_for_a_moment(self, kind, monkeypatch):
        model, data = made(kind)
        numpy_state, torch_state = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
        for name in ("manual_seed", "seed", "set_rng_state", "fork_rng"):
            monkeypatch.setattr(torch.random, name, None)
        monkeypatch.setattr(torch, "manual_seed", None)
        monkeypatch.setattr(torch, "set_rng_state", None)
        model.fit(data)
        assert torch.equal(torch.random.get_rng_state(), torch_state)
        assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002

    @pytest.mark.parametrize("kind", [*TRAINED, "readout", "NeuralODE"])
    def test_weights_are_the_seed_s_whatever_torch_has_drawn_before(self, kind):
        found = []
        for before in (0, 7):
            torch.manual_seed(before)
            model, data = made(kind)
            found.append(model.fit(data).predict(data))
        np.testing.assert_array_equal(*found)

    @pytest.mark.parametrize("kind", ["gradient", "LSTM", "field"])
    def test_two_threads_at_a_time_give_what_each_gives_alone(self, kind):
        make, data = FITS[kind]
        alone = [make(seed=seed, steps=20).fit(data).predict(data) for seed in range(4)]
        together = [None] * 4

        def fit(seed):
            together[seed] = make(seed=seed, steps=20).fit(data).predict(data)

        threads = [threading.Thread(target=fit, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        np.testing.assert_array_equal(together, alone)

    def test_initial_weights_have_torch_s_distribution(self):
        """Their scales, with the bound of the standard deviation of a uniform distribution of so many numbers: 4 standard errors."""
        for network, scale in (
            (Surrogate(hidden_size=64, train="all")._build(3, 0, torch.float64), 1 / 8),
            (baselines.LSTM(hidden_size=64)._build(3, 0, torch.float64), 1 / 8),
            (baselines.GRU(hidden_size=64)._build(3, 0, torch.float64), 1 / 8),
        ):
            for p in network.parameters():
                assert float(p.detach().abs().max()) <= scale
                if p.numel() > 1000:
                    assert float(p.detach().std()) == pytest.approx(scale / 3**0.5, rel=4 * (0.2 / p.numel()) ** 0.5)

    def test_a_core_that_draws_for_itself_is_refused(self):
        class Strange(Surrogate):
            def _core(self, features, dtype):
                return torch.nn.Conv1d(features, 3, 1)

        with pytest.raises(TypeError, match="Conv1d draws its own weights"):
            Strange(**SMALL).fit(WAVES)

    def test_the_number_of_threads_is_restored_in_any_order(self):
        from lemode.threads import one_thread

        torch.set_num_threads(3)
        first, second = one_thread(), one_thread()
        entered, leave, left = threading.Event(), threading.Event(), []

        def other():
            with second:
                entered.set()
                leave.wait(10)
            left.append(torch.get_num_threads())

        thread = threading.Thread(target=other)
        with first:
            thread.start()
            assert entered.wait(10)
            with one_thread():
                pass
            assert torch.get_num_threads() == 1
        leave.set()
        thread.join()
        assert left == [3]
        assert torch.get_num_threads() == 3


TELLING = {
    "hidden_size": 4, "num_layers": 2, "dt": 0.5, "scheme": "explicit", "observe": ("x0",), "inputs": ("x1",), "delays": 1, "continuous": True,
    "train": "readout", "contain": 2.5, "steps": 3, "batch_size": 2, "window": 18, "stages": ("one-step", "noise"),
    "weights": {"x0": 9.0}, "scale": "series", "angles": ("x0",), "season": 4, "optimizer": "adam", "lr": 0.05, "dtype": "float32", "seed": 3, "kernel_size": 5, "recurrent_kernel_size": 3,
    "channels": 2, "grid": (4, 4), "conserve": "mean", "symmetry": "odd", "input_noise": 0.5, "noisy": 1.0, "average": 0.1,
}  # fmt: skip
STAGES = {"stages": ("one-step", "noise", "closed-loop"), "steps": 12}
# what needs another setting to matter
WITH = {"noise": (9.0, STAGES), "horizon": (3, STAGES), "washout": (7, {"train": "readout"}), "width": (9, {"train": "auto"})}


REFUSED = [(cls, name) for cls in (baselines.LSTM, baselines.GRU) for name in ("continuous", "train")]


class TestNothingIsIgnored:
    """Every hyper-parameter changes something in some configuration, or is refused."""

    def outcome(self, cls, data, settings):
        small = {"train": "all", **(FIELD_SMALL if cls is FieldSurrogate else SMALL), **settings}
        model = cls(**small).fit(data)
        return np.concatenate(
            [*(p.detach().numpy().ravel() for p in model.network_.state_dict().values()), model.history_.loss]
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("cls", [Surrogate, FieldSurrogate, baselines.LSTM, baselines.GRU])
    def test_of_surrogates(self, cls):
        data = (
            np.tile(FIELD, 2) + 0.1 * np.arange(16) if cls is FieldSurrogate else np.concatenate([WAVES, WAVES[::-1] ** 2], -1)
        )
        plains = {}
        for name in inspect.signature(cls.__init__).parameters:
            if name in ("self", "verbose", "warm_start", "budget", "max_time"):
                continue  # the output, and three that have tests of their own
            value, others = WITH.get(name, (TELLING.get(name), {}))
            if name == "washout" and cls is not Surrogate:
                others = STAGES  # a readout draws a LEM, and that of a field may choose the same head
            assert value is not None, f"say what {name} changes"
            if (cls is not Surrogate and name in cls._unused) or (cls, name) in REFUSED:
                with pytest.raises(ValueError, match=f"^{name}=|needs a LEM|draws a LEM"):
                    self.outcome(cls, data, {**others, name: value})
                continue
            key = tuple(others)
            if key not in plains:
                plains[key] = self.outcome(cls, data, others)
            plain = plains[key]
            changed = self.outcome(cls, data, {**others, name: value})
            assert plain.shape != changed.shape or not np.array_equal(plain, changed), f"{cls.__name__}: {name} has no effect"

    @pytest.mark.parametrize(
        ("name", "value"), [("delays", 3), ("inputs", ("x0",)), ("weights", {"x0": 2.0}), ("hiden_size", 3)]
    )
    def test_attributes_that_are_no_hyper_parameters(self, name, value):
        model = FieldSurrogate(**FIELD_SMALL)
        setattr(model, name, value)
        with pytest.raises(ValueError, match=f"{name}: a FieldSurrogate has no such hyper-parameter; it has hidden_size"):
            model.fit(FIELD)

    @pytest.mark.parametrize("cls", [baselines.LSTM, baselines.GRU])
    @pytest.mark.parametrize("setting", [{"dt": -7}, {"scheme": "nonsense"}, {"dt": 0.5}])
    def test_torch_s_cores_have_no_steps(self, cls, setting):
        with pytest.raises(ValueError, match=f"{next(iter(setting))}=.*{cls.__name__} has no use for it"):
            cls(**SMALL, **setting).fit(WAVES)

    def test_weights_of_a_regression(self):
        with pytest.raises(ValueError, match="weights: train='readout' solves for every variable on its own"):
            surrogate(train="readout", weights={"x0": 2.0}).fit(WAVES)

    def test_field_networks(self):
        network = FieldNetwork(lemode.ConvLEM(1, 2, 3), 2, (8,))
        x = torch.zeros(4, 1, 8)
        for call in (network, network.features, network.step, network.set_scales):
            for name in ("e", "r"):
                with pytest.raises(ValueError, match=f"^{name}: a field network takes no"):
                    call(x, **{name: x})

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            (baselines.NeuralODE(method="dopri5", substeps=4), "substeps=4: method='dopri5' chooses its steps"),
            (baselines.Persistence(observe=("x7",)), r"variables \['x7'\]: choose from x0, x1"),
        ],
    )
    def test_baselines(self, model, message):
        with pytest.raises(ValueError, match=message):
            model.fit(np.concatenate([WAVES, 5 * WAVES], -1))

    def test_baselines_choose_variables_of_arrays_too(self):
        both = np.concatenate([WAVES, 5 * WAVES], -1)
        assert baselines.Persistence(observe=("x1",)).fit(both).names_ == ("x1",)

    @pytest.mark.parametrize("kind", ["Autoregression", "NeuralODE"])
    def test_baselines_refuse_what_they_would_not_see(self, kind):
        model, _ = made(kind)
        hole = WAVES.copy()
        hole[1, 3] = np.nan
        for data, message in (
            (hole, "trajectory 1 at time index 3, variable 'x0'.*takes no missing values"),
            (Trajectories(T, hole, missing=True), "variable 'x0'.*takes no missing values"),
            (Trajectories(T**2, WAVES), "takes even samples only: interpolate"),
        ):
            with pytest.raises(ValueError, match=message):
                model.fit(data)
        model.fit(Trajectories(T, WAVES))
        with pytest.raises(ValueError, match=r"sampled every 0\.4, the training data every 0\.2: resample"):
            model.predict(Trajectories(2 * T, WAVES))
