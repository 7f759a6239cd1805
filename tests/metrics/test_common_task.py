"""The scores E1 to E12 against a transcription of their definition, exact invariants, and numbers known by hand."""

import math

import numpy as np
import pytest

from lemode.metrics import common_task_scores, histogram_score, reconstruction_score, short_time_score, spectrum_score

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(60, 3)) + np.array([0.0, 2.0, -5.0])
OTHER = TRUTH + 0.3 * RNG.normal(size=TRUTH.shape)


def largest_singular_value(matrix):
    """By the power method, which has no library's norm in it."""
    v = np.ones(matrix.shape[1])
    for _ in range(3000):
        v = matrix.T @ (matrix @ v)
        v /= math.sqrt((v**2).sum())
    return math.sqrt(((matrix @ v) ** 2).sum())


def by_hand_histogram(prediction, truth, steps, bins):
    total = 0.0
    for i in range(truth.shape[1]):
        p, q = list(prediction[-steps:, i]), list(truth[-steps:, i])
        low, high = min(p + q), max(p + q)
        counts = [[0] * bins for _ in range(2)]
        for run, values in enumerate((p, q)):
            for v in values:
                counts[run][min(int((v - low) / (high - low) * bins), bins - 1)] += 1
        total += sum(abs(m - n) for m, n in zip(*counts)) / steps
    return 100 * (1 - total / truth.shape[1])


def by_hand_spectrum(prediction, truth, steps, modes):
    n = np.arange(truth.shape[1])
    powers = []
    for u in (prediction, truth):
        powers.append(
            [
                sum(abs((row * np.exp(-2j * np.pi * q * n / len(n))).sum()) ** 2 for row in u[-steps:]) / steps
                for q in range(modes)
            ]
        )
    error = math.sqrt(sum((p - q) ** 2 for p, q in zip(*powers)))
    return 100 * (1 - error / math.sqrt(sum(q**2 for q in powers[1])))


class TestTheDefinition:
    def test_near(self):
        d = TRUTH - OTHER
        expected = 100 * (1 - largest_singular_value(d[:20]) / largest_singular_value(TRUTH[:20]))
        assert short_time_score(OTHER, TRUTH) == pytest.approx(expected, rel=1e-6)  # of the power method
        expected = 100 * (1 - largest_singular_value(d) / largest_singular_value(TRUTH))
        assert reconstruction_score(OTHER, TRUTH) == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize(("steps", "bins"), [(60, 5), (37, 41), (2, 1)])
    def test_histograms(self, steps, bins):
        assert histogram_score(OTHER, TRUTH, steps, bins) == pytest.approx(
            by_hand_histogram(OTHER, TRUTH, steps, bins), abs=1e-9
        )

    @pytest.mark.parametrize(("points", "modes"), [(16, 8), (15, 8), (16, 3)])
    def test_spectra(self, points, modes):
        a, b = RNG.normal(size=(2, 9, points)).cumsum(2)
        assert spectrum_score(a, b, 4, modes) == pytest.approx(by_hand_spectrum(a, b, 4, modes), rel=1e-9)


class TestInvariants:
    def test_perfect_and_zero(self):
        u = RNG.normal(size=(30, 64))
        for score in (short_time_score, reconstruction_score, lambda a, b: spectrum_score(a, b, modes=32)):
            assert score(u, u) == 100
            assert score(0 * u, u) == 0
            assert score(-u, u) == (100 if score(-u, u) > 0 else pytest.approx(-100))  # a spectrum has no sign
        assert histogram_score(TRUTH, TRUTH, 60) == 100

    def test_units_do_not_matter(self):
        for c in (1e-3, 1024.0):
            assert short_time_score(c * OTHER, c * TRUTH) == pytest.approx(short_time_score(OTHER, TRUTH), rel=1e-12)
            assert histogram_score(c * OTHER, c * TRUTH, 60) == pytest.approx(histogram_score(OTHER, TRUTH, 60))
            assert spectrum_score(c * OTHER, c * TRUTH, modes=2) == pytest.approx(spectrum_score(OTHER, TRUTH, modes=2))

    def test_long_scores_do_not_ask_when(self):
        assert histogram_score(TRUTH[::-1], TRUTH, 60) == 100
        u = RNG.normal(size=(20, 32))
        assert spectrum_score(u[::-1], u, modes=16) == pytest.approx(100, abs=1e-9)
        assert spectrum_score(np.roll(u, 5, 1), u, modes=16) == pytest.approx(100, abs=1e-9)  # nor where

    def test_only_the_samples_that_count(self):
        beyond = TRUTH.copy()
        beyond[20:] = np.nan
        assert short_time_score(beyond, TRUTH) == 100
        assert histogram_score(beyond[::-1], TRUTH[::-1], 20) == 100
        assert reconstruction_score(beyond, TRUTH) == -np.inf


