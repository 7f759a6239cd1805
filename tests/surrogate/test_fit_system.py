"""What `lemode.fit` reports of data that are not as in the textbook: each in a sentence, in the unit of the variable."""

import warnings

import numpy as np
import pytest

import lemode
from lemode import Trajectories
from lemode.surrogate.data_checks import DataWarning

pytestmark = pytest.mark.filterwarnings("ignore::lemode.surrogate.FitWarning")  # after two steps

T = 0.2 * np.arange(60)
WAVES = np.stack([np.stack([1e-9 * np.sin(T + k), 1e5 * np.cos(T + k)], -1) for k in range(6)])
SMALL = {"hidden_size": 2, "steps": 2, "window": 20, "washout": 5}


def printed(data, capsys, **settings):
    model = lemode.fit(data, **SMALL, size="small", **settings)
    return model.report_, capsys.readouterr().out


def test_errors_of_variables_in_different_units(capsys):
    """A current in A beside a pressure in Pa: in one number the current would not be seen."""
    report, out = printed(Trajectories(T, WAVES, ("current", "pressure")), capsys)
    assert report["rmse of current"] < 1e-8
    assert report["rmse of pressure"] > 1
    assert "test RMSE of current" in out
    assert "test RMSE of pressure" in out
    same, _ = printed(Trajectories(T, WAVES * [1e9, 1e-5], ("current", "pressure")), capsys)
    # the free run is judged in no unit at all; rounding only
    assert report["free_run_error"] == pytest.approx(same["free_run_error"], rel=1e-6)


def test_uneven_trajectories(capsys):
    report, out = printed(Trajectories(T + 0.03 * np.sin(7 * T), WAVES[..., :1] * 1e9), capsys)
    assert np.isnan(report["free_run_error"])
    assert "free run: not judged, the trajectories are uneven or have missing values" in out


def test_trajectories_that_are_too_short(capsys):
    report, out = printed(Trajectories(T[:6], WAVES[:, :6, :1] * 1e9), capsys)
    assert "free run: not judged, the trajectories have 6 samples, of which 5 are read first" in out
    assert np.isnan(report["free_run_error"])


def test_an_equilibrium(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", lemode.surrogate.FitWarning)
        with pytest.warns(DataWarning, match="do not vary: x0 is 0 .*start elsewhere"):
            model = lemode.fit(lambda t, x: -x, x0=[0.0], t=T, n=6, size="small", **SMALL)
    out = capsys.readouterr().out
    assert "free run: not judged, the test trajectories stand still" in out
    assert "inf" not in out
    assert model.report_["rmse"] < 1e-20  # the least step that there is


def test_an_input_before_the_variables():
    """The columns of the test are not in the model's order."""
    x = np.concatenate([np.cos(3 * T)[None, :, None].repeat(6, 0), WAVES[..., :1] * 1e9], -1)
    first, last = (
        lemode.fit(Trajectories(T, x[..., order], names), inputs="I", verbose=0, size="small", **SMALL).report_
        for order, names in (([0, 1], ("I", "v")), ([1, 0], ("v", "I")))
    )
    assert {**first, "seconds": 0} == {**last, "seconds": 0}
