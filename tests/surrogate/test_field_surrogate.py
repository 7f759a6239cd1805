"""Surrogates of fields: the equation, its invariants and symmetries, the recipe's additions, files."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.interpolate
import torch

from lemode import ConvLEM, FieldSurrogate, Surrogate, Trajectories
from lemode.analysis.lyapunov import spectrum_of_map
from lemode.analysis.lyapunov_network import spectrum_of_closed_loop
from lemode.baselines import LSTM
from lemode.surrogate import run, training
from lemode.surrogate.data import refuse_uneven
from lemode.surrogate.field_network import FieldNetwork, reflected
from lemode.surrogate.forecast import free_run_power
from lemode.surrogate.optimizers import EigenAdam
from lemode.surrogate.recipe import FIELD_RECIPE
from lemode.surrogate.series import Series

# most of these fits are too short to run free
pytestmark = pytest.mark.filterwarnings("ignore:free runs leave the attractor")


def waves(n=6, T=80, points=16, seed=0):
    """Travelling waves of two lengths with random phases, about a mean of 0.3."""
    rng = np.random.default_rng(seed)
    x, t = 2 * np.pi * np.arange(points) / points, 0.1 * np.arange(T)[:, None]
    a, b = rng.uniform(0, 2 * np.pi, (2, n, 1, 1))
    return 0.3 + np.sin(x - t + a) + 0.5 * np.cos(2 * x + 1.7 * t + b)


@pytest.fixture(scope="module")
def model():
    # without bounds: where a field is held, its mean is not conserved
    return FieldSurrogate(hidden_size=4, kernel_size=5, conserve="mean", contain=None, steps=40, verbose=0).fit(waves())


def test_network_is_the_equation():
    torch.manual_seed(0)
    core = ConvLEM(1, 3, 5, dtype=torch.float64)
    x = torch.randn(4, 2, 8, dtype=torch.float64)
    y = core(x.unsqueeze(2))[0]
    for conserve in (None, "mean"):
        network = FieldNetwork(core, 3, (8,), torch.float64, conserve)
        C, c = network.head.weight[0], network.head.bias
        for k, n, i in itertools.product(range(4), range(2), range(8)):
            expected = C @ y[k, n, :, i] + c if conserve is None else C @ (y[k, n, :, i] - y[k, n, :, (i + 1) % 8])
            torch.testing.assert_close(network(x)[0][k, n, i], expected.squeeze(), rtol=1e-12, atol=1e-13)


def test_scales_are_shared_by_all_points():
    network = FieldNetwork(ConvLEM(1, 2, 3), 2, (16,), torch.float64)
    data = waves()
    network.set_scales(torch.from_numpy(data).transpose(0, 1))
    assert network.mean.shape == (1,)
    assert float(network.mean) == pytest.approx(data.mean(), abs=1e-12)
    assert float(network.std) == pytest.approx(data.std(), rel=1e-12)
    assert float(network.increment) == pytest.approx(np.sqrt((np.diff(data, axis=1) ** 2).mean()) / data.std(), rel=1e-12)


def test_mean_is_conserved_only_when_asked(model):
    history = waves(seed=1)[:, :30]
    free = model.forecast(history, 500)
    # rounding of 500 float64 additions of numbers of order one
    np.testing.assert_allclose(free.mean(-1), history[:, -1:].mean(-1).repeat(500, 1), atol=1e-12)
    loose = FieldSurrogate(hidden_size=4, kernel_size=5, contain=None, steps=1, verbose=0).fit(waves())
    assert np.abs(loose.forecast(history, 500).mean(-1) - history[:, -1:].mean(-1)).max() > 1e-3


@pytest.mark.slow
def test_translation_commutes_with_the_forecast(model):
    wide = FieldSurrogate(hidden_size=4, kernel_size=5, recurrent_kernel_size=3, steps=5, verbose=0).fit(waves())
    assert wide.network_.core.ode.weight_zy.shape == (4, 4, 3)
    history = waves(seed=1)[:, :30]
    for fitted in (model, wide):
        shifted = fitted.forecast(np.roll(history, 3, -1), 50)
        np.testing.assert_allclose(shifted, np.roll(fitted.forecast(history, 50), 3, -1), atol=1e-10)  # rounding


def test_on_grid_runs_the_same_rule_on_a_larger_domain(model):
    history = waves(seed=1)[:, :30]
    wide = model.on_grid(32).forecast(np.tile(history, 2), 50)
    np.testing.assert_allclose(wide, np.tile(model.forecast(history, 50), 2), atol=1e-10)  # rounding
    assert model.network_.grid == (16,)  # the model itself is as it was


def test_two_directions():
    x = np.stack([waves(points=6)[:, :, :, None] * waves(points=6, seed=2)[:, :, None, :]], 0)[0]
    data = x.reshape(6, 80, 36)
    model = FieldSurrogate(
        hidden_size=3, kernel_size=3, grid=(6, 6), conserve="mean", symmetry="even", steps=10, verbose=0
    ).fit(data)
    free = model.forecast(data[:, :30], 20)
    np.testing.assert_allclose(free.mean(-1), data[:, 29:30].mean(-1).repeat(20, 1), atol=1e-12)
    rolled = np.roll(x, (1, 2), (2, 3)).reshape(6, 80, 36)
    expected = np.roll(free.reshape(6, 20, 6, 6), (1, 2), (2, 3)).reshape(6, 20, 36)
    np.testing.assert_allclose(model.forecast(rolled[:, :30], 20), expected, atol=1e-10)  # rounding


def test_reflection():
    x = np.arange(6.0)
    assert np.array_equal(reflected(x, (6,), (-1,)), -x[::-1])
    assert np.array_equal(reflected(x, (2, 3)), [5, 4, 3, 2, 1, 0])
    assert np.array_equal(reflected(np.array([1.0, 2, 3, 4]), (2, 2)).reshape(2, 2), [[4, 3], [2, 1]])
    assert np.array_equal(reflected(x, (3,), (-1, 1)), [-2, -1, -0, 5, 4, 3])
    assert np.array_equal(reflected(np.arange(8.0), (2, 2), (1, -1)), [3, 2, 1, 0, -7, -6, -5, -4])


def test_mirror_images_are_learned_from_and_never_leak_into_validation(monkeypatch):
    seen = {}

    def capture(network, series, validation, *rest):
        seen["training"], seen["validation"] = (network.denormalise(s.x).transpose(0, 1).numpy() for s in (series, validation))
        return run.History()

    monkeypatch.setattr("lemode.surrogate.fitters.train", capture)
    data = waves(n=10)
    FieldSurrogate(hidden_size=2, kernel_size=3, symmetry="odd", verbose=0).fit(data)
    held = np.arange(10) % 5 == 4
    expected = np.concatenate([data[~held], -data[~held][..., ::-1]])
    np.testing.assert_allclose(seen["training"], expected, atol=1e-12)
    np.testing.assert_allclose(seen["validation"], data[held], atol=1e-12)
    FieldSurrogate(hidden_size=2, kernel_size=3, verbose=0).fit(waves(n=5, T=450))
    np.testing.assert_allclose(seen["training"], waves(n=5, T=450)[:4, :400].reshape(8, 200, 16), atol=1e-12)


def plain_noise(monkeypatch):
    """White noise of ones where a batch's is drawn: what is added is then its level, in increments."""
    drawn = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *a, generator=None, **k: torch.ones(*a, **k) if generator else drawn(*a, **k))


