"""Trained surrogates of dynamical systems: fit, one-step prediction, free-running forecast, save and load."""

from .._renamed import moved
from .errors import FitDivergedError, FitTimeWarning, FitWarning
from .field_surrogate import FieldSurrogate
from .fit import fit
from .surrogate import Surrogate

__all__ = ["FieldSurrogate", "FitDivergedError", "FitTimeWarning", "FitWarning", "Surrogate", "fit"]

moved(f"{__name__}.estimator", f"{__name__}.surrogate")
moved(f"{__name__}.continuous", f"{__name__}.flow_network")
