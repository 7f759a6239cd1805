"""The forecaster of sktime: what sktime expects of one, where it is installed; without it a sentence."""

import warnings

import numpy as np
import pytest

from lemode import Surrogate
from lemode import sktime as room


def test_without_sktime_a_sentence(monkeypatch):
    monkeypatch.setattr(room, "BaseForecaster", object)
    with pytest.raises(ImportError, match=r"not installed: pip install 'lemode\[sktime\]'"):
        room.LEMForecaster()


def test_forecasts_as_the_surrogate_does_and_goes_on_after_an_update():
    pytest.importorskip("sktime")
    import pandas

    y = pandas.DataFrame({"v": np.sin(0.3 * np.arange(120.0)), "w": np.cos(0.3 * np.arange(120.0))})
    model = Surrogate(hidden_size=5, train="readout", delays=1, washout=5, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sktime's own
        forecaster = room.LEMForecaster(model).fit(y[:100], fh=[1, 4])
        first = forecaster.predict()
        later = forecaster.update(y[100:110], update_params=False).predict()
    own = model.fit(np.ascontiguousarray(y[:100].to_numpy()))
    np.testing.assert_array_equal(first.to_numpy(), own.forecast(y[:100].to_numpy(), steps=4)[[0, 3]])
    assert list(later.index) == [110, 113]
    np.testing.assert_allclose(later.to_numpy(), own.forecast(y[:110].to_numpy(), steps=4)[[0, 3]], rtol=0, atol=1e-12)


@pytest.mark.study
def test_passes_check_estimator():
    checks = pytest.importorskip("sktime.utils.estimator_checks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = checks.check_estimator(room.LEMForecaster, raise_exceptions=False, verbose=False)
    assert {name for name, result in found.items() if result != "PASSED"} == set()
