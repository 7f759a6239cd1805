"""lemode: Long Expressive Memory as the discretization of a multiscale ODE."""

from . import systems
from .lem import LEM, LEMCell
from .ode import MultiscaleODE
from .surrogate import Surrogate, fit
from .trajectories import Trajectories

__all__ = ["LEM", "LEMCell", "MultiscaleODE", "Surrogate", "Trajectories", "fit", "systems"]
__version__ = "0.1.0"
