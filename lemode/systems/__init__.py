"""Dynamical systems: right-hand sides with their Jacobians, facts and reference solutions."""

from .base import CallableSystem, SolveError, System
from .fitzhugh_nagumo import FitzHughNagumo

__all__ = ["CallableSystem", "FitzHughNagumo", "SolveError", "System"]
