"""What can be proved about a LEM network, computed: Jacobians, bounds on states and gradients, stability, audits.

What is asked at a state takes (cell or ode, state, u), as `lemode.schemes` does; what runs along a sequence takes (network, u), and may
be given an initial state after it, as `torch.nn.LSTM`.
"""

from .audit_report import AuditReport, GradientFlow, Row
from .auditing import audit
from .bounds import (
    growth_rate,
    input_bound,
    jacobian_bound,
    jacobian_bound_posterior,
    state_radius,
    step_distance_bound,
)
from .convergence import ConvergenceStudy, convergence_study
from .discretization import decay_error_bound, gate_bias, global_error_bound, local_error_bound, stability_region
from .engine import beta, chi, gam, lem_G, linear_growth, psi, psi_r
from .gradients import (
    Linearisation,
    gradient_bound,
    gradient_bound_posterior,
    linearisable,
    quadratic_pull,
    recollected_bound,
)
from .horizon import CertifiedHorizon, certified_horizon
from .inverse import gradient_floor, highway_floor, inverse_bound, inverse_bound_posterior, inverse_step
from .jacobian import (
    Coefficients,
    StepJacobian,
    coefficients,
    field_jacobian,
    input_jacobian,
    parameter_jacobian,
    step_jacobian,
    trajectory_jvp,
    trajectory_vjp,
)
from .lyapunov import LyapunovSpectrum, lyapunov_spectrum, spectrum_of_flow, spectrum_of_map
from .lyapunov_network import spectrum_of_closed_loop, spectrum_of_lem
from .products import jacobian_product_bound
from .stability import (
    ContractionCertificate,
    LyapunovBounds,
    contraction_certificate,
    contraction_rate,
    logarithmic_norm,
    lyapunov_bounds,
)
from .statements import STATEMENTS, Statement
from .sweeps import PromisedSweeps, promised_sweeps
from .teacher_forcing import CriticalForcing, critical_forcing
from .time_scales import KnownScale, Timescales, timescales
from .trapping import TrappingRegion, trapping_region
from .tube import Tube, tube_along
from .windows import WindowContraction, contraction_over_windows

__all__ = [
    "STATEMENTS",
    "AuditReport",
    "CertifiedHorizon",
    "Coefficients",
    "ContractionCertificate",
    "ConvergenceStudy",
    "CriticalForcing",
    "GradientFlow",
    "KnownScale",
    "Linearisation",
    "LyapunovBounds",
    "LyapunovSpectrum",
    "PromisedSweeps",
    "Row",
    "Statement",
    "StepJacobian",
    "Timescales",
    "TrappingRegion",
    "Tube",
    "WindowContraction",
    "audit",
    "beta",
    "certified_horizon",
    "chi",
    "coefficients",
    "contraction_certificate",
    "contraction_over_windows",
    "contraction_rate",
    "convergence_study",
    "critical_forcing",
    "decay_error_bound",
    "field_jacobian",
    "gam",
    "gate_bias",
    "global_error_bound",
    "gradient_bound",
    "gradient_bound_posterior",
    "gradient_floor",
    "growth_rate",
    "highway_floor",
    "input_bound",
    "input_jacobian",
    "inverse_bound",
    "inverse_bound_posterior",
    "inverse_step",
    "jacobian_bound",
    "jacobian_bound_posterior",
    "jacobian_product_bound",
    "lem_G",
    "linear_growth",
    "linearisable",
    "local_error_bound",
    "logarithmic_norm",
    "lyapunov_bounds",
    "lyapunov_spectrum",
    "parameter_jacobian",
    "promised_sweeps",
    "psi",
    "psi_r",
    "quadratic_pull",
    "recollected_bound",
    "spectrum_of_closed_loop",
    "spectrum_of_flow",
    "spectrum_of_lem",
    "spectrum_of_map",
    "stability_region",
    "state_radius",
    "step_distance_bound",
    "step_jacobian",
    "timescales",
    "trajectory_jvp",
    "trajectory_vjp",
    "trapping_region",
    "tube_along",
]
