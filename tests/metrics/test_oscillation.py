"""Periods, phases and spikes against values known by construction."""

import numpy as np
import pytest

import lemode
from lemode.metrics import (
    crossing_times,
    period,
    period_error,
    phase_error,
    spike_f1,
)

T = np.arange(0, 60, 0.05)


class TestOscillation:
    def test_period_and_phase_of_a_slower_wave(self):
        slow, fast = np.sin(2 * np.pi * T / 2.02), np.sin(2 * np.pi * T / 2)
        assert period_error(T, slow, fast) == pytest.approx(0.01, abs=1e-6)
        assert period_error(T, fast, fast) == 0
        times, error = phase_error(T, slow, fast)
        # the phase lags by t/2 - t/2.02 cycles
        np.testing.assert_allclose(error, times / 2.02 - times / 2, atol=1e-4)
        np.testing.assert_allclose(times, 2.0 * np.arange(30), atol=1e-6)

    @pytest.mark.parametrize("noise", [0.0, 0.02, 0.05, 0.2])
    @pytest.mark.parametrize("dt", [0.02, 0.1, 0.5])
    def test_noise_is_no_oscillation(self, noise, dt):
        t = np.arange(0, 120, dt)
        for seed in range(3):
            x = np.sin(t) + noise * np.random.default_rng(seed).normal(size=len(t))
            # 18 periods between the first crossing and the last, each of which is misplaced by the noise over the slope, which is one
            assert period(t, x) == pytest.approx(2 * np.pi, abs=1e-4 + 4 * 2**0.5 * noise / 18)

    def test_crossings_of_a_series_without_noise_are_all_there(self):
        """Small oscillations between large ones, each of which crosses the level."""
        x = np.sin(T) + 0.5 * np.sin(7 * T)
        expected = T[1:][(x[:-1] <= 0) & (x[1:] > 0)]
        found = crossing_times(T, x, level=0.0)
        assert len(found) == len(expected)
        np.testing.assert_allclose(found, expected, atol=0.05)

    def test_phase_error_does_not_depend_on_where_counting_starts(self):
        late = np.where(T > 7, np.sin(2 * np.pi * T / 2 - 0.6), -1)
        _, error = phase_error(T, late, np.sin(2 * np.pi * T / 2), level=0.0)
        np.testing.assert_allclose(error[2:], -0.6 / (2 * np.pi), atol=1e-4)

    def test_spikes(self):
        assert spike_f1([1, 2, 3], [1.1, 2.1, 3.1], 0.2) == 1
        assert spike_f1([1, 2, 3], [1.1, 2.1, 3.1], 0.05) == 0
        assert spike_f1([], [], 0.1) == 1
        assert spike_f1([1.0], [], 0.1) == 0
        assert spike_f1([1.0, 1.1], [1.05], 0.2) == pytest.approx(2 / 3)  # a spike has one partner
        # the largest matching: pairing 1.0 with 1.2 would leave 0.9 and 1.1 unpaired
        assert spike_f1([1.0, 1.2], [0.9, 1.1], 0.11) == 1

    def test_matching_is_the_largest(self):
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import maximum_bipartite_matching

        for seed in range(50):
            rng = np.random.default_rng(seed)
            a, b = np.sort(rng.uniform(0, 10, 12)), np.sort(rng.uniform(0, 10, 9))
            near = csr_array(np.abs(a[:, None] - b) <= 0.5)
            pairs = (maximum_bipartite_matching(near) >= 0).sum()
            assert spike_f1(a, b, 0.5) == pytest.approx(2 * pairs / 21)

    def test_crossings_of_a_series_that_does_not(self):
        assert len(crossing_times(T, np.sin(T), level=2.0)) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: spike_f1([2, 1], [1], 0.1), "prediction.*increasing"),
        (lambda x: spike_f1([1], [1], -1), "tolerance=-1"),
        (lambda x: phase_error(np.arange(100), 0 * x[:, 0], x[:, 0]), "no phase to compare"),
        (lambda x: period_error(np.arange(100), 0 * x[:, 0], x[:, 0]), "two crossings"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(1).normal(size=(100, 2)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_series_that_is_not_finite_is_refused(bad):
    t, x = np.linspace(0, 20, 200), np.sin(3 * np.linspace(0, 20, 200))
    x[77] = bad
    for measure in (lemode.metrics.crossing_times, lemode.metrics.period):
        with pytest.raises(ValueError, match="not finite"):
            measure(t, x)
