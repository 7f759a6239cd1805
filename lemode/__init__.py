"""lemode: Long Expressive Memory as the discretization of a multiscale ODE."""

from .lem import LEM, LEMCell
from .ode import MultiscaleODE

__all__ = ["LEM", "LEMCell", "MultiscaleODE"]
__version__ = "0.1.0"