@pytest.mark.slow
def test_input_noise_falls_geometrically(monkeypatch):
    plain_noise(monkeypatch)
    levels = []
    plain = training.one_step_loss

    def watched(network, window, washout, weights=None, state=None, noise=None):
        if noise is not None:
            n = noise.shape[1]
            clean = torch.arange(n) >= n // 2
            assert not noise[:, clean].any()
            assert (noise[:, ~clean] == noise[0, 0]).all()
            levels.append(float(noise[0, 0, 0] / network.increment[0]))
        return plain(network, window, washout, weights, state, noise)

    monkeypatch.setattr(training, "one_step_loss", watched)
    settings = {"hidden_size": 2, "kernel_size": 3, "verbose": 0}
    FieldSurrogate(input_noise=(0.4, 0.1), steps=20, **settings).fit(waves())
    np.testing.assert_allclose(levels, 0.4 * 0.25 ** (np.arange(20) / 20), rtol=1e-12)
    levels.clear()  # and not below what the error asks for
    model = FieldSurrogate(input_noise=(0.1, 1e-6), steps=1000, **settings).fit(waves())
    error = model.history_.validation[0][1]
    fall = 0.1 * 1e-5 ** (np.arange(1000) / 1000)
    np.testing.assert_allclose(levels, np.where(np.arange(1000) < 500, fall, np.maximum(fall, 1.25 * error)), rtol=1e-12)
    assert 1.25 * error > fall[500]


