"""lemode: Long Expressive Memory as the discretization of a multiscale ODE."""

from . import systems
from .inputs import Samples
from .lem import LEM, LEMCell
from .ode import MultiscaleODE
from .solve import solve
from .surrogate import Surrogate, fit
from .trajectories import Trajectories

__all__ = ["LEM", "LEMCell", "MultiscaleODE", "Samples", "Surrogate", "Trajectories", "fit", "solve", "systems"]
__version__ = "0.1.0"
