"""D_stsp, D_H and sMAPE against transcriptions of their formulas, and values known by construction."""

import itertools
import math

import numpy as np
import pytest

from lemode.metrics import smape, smoothed_spectrum_distance, state_space_divergence

RNG = np.random.default_rng(0)


def dense_divergence(prediction, truth, bins, alpha):
    """The published formula, cell by cell over the whole range, without what is outside."""
    low, high = truth.min(0), truth.max(0)
    counts = []
    for run in (truth, prediction):
        count = dict.fromkeys(itertools.product(range(bins), repeat=run.shape[1]), 0)
        for x in run:
            cell = tuple(min(int((v - l) / (h - l) * bins), bins - 1) for v, l, h in zip(x, low, high))
            count[cell] += 1
        counts.append(count)
    p, q = ({k: (v + alpha) / (sum(c.values()) + alpha * len(c)) for k, v in c.items()} for c in counts)
    return sum(p[k] * math.log(p[k] / q[k]) for k in p)


class TestStateSpaceDivergence:
    @pytest.mark.parametrize("D", [1, 2, 3])
    def test_it_is_the_published_formula(self, D):
        truth = RNG.normal(size=(400, D))
        prediction = np.clip(0.7 * RNG.normal(size=(500, D)) + 0.2, truth.min(0), truth.max(0))
        dense = dense_divergence(prediction, truth, 6, 1e-5)
        # alpha is added to 6^D cells there, to those visited here: the sum of all counts differs by 216e-5 of 400 at most
        assert state_space_divergence(prediction, truth, 6) == pytest.approx(dense, rel=1e-4)

    def test_known_values(self):
        x = RNG.normal(size=(2, 300, 4))
        assert state_space_divergence(x, x) == 0
        assert state_space_divergence(x[:, ::-1], x) == 0  # whenever it was there
        # one cell each, apart: p log(p/q) with q = alpha / (T + 2 alpha), and the other term, alpha / T, is below 1e-6
        still = np.array([[0.0], [1.0]]).repeat(500, 0)
        away = np.full((1000, 1), 7.0)
        assert state_space_divergence(away, still, 2) == pytest.approx(math.log(0.5 * 1000 / 1e-5), rel=1e-6)
        assert state_space_divergence(away * 1e300, still, 2) == state_space_divergence(away, still, 2)

    def test_gaussians(self):
        x, y = RNG.normal(size=(2, 200_000, 1))
        # N(0, 1) against N(m, 1) is m^2/2; bins of 0.3 lose less than 2 per cent, and a few tail cells stay empty in one run
        assert state_space_divergence(y + 0.5, x) == pytest.approx(0.125, abs=0.01)
        assert state_space_divergence(y, x) < 1e-3

    def test_many_variables(self):
        """30^10 cells fit no memory: those visited do, and runs of the same law are nearer than others."""
        waves = np.sin(np.linspace(0, 300, 4000)[:, None] * np.sqrt(2 + np.arange(10)) * 1e-2)
        assert state_space_divergence(waves, waves) == 0
        assert state_space_divergence(waves + 1e-3, waves) < state_space_divergence(waves + 0.1, waves)

    def test_edges_of_the_range(self):
        """The largest value belongs to the last bin, of either run; what is beyond it to none of the truth's."""
        truth = np.array([[0.0], [1.0], [2.0]])
        assert state_space_divergence(truth, truth, 2) == 0
        assert state_space_divergence(np.array([[0.0], [1.5], [2.0]]), truth, 2) == 0
        assert state_space_divergence(np.array([[0.0], [1.5], [2.1]]), truth, 2) > 0.1