def test_the_start_of_a_cut_series_does_not_count(monkeypatch):
    """Neither in training nor in validation; of a true start, in Surrogate, it does."""
    seen = {"training": set(), "validation": set()}
    plain = training.one_step_loss

    def watched(what):
        def loss(network, window, washout, *rest):
            seen[what].add(washout)
            return plain(network, window, washout, *rest)

        return loss

    for module, what in ((training, "training"), (run, "validation")):
        monkeypatch.setattr(module, "one_step_loss", watched(what))
    FieldSurrogate(hidden_size=2, kernel_size=3, washout=10, steps=20, verbose=0).fit(waves())
    assert seen == {"training": {2}, "validation": {10}}
    seen["training"].clear()
    seen["validation"].clear()
    Surrogate(hidden_size=2, window=16, washout=10, steps=60, verbose=0, train="all").fit(waves())
    assert seen == {"training": {0, 2}, "validation": {0}}


def test_what_is_kept_is_the_running_average_of_the_weights(monkeypatch):
    path = []
    plain = EigenAdam.step

    def watched(self, closure=None):
        plain(self, closure)
        path.append(torch.cat([p.detach().reshape(-1) for p in self.param_groups[0]["params"]]))

    monkeypatch.setattr(EigenAdam, "step", watched)
    model = FieldSurrogate(hidden_size=2, kernel_size=3, average=0.9, steps=30, verbose=0).fit(waves())
    average = path[0] * 0  # of what was there before, nothing is left after step / (step + 10) of it
    first = True
    for k, weights in enumerate(path, start=1):
        rate = min(0.9, k / (k + 10))
        if first:
            with torch.random.fork_rng():
                start = FieldSurrogate(hidden_size=2, kernel_size=3)._build(16, 0, torch.float64)
            average, first = torch.cat([p.detach().reshape(-1) for p in start.parameters()]), False
        average = rate * average + (1 - rate) * weights
    kept = torch.cat([p.detach().reshape(-1) for p in model.network_.parameters()])
    torch.testing.assert_close(kept, average, rtol=1e-12, atol=1e-14)
    assert not torch.equal(kept, path[-1])


def test_same_seed_same_model_and_files(model, tmp_path):
    again = FieldSurrogate(hidden_size=4, kernel_size=5, conserve="mean", steps=40, verbose=0).fit(waves())
    history = waves(seed=1)[:, :30]
    assert np.array_equal(again.forecast(history, 20), model.forecast(history, 20))
    model.save(tmp_path / "field.lem")
    loaded = FieldSurrogate.load(tmp_path / "field.lem")
    assert np.array_equal(loaded.forecast(history, 20), model.forecast(history, 20))
    assert np.array_equal(Surrogate.load(tmp_path / "field.lem").forecast(history, 20), model.forecast(history, 20))
    with pytest.raises(ValueError, match=r"a FieldSurrogate: read it with FieldSurrogate\.load"):
        LSTM.load(tmp_path / "field.lem")
    wide = model.on_grid(32)
    wide.save(tmp_path / "wide.lem")
    assert np.array_equal(
        FieldSurrogate.load(tmp_path / "wide.lem").forecast(np.tile(history, 2), 5), wide.forecast(np.tile(history, 2), 5)
    )


