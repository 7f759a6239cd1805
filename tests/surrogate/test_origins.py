"""Free runs from origins are the forecasts that a user would have made there, of every kind of data."""

import numpy as np
import pandas as pd
import pytest

from lemode import FieldSurrogate, Surrogate, Trajectories
from lemode.surrogate.origins import free_runs, mean_and_spread, places

pytestmark = pytest.mark.filterwarnings("ignore::lemode.surrogate.FitWarning", "ignore::lemode.surrogate.DataWarning")

SMALL = {"hidden_size": 2, "train": "all", "steps": 3, "window": 30, "washout": 10, "verbose": 0}
H, FIRST = 7, 12


def series(n, T, seed, D=2):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(size=(n, T, D)), 1) * 0.1 + np.sin(0.3 * np.arange(T))[:, None]


def holes(x):
    x = x.copy()
    x[0, 5:8, 0] = np.nan
    x[1, 14, 1] = np.nan
    return Trajectories(np.arange(x.shape[1]) * 1.0, x, missing=True)


CASES = {
    "arrays": (series(3, 60, 0), {}),
    "trajectories": (Trajectories(5 + 0.5 * np.arange(60), series(3, 60, 1)), {}),
    "inputs": (Trajectories(np.arange(60.0), series(3, 60, 2, 3), ("I", "v", "w")), {"inputs": "I"}),
    "one observed": (Trajectories(np.arange(60.0), series(3, 60, 2, 3), ("I", "v", "w")), {"observe": ("w",)}),
    "own scales": (series(3, 60, 3) * np.array([1e-3, 1, 1e3])[:, None, None], {"scale": "series"}),
    "season": (
        pd.DataFrame(series(1, 60, 4)[0], pd.date_range("2020-03-01", periods=60, freq="MS"), ["v", "w"]),
        {"season": 12},
    ),
    "missing": (holes(series(3, 60, 5)), {}),
    "ragged": ([series(1, T, T)[0] for T in (60, 45, 52)], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_they_are_the_forecasts_of_a_user(case):
    data, settings = CASES[case]
    models = [Surrogate(**{**SMALL, **settings, "seed": seed}).fit(data) for seed in range(3)]
    runs = free_runs([m.network_ for m in models], data, models[0].table_, FIRST, H, most=9)
    whole = (
        data
        if isinstance(data, list)
        else [data]
        if isinstance(data, pd.DataFrame)
        else [data[i] for i in range(3)]
        if isinstance(data, np.ndarray)
        else [data[i : i + 1] for i in range(3)]
    )
    errors, spreads = [], []
    for one in whole:
        T = one.x.shape[1] if isinstance(one, Trajectories) else len(one)
        for k in places(T, FIRST, H, 9 // len(whole), 9 // len(whole)):
            if isinstance(one, Trajectories):
                past, coming = (
                    Trajectories(one.t[:k], one.x[:, :k], one.names, one.missing),
                    one.select(models[0].names_).x[0, k : k + H],
                )
                inputs = one.select(models[0].input_names_).x[:, k : k + H] if models[0].input_names_ else None
            else:
                past, coming, inputs = one[:k], np.asarray(one)[k : k + H], None
            found = np.stack([np.asarray(m.forecast(past, H, inputs=inputs)).reshape(H, -1) for m in models])
            std = models[0].network_.std.numpy() * (np.asarray(past).std(0) if case == "own scales" else 1)
            errors.append((found.mean(0) - coming) / std)
            spreads.append(np.median(np.abs(found - found.mean(0)), 0) / 0.67448975 / std)
    np.testing.assert_allclose(runs.error, errors, rtol=1e-4, atol=1e-5)  # float32 in some members
    np.testing.assert_allclose(runs.spread, spreads, rtol=1e-4, atol=1e-5)
    assert np.isnan(runs.error).any() == (case == "missing")


def test_of_a_field():
    waves = np.sin(np.linspace(0, 2 * np.pi, 8, endpoint=False) - 0.1 * np.arange(40)[:, None] + np.arange(5)[:, None, None])
    model = FieldSurrogate(hidden_size=2, kernel_size=3, steps=2, verbose=0).fit(waves)
    runs = free_runs([model.network_], waves, model.table_, 20, 5, most=5)
    ahead = model.forecast(waves[:, :20], 5)
    first = runs.error.reshape(5, -1, 5, 8)[:, 0]  # of each series, at the first of its origins
    np.testing.assert_allclose(first, (ahead - waves[:, 20:25]) / float(model.network_.std.flatten()[0]), atol=1e-5)


def test_a_history_longer_than_the_past_gives_the_same_but_for_what_is_forgotten(monkeypatch):
    x = series(1, 200, 7)
    model = Surrogate(**SMALL).fit(x)
    whole = free_runs([model.network_], x, model.table_, 150, 5, most=5)
    monkeypatch.setattr("lemode.surrogate.origins.PAST", 60)
    short = free_runs([model.network_], x, model.table_, 150, 5, most=5)
    assert not np.array_equal(whole.error, short.error)
    np.testing.assert_allclose(
        whole.error, short.error, atol=1e-3
    )  # the state forgets by a half a step or so, more than 2^-10 in 60


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (Trajectories(np.array([*range(40), 45.0, 46.5]), series(1, 42, 0)), "uneven"),
        (Trajectories(2.0 * np.arange(60), series(1, 60, 0)), r"not sampled every 1, as the training data"),
        (series(1, 15, 0), r"longest series has 15 samples: .*horizon=7 steps after 12 samples needs 19"),
    ],
)
def test_what_has_no_lead_times_is_refused(data, sentence):
    model = Surrogate(**SMALL).fit(series(3, 60, 0))
    with pytest.raises(ValueError, match=sentence):
        free_runs([model.network_], data, model.table_, FIRST, H)


def test_a_member_that_is_no_number_any_more_is_left_out_while_it_is_alone():
    values = np.ones((5, 4)) * np.arange(5)[:, None]
    values[0, 1:], values[1, 2:], values[2, 3:] = np.nan, np.inf, -np.inf
    mean, spread = mean_and_spread(values)
    np.testing.assert_array_equal(mean, [2, 2.5, 3, np.nan])
    assert np.isfinite(spread[:3]).all()
    assert spread[3] == np.inf


def test_the_spread_of_normal_members_is_their_standard_deviation():
    draws = np.random.default_rng(0).normal(size=(99, 4000))
    assert abs(mean_and_spread(draws)[1].mean() - 1) < 0.01  # of 99 its standard deviation is 0.12, and 4,000 are averaged
