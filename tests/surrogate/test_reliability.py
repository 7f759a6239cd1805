"""What is reported of bands and horizons is what was measured."""

import numpy as np
import pytest

from lemode.surrogate.origins import FreeRuns
from lemode.surrogate.reliability import LEVELS, Reliability, calibrate, cross_judged


def runs(n, seed, H=6, D=2):
    """Errors that are the spread times a normal variable; the second variable errs ten times as much."""
    rng = np.random.default_rng(seed)
    spread = np.exp(0.5 * rng.normal(size=(n, 1, 1))) * np.linspace(0.05, 0.3, H)[:, None] * np.array([1.0, 10.0])
    return FreeRuns(spread * rng.normal(size=spread.shape), spread, 1.0)


def test_coverage_of_each_variable_at_each_lead():
    calibration = calibrate(runs(100, 0), runs(1500, 1), 0.4, 0.9)
    found = calibration.judge(runs(1500, 2), ("v", "w"))
    for level, coverage in zip(LEVELS, found.coverage):
        # calibration and test: sd of the share is sqrt(2 level (1 - level) / 1500), 0.011 at 90 % and 0.018 at 50 %
        assert np.abs(coverage - level).max() < 4 * np.sqrt(2 * level * (1 - level) / 1500)
    wide = found.width[1]
    np.testing.assert_allclose(wide[:, 1] / wide[:, 0], 10, rtol=0.2)
    assert (found.width[0] < found.width[1]).all()


def test_bands_are_wider_where_members_have_parted():
    calibration = calibrate(runs(300, 0), runs(600, 1), 0.4, 0.9)
    near, far = calibration.half_width(0.9, np.full((6, 2), 0.1)), calibration.half_width(0.9, np.full((6, 2), 0.4))
    assert (far / near > 2.5).all()  # 4, but for what is held back


def test_a_missing_truth_is_not_counted():
    fresh = runs(400, 1)
    fresh.error[:200, :, 0] = np.nan
    fresh.error[:, 3, 1] = np.nan
    found = calibrate(runs(100, 0), fresh, 0.4, 0.9).judge(fresh, ("v", "w"))
    assert np.isnan(found.coverage[:, 3, 1]).all()
    rest = np.delete(found.coverage[1], 3, 0)
    assert np.abs(rest - 0.9).max() < 0.02  # on what it was calibrated with: 1/200 and ties


def test_the_halves_judge_each_other():
    seen, fresh = runs(100, 0), runs(400, 1)
    fresh.error[200:] *= 3  # the second half is another system: its own calibration would not see it
    found = cross_judged(seen, fresh, 0.4, 0.9, ("v", "w"))
    own = calibrate(seen, fresh, 0.4, 0.9).judge(fresh, ("v", "w"))
    assert np.abs(own.coverage[1] - 0.9).max() < 0.02
    assert found.coverage[1].mean() < 0.85
    assert found.windows == len(found.stated) == 400
    assert cross_judged(seen, fresh.part(slice(0, 17)), 0.4, 0.9, ("v", "w")) is None


def test_too_few_windows_are_refused():
    with pytest.raises(ValueError, match=r"calibration series give 8 free runs: a band of 90 % needs at least 9"):
        calibrate(runs(20, 0), runs(8, 1), 0.4, 0.9)
    with pytest.raises(ValueError, match=r"a band of 99 % needs at least 99"):
        calibrate(runs(20, 0), runs(98, 1), 0.4, 0.99)


def test_the_table_says_what_the_numbers_are():
    coverage = np.arange(24.0).reshape(2, 6, 2) / 24
    found = Reliability(3, LEVELS, coverage, coverage, np.array([1, 2, 6]), np.array([2, 1, 6]), 0.4, 0.9, ("v", "long name"))
    text = found.table([1, 6])
    assert "v           0.00   0.42   0.21" in text
    assert "mean        0.52   0.94   0.73" in text
    assert "66.7 % of 3 not overrun, 90 % asked for; mean 3.0 of 3.0 valid leads, rank correlation 0.50" in text
    assert np.isnan(
        Reliability(3, LEVELS, coverage, coverage, np.array([2, 2, 2]), np.array([2, 1, 6]), 0.4, 0.9).rank_correlation
    )
    many = Reliability(3, LEVELS, np.ones((2, 6, 66)), np.ones((2, 6, 66)), np.array([1, 2, 6]), np.array([2, 1, 6]), 0.4, 0.9)
    assert str(many).count("\n") == 6