def test_a_fit_that_was_cut_off_goes_on_to_the_same_weights(monkeypatch, tmp_path):
    """With averages and noise: 10 steps, then the rest from the file, against 30 in one go."""
    settings = {"hidden_size": 2, "kernel_size": 3, "steps": 30, "verbose": 0}

    monkeypatch.setattr(FieldSurrogate, "_default_recipe", dataclasses.replace(FIELD_RECIPE, validate_every=5, free_steps=20))
    whole = FieldSurrogate(**settings).fit(waves())
    count, plain = 0, training._stage_loss

    def cut(*args):
        nonlocal count
        count += 1
        if count == 11:
            raise RuntimeError("the power failed")
        return plain(*args)

    monkeypatch.setattr(training, "_stage_loss", cut)
    with pytest.raises(RuntimeError, match="power"):
        FieldSurrogate(**settings).fit(waves(), checkpoint=tmp_path / "c")
    monkeypatch.setattr(training, "_stage_loss", plain)
    resumed = FieldSurrogate(**settings).fit(waves(), checkpoint=tmp_path / "c")
    assert len(resumed.history_.loss) == 30
    for p, q in zip(whole.network_.parameters(), resumed.network_.parameters(), strict=True):
        assert torch.equal(p, q)


@pytest.mark.slow
def test_closed_loop_exponents_are_those_of_the_whole_map():
    torch.manual_seed(0)
    network = FieldNetwork(ConvLEM(1, 2, 3, dtype=torch.float64, backend="reference"), 2, (6,), torch.float64, "mean")
    network.increment.fill_(0.5)
    history = torch.randn(5, 6, dtype=torch.float64)
    ours = spectrum_of_closed_loop(network, history, 200, k=4)
    with torch.no_grad():
        x, (y, z) = network.step(history.unsqueeze(1))

    def step(v):
        y, z = v[6:].reshape(2, 1, 1, 2, 6)
        x, (y, z) = network.step(v[:6].reshape(1, 1, 6), state=(y, z))
        return torch.cat([x.reshape(-1), y.reshape(-1), z.reshape(-1)])

    start = torch.cat([x[-1].reshape(-1), y.reshape(-1), z.reshape(-1)])
    full = spectrum_of_map(step, start, 200, k=4)
    np.testing.assert_allclose(ours.exponents, full.exponents, rtol=1e-9, atol=1e-12)
    # the mean is an invariant: one exponent is 0, but for what the tangent vectors' turning leaves in 200 steps
    assert np.abs(ours.exponents).min() < 0.02


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grid": (4, 5)}, "grid=\\(4, 5\\), channels=1: the data have 16 variables"),
        ({"conserve": "energy"}, "conserve='energy'"),
        ({"symmetry": "both"}, "symmetry='both'"),
        ({"input_noise": (0.1, 0.2)}, "input_noise=\\(0.1, 0.2\\)"),
        ({"input_noise": (0.1, 0.0)}, "input_noise=\\(0.1, 0.0\\)"),
        ({"input_noise": -1.0}, "input_noise=-1.0"),
        ({"average": 1.0}, "average=1.0"),
        ({"noisy": 0.0}, "noisy=0.0"),
        ({"kernel_size": 4}, "kernel_size=4"),
        ({"kernel_size": 17}, "kernel_size=17: the grid has 16 points"),
        ({"channels": 3}, "channels=3: the data have 16 variables"),
        ({"channels": 0}, "channels=0: give a positive integer"),
        ({"channels": 2.0}, "channels=2.0: give a positive integer"),
        ({"grid": 16}, "grid=16, channels=1: .* give a tuple"),
        ({"symmetry": True}, "symmetry=True: give 'even'"),
        ({"channels": 2, "symmetry": ("even", ["odd"])}, "one of these for each of 2 channels"),
        ({"channels": 2, "symmetry": ("even",)}, "one of these for each of 2 channels"),
        ({"kernel_size": 9, "channels": 2}, "kernel_size=9: the grid has 8 points"),
    ],
)
def test_bad_hyper_parameters_say_what_to_give(settings, message):
    with pytest.raises(ValueError, match=message):
        FieldSurrogate(**{"hidden_size": 2, "kernel_size": 3, "steps": 2, "verbose": 0, **settings}).fit(waves())


