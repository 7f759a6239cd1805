"""What is masked is missing: it is never taken for the number that lies beneath."""

import numpy as np
import pytest

from lemode import metrics

T = np.linspace(0, 20, 201)
WAVE = np.sin(T)[None, :, None] + 0.01 * np.random.default_rng(0).normal(size=(1, 201, 1))
BENEATH = WAVE.copy()
BENEATH[0, 57, 0] += 0.2
MASKED = np.ma.masked_array(BENEATH, BENEATH != WAVE)
CALLS = {
    "rmse": lambda x: metrics.rmse(x, WAVE),
    "nrmse": lambda x: metrics.nrmse(x, WAVE),
    "valid_prediction_time": lambda x: metrics.valid_prediction_time(x, WAVE, 0.1, lyapunov_time=1.0),
    "power_spectrum": lambda x: metrics.power_spectrum(x, 0.1),
    "spectrum_distance": lambda x: metrics.spectrum_distance(x, WAVE, 0.1),
    "state_space_divergence": lambda x: metrics.state_space_divergence(x, WAVE),
    "smoothed_spectrum_distance": lambda x: metrics.smoothed_spectrum_distance(x, WAVE),
    "smape": lambda x: metrics.smape(x, WAVE),
    "wasserstein": lambda x: metrics.wasserstein(x, WAVE),
    "correlation_dimension": lambda x: metrics.correlation_dimension(x[0]),
    "drift": lambda x: metrics.drift(x[..., 0]),
    "energy_ratio": lambda x: metrics.energy_ratio(x, WAVE),
    "crossing_times": lambda x: metrics.crossing_times(T, x[0, :, 0]),
    "period": lambda x: metrics.period(T, x[0, :, 0]),
    "period_error": lambda x: metrics.period_error(T, x[0, :, 0], WAVE[0, :, 0]),
    "phase_error": lambda x: metrics.phase_error(T, x[0, :, 0], WAVE[0, :, 0]),
    "evaluate": lambda x: metrics.evaluate({}, x[0], 3, [56]).table(),
}


def outcome(call, x):
    try:
        return repr(call(x))
    except ValueError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, for NaN
@pytest.mark.parametrize("name", CALLS)
def test_masked_is_nan_and_not_what_lies_beneath(name):
    assert outcome(CALLS[name], MASKED) == outcome(CALLS[name], MASKED.filled(np.nan))
    assert outcome(CALLS[name], MASKED) != outcome(CALLS[name], BENEATH)
