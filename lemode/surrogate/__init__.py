"""Trained surrogates of dynamical systems: fit, one-step prediction, free-running forecast, save and load."""

from .errors import FitDivergedError, FitTimeWarning, FitWarning
from .estimator import Surrogate
from .field_surrogate import FieldSurrogate
from .fit import fit

__all__ = ["FieldSurrogate", "FitDivergedError", "FitTimeWarning", "FitWarning", "Surrogate", "fit"]
