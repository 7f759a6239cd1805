"""Spectra, densities and dimensions against values known by construction."""

import numpy as np
import pytest

from lemode.metrics import (
    correlation_dimension,
    drift,
    energy_ratio,
    kl_divergence,
    power_spectrum,
    spectrum_distance,
    spectrum_excess,
    wasserstein,
)

RNG = np.random.default_rng(0)
T = np.arange(0, 60, 0.05)


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

    @pytest.mark.slow
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
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(1).normal(size=(100, 2)))


def test_the_dimension_of_rounded_data_is_right_or_refused():
    x = np.random.default_rng(0).uniform(0, 20, size=(2000, 2))
    for digits in (-1, 0):
        with pytest.raises(ValueError, match=r"rounded too coarsely for it\. Give a larger quantile"):
            correlation_dimension(x.round(digits), exclude=0)
    right = correlation_dimension(x, exclude=0)
    for digits in (1, 3):
        assert correlation_dimension(x.round(digits), exclude=0) == pytest.approx(right, rel=0.06)  # 0.1 is a tenth of r0
    assert np.isfinite(correlation_dimension(x.round(0), exclude=0, quantile=0.3))  # the remedy exists


def test_a_peak_without_power_is_seen_by_its_excess_alone():
    """Ten decades above the truth, as a Kuramoto-Sivashinsky surrogate had one, and a ten millionth of the power."""
    t = 0.1 * np.arange(4000)
    truth = np.stack([np.exp(np.sin(t + p)) for p in range(2)], -1)
    run = truth + np.array([0.0, 3e-4]) * np.sin(25 * t)[:, None]
    assert energy_ratio(run, truth) == pytest.approx(1, abs=1e-6)
    assert (spectrum_distance(run, truth, 0.1) < 1e-3).all()
    excess = spectrum_excess(run, truth, 0.1)
    peak = 3e-4**2 / 2 / ((truth[:, 1] - truth[:, 1].mean()) ** 2).mean()
    assert excess[0] == 0
    # the floor is at 1e-12 of the highest point; the first harmonic of the truth has most of its power, as the peak has of its own
    assert excess[1] == pytest.approx(12 + np.log10(peak), abs=0.3)


def test_two_runs_of_one_process_have_little_excess():
    rng = np.random.default_rng(0)
    a, b = (np.cumsum(rng.normal(size=(5, 4000, 1)), 1) for _ in range(2))
    a, b = (x[:, 50:] - x[:, :-50] for x in (a, b))
    assert 0 < spectrum_excess(a, b, 1.0)[0] < 1  # 5 runs of 7 segments: each point scatters by a sixth


def test_a_run_at_rest_has_no_excess_and_a_truth_at_rest_no_spectrum():
    wave = np.sin(0.3 * np.arange(200))[:, None]
    assert spectrum_excess(0 * wave, wave, 1.0)[0] == 0
    with pytest.raises(ValueError, match="truth is constant in variable 0"):
        spectrum_excess(wave, 0 * wave, 1.0)