class TestKnownValues:
    def test_the_norm_is_that_of_the_matrix(self):
        """diag(4, 3) has the norm 4, where the root of the sum of squares is 5."""
        truth = np.diag([4.0, 3.0])
        assert reconstruction_score(truth - np.diag([1.0, 1.0]), truth) == 75
        assert reconstruction_score(truth - np.diag([0.0, 2.0]), truth) == 50

    def test_counts(self):
        truth, moved = np.array([[0.0], [0.0], [0.0], [4.0]]), np.array([[0.0], [0.0], [4.0], [4.0]])
        assert histogram_score(moved, truth, 4, 2) == 50  # one of four has moved: it is missing here, too much there
        assert histogram_score(np.full((4, 1), 9.0), truth, 4, 3) == -100
        assert histogram_score(np.full((4, 1), 1e307), truth - 1e307, 4, 3) == -100
        assert histogram_score(0 * truth, 0 * truth, 4) == 100

    def test_power(self):
        x = 2 * np.pi * np.arange(32) / 32
        truth = np.tile(3 * np.cos(x) + 4 ** (1 / 2) * np.cos(2 * x), (20, 1))  # powers as 9 to 4
        assert spectrum_score(np.tile(3 * np.cos(x), (20, 1)), truth, modes=16) == pytest.approx(100 * (1 - 4 / 97**0.5))
        assert spectrum_score(truth + 7, truth, modes=16) < -100  # wavenumber 0 counts
        assert spectrum_score(truth + np.cos(9 * x), truth, modes=9) == pytest.approx(100)  # those beyond do not

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.filterwarnings("error")
    def test_what_is_not_finite_is_the_worst(self, bad):
        blown = TRUTH.copy()
        blown[7:, 1] = bad
        wild = np.where(np.isnan(blown) | np.isinf(blown), 1e308, blown)
        for score in (short_time_score, reconstruction_score, lambda a, b: spectrum_score(a, b, modes=2)):
            assert score(blown, TRUTH) == -np.inf
            assert score(wild, TRUTH) < -1e6
        assert histogram_score(blown, TRUTH, 60) == -np.inf
        assert -100 <= histogram_score(wild, TRUTH, 60) < 50


class TestAllPairs:
    def test_each_pair_has_its_scores(self):
        truths = {pair: RNG.normal(size=(600, 3)) for pair in range(1, 10)}
        predictions = {pair: x + 0.1 * pair * RNG.normal(size=x.shape) for pair, x in truths.items()}
        found = common_task_scores(predictions, truths, "dynamical")
        assert list(found) == [f"E{k}" for k in range(1, 13)]
        one, two, three = (
            lambda p: short_time_score(predictions[p], truths[p]),
            lambda p: histogram_score(predictions[p], truths[p]),
            lambda p: reconstruction_score(predictions[p], truths[p]),
        )
        expected = [one(1), two(1), three(2), two(3), three(4), two(5), one(6), two(6), one(7), two(7), one(8), one(9)]
        assert list(found.values()) == expected

    def test_fields_have_spectra(self):
        u, v = RNG.normal(size=(2, 30, 256))
        found = common_task_scores({3: u}, {3: v}, "spatio-temporal")
        assert found == {"E4": spectrum_score(u, v)}

    def test_the_floor(self):
        u = RNG.normal(size=(30, 256))
        assert common_task_scores({1: 9 * u}, {1: u}, "spatio-temporal") == {"E1": -100, "E2": -100}
        assert common_task_scores({8: np.nan * u}, {8: u}, "spatio-temporal") == {"E11": -100}
        assert common_task_scores({8: 9 * u}, {8: u}, "spatio-temporal", -np.inf)["E11"] == pytest.approx(-700)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: short_time_score(x[:50], x), "must be equal"),
        (lambda x: short_time_score(x[:, 0], x[:, 0]), r"give \(T, D\)"),
        (lambda x: short_time_score(x, x / 0), "truth holds a value that is not finite"),
        (lambda x: short_time_score(x[:10], x[:10]), "steps=20: there are 10 samples; give 1 to 10"),
        (lambda x: short_time_score(x, x, 0), "steps=0"),
        (lambda x: short_time_score(x, 0 * x), "truth is zero"),
        (lambda x: histogram_score(x, x), "steps=500: there are 100"),
        (lambda x: histogram_score(x, x, 100, 0), "bins=0"),
        (lambda x: spectrum_score(x, x), "modes=100: a grid of 2 points has 1"),
        (lambda x: spectrum_score(x, 0 * x, modes=1), "no power in 1 modes"),
        (lambda x: common_task_scores({1: x}, {1: x}, "ode"), "kind='ode': give 'dynamical' or 'spatio-temporal'"),
        (lambda x: common_task_scores({1: x}, {2: x}, "dynamical"), r"pairs \[1\], truths of \[2\]"),
        (lambda x: common_task_scores({0: x}, {0: x}, "dynamical"), r"pairs \[0\]: their numbers are 1 to 9"),
        (lambda x: common_task_scores({2: x[:9]}, {2: x}, "dynamical"), "pair 2: prediction has shape"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(1).normal(size=(100, 2)))
