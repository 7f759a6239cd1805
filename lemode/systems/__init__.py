"""Dynamical systems: right-hand sides with their Jacobians, facts and reference solutions."""

from .base import CallableSystem, SolveError, System
from .fitzhugh_nagumo import FitzHughNagumo
from .lorenz63 import Lorenz63

__all__ = ["CallableSystem", "FitzHughNagumo", "Lorenz63", "SolveError", "System"]
