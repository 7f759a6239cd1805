"""lemode: Long Expressive Memory as the discretization of a multiscale ODE."""

from importlib import import_module
from typing import Any

from . import systems
from ._renamed import moved
from ._version import __version__ as __version__
from .continuous.inputs import Samples
from .continuous.solve import solve
from .conv import ConvLEM, ConvODE
from .errors import DiscontinuityWarning, SolveError
from .lem import LEM, LEMCell
from .ode import MultiscaleODE
from .supervised import LEMClassifier, LEMRegressor
from .surrogate import DataWarning, Ensemble, FieldSurrogate, FitDivergedError, FitTimeWarning, FitWarning, Surrogate, fit, tune
from .trajectories import Trajectories

__all__ = [
    "LEM",
    "ConvLEM",
    "ConvODE",
    "DataWarning",
    "DiscontinuityWarning",
    "Ensemble",
    "FieldSurrogate",
    "FitDivergedError",
    "FitTimeWarning",
    "FitWarning",
    "LEMCell",
    "LEMClassifier",
    "LEMRegressor",
    "MultiscaleODE",
    "Samples",
    "SolveError",
    "Surrogate",
    "Trajectories",
    "evaluate",
    "fit",
    "solve",
    "systems",
    "tune",
]

# reached as attributes, and imported only then
_LATE = ("analysis", "baselines", "convert", "export", "init", "metrics", "plots", "tasks")


for _old, _new in {
    "analysis.report": "analysis.audit_report",
    "inputs": "continuous.inputs",
    "solvers": "continuous.integrators",
}.items():
    moved(f"{__name__}.{_old}", f"{__name__}.{_new}")


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return import_module(f"{__name__}.{name}")
    if name == "evaluate":
        return import_module(f"{__name__}.metrics").evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATE, "evaluate"])
