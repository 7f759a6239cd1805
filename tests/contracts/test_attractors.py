"""benchmarks/attractors.py: peers choose their settings by free runs along the end of the series that they are given."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "attractors.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("attractors", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_setting_with_the_best_free_runs_is_fitted_to_all(script):
    """A wave needs one previous value, whichever place that setting has; one that cannot be fitted is not chosen."""
    x = np.sin(0.1 * np.arange(4000))[:, None]
    good, bad = ({"degree": 1, "delays": p, "ridge": 1e-12} for p in (1, 0))
    for choices in ([good, bad], [bad, good]):
        model = script.Chosen("NG-RC", choices).fit(x).model
        assert model.delays == 1
        np.testing.assert_allclose(
            model.forecast(x[:3000], 500), x[3000:3500], atol=0.02
        )  # the ridge shifts the phase; else it is off by one


def test_equations_whose_solution_does_not_end_have_no_forecast(script, monkeypatch):
    """SINDy's may blow up, in ever smaller steps; that is a row without numbers, and the next forecast has its own patience."""
    pytest.importorskip("pysindy")
    t = np.linspace(0, 10, 501)
    circle = np.stack([np.sin(t), np.cos(t)], -1)
    model = script.PatientSINDy(degree=1, threshold=1e-3).fit(circle[None, :400])
    for _ in range(2):
        np.testing.assert_allclose(model.forecast(circle[:400], 100), circle[400:500], atol=1e-3)
    monkeypatch.setattr(script, "PATIENCE", 10)
    with pytest.raises(ArithmeticError, match="no forecast in 10 evaluations"):
        model.forecast(circle[:400], 100)
