"""Split-conformal bands: they hold what they promise, exactly, for any model."""

import numpy as np
import pytest

from lemode.surrogate.conformal import adaptive, conformal_quantile, half_width, least_windows, scores, spread_power


@pytest.mark.parametrize(
    ("n", "level", "share"), [(19, 0.9, 18 / 20), (19, 0.5, 10 / 20), (12, 0.9, 12 / 13), (30, 0.9, 28 / 31)]
)
def test_the_share_is_exact_for_any_number_of_windows(n, level, share):
    """k / (n + 1) with k = ceil((n + 1) level), whatever errors are: here Cauchy, of spreads that say nothing. 20,000 draws: sd < 0.0036."""
    rng = np.random.default_rng(n)
    error, spread = rng.standard_cauchy((n + 1, 20_000, 1)), np.exp(rng.normal(size=(n + 1, 20_000, 1)))
    power = np.full(20_000, 0.7)
    q = conformal_quantile(scores(error[:n], spread[:n], power), level)
    inside = np.abs(error[n]) <= half_width(q, spread[n], power)
    assert level <= share <= level + 1 / (n + 1)
    assert abs(inside.mean() - share) < 4 * 0.0036


@pytest.mark.parametrize("level", [0.6, 0.7, 0.8, 0.9, 0.95, 0.99])
def test_fewer_windows_than_the_least_have_no_bound(level):
    n = least_windows(level)
    assert np.isfinite(conformal_quantile(np.arange(float(n))[:, None], level)).all()
    assert np.isinf(conformal_quantile(np.arange(n - 1.0)[:, None], level)).all()


def test_what_is_missing_is_no_window_and_what_is_no_number_is_outside():
    error = np.array([1.0, np.nan, np.inf, 2.0, np.nan])[:, None, None]
    found = scores(error, np.ones_like(error), np.zeros(1))
    np.testing.assert_array_equal(found[:, 0, 0], [1.0, np.nan, np.inf, 2.0, np.nan])
    assert conformal_quantile(found, 0.5).item() == 2.0  # of three windows
    assert np.isinf(conformal_quantile(found, 0.7)).all()
    assert np.isinf(scores(np.full((1, 1, 1), np.inf), np.full((1, 1, 1), np.inf), np.ones(1))).all()


def test_members_that_agree_to_the_last_bit_have_bands_all_the_same():
    rng = np.random.default_rng(0)
    error, spread = rng.normal(size=(50, 2, 1)), np.zeros((50, 2, 1))
    power = spread_power(spread, error)
    half = half_width(conformal_quantile(scores(error, spread, power), 0.9), spread[0], power)
    assert ((half > 1) & (half < 3)).all()


def test_the_power_is_found_and_held_back_where_windows_are_few():
    rng = np.random.default_rng(1)
    spread = np.exp(rng.normal(size=(2000, 3, 2)))
    error = rng.normal(size=spread.shape) * spread ** np.array([0.0, 0.5, 1.0])[:, None] * np.array([1e-3, 1e3])
    np.testing.assert_allclose(spread_power(spread, error), [0, 0.5, 1], atol=0.06)  # sd 1.1 / sqrt(4000) = 0.018
    few = spread_power(spread[:20], error[:20], weight=0.1)  # of windows that overlap: it counts as two
    assert few[2] < 0.6


@pytest.mark.parametrize("rate", [0.02, 0.1])
@pytest.mark.parametrize("kind", ["drift", "burst", "always worse"])
def test_bands_that_adapt_miss_their_share_of_any_series(rate, kind):
    """Theorem of Gibbs and Candes, with truths that come H windows late: no series, and no other one, is an exception."""
    rng = np.random.default_rng(0)
    T, H = 600, 4
    size = {
        "drift": np.geomspace(0.1, 10, T),
        "burst": np.where(np.arange(T) % 200 < 30, 20.0, 0.5),
        "always worse": np.arange(1.0, T + 1) ** 2,
    }
    calibration, later = np.abs(rng.normal(size=(50, H, 2))), np.abs(rng.normal(size=(T, H, 2))) * size[kind][:, None, None]
    found = adaptive(calibration, later, 0.9, rate)
    share = (later > found[:-1]).mean(0)
    assert np.abs(share - 0.1).max() <= (1 + rate * (H + 1)) / (rate * T)
    fixed = (later > conformal_quantile(calibration, 0.9)).mean(0)
    assert np.abs(share - 0.1).max() < 0.5 * np.abs(fixed - 0.1).max()


def test_a_band_adapts_when_the_whole_of_a_window_has_come_and_not_before():
    calibration, later = np.arange(1.0, 20).reshape(-1, 1, 1) * np.ones((1, 3, 1)), np.full((5, 3, 1), 100.0)
    later[1, 2] = np.nan  # says nothing
    found = adaptive(calibration, later, 0.9, 0.05)[:, :, 0]
    np.testing.assert_array_equal(found[:3], 18)  # as calibrated
    np.testing.assert_array_equal(found[3], [100, 100, 100])  # a miss: 0.1 becomes 0.055, the 20th of 20, one of which is 100
    np.testing.assert_array_equal(found[4], [np.inf, np.inf, 100])  # 0.01: the 21st of 20, and where nothing was said the 20th
