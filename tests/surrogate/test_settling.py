"""A hidden state that takes long to find: measured by a fit, and said where a forecast has too short a history."""

import warnings

import numpy as np
import pytest
import torch

import lemode
from lemode.surrogate import DataWarning
from lemode.surrogate.settling import measure_settling, warn_of_short

# two waves that beat slowly, seen as their sum: from a few samples nobody knows the phase of the beat
T = np.arange(1200.0)
PHASES = np.random.default_rng(0).uniform(0, 6, (12, 2, 1))
BEATS = (np.sin(0.3 * T + PHASES[:, 0]) + np.sin(0.37 * T + PHASES[:, 1]))[..., None]


@pytest.fixture(scope="module")
def model():
    return lemode.Surrogate(hidden_size=60, dt=0.5, delays=0, train="readout", washout=5, verbose=0).fit(
        BEATS[:10], validation=BEATS[10:]
    )


def free_error(model, samples, starts=40, steps=200):
    """As a user would measure it: of forecasts of the same values, from so many samples before them."""
    begins = np.linspace(400, 900, starts).astype(int)
    history = np.stack([x[b - samples : b] for x in BEATS[10:] for b in begins])
    truth = np.stack([x[b : b + steps] for x in BEATS[10:] for b in begins])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return float(np.sqrt(((model.forecast(history, steps) - truth) ** 2).mean()))


def test_errors_by_the_length_of_the_history(model):
    settling = dict(model.history_.settling)
    assert list(settling) == [5, 10, 20, 40]
    assert settling[5] > 1.5 * settling[40]
    # of other starts, and not clipped: the ratio is the same to a factor of two
    ratio = free_error(model, 5) / free_error(model, 40)
    assert ratio / 2 < settling[5] / settling[40] < 2 * ratio


def test_all_run_free_to_the_same_values(model, monkeypatch):
    ahead = []

    def seen(network, heads, part, warmup, horizon, starts):
        ahead.append((part.x[warmup:], horizon))
        return torch.ones(1)

    monkeypatch.setattr(lemode.surrogate.settling, "free_errors", seen)
    series = model.network_.series(lemode.surrogate.series.Grid(BEATS[10:, :100]))
    assert [count for count, _ in measure_settling(model.network_, series, 5)] == [5, 10, 20, 40]
    assert all(torch.equal(x, series.x[40:]) and horizon == 60 for x, horizon in ahead)


def test_a_short_history_is_warned_of_and_a_long_one_is_not(model):
    with pytest.warns(DataWarning, match="the history has 6 samples: .* free runs after 5 err .* give so many") as caught:
        model.forecast(BEATS[0, :6], 5)
    assert caught[0].filename == __file__  # and not one of lemode's own
    with pytest.warns(DataWarning, match="the history has 7 samples"):  # the shortest of them
        model.forecast(lemode.Trajectories.ragged([(T[:100], BEATS[0, :100]), (T[:7], BEATS[1, :7])]), 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        model.forecast(BEATS[0, :100], 5)


def test_a_file_keeps_what_was_measured(model, tmp_path):
    model.save(tmp_path / "model.lem")
    loaded = lemode.Surrogate.load(tmp_path / "model.lem")
    assert loaded.history_.settling == model.history_.settling
    with pytest.warns(DataWarning, match="the history has 6 samples"):
        loaded.forecast(BEATS[0, :6], 5)


def test_nothing_is_measured_of_a_trial_or_of_short_series():
    trial = lemode.Surrogate(hidden_size=2, steps=5, washout=5, train="all", verbose=0).fit(BEATS[:3])
    assert trial.history_.settling == []
    network = trial.network_
    short = network.series(lemode.surrogate.series.Grid(BEATS[:1, :19]))
    assert measure_settling(network, short, 5) == []  # half of 19 is less than twice 5
    longer = network.series(lemode.surrogate.series.Grid(BEATS[:1, :20]))
    assert [count for count, _ in measure_settling(network, longer, 5)] == [5, 10]


def test_missing_values_are_not_judged(model):
    network = model.network_
    whole = network.series(lemode.surrogate.series.Grid(BEATS[10:, :300]))
    holes = torch.rand(whole.x.shape, generator=torch.Generator().manual_seed(0)) > 0.1
    spoiled = whole._replace(x=whole.x.where(holes, torch.tensor(0.0, dtype=whole.x.dtype)), mask=holes)
    for (_, error), (_, with_holes) in zip(measure_settling(network, whole, 20), measure_settling(network, spoiled, 20)):
        assert 0.3 * error < with_holes < 3 * error + 0.1  # its own predictions stand in for what is missing


def test_what_makes_no_difference_is_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        warn_of_short([(5, 0.30), (10, 0.28), (20, 0.25)], 5)
        warn_of_short([(5, 0.0), (10, 0.0)], 5)
        warn_of_short([], 5)
        warn_of_short([(5, 0.1), (10, 0.5)], 5)
        warn_of_short([(5, 0.1), (10, 0.5)], 10)
    with pytest.warns(DataWarning, match="and they do not after 10"):
        warn_of_short([(5, 0.1), (10, 0.0)], 5)