def test_the_interpolation_that_is_offered_makes_data_that_are_taken():
    t, x = np.sort(np.random.default_rng(0).uniform(0, 8, 80)), waves()[0]
    model = FieldSurrogate(hidden_size=2, kernel_size=3, steps=1, verbose=0)
    with pytest.raises(ValueError, match="takes even samples only") as refused:
        model.fit(Trajectories(t, x))
    model.fit(eval(str(refused.value).split("by ")[1].rstrip("."), {"scipy": scipy, "np": np, "t": t, "x": x}))
    # the interval of the training data, where one is known
    with pytest.raises(ValueError, match=r"arange\(t\[0\], t\[-1\], 0\.25\)\)\.$"):
        refuse_uneven(Trajectories(t, x), 0.25, "a report")


def test_uneven_data_are_refused():
    t = np.sort(np.random.default_rng(0).uniform(0, 8, 80))
    model = FieldSurrogate(hidden_size=2, kernel_size=3, verbose=0)
    with pytest.raises(ValueError, match="takes even samples only: interpolate"):
        model.fit(Trajectories(t, waves()))
    with pytest.raises(ValueError, match="takes even samples only: interpolate"):
        model.fit(waves(), validation=Trajectories(t, waves()))
    with pytest.raises(ValueError, match=r"the data are sampled every 0\.5, the training data every 1"):
        model.fit(waves(), validation=Trajectories(0.5 * np.arange(80), waves()))


def test_grids_that_cannot_be_are_refused(model):
    for grid in ((), (24, 24), ((24,),), (4,), (True,), (24.0,)):
        with pytest.raises(ValueError, match="give the points in each of 1 directions, at least the 5 of the kernels"):
            model.on_grid(*grid)
    assert model.on_grid(np.int64(24)).n_features_in_ == 24


def test_going_on_with_other_channels_is_refused():
    model = FieldSurrogate(hidden_size=2, kernel_size=3, steps=1, warm_start=True, verbose=0).fit(waves())
    model.fit(waves())
    with pytest.raises(ValueError, match=r"warm_start: the model has grid=\(16,\), channels=1; the data have \(8,\), 2"):
        model.set_params(channels=2).fit(waves())


def test_a_fit_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    FieldSurrogate(hidden_size=2, kernel_size=3, steps=1, channels=2, verbose=0).fit(waves())
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.slow
def test_a_fit_says_if_free_runs_leave_the_attractor(monkeypatch, recwarn):
    settings = {"hidden_size": 2, "kernel_size": 3, "verbose": 0}
    for train, where in (("all", "lemode.surrogate.run"), ("readout", "lemode.surrogate.field_surrogate")):
        model = FieldSurrogate(steps=2, train=train, **settings)
        monkeypatch.setattr(f"{where}.free_run_power", lambda *args: 1.0)
        model.fit(waves())
        monkeypatch.setattr(f"{where}.free_run_power", lambda *args: 9.0)
        model.fit(waves(), validation=np.full((1, 20, 16), 0.3))  # says nothing of an attractor
        model.fit(waves(), validation=waves(n=1, T=15))  # nor does what is as short as the washout
        assert not recwarn
        for power, said in ((4.0, "4 times"), (0.25, "0.25 times"), (np.inf, "inf times")):
            monkeypatch.setattr(f"{where}.free_run_power", lambda *args, p=power: p)
            with pytest.warns(training.FitWarning, match=said):
                model.fit(waves())


