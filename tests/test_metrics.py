"""Metrics against values known by construction."""

import numpy as np
import pytest

from lemode import metrics
from lemode.metrics import (
    correlation_dimension,
    crossing_times,
    drift,
    energy_ratio,
    kl_divergence,
    nrmse,
    period_error,
    phase_error,
    power_spectrum,
    rmse,
    spectrum_distance,
    spike_f1,
    valid_prediction_time,
    wasserstein,
)

RNG = np.random.default_rng(0)
T = np.arange(0, 60, 0.05)


def test_nrmse_by_hand():
    truth = RNG.normal(size=(3, 5, 2)) * [1.0, 100.0]
    sigma = truth.reshape(-1, 2).std(0)
    prediction = truth + sigma * [3.0, 4.0]
    np.testing.assert_allclose(nrmse(prediction, truth), np.full((3, 5), np.sqrt(12.5)), rtol=1e-12)
    np.testing.assert_allclose(nrmse(prediction[0], truth[0], scale=sigma), np.full(5, np.sqrt(12.5)), rtol=1e-12)
    assert rmse([1.0, 2.0], [1.0, 4.0]) == pytest.approx(np.sqrt(2))


class TestValidPredictionTime:
    def test_counts_until_the_first_failure(self):
        error = np.array([[0.1, 0.2, 0.9, 0.1], [0.9, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.5]])[..., None]
        vpt = valid_prediction_time(error, 0 * error, dt=0.25, threshold=0.5, lyapunov_time=0.5, scale=1.0)
        np.testing.assert_allclose(vpt, [1.0, 0.0, 2.0])  # 2, 0 and all 4 steps of half a Lyapunov time

    def test_what_is_not_finite_has_failed(self):
        forecast = np.zeros((2, 6, 1))
        forecast[0, 3:], forecast[1, 1:] = np.nan, np.inf
        np.testing.assert_allclose(valid_prediction_time(forecast, np.zeros((2, 6, 1)), dt=1.0, scale=1.0), [3, 1])

    def test_of_an_error_that_grows_at_the_lyapunov_exponent(self):
        # e(t) = 1e-3 exp(0.9 t) reaches 0.4 at log(400) Lyapunov times
        t = np.arange(1, 4000) * 0.005
        vpt = valid_prediction_time(1e-3 * np.exp(0.9 * t)[:, None], 0 * t[:, None], 0.005, 0.4, 1 / 0.9, scale=1.0)
        assert vpt.shape == ()
        assert vpt == pytest.approx(np.log(400), abs=0.9 * 0.005)  # rounded down to a step


class TestOscillation:
    def test_period_and_phase_of_a_slower_wave(self):
        slow, fast = np.sin(2 * np.pi * T / 2.02), np.sin(2 * np.pi * T / 2)
        assert period_error(T, slow, fast) == pytest.approx(0.01, abs=1e-6)
        assert period_error(T, fast, fast) == 0
        times, error = phase_error(T, slow, fast)
        # the phase lags by t/2 - t/2.02 cycles
        np.testing.assert_allclose(error, times / 2.02 - times / 2, atol=1e-4)
        np.testing.assert_allclose(times, 2.0 * np.arange(30), atol=1e-6)

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