class TestSmoothedSpectrum:
    def test_it_is_the_formula(self):
        a, b = RNG.normal(size=(2, 240, 2)).cumsum(1)
        sigma, expected = 3.0, []
        for i in range(2):
            smooth = []
            for x in (a[:, i], b[:, i]):
                phase = np.exp(-2j * np.pi * np.arange(240) * np.arange(1, 121)[:, None] / 240)
                power = np.abs(phase @ (x - x.mean())) ** 2
                mirrored = np.concatenate([power[::-1], power, power[::-1]])
                offsets = np.arange(-12, 13)  # four sigma
                kernel = np.exp(-(offsets**2) / (2 * sigma**2))
                smooth.append(np.convolve(mirrored, kernel / kernel.sum(), "same")[120:240])
            p, q = (s / s.sum() for s in smooth)
            expected.append(math.sqrt(1 - np.sqrt(p * q).sum()))
        np.testing.assert_allclose(smoothed_spectrum_distance(a, b, sigma), expected, rtol=1e-9)  # rounding

    def test_known_values(self):
        t = 0.1 * np.arange(4000)[:, None]
        x = np.concatenate([np.sin(t), np.cos(2 * t)], 1)
        np.testing.assert_allclose(smoothed_spectrum_distance(5 * x + 3, x), 0, atol=1e-7)  # the root of rounding
        np.testing.assert_allclose(smoothed_spectrum_distance(np.sin([8.0, 9.0] * t), x), 1, atol=0.01)  # waves cut off leak
        np.testing.assert_array_equal(smoothed_spectrum_distance(0 * x + 7, x), 1)
        # two lines m apart become Gaussians m apart: H^2 = 1 - exp(-m^2 / (8 sigma^2)), whatever runs are long enough for
        k = 2 * np.pi * np.arange(4000)[:, None] / 4000
        found = smoothed_spectrum_distance(np.sin(430 * k), np.sin(400 * k), 20.0)
        # a Gaussian cut at four sigma, and sampled
        assert found[0] == pytest.approx(math.sqrt(1 - math.exp(-(30**2) / (8 * 20**2))), rel=3e-3)


class TestSmape:
    def test_it_is_the_formula(self):
        a, b = RNG.normal(size=(2, 3, 7, 2))
        found = smape(a, b)
        for n, k in itertools.product(range(3), range(7)):
            terms = [abs(p - q) / (abs(p) + abs(q)) for p, q in zip(a[n, : k + 1].ravel(), b[n, : k + 1].ravel())]
            assert found[n, k] == pytest.approx(200 * sum(terms) / len(terms), rel=1e-12)  # rounding

    def test_known_values(self):
        x = RNG.normal(size=(5, 2))
        np.testing.assert_array_equal(smape(x, x), 0)
        np.testing.assert_allclose(smape(-x, x), 200, rtol=1e-14)
        np.testing.assert_array_equal(smape(0 * x, 0 * x), 0)
        np.testing.assert_allclose(smape([[1.0], [np.nan], [1.0], [np.inf]], np.ones((4, 1))), [0, 100, 200 / 3, 100])
        np.testing.assert_allclose(smape([[1e308]], [[-1e308]]), 200)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: state_space_divergence(x, x, 1), "bins=1"),
        (lambda x: state_space_divergence(x, x, smoothing=0.0), "smoothing=0"),
        (lambda x: state_space_divergence(x, 0 * x), "constant in variable 0"),
        (lambda x: state_space_divergence(x / 0, x), "prediction holds a value that is not finite"),
        (
            lambda x: smoothed_spectrum_distance(x[:50], x),
            r"50 samples, truth 100: .*lemode\.metrics\.spectrum_distance takes any",
        ),
        (lambda x: smoothed_spectrum_distance(x[:3], x[:3]), "3 samples"),
        (lambda x: smoothed_spectrum_distance(x, x * [1, 0]), "constant in variable 1"),
        (lambda x: smape(x[:50], x), "they must be equal"),
        (lambda x: smape(x, x / 0), "truth holds"),
        (lambda x: smape(x[0], x[0]), r"give \(T, D\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(1).normal(size=(100, 2)))