def test_power_of_free_runs_is_that_of_the_truth_at_the_same_times(model):
    data = waves(seed=1)
    series = Series((torch.from_numpy(data).transpose(0, 1) - model.network_.mean) / model.network_.std)
    mean, std = float(model.network_.mean), float(model.network_.std)
    free, truth = ((((x - mean) / std) ** 2).mean((0, 2)) for x in (model.forecast(data[:, :15], 40), data[:, 15:]))
    # the same sums in another order
    assert free_run_power(model.network_, series, 15, 40) == pytest.approx(free.mean() / truth[:40].mean(), rel=1e-12)
    free = (((model.forecast(data[:, :15], 500) - mean) / std) ** 2).mean((0, 2))
    ratios = free[:65].mean() / truth.mean(), free[65:].mean() / max(truth.max(), 1.0)
    assert free_run_power(model.network_, series, 15, 500) == pytest.approx(max(ratios), rel=1e-12)
    model = FieldSurrogate(hidden_size=2, kernel_size=3, steps=1, verbose=0).fit(waves())
    model.network_.head.bias.data.fill_(torch.nan)
    assert free_run_power(model.network_, series, 15, 40) == np.inf


def test_power_is_that_of_the_worst_channel(monkeypatch):
    """Of which one lies dead, or swells, beside one of the right power, and another does not vary."""
    network = FieldNetwork(ConvLEM(3, 2, 3), 2, (4,), torch.float64, channels=3)
    truth = torch.randn(30, 2, 3, 4, dtype=torch.float64)
    truth[:, :, 2] = 1e-8
    for first, expected in ((0.0, 0.0), (0.7, 0.49), (1.0, 1.0), (2.0, 4.0), (torch.nan, np.inf)):
        factors = torch.tensor([first, 1.0, 5.0], dtype=torch.float64)
        free = (truth * factors[:, None])[10:].flatten(2)
        monkeypatch.setattr("lemode.surrogate.forecast.free_run", lambda *args, f=free: f)
        assert free_run_power(network, Series(truth.flatten(2)), 10, 20) == pytest.approx(expected, rel=1e-12)


def test_a_perfect_model_of_a_slow_wave_stays(monkeypatch):
    """Seen for so short a time that it has more power afterwards than ever before, but not more than the training data."""
    t = 0.05 * np.arange(48, 600)
    slow = torch.from_numpy(2 * np.sin(t)[:, None, None] * np.sin(2 * np.pi * np.arange(16) / 16))
    monkeypatch.setattr("lemode.surrogate.forecast.free_run", lambda network, x, steps: slow[15 : 15 + steps])
    network = FieldNetwork(ConvLEM(1, 2, 3), 2, (16,), torch.float64)
    # about one over whole periods
    assert free_run_power(network, Series(slow[:20]), 15, 500) == pytest.approx(1.0, abs=0.05)