class TestClimate:
    def test_spectrum_is_that_of_the_formula(self):
        x = RNG.normal(size=(2, 3000, 2)).cumsum(1) * 0.1
        for m in (256, 255):
            f, S = power_spectrum(x, 0.5, m)
            window = np.sin(np.pi * np.arange(m) / m) ** 2
            pieces = [(x - x.mean((0, 1)))[:, s : s + m] * window[:, None] for s in range(0, 3000 - m + 1, m // 2)]
            P = np.mean(np.abs(np.fft.rfft(pieces, axis=2)) ** 2, axis=(0, 1)) * 2 * 0.5 / (window**2).sum()
            if m % 2 == 0:
                P[-1] /= 2  # the highest frequency has no partner at the negative one
            np.testing.assert_allclose(f, np.fft.rfftfreq(m, 0.5)[1:], rtol=1e-12)  # rounding
            np.testing.assert_allclose(S, P[1:], rtol=1e-10)  # rounding, of powers that differ by 1e5

    def test_spectrum_distance(self):
        white = RNG.normal(size=(4, 20000, 1))
        other = 5 * RNG.normal(size=(4, 20000, 1)) + 3
        red = white.cumsum(1)
        assert spectrum_distance(other, white, 1.0)[0] < 0.1  # the same colour: only the scatter of 80 windows
        assert spectrum_distance(red, white, 1.0)[0] > 0.5
        low, high = np.sin(0.3 * T)[:, None], np.sin(20 * T)[:, None]
        assert spectrum_distance(low, high, 0.05)[0] > 0.95
        assert spectrum_distance(white[0, :500], white[0, :500], 1.0)[0] < 1e-7

    def test_wasserstein_of_a_shift_and_a_stretch(self):
        x = RNG.normal(size=(2, 4000, 2)) * [1.0, 10.0]
        s = x.reshape(-1, 2).std(0)
        np.testing.assert_allclose(wasserstein(x + 0.3 * s, x), 0.3, rtol=1e-9)
        mean = np.abs(x.reshape(-1, 2) - 0).mean(0) / s
        np.testing.assert_allclose(wasserstein(2 * x, x), mean, rtol=0.01)  # W of 2x and x is E|x|, by sample quantiles
        assert (wasserstein(x[:, :1000], x) < 0.1).all()

    def test_kl_of_gaussians(self):
        # N(0, 1) against N(m, 1): m^2/2; in one component with 200,000 samples, bins of 0.3
        x, y = RNG.normal(size=(2, 200000, 1))
        assert kl_divergence(y + 0.5, x, components=1) == pytest.approx(0.125, abs=0.01)
        assert kl_divergence(y, x, components=1) < 1e-3
        # along the principal component of correlated variables, whichever way they are scaled
        z = np.concatenate([x, x + 0.1 * y], 1)
        assert kl_divergence(z * [1, 50], z * [1, 50], components=2) == 0
        assert kl_divergence(z[:, ::-1], z) < kl_divergence(z * [1, -1], z)

    @pytest.mark.parametrize(("dimension", "tolerance"), [(1, 0.05), (2, 0.1), (3, 0.2)])
    def test_correlation_dimension_of_a_torus(self, dimension, tolerance):
        angles = RNG.uniform(0, 2 * np.pi, (4000, dimension))  # a torus has no edges, which bias a cube
        x = np.concatenate([np.cos(angles), np.sin(angles)], -1)
        assert correlation_dimension(x, exclude=0) == pytest.approx(dimension, abs=tolerance)

    def test_correlation_dimension_of_lorenz63(self):
        # 2.05 +- 0.01 by Grassberger and Procaccia, Physica D 9 (1983), table 1; here 4,000 points
        from lemode.systems import Lorenz63

        x = Lorenz63().trajectories(8, np.arange(0, 100, 0.1), seed=0, rtol=1e-6, atol=1e-6).x
        assert correlation_dimension(x) == pytest.approx(2.05, abs=0.06)

    def test_drift_and_energy(self):
        np.testing.assert_allclose(drift([[1.0, 1.5, 0.8], [2.0, 2.0, np.nan]], scale=0.5), [1.0, np.inf])
        x = RNG.normal(size=(3, 100, 4)) + 7
        c = x.mean((0, 1))
        assert energy_ratio(c + 0.9 * (x - c), x) == pytest.approx(0.81)
        assert energy_ratio(x + 1, x) == pytest.approx(1 + 4 / x.var((0, 1)).sum())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nrmse(x, x[:50]), "must be equal"),
        (lambda x: nrmse(x, x * np.nan), "not finite"),
        (lambda x: nrmse(x, 0 * x), "constant in truth"),
        (lambda x: nrmse(x[:, 0], x[:, 0]), r"\(T, D\)"),
        (lambda x: valid_prediction_time(x, x, dt=0.0), "dt=0.0"),
        (lambda x: valid_prediction_time(x, x, 1.0, lyapunov_time=np.inf), "lyapunov_time=inf"),
        (lambda x: power_spectrum(x, 1.0, 500), "500 samples in a run of 100"),
        (lambda x: power_spectrum(x, -1.0), "dt=-1.0"),
        (lambda x: spectrum_distance(0 * x, x, 1.0), "prediction is constant in variable 0"),
        (lambda x: wasserstein(x[:, :1], x), "1 variables, truth 2"),
        (lambda x: wasserstein(x * np.inf, x), "prediction holds a value that is not finite"),
        (lambda x: wasserstein(x, x * [1, 0]), "constant in variable 1"),
        (lambda x: kl_divergence(x, x, components=3), "components=3: give 1 to 2"),
        (lambda x: kl_divergence(x, x, bins=1), "bins=1"),
        (lambda x: correlation_dimension(x, quantile=2.0), "quantile=2.0"),
        (lambda x: correlation_dimension(x), "longer run"),
        (lambda x: drift(x[None]), r"\(1, 100, 2\)"),
        (lambda x: drift(x, scale=0.0), "scale=0.0"),
        (lambda x: spike_f1([2, 1], [1], 0.1), "prediction.*increasing"),
        (lambda x: spike_f1([1], [1], -1), "tolerance=-1"),
        (lambda x: phase_error(np.arange(100), 0 * x[:, 0], x[:, 0]), "no phase to compare"),
        (lambda x: period_error(np.arange(100), 0 * x[:, 0], x[:, 0]), "two crossings"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(1).normal(size=(100, 2)))


def test_names_are_sorted():
    assert sorted(metrics.__all__) == metrics.__all__
