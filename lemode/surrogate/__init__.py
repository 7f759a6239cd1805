"""Trained surrogates of dynamical systems: fit, one-step prediction, free-running forecast, save and load."""

from .estimator import Surrogate
from .field_surrogate import FieldSurrogate
from .fit import fit
from .training import FitDivergedError, FitWarning

__all__ = ["FieldSurrogate", "FitDivergedError", "FitWarning", "Surrogate", "fit"]
