"""Errors point by point, and valid prediction times, against values known by construction."""

import numpy as np
import pytest

from lemode import metrics
from lemode.metrics import (
    nrmse,
    rmse,
    valid_prediction_time,
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: nrmse(x, x[:50]), "must be equal"),
        (lambda x: nrmse(x, x * np.nan), "not finite"),
        (lambda x: nrmse(x, 0 * x), "constant in truth"),
        (lambda x: nrmse(x[:, 0], x[:, 0]), r"\(T, D\)"),
        (lambda x: valid_prediction_time(x, x, dt=0.0), "dt=0.0"),
        (lambda x: valid_prediction_time(x, x, 1.0, lyapunov_time=np.inf), "lyapunov_time=inf"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(1).normal(size=(100, 2)))


def test_names_are_sorted():
    assert sorted(metrics.__all__) == metrics.__all__
