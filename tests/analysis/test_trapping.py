"""What `trapping_region` prints is where free runs are; the runs themselves: tests/surrogate/test_containment.py, tests/properties."""

import numpy as np
import pytest

import lemode
from lemode.analysis import trapping_region

WAVES = np.stack([np.stack([np.sin(0.1 * np.arange(200) + p), 5 + np.cos(0.1 * np.arange(200) + p)], -1) for p in range(5)])
SMALL = {"hidden_size": 3, "steps": 3, "window": 20, "washout": 5, "verbose": 0, "train": "all"}


def test_it_is_the_range_of_the_data_in_their_units():
    found = trapping_region(lemode.Surrogate(**SMALL, contain=2.0).fit(WAVES))
    low, high = WAVES.min((0, 1)), WAVES.max((0, 1))
    np.testing.assert_allclose(found.lower, (low + high) / 2 - (high - low))
    np.testing.assert_allclose(found.upper, (low + high) / 2 + (high - low))
    assert found.holds


def test_without_bounds_it_says_so():
    found = trapping_region(lemode.Surrogate(**SMALL, contain=None).fit(WAVES))
    assert not found.holds
    assert str(found) == "x0, x1 have no bounds"


def test_an_angle_has_two_coordinates():
    found = trapping_region(lemode.Surrogate(**SMALL, angles=["x1"]).fit(WAVES))
    assert found.names == ("x0", "cos(x1)", "sin(x1)")


@pytest.mark.parametrize(
    ("model", "error", "message"), [(3, TypeError, "model is int"), (lemode.Surrogate(), ValueError, "not fitted")]
)
def test_refuses(model, error, message):
    with pytest.raises(error, match=message):
        trapping_region(model)