@pytest.mark.filterwarnings("ignore:the weights of step", "ignore:the fit diverged")
@pytest.mark.parametrize(
    ("powers", "errors", "kept"),
    [
        ([1.0, 3.0, 3.0], [0.4, 0.3, 0.2], 5),
        ([3.0, 1.09, 0.1], [0.4, 0.3, 0.2], 10),
        ([0.89, 1.11, np.inf], [0.4, 0.3, 0.2], 15),  # where none stays the error decides
        ([1.0, 0.91, 1.09], [0.4, 0.2, 0.3], 10),
        ([1.0, 1.0, 3.0], [0.9, 0.6, 0.3], 15),  # nearly persistence: the power says nothing
        ([1.0, 1.0, 1.0], [0.3, np.nan, 0.4], 5),
    ],
)
def test_weights_whose_free_runs_stay_come_first(powers, errors, kept, monkeypatch, tmp_path):
    """Also after an interruption; the noise follows the smallest error of all, whichever weights are kept."""
    steps, noises, plain_loss = 0, [], training.one_step_loss

    def loss(network, window, washout, weights=None, state=None, noise=None):
        noises.append(float(noise[0, 0, 0] / network.increment[0]))
        return plain_loss(network, window, washout, weights, state, noise)

    def validation_loss(*args):
        return torch.tensor(errors[steps // 5 - 1] ** 2, dtype=torch.float64)

    def step(*args, plain=training._stage_loss):
        nonlocal steps
        steps += 1
        if steps == fails:
            raise RuntimeError("the power failed")
        return plain(*args)

    monkeypatch.setattr(FieldSurrogate, "_default_recipe", dataclasses.replace(FIELD_RECIPE, validate_every=5, free_steps=20))
    plain_noise(monkeypatch)
    monkeypatch.setattr(training, "one_step_loss", loss)
    monkeypatch.setattr(run, "one_step_loss", validation_loss)
    monkeypatch.setattr(run, "free_run_power", lambda *args: powers[steps // 5 - 1])
    monkeypatch.setattr(training, "_stage_loss", step)
    settings = {"hidden_size": 2, "kernel_size": 3, "steps": 15, "input_noise": 1e-3, "verbose": 0}
    fails = 0
    whole = FieldSurrogate(**settings).fit(waves())
    assert whole.history_.best_step == kept
    assert whole.history_.free_power == powers[kept // 5 - 1]
    expected = np.repeat([1e-3, 1.25 * errors[0], 1.25 * np.nanmin(errors[:2])], 5)
    if np.isfinite(errors).all():
        np.testing.assert_allclose(noises, expected, rtol=1e-6)
        steps, fails = 0, 8
        with pytest.raises(RuntimeError, match="power"):
            FieldSurrogate(**settings).fit(waves(), checkpoint=tmp_path / "c")
        steps, fails = 5, 0
        resumed = FieldSurrogate(**settings).fit(waves(), checkpoint=tmp_path / "c")
        assert resumed.history_.best_step == kept
        assert torch.equal(resumed.network_.head.weight, whole.network_.head.weight)


def test_a_fit_says_if_it_gave_up_more_accurate_weights(monkeypatch, recwarn):
    model = FieldSurrogate(hidden_size=2, kernel_size=3, verbose=0)
    for errors, best, said in (([0.4, 0.3, 0.2], 15, 0), ([0.4, 0.3, 0.2], 10, 1)):
        history = run.History([], list(zip((5, 10, 15), errors, strict=True)), best, 1.0)
        monkeypatch.setattr("lemode.surrogate.fitters.train", lambda *args, h=history: h)
        model.fit(waves())
        assert len(recwarn) == said
    message = str(recwarn.pop(training.FitWarning).message)
    assert message.startswith("the weights of step 10 are kept, with a validation error of 0.3 increments")
    assert "down to 0.2, did not keep the power" in message


def two_waves(n=6, T=80, points=12, seed=0):
    """A wave and a hundred times its slope about 7: two channels, the first even if the second is odd."""
    rng = np.random.default_rng(seed)
    x, t = 2 * np.pi * np.arange(points) / points, 0.1 * np.arange(T)[:, None]
    a = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    return np.concatenate([np.cos(x - t + a), 7 - 100 * np.sin(x - t + a)], -1)


def test_channels_are_the_equation():
    """Every channel at every point, by hand, on a line and on a plane."""
    torch.manual_seed(0)
    for grid, conserve in itertools.product([(6,), (3, 4)], [None, "mean"]):
        core = ConvLEM(2, 3, 3, dim=len(grid), dtype=torch.float64)
        network = FieldNetwork(core, 3, grid, torch.float64, conserve, channels=2)
        x = torch.randn(4, 2, 2 * np.prod(grid), dtype=torch.float64)
        y = core(torch.stack([x[..., : np.prod(grid)], x[..., np.prod(grid) :]], 2).reshape(4, 2, 2, *grid))[0]
        got = network(x)[0]
        for channel, point in itertools.product(range(2), itertools.product(*map(range, grid))):
            C, c = network.head.weight[channel], network.head.bias[channel]
            at = y[(slice(None), slice(None), slice(None), *point)]
            expected = at @ C + c
            if conserve:
                expected = 0
                for axis in range(len(grid)):
                    after = list(point)
                    after[axis] = (after[axis] + 1) % grid[axis]
                    expected = expected + (at - y[(slice(None), slice(None), slice(None), *after)]) @ C / len(grid) ** 0.5
            place = channel * int(np.prod(grid)) + int(np.ravel_multi_index(point, grid))
            torch.testing.assert_close(got[..., place], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("train", ["all", pytest.param("readout", marks=pytest.mark.slow)])
def test_two_channels(train, tmp_path):
    """Scales, invariants, symmetries, files, and larger grids of a field with two quantities in different units."""
    data, seen = two_waves(), two_waves(seed=1)[:, :30]
    settings = {"hidden_size": 20 if train == "readout" else 4, "kernel_size": 5, "channels": 2, "train": train, "verbose": 0}
    # where a field is held, its mean is not conserved
    model = FieldSurrogate(conserve="mean", symmetry=("even", "odd"), contain=None, steps=40, **settings)
    model.fit(data, validation=two_waves(n=2, seed=2))
    images = np.concatenate([data, np.concatenate([data[..., 11::-1], -data[..., :11:-1]], -1)])
    for k, part in enumerate((images[..., :12], images[..., 12:])):
        assert float(model.network_.mean[12 * k]) == pytest.approx(part.mean(), abs=1e-12)
        assert float(model.network_.std[12 * k + 11]) == pytest.approx(part.std(), rel=1e-12)
    free = model.forecast(seen, 100)
    for k in range(2):  # rounding of 100 additions of numbers of order 100
        channel = slice(12 * k, 12 * k + 12)
        np.testing.assert_allclose(free[..., channel].mean(-1), seen[:, -1:, channel].mean(-1).repeat(100, 1), atol=1e-10)
    rolled = np.roll(seen.reshape(6, 30, 2, 12), 5, -1).reshape(seen.shape)
    expected = np.roll(free.reshape(6, 100, 2, 12), 5, -1).reshape(free.shape)
    np.testing.assert_allclose(model.forecast(rolled, 100), expected, rtol=1e-9, atol=1e-9)  # rounding, in units of 100
    wide = model.on_grid(24)
    tiled = np.tile(seen.reshape(6, 30, 2, 12), 2).reshape(6, 30, 48)
    expected = np.tile(free.reshape(6, 100, 2, 12), 2).reshape(6, 100, 48)
    # Nothing is learned of waves twice as long, which the data do not have: those of a readout grow from rounding, tens of times a step on
    # some processors, where others keep both halves the same to the last bit.
    few = 3 if train == "readout" else 100
    np.testing.assert_allclose(wide.forecast(tiled, few), expected[:, :few], rtol=1e-9, atol=1e-9)
    wide.save(tmp_path / "wide.lem")
    assert np.array_equal(FieldSurrogate.load(tmp_path / "wide.lem").forecast(tiled, 5), wide.forecast(tiled, 5))
    spectrum = spectrum_of_closed_loop(model, seen[0], 20)
    assert len(spectrum.exponents) == 12 * (2 + 2 * model.hidden_size)


def test_two_channels_are_learned_as_well_as_one():
    """The increments of both by less than a thousandth of what persistence leaves out, as the waves are linear."""
    model = FieldSurrogate(hidden_size=60, kernel_size=5, channels=2, train="readout", verbose=0).fit(two_waves(n=10))
    error = (model.predict(two_waves(seed=1)) - np.roll(two_waves(seed=1), -1, 1))[:, 20:-1]
    steps = np.diff(two_waves(seed=1), axis=1)[:, 20:]
    for channel in (slice(0, 12), slice(12, 24)):
        assert (error[..., channel] ** 2).mean() < 1e-3 * (steps[..., channel] ** 2).mean()
