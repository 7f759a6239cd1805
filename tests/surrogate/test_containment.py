"""No free run leaves the range of the data, whatever the network, the history and the inputs; inside nothing is changed. Statement 8.4."""

import copy
import warnings

import numpy as np
import pytest
import torch

import lemode
from lemode import FieldSurrogate, Surrogate, baselines
from lemode.surrogate.data_checks import DataWarning

T = 0.2 * np.arange(200)
WAVES = np.stack([np.stack([np.sin(T + p), 5 + 2 * np.cos(1.3 * T + p)], -1) for p in range(6)])
SMALL = {"hidden_size": 4, "steps": 5, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0}
FIELD = np.sin(2 * np.pi * np.arange(8) / 8 - T[:60, None] + np.arange(5)[:, None, None])

KINDS = {
    "trained": lambda contain: Surrogate(**SMALL, train="all", contain=contain).fit(WAVES),
    "float32, two layers, delays": lambda contain: Surrogate(
        **SMALL, train="all", num_layers=2, delays=2, dtype="float32", contain=contain
    ).fit(WAVES),
    "driven": lambda contain: Surrogate(**SMALL, train="all", inputs=["x1"], contain=contain).fit(WAVES),
    "readout": lambda contain: Surrogate(hidden_size=20, train="readout", washout=5, verbose=0, contain=contain).fit(WAVES),
    "continuous": lambda contain: Surrogate(**SMALL, continuous=True, contain=contain).fit(WAVES),
    "LSTM": lambda contain: baselines.LSTM(**SMALL, contain=contain).fit(WAVES),
    "field": lambda contain: FieldSurrogate(hidden_size=4, kernel_size=3, steps=3, verbose=0, contain=contain).fit(FIELD),
    "field, readout": lambda contain: FieldSurrogate(
        hidden_size=12, kernel_size=3, washout=5, train="readout", verbose=0, contain=contain
    ).fit(FIELD),
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:free runs leave"),
    pytest.mark.filterwarnings("ignore:.* beyond what was seen in training"),
    pytest.mark.filterwarnings("ignore:.* goes from"),
]


LONG = ("readout", "continuous", "field, readout", "float32, two layers, delays")


