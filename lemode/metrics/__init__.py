"""Measures of a forecast: how long it holds, how well it oscillates, its climate and attractor, and its worth from many origins."""

from .attractor import smape, smoothed_spectrum_distance, state_space_divergence
from .climate import (
    correlation_dimension,
    drift,
    energy_ratio,
    kl_divergence,
    power_spectrum,
    spectrum_distance,
    spectrum_excess,
    wasserstein,
)
from .common_task import common_task_scores, histogram_score, reconstruction_score, short_time_score, spectrum_score
from .oscillation import crossing_times, period, period_error, phase_error, spike_f1
from .pointwise import nrmse, rmse, valid_prediction_time
from .rolling_origin import Evaluation, Forecaster, evaluate

__all__ = [
    "Evaluation",
    "Forecaster",
    "common_task_scores",
    "correlation_dimension",
    "crossing_times",
    "drift",
    "energy_ratio",
    "evaluate",
    "histogram_score",
    "kl_divergence",
    "nrmse",
    "period",
    "period_error",
    "phase_error",
    "power_spectrum",
    "reconstruction_score",
    "rmse",
    "short_time_score",
    "smape",
    "smoothed_spectrum_distance",
    "spectrum_distance",
    "spectrum_excess",
    "spectrum_score",
    "spike_f1",
    "state_space_divergence",
    "valid_prediction_time",
    "wasserstein",
]
