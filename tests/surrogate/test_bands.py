"""Bands around a forecast: they cover as often as they say, and are labelled as the history."""

import numpy as np
import pandas as pd
import pytest
import torch

from lemode import FieldSurrogate, Surrogate, Trajectories
from lemode.surrogate import bands
from lemode.surrogate.data_checks import DataWarning

pytestmark = pytest.mark.filterwarnings("ignore::lemode.surrogate.FitWarning")

SMALL = {"hidden_size": 2, "steps": 20, "window": 50, "washout": 5, "verbose": 0}


def process(n, T, seed):
    """x[k] = 1.5 x[k - 1] - 0.8 x[k - 2] + noise of one."""
    noise = np.random.default_rng(seed).standard_normal((n, T))
    x = np.zeros((n, T))
    for k in range(2, T):
        x[:, k] = 1.5 * x[:, k - 1] - 0.8 * x[:, k - 2] + noise[:, k]
    return x[:, 50:, None]


@pytest.fixture(scope="module")
def fitted():
    return Surrogate(**{**SMALL, "hidden_size": 4, "train": "readout", "delays": 1, "washout": 20}).fit(process(4, 350, 0))


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage(level, fitted):
    """Of 24 series, at leads of 1 to 12: the share inside has a standard error of 0.06 at most, that of three independent leads."""
    fresh = process(24, 140, 1)
    band = fitted.forecast(fresh[:, :-12], 12, level=level)
    inside = (band.lower <= fresh[:, -12:]) & (fresh[:, -12:] <= band.upper)
    assert abs(inside.mean() - level) < 2 * 0.06
    # at a lead of one the model errs by the noise; from ten on by the spread of the process, sqrt(1.8 / (0.2 * 0.99)) = 3.0
    width = (band.upper - band.lower).mean((0, 2)) / (2 * {0.5: 0.674, 0.9: 1.645}[level])
    assert 0.8 < width[0] < 1.3
    assert 2.4 < width[-1] < 3.6


def test_the_middle_is_the_forecast_and_a_seed_its_band(fitted):
    history = process(1, 100, 2)[0]
    a, b = (fitted.forecast(history, 5, level=0.8) for _ in range(2))
    np.testing.assert_array_equal(a.values, fitted.forecast(history, 5))
    np.testing.assert_array_equal(a.lower, b.lower)
    assert (a.lower < a.upper).all()
    assert a.level == 0.8
    wider = fitted.forecast(history, 5, level=0.95)
    assert (wider.lower <= a.lower).all()
    assert (wider.upper >= a.upper).all()


def test_survives_a_file(fitted, tmp_path):
    fitted.save(tmp_path / "m.lem")
    history = process(1, 100, 2)[0]
    again = Surrogate.load(tmp_path / "m.lem").forecast(history, 5, level=0.8)
    np.testing.assert_array_equal(again.lower, fitted.forecast(history, 5, level=0.8).lower)


def test_frames_with_gaps_and_inputs():
    index = pd.date_range("2020-01-01", periods=250, freq="MS")
    table = pd.DataFrame({"v": process(1, 300, 0)[0, :, 0], "I": np.arange(250) % 12 < 4}, index)
    table.iloc[100:103, 0] = np.nan
    model = Surrogate(inputs="I", train="all", **SMALL).fit(table)
    coming = pd.DataFrame({"I": [True, False, False]}, pd.date_range("2040-11-01", periods=3, freq="MS"))
    band = model.forecast(table, inputs=coming, level=0.9)
    for bound in (band.values, band.lower, band.upper):
        assert bound.index.equals(coming.index)
        assert bound.columns.tolist() == ["v"]
    assert (band.lower < band.upper).all(axis=None)
    holes = table.drop(index=table.index[[-2, -3]])  # and where the history has a gap
    assert (model.forecast(holes, inputs=coming, level=0.9).lower < band.upper).all(axis=None)


def test_in_the_scale_of_each_series():
    x = process(4, 200, 0) * np.array([1e-3, 1, 1, 1e4])[:, None, None]
    model = Surrogate(scale="series", train="all", **SMALL).fit(x)
    band = model.forecast(x, 4, level=0.9)
    width = (band.upper - band.lower)[:, 0, 0]
    assert 1e6 < width[3] / width[0] < 1e8


def test_times_of_their_own(fitted):
    history = Trajectories(np.arange(50.0), process(2, 100, 3), "x0")
    every, second = (fitted.forecast(history, steps, dt=dt, level=0.9) for steps, dt in ((8, 1.0), (4, 2.0)))
    np.testing.assert_allclose(second.values, every.values[:, 1::2], rtol=0, atol=1e-9)
    assert ((second.upper - second.lower)[:, 0] > (every.upper - every.lower)[:, 0]).all()


@pytest.mark.parametrize(
    ("level", "sentence"), [(90, "level=90: give a share"), (0, "level=0: give"), ("x", "level='x': give")]
)
def test_levels(level, sentence, fitted):
    with pytest.raises(ValueError, match=sentence):
        fitted.forecast(process(1, 100, 2)[0], 5, level=level)


def test_a_model_that_does_not_know_its_errors():
    model = Surrogate(train="all", **SMALL).fit(process(1, 100, 0)[0], validation=process(1, 55, 1)[0])
    with pytest.raises(ValueError, match=r"level=0\.9: the model knows of fewer than 10 of its errors.*Fit it anew"):
        model.forecast(process(1, 100, 2)[0], 5, level=0.9)


@pytest.mark.parametrize("settings", [{}, {"delays": 2, "num_layers": 2}, {"continuous": True}])
def test_a_long_history_is_read_once(settings, monkeypatch):
    """Its cost and memory are those of one series; the runs are what they are if each reads it."""
    x = process(1, 150, 0)[0]
    model = Surrogate(**{"train": "all", **SMALL, "steps": 3, **settings}).fit(x)
    sizes, step = [], model.network_.step
    monkeypatch.setattr(model.network_, "step", lambda x, *known: sizes.append(x.shape[:2]) or step(x, *known))
    once = model.forecast(x, 4, level=0.9)
    assert max(a * b for a, b in sizes) == bands.RUNS
    monkeypatch.setattr(bands, "_leaves", lambda state: [torch.zeros(1)])
    each = model.forecast(x, 4, level=0.9)
    np.testing.assert_allclose(once.lower, each.lower, rtol=1e-10)  # rounding of products of other sizes


def test_a_field_on_another_grid():
    x = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    waves = np.sin(x - 0.1 * np.arange(60)[:, None] + np.arange(5)[:, None, None])
    model = FieldSurrogate(hidden_size=2, kernel_size=3, steps=2, verbose=0).fit(waves)
    assert model.forecast(waves[0], 2, level=0.9).lower.shape == (2, 8)
    with pytest.raises(ValueError, match=r"level=0\.9: .*on another grid"):
        model.on_grid(16).forecast(np.tile(waves[0], 2), 2, level=0.9)


def test_no_warning_of_data_that_are_alike(fitted, recwarn):
    fitted.forecast(process(1, 100, 2)[0], 5, level=0.9)
    assert not [w for w in recwarn if w.category is DataWarning]
