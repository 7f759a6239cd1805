"""lemode: Long Expressive Memory as the discretization of a multiscale ODE."""

from importlib import import_module
from typing import Any

from . import systems
from .conv import ConvLEM, ConvODE
from .inputs import Samples
from .lem import LEM, LEMCell
from .ode import MultiscaleODE
from .solve import solve
from .surrogate import FieldSurrogate, Surrogate, fit
from .trajectories import Trajectories

__all__ = [
    "LEM",
    "ConvLEM",
    "ConvODE",
    "FieldSurrogate",
    "LEMCell",
    "MultiscaleODE",
    "Samples",
    "Surrogate",
    "Trajectories",
    "fit",
    "solve",
    "systems",
]
__version__ = "0.1.0"

# reached as attributes, and imported only then
_LATE = ("analysis", "baselines", "metrics", "plots")


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATE])
