"""Surrogate(season=): a course that comes back is taken off, and added at the right time."""

import numpy as np
import pandas as pd
import pytest

import lemode
from lemode import Surrogate, Trajectories
from lemode.surrogate.season import HARMONICS, harmonics

RNG = np.random.default_rng(0)
PATTERN = RNG.normal(size=12)
T = np.arange(240.0)
NOISE = np.convolve(RNG.normal(size=240), 0.5 ** np.arange(9))[:240]
YEARS = (5 * PATTERN[T.astype(int) % 12] + 0.1 * NOISE)[:, None]
SMALL = {"hidden_size": 5, "train": "readout", "delays": 0, "washout": 5, "verbose": 0}


def without(x):
    """By hand: regression on the months beside a parabola."""
    months = np.eye(12)[np.arange(len(x)) % 12]
    s = np.linspace(-1, 1, len(x))
    columns = np.c_[months - months.mean(0), np.ones(len(x)), s, s**2]
    weights = np.linalg.lstsq(columns, x, rcond=None)[0]
    return x - (months - months.mean(0)) @ weights[:12]


def test_the_waves_of_a_year_of_months_are_the_months():
    """Eleven columns that span what twelve means span, but for the mean."""
    waves, months = harmonics(T, [12.0], 1.0), np.eye(12)[T.astype(int) % 12]
    assert waves.shape == (240, 11)
    rest = months - np.c_[np.ones(240), waves] @ np.linalg.lstsq(np.c_[np.ones(240), waves], months, rcond=None)[0]
    assert np.abs(rest).max() < 1e-12  # rounding
    assert harmonics(T, [365.25], 1.0).shape == (240, 2 * HARMONICS)


def test_a_fit_of_the_rest_and_the_season_added_to_it():
    """The same model as that of the data without their months, and its predictions with those of the month that is predicted."""
    model, plain = Surrogate(season=12, **SMALL).fit(YEARS), Surrogate(**SMALL).fit(without(YEARS))
    course = (YEARS - without(YEARS))[:12]
    found, rest = model.predict(YEARS), plain.predict(without(YEARS))
    np.testing.assert_allclose(found, rest + course[(np.arange(240) + 1) % 12], rtol=1e-6, atol=1e-6)  # two ways to regress
    ahead = model.forecast(YEARS[:200], 15)
    expected = plain.forecast(without(YEARS)[:200], 15) + course[(200 + np.arange(15)) % 12]
    np.testing.assert_allclose(ahead, expected, rtol=1e-6, atol=1e-6)
    band = model.forecast(YEARS[:200], 15, level=0.9)
    assert ((band.lower < ahead) & (ahead < band.upper)).mean() > 0.9
    assert np.abs(band.upper - band.lower).max() < 2  # of the rest, and not of the season, which is ten wide


def test_the_time_of_the_history_says_where_in_the_season_it_is(tmp_path):
    model = Surrogate(season=12, **SMALL).fit(Trajectories(T, YEARS, "x"))
    late = Trajectories(T[100:150], YEARS[100:150], "x")
    ahead = model.forecast(late, 10)[0]
    assert np.abs(ahead - YEARS[150:160]).max() < 1  # of a season ten wide
    model.save(tmp_path / "m.lem")
    assert np.array_equal(Surrogate.load(tmp_path / "m.lem").forecast(late, 10)[0], ahead)
    index = pd.date_range("2001-05-01", periods=240, freq="MS")
    frame = pd.DataFrame({"x": YEARS[:, 0]}, index=index)
    dated = Surrogate(season=12, **SMALL).fit(frame)
    next_ones = dated.forecast(frame.iloc[100:150], 10)
    assert (next_ones.index == index[150:160]).all()
    np.testing.assert_allclose(next_ones["x"], ahead[:, 0], rtol=1e-6, atol=1e-6)  # other numbers for the same months


def test_several_periods_uneven_times_and_missing_values():
    t = np.cumsum(RNG.uniform(0.5, 1.5, 400))
    x = np.sin(2 * np.pi * t / 24) + 0.5 * np.cos(2 * np.pi * t / 7) + 1e-3 * RNG.normal(size=400)
    x[[20, 77]] = np.nan
    model = Surrogate(season=[24, 7], **{**SMALL, "train": "all", "steps": 2, "window": 40}).fit(
        Trajectories(t, x[:, None], "x", missing=True)
    )
    placed = model._series(Trajectories(t, x[:, None], "x", missing=True)).grid.values
    assert np.nanstd(placed) < 0.01  # all but the noise is season


@pytest.mark.parametrize(
    ("season", "more", "says"),
    [
        (1.5, {}, "season=1.5: samples are 1 apart; give a period of at least two intervals"),
        (200, {}, "season=200: the longest series spans 240, which is less than two seasons; leave it out"),
        (-12, {}, "season=-12: give a positive number, the period in units of the times"),
        ("year", {}, "season='year': give a positive number"),
        (12, {"scale": "series"}, "season=12: with scale='series' there is no season that all series have"),
        (12, {"angles": "x0"}, "season=12: with angles there is no season"),
    ],
)
def test_refused(season, more, says):
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        Surrogate(season=season, **SMALL, **more).fit(YEARS)


def test_a_season_of_what_has_none_costs_little():
    walk = np.cumsum(RNG.normal(size=300))[:, None]
    with_it, without_it = (Surrogate(season=s, **SMALL).fit(walk[:200]) for s in (12, None))
    found = lemode.evaluate({"with": with_it, "without": without_it}, walk, 6, range(200, 290))
    # eleven columns on 200 samples: about 5 %
    assert found.total("with") < 1.15 * found.total("without")
