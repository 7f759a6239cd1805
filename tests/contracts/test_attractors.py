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
