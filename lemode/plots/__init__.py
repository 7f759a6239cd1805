"""Plots: every function takes and returns a matplotlib Axes; none of them shows or saves."""

from .results import (
    certified_forecast,
    gradient_flow,
    lyapunov_convergence,
    order_plot,
    stability_region,
    time_scale_histogram,
)
from .series import forecast, phase_plane, spacetime, spectra, time_scales, training_history
from .style import BLACK as BLACK
from .style import BLUE as BLUE
from .style import GREEN as GREEN
from .style import ORANGE as ORANGE
from .style import VERMILION as VERMILION

__all__ = [
    "certified_forecast",
    "forecast",
    "gradient_flow",
    "lyapunov_convergence",
    "order_plot",
    "phase_plane",
    "spacetime",
    "spectra",
    "stability_region",
    "time_scale_histogram",
    "time_scales",
    "training_history",
]