@pytest.fixture(scope="module", params=[pytest.param(k, marks=pytest.mark.slow if k in LONG else ()) for k in KINDS])
def fitted(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KINDS[request.param](1.2), KINDS[request.param](None)


def box(data, factor=1.2):
    low, high = data.min((0, 1)), data.max((0, 1))
    middle, half = (low + high) / 2, (high - low) / 2
    return middle - factor * half, middle + factor * half


def escaping(model):
    """The same model with a head that makes all of its runs grow."""
    wild = copy.deepcopy(model)
    with torch.no_grad():
        wild.network_.head.weight.mul_(1e4)
        wild.network_.head.bias.add_(50.0)
    return wild


def test_no_free_run_leaves_the_box(fitted):
    """A thousand starts, some a hundred standard deviations away, and a head that wants to leave: seen to escape without bounds."""
    held, free = fitted
    data = FIELD if isinstance(held, FieldSurrogate) else WAVES
    D = len(held.names_)
    data_box = data if D == 8 else data[..., :D]
    (low, high) = box(data_box) if not isinstance(held, FieldSurrogate) else box(data.reshape(5, -1, 1))
    rng = np.random.default_rng(0)
    starts = np.repeat(data[:1, :30], 40 if D == 8 else 1000, 0)
    starts += 100 * data.std((0, 1)) * rng.standard_normal(starts.shape) * (rng.random((len(starts), 1, 1)) < 0.9)
    inputs = {"inputs": np.zeros((12, 1))} if held.input_names_ else {}
    rounding = 1e-5 * np.abs(np.array([low, high])).max()  # of the way back to the units of the data, in float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = {kind: escaping(model).forecast(starts, 12, **inputs) for kind, model in (("held", held), ("free", free))}
        usual = held.forecast(starts, 12, **inputs)
    for run in (runs["held"], usual):
        assert np.isfinite(run).all()
        assert (run >= low - rounding).all()
        assert (run <= high + rounding).all()
    assert not ((runs["free"] >= low - 1) & (runs["free"] <= high + 1)).all()


def test_inside_every_bit_is_the_same(fitted):
    held, free = fitted
    data = FIELD if isinstance(held, FieldSurrogate) else WAVES
    for name, a in held.network_.state_dict().items():
        if name not in ("lower", "upper"):
            np.testing.assert_array_equal(a, free.network_.state_dict()[name], err_msg=name)
    low, high = held.network_.lower, held.network_.upper
    predicted = free.predict(data)
    x = free.network_.normalise(torch.tensor(predicted, dtype=held.network_.mean.dtype))
    inside = ((x > low + 1e-4) & (x < high - 1e-4)).all(-1).numpy()
    assert inside.mean() > 0.5
    if "readout" in held.train and not isinstance(held, FieldSurrogate):  # a readout forgets nothing in finite time
        inside &= inside.cumprod(1).astype(bool)
    np.testing.assert_array_equal(held.predict(data)[inside], predicted[inside])


def test_bounds_are_those_of_all_data_and_survive_a_file(tmp_path):
    model = Surrogate(**SMALL, train="all", contain=1.25).fit(WAVES[:5], validation=WAVES[5:] * 1.1)
    low, high = box(np.concatenate([WAVES[:5], WAVES[5:] * 1.1]), 1.25)
    net = model.network_
    np.testing.assert_allclose(net.denormalise(net.lower), low, rtol=1e-12)
    np.testing.assert_allclose(net.denormalise(net.upper), high, rtol=1e-12)
    model.save(tmp_path / "m.lem")
    again = Surrogate.load(tmp_path / "m.lem")
    assert torch.equal(again.network_.lower, net.lower)
    assert again.contain == 1.25
    model.set_params(warm_start=True).fit(0.5 * WAVES)  # of smaller data: what was known stays known
    np.testing.assert_allclose(model.network_.denormalise(model.network_.lower), np.minimum(low, box(0.5 * WAVES, 1.25)[0]))


class TestDrift:
    """What leaves its range in the data will do so in the forecast."""

    @pytest.mark.parametrize("series", [1, pytest.param(6, marks=pytest.mark.slow)])
    def test_a_ramp_is_left_alone(self, series):
        ramp = np.stack([np.stack([np.sin(T + p), 0.3 * T], -1) for p in range(series)])
        model = Surrogate(hidden_size=20, train="readout", washout=5, verbose=0).fit(ramp)
        assert model.network_.upper.isfinite().tolist() == [True, False]
        ahead = model.forecast(ramp[0], 200)[:, 1]
        np.testing.assert_allclose(ahead, 0.3 * 0.2 * np.arange(200, 400), rtol=1e-3)  # a straight line is learned exactly

    def test_what_decays_or_comes_back_is_not(self):
        x = np.stack([np.exp(-0.1 * T) * np.sin(T), np.sin(0.2 * T)], -1)
        model = Surrogate(**SMALL, train="all").fit(x)
        assert model.network_.upper.isfinite().all()

    def test_what_does_not_vary_has_no_bounds(self):
        x = np.stack([np.sin(T), np.full_like(T, 7.0)], -1)
        model = Surrogate(**SMALL, train="all").fit(x)
        assert model.network_.upper.isfinite().tolist() == [True, False]
        assert (np.abs(model.forecast(x[:50], 100)[:, 1] - 7) < 1e-12).all()


@pytest.fixture(scope="module")
def model():
    return Surrogate(hidden_size=20, train="readout", washout=5, verbose=0).fit(WAVES)


class TestWarnings:
    def test_none_where_all_is_well(self, model, recwarn):
        model.predict(WAVES)
        model.forecast(WAVES[0], 300)
        assert [str(w.message) for w in recwarn] == []

    @pytest.mark.filterwarnings("default")
    def test_of_a_glitch_in_the_history(self, model):
        glitched = WAVES[0].copy()
        glitched[-1, 0] = 40.0
        with pytest.warns(
            DataWarning, match="1 value of 'x0' lies beyond what was seen in training .*: the model knows -1.19998 to 1.1999"
        ):
            model.forecast(glitched, 5)
        with pytest.warns(DataWarning, match="1 value of 'x0' lies beyond"):
            model.predict(glitched)

    def test_none_of_a_value_that_is_a_little_beyond(self, model, recwarn):
        noisy = WAVES[0].copy()
        noisy[100, 0] = 1.3
        model.forecast(noisy, 5)
        assert [str(w.message) for w in recwarn] == []

    @pytest.mark.filterwarnings("default")
    def test_of_a_forecast_that_is_held(self, model):
        with pytest.warns(
            DataWarning, match="the forecast of 'x0' is held at the edge of its data's range from step 1 on, at 50 of 50"
        ):
            escaping(model).forecast(WAVES[0], 50)

    @pytest.mark.filterwarnings("default")
    def test_of_exponents_at_the_edge(self, model):
        with pytest.warns(UserWarning, match="the free run is held at the edge of its data's range at 20 of 20 steps"):
            lemode.analysis.lyapunov_spectrum(escaping(model), WAVES[0], 20, transient=0, blocks=2)

    def test_a_fit_whose_free_runs_are_held_says_so(self):
        from lemode.surrogate.worth import measure

        model = Surrogate(**SMALL, train="all").fit(WAVES)
        wild, series = escaping(model), model.network_.series(lemode.surrogate.series.Grid(WAVES))
        assert measure(wild.network_, series, series, 5).left_at == 1


@pytest.mark.parametrize("contain", [0.5, "wide", -1, float("nan")])
def test_a_factor_that_is_none_is_refused(contain):
    with pytest.raises(ValueError, match="contain="):
        Surrogate(**SMALL, contain=contain).fit(WAVES)


def test_a_field_of_two_channels_keeps_its_bounds_on_another_grid():
    two = np.concatenate([FIELD, 10 + 3 * FIELD], -1)
    model = FieldSurrogate(hidden_size=4, kernel_size=3, channels=2, steps=3, verbose=0).fit(two)
    wide = model.on_grid(16)
    net = wide.network_
    upper = net.denormalise(net.upper)
    np.testing.assert_allclose(upper, np.repeat([1.2 * FIELD.max(), 10 + 3.6 * FIELD.max()], 16), rtol=2e-3)


def test_a_checkpoint_of_other_bounds_is_refused(tmp_path):
    """Its network has them, and they would be taken over in silence."""
    settings = {**SMALL, "train": "all"}
    Surrogate(**settings).fit(WAVES, checkpoint=tmp_path / "fit.ckpt")
    with pytest.raises(ValueError, match="the checkpoint of a fit with other contain; remove the file"):
        Surrogate(**settings, contain=None).fit(WAVES, checkpoint=tmp_path / "fit.ckpt")
