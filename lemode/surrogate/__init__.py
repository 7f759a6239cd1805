r"""Trained surrogates of dynamical systems: fit, one-step prediction, free-running forecast, save and load.

One name has one meaning here:

================  ==================================================================================================
name              meaning
================  ==================================================================================================
interval, step\_  time from one sample to the next, in the unit of the data; `dt` of a forecast is one, too
dt                step of the network, `lemode.LEM`; everywhere but in `forecast`
r                 intervals in units of the usual one, ``(T, n, 2)``: before and after each sample
steps             how many: gradient steps of a fit, values of a forecast
history           what a forecast begins from; ``history_``, a `History`, is what happened in a fit
washout           samples at the beginning of a window that do not count
warmup            samples of truth before a free run; ``warmup_``, the least that `forecast` takes
lr_rise           gradient steps in which the learning rate rises
inputs            known variables that are read and not predicted, as the user names them and has them
e                 the same, normalised and at both ends of a step, as the network reads them; `exogenous` in the kernels
noise             of the stage 'noise', in units of the one-step error reached
input_noise       of the one-step stage, in increments; noisy: the share of the series of a batch that get it
table             what the training data were like, by which others are read; form: how data were given, and are given back
way               from the data to the coordinates of the network, a scale of each series or a circle for angles, and back
series, judge     what is trained on, and what chooses the weights; grid: either one before it is normalised
================  ==================================================================================================

Each file stands on those before it: parameters, seeds, errors, clock, frames, labelled, reading, optimizers; data_checks, series, recipe,
network, containment, scaling, circle, data, field_network, flow_network, forecast, bands, losses, phases, run, worth, plain_json,
storage, schema, callbacks, processes, checkpoint, progress, interrupts, training, least_squares, parallel, tsqr, readout_network,
side_by_side, field_readout_network, readout, field_readout, fitters, base, stream, stream_readout, surrogate,
field_surrogate, fit_system; conformal,
trust_horizon, origins, reliability, ensemble_split, ensemble, search.
"""

from .._renamed import moved
from .callbacks import Callback, JSONLog, LivePlot, TensorBoard
from .data_checks import DataWarning
from .ensemble import Ensemble
from .errors import FitDivergedError, FitTimeWarning, FitWarning
from .field_surrogate import FieldSurrogate
from .fit_system import fit
from .processes import Processes
from .search import Tuned, tune
from .stream import Stream
from .surrogate import Surrogate

__all__ = [
    "Callback",
    "DataWarning",
    "Ensemble",
    "FieldSurrogate",
    "FitDivergedError",
    "FitTimeWarning",
    "FitWarning",
    "JSONLog",
    "LivePlot",
    "Processes",
    "Stream",
    "Surrogate",
    "TensorBoard",
    "Tuned",
    "fit",
    "tune",
]

moved(f"{__name__}.estimator", f"{__name__}.surrogate")
moved(f"{__name__}.continuous", f"{__name__}.flow_network")
moved(f"{__name__}.fit", f"{__name__}.fit_system")
