"""What can be proved about a LEM network, computed: Jacobians, bounds on states and gradients, stability, audits."""

from .engine import beta, chi, gam, lem_G, linear_growth, psi, psi_r

__all__ = ["beta", "chi", "gam", "lem_G", "linear_growth", "psi", "psi_r"]
