"""Stated horizons: they are overrun as seldom as they say, and as long as they can be."""

import numpy as np
import pytest

from lemode.surrogate.trust_horizon import SHARES, TrustRule, calibrate_trust, parting, valid_leads


def growing(n, H, seed, luck=0.3):
    """Spreads that grow at a rate of their own, and errors that are as large but for luck."""
    rng = np.random.default_rng(seed)
    spread = 1e-3 * np.exp(rng.uniform(0.05, 0.3, n)[:, None] * np.arange(H))
    return spread, spread * np.exp(luck * rng.normal(size=(n, 1)))


@pytest.mark.parametrize(("n", "confidence", "share"), [(19, 0.9, 2 / 20), (29, 0.9, 3 / 30), (24, 0.8, 5 / 25)])
def test_no_more_are_overrun_than_that_for_any_number_of_windows(n, confidence, share):
    """The share is at most k / (n + 1), k = floor((n + 1)(1 - confidence)), and less by ties alone: leads are whole numbers.

    That of one calibration set has the standard deviation of a beta variable, sqrt(share (1 - share) / (n + 2)); here are 80 of them.
    """
    seen, overrun = growing(50, 60, 0), []
    for seed in range(80):
        spread, error = growing(n + 150, 60, 1000 + seed)
        rule = calibrate_trust(seen, (spread[:n], error[:n]), 0.4, confidence)
        overrun.append((rule.state(spread[n:]) > valid_leads(error[n:], 0.4)).mean())
    assert np.mean(overrun) < share + 3 * np.sqrt(share * (1 - share) / (n + 2) / 80)
    assert np.mean(overrun) > share / 2


def test_small_spreads_that_come_and_go_are_not_taken_for_the_end():
    """Members part for a moment, and come back, long before they part for good: a small threshold would say nothing."""
    rng = np.random.default_rng(0)
    end = rng.integers(40, 90, 300)
    k = np.arange(100)
    spread = np.where(k < end[:, None], 0.01, 2.0)
    spread[np.arange(300), rng.integers(0, 30, 300)] = 0.2
    error = np.where(k < end[:, None] + 1, 0.01, 2.0)
    rule = calibrate_trust((spread, error), (spread, error), 0.4, 0.9)
    assert rule.spread >= 0.2
    stated, valid = rule.state(spread), valid_leads(error, 0.4)
    assert (stated <= valid).mean() >= 0.9
    assert np.corrcoef(stated, valid)[0, 1] > 0.99


def test_forecasts_that_never_failed_are_trusted_as_far_as_was_looked():
    spread, error = np.full((30, 50), 0.01), np.full((30, 50), 0.05)
    rule = calibrate_trust((spread, error), (spread, error), 0.4, 0.9)
    assert rule.factor == np.inf
    np.testing.assert_array_equal(rule.state(spread), 50)
    np.testing.assert_array_equal(rule.state(np.full((1, 50), np.inf)), 0)
    np.testing.assert_array_equal(rule.state(np.full((1, 50), np.nan)), 0)


def test_members_that_agree_while_all_fail_are_not_believed():
    """What they have in common is no spread; calibration sees it."""
    spread = np.full((40, 50), 1e-9)
    error = np.where(np.arange(50) < np.arange(10, 50)[:, None], 0.1, 1.0)
    rule = calibrate_trust((spread, error), (spread, error), 0.4, 0.9)
    stated = rule.state(spread)
    assert (stated <= valid_leads(error, 0.4)).mean() >= 0.9
    assert stated.max() < 15


def test_a_product_that_is_a_whole_number_is_not_overrun():
    """factor * T = v + 1 states v: 3 * (49 / 3) is more than 49 in floats, or less."""
    T, v = np.arange(1, 200), np.arange(1, 60)
    spread = np.where(np.arange(300) < T[:, None], 0.0, 2.0)
    for lead in v:
        assert [TrustRule(1.0, (lead + 1) / t).state(spread[t - 1 : t])[0] for t in T[::7]] == [lead] * len(T[::7])


def test_leads_before_the_first_crossing_and_not_after_it():
    np.testing.assert_array_equal(parting(np.array([[0.1, 0.9, 0.1, 0.1]]), 0.5), [1])
    np.testing.assert_array_equal(valid_leads(np.array([[0.1, 0.9, 0.1, 0.1], [np.nan] * 4]), 0.5), [1, 4])
    assert min(SHARES) > 0
