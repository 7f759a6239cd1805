"""Trained surrogates of dynamical systems: fit, one-step prediction, free-running forecast, save and load."""

from .estimator import Surrogate
from .fit import fit
from .training import FitDivergedError, FitWarning

__all__ = ["FitDivergedError", "FitWarning", "Surrogate", "fit"]
