"""Dynamical systems: right-hand sides with their Jacobians, facts and reference solutions."""

from .base import CallableSystem, SolveError, System
from .fitzhugh_nagumo import FitzHughNagumo
from .forced_fitzhugh_nagumo import ForcedFitzHughNagumo
from .lorenz63 import Lorenz63

__all__ = ["CallableSystem", "FitzHughNagumo", "ForcedFitzHughNagumo", "Lorenz63", "SolveError", "System"]
