"""Dynamical systems: right-hand sides with their Jacobians, facts and reference solutions."""

from ..errors import SolveError
from .base import CallableSystem, System
from .burgers import Burgers
from .dysts_flows import from_dysts
from .facts import Fact
from .fitzhugh_nagumo import FitzHughNagumo
from .forced_fitzhugh_nagumo import ForcedFitzHughNagumo
from .hodgkin_huxley import HodgkinHuxley
from .kuramoto_sivashinsky import KuramotoSivashinsky
from .linear_two_scale import LinearTwoScale
from .lorenz63 import Lorenz63
from .lorenz96 import Lorenz96, Lorenz96TwoScale
from .mackey_glass import MackeyGlass
from .registry import available, describe, get
from .robertson import Robertson
from .roessler import Roessler
from .spectral import ResolutionWarning
from .symbolic import from_sympy
from .van_der_pol import VanDerPol
from .watch import silent

from_callable = CallableSystem

__all__ = [
    "Burgers",
    "CallableSystem",
    "Fact",
    "FitzHughNagumo",
    "ForcedFitzHughNagumo",
    "HodgkinHuxley",
    "KuramotoSivashinsky",
    "LinearTwoScale",
    "Lorenz63",
    "Lorenz96",
    "Lorenz96TwoScale",
    "MackeyGlass",
    "ResolutionWarning",
    "Robertson",
    "Roessler",
    "SolveError",
    "System",
    "VanDerPol",
    "available",
    "describe",
    "from_callable",
    "from_dysts",
    "from_sympy",
    "get",
    "silent",
]
