r"""When perturbations die out and how fast: one certificate for the ODE and for LEM. Proofs: ``theory/``, section 5."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._checks import checks, pair, real, tensor
from .._renamed import state_first
from ..lem import LEMCell
from ..types import Array, State
from .bounds import growth_rate
from .engine import psi
from .jacobian import field_jacobian
from .network import Network, RowSums, as_ode, leak_below, row_sums, unit_cube_cell, weights
from .rounding import FUNCTION, U, inward, outward

__all__ = [
    "ContractionCertificate", "LyapunovBounds", "contraction_certificate", "contraction_rate",
    "logarithmic_norm", "lyapunov_bounds",
]  # fmt: skip


@dataclass(frozen=True)
class ContractionCertificate:
    r"""Psi, the weight r of the norm :math:`|x|_r = \max(r|z|_\infty, |y|_\infty)` and the smallest gate; see `contraction_certificate`.

    Psi is rounded up, the gate and the rate down, the factor up.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> found = contraction_certificate(cell)
    >>> found.holds, round(found.rate, 12), round(found.factor(cell), 12)  # x' = -x/2, and a step of LEM with dt = 0.5
    (True, 0.5, 0.75)
    """

    Psi: float
    r: float
    gate_min: float

    @property
    def holds(self) -> bool:
        """Whether Psi < 1, that is, whether contraction is proved."""
        return self.Psi < 1

    @property
    def rate(self) -> float:
        """Decay rate of the ODE, ``gate_min (1 - Psi)``, per unit of time; negative means nothing is proved."""
        return float(inward(self.gate_min * (1 - self.Psi), 2)) if self.holds else self.gate_min * (1 - self.Psi)

    def factor(self, cell: LEMCell) -> float:
        r""":math:`\|J\|_r \le 1 - \varphi(\Delta t\,g_{\min})(1 - \Psi)` for one step of the cell, if the certificate holds.

        ValueError for a dt > 1 with scheme 'imex', as the unit cube is then not kept.
        """
        shrinks = leak_below(unit_cube_cell(cell), self.gate_min)
        return min(1.0, float(outward(1 - float(inward(shrinks * (1 - self.Psi), 2)), 1))) if self.holds else math.inf


@checks(u=tensor, r=real)
def contraction_certificate(network: Network, u: Tensor | None = None, r: float | None = None) -> ContractionCertificate:
    r"""One certificate of contraction for the ODE and for LEM with every dt <= 1. Statement 5.4.

    .. math::

        \Psi = \min_{r > 0} \max_i \max\{\psi(r w_{1,i}, r w_{z,i}),\ \psi(w_{2,i}, w_{y,i}/r)\} < 1
        \;\Rightarrow\; \|J\|_r \le 1 - \Delta t\,g_{\min}(1 - \Psi), \quad
        |x(t) - \tilde x(t)|_r \le e^{-g_{\min}(1 - \Psi)t}\,|x(0) - \tilde x(0)|_r

    for two trajectories in the unit cube with the same input, in the norm :math:`|x|_r = \max(r|z|_\infty, |y|_\infty)`.
    :math:`g_{\min} = \min_i \hat\sigma(-w_{1,i} + \min_u (V_1 u + b_1)_i)`, and the same with index 2, is a lower bound
    of every gate. The first argument of the outer maximum increases with r, the second decreases: r is found by Brent's method on log r.

    Parameters
    ----------
    network : MultiscaleODE or LEMCell
    u : (..., m) tensor, optional
        The inputs to be covered; zero input by default.
    r : float, optional
        A weight to use instead of the best one; every r > 0 gives a valid certificate.

    Returns
    -------
    ContractionCertificate
        With ``holds``, ``Psi``, ``r``, ``gate_min``, ``rate`` and ``factor(cell)``.

    Raises
    ------
    TypeError, ValueError
        For another kind of network, weights that are not finite, or inputs with another number of features.

    Examples
    --------
    >>> ode = lemode.MultiscaleODE(1, 2)
    >>> _ = [torch.nn.init.zeros_(p) for p in ode.parameters()]
    >>> round(contraction_certificate(ode).rate, 12)  # x' = -x/2
    0.5
    """
    gate_min, w = _gate_min(network, u), row_sums(network)
    if r is not None:
        if not (math.isfinite(r) and r > 0):
            raise ValueError(f"r={r:g}: the weight of z must be finite and positive.")
        rising, falling = _psi_terms(w, np.array([r]))
        return ContractionCertificate(float(max(rising[0], falling[0])), float(r), gate_min)
    from scipy.optimize import brentq

    def difference(log_r: float) -> float:
        rising, falling = _psi_terms(w, np.exp([log_r]))
        return float(rising[0] - falling[0])

    low, high = -20.0, 20.0
    crosses = difference(low) < 0 < difference(high)
    best = np.exp([brentq(difference, low, high, xtol=1e-14) if crosses else low if difference(low) >= 0 else high])
    Psi = np.maximum(*_psi_terms(w, best))
    return ContractionCertificate(float(Psi[0]), float(best[0]), gate_min)


def certificates(network: Network, u: Tensor | None = None) -> list[ContractionCertificate]:
    """The certificates that hold, for the best weight r and others: a bound that depends on r takes the best of them."""
    best = contraction_certificate(network, u)
    if not best.holds:
        return []
    w, r = row_sums(network), np.geomspace(1e-3, 1e3, 61)
    Psi = np.maximum(*_psi_terms(w, r))
    others = (ContractionCertificate(float(P), float(x), best.gate_min) for P, x in zip(Psi, r, strict=True) if P < 1)
    return [best, *others]


@checks(u=tensor)
def contraction_rate(network: Network, u: Tensor | None = None) -> float:
    r"""Proved decay rate of the ODE's perturbations per unit of time, 0 if none is proved. Statement 5.4.

    .. math:: g_{\min}\,(1 - \Psi)_+

    Arguments and errors as for `contraction_certificate`.

    Examples
    --------
    >>> ode = lemode.MultiscaleODE(1, 2)
    >>> _ = [torch.nn.init.zeros_(p) for p in ode.parameters()]
    >>> round(contraction_rate(ode), 12)
    0.5
    """
    return max(0.0, contraction_certificate(network, u).rate)


@state_first
@checks(state=pair, u=tensor)
def logarithmic_norm(ode: Network, state: State, u: Tensor) -> Tensor:
    r"""The logarithmic norm :math:`\mu_\infty(DF) = \max_i (DF_{ii} + \sum_{j \ne i} |DF_{ij}|)` of the ODE. Statement 5.3.

    It bounds the instantaneous growth rate of a perturbation; over the unit cube it is at most ``growth_rate(ode)``.

    Parameters
    ----------
    ode : MultiscaleODE or LEMCell
    state : (y, z), each (..., d)
    u : (..., m)

    Returns
    -------
    Tensor (...)

    Raises
    ------
    TypeError
        If ode is neither.

    Examples
    --------
    >>> ode = lemode.MultiscaleODE(1, 2)
    >>> _ = [torch.nn.init.zeros_(p) for p in ode.parameters()]
    >>> logarithmic_norm(ode, (torch.zeros(2), torch.zeros(2)), torch.zeros(1))
    tensor(-0.5000, grad_fn=<AmaxBackward0>)
    """
    DF = field_jacobian(ode, state, u)
    diagonal = DF.diagonal(dim1=-2, dim2=-1)
    return (diagonal - diagonal.abs() + DF.abs().sum(-1)).amax(-1)


class LyapunovBounds(NamedTuple):
    """Upper bounds of the largest Lyapunov exponent, per unit of time: of the ODE and of the discrete map. See `lyapunov_bounds`.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> bounds = lyapunov_bounds(cell)
    >>> round(bounds.ode, 4), round(bounds.lem, 4)  # -1/2, and log(1 - 1/4) / dt
    (-0.5, -0.5754)
    """

    ode: float
    lem: float


@checks(u=tensor)
def lyapunov_bounds(cell: LEMCell, u: Tensor | None = None) -> LyapunovBounds:
    r"""Upper bounds of the largest Lyapunov exponent along any trajectory in the unit cube. Statements 5.3, 5.4.

    .. math:: \lambda_{\mathrm{ODE}} \le \min\{\Gamma_0,\ -g_{\min}(1 - \Psi)\}, \qquad
        \lambda_{\mathrm{LEM}} \le \frac{1}{\Delta t} \min\{\log(1 + \Delta t\,\Gamma),\ \log(1 - \varphi(\Delta t\,g_{\min})(1 - \Psi))\}

    the second of each pair only where the contraction certificate holds; :math:`\Gamma_0` is :math:`\Gamma` at dt = 0.

    Parameters
    ----------
    cell : LEMCell
    u : (..., m) tensor, optional
        The inputs to be covered by the certificate; zero input by default.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> round(lyapunov_bounds(cell).ode, 12)
    -0.5
    """
    cell = unit_cube_cell(cell)
    ode, rate = growth_rate(cell.ode), growth_rate(cell)
    # log(1 + x) <= x
    lem = min(rate, float(outward(math.log1p(cell.dt * rate) / cell.dt, 2 * FUNCTION)))
    certificate = contraction_certificate(cell, u)
    if certificate.holds:
        ode = min(ode, -certificate.rate)
        factor = certificate.factor(cell)
        lem = min(lem, -float(inward(-math.log(factor) / cell.dt, FUNCTION + 1)))
    return LyapunovBounds(ode, lem)


def _psi_terms(w: RowSums, r: Array) -> tuple[Array, Array]:
    """The two arguments of the outer maximum of Psi for an array of weights r: one rises with r, the other falls."""
    # psi is homogeneous: psi(r a, r b) = r psi(a, b)
    return outward(r * float(np.max(psi(w.w1, w.wz))), 1), np.asarray(psi(w.w2[:, None], outward(w.wy[:, None] / r, 1))).max(0)


def _gate_min(network: Network, u: Tensor | None) -> float:
    """A lower bound of both gates over y in the unit cube and the given inputs."""
    w, r, ode = weights(network), row_sums(network), as_ode(network)
    inputs = np.zeros((1, ode.input_size)) if u is None else u.detach().cpu().double().numpy().reshape(-1, u.shape[-1])
    if inputs.shape[1] != ode.input_size:
        raise ValueError(f"u has {inputs.shape[1]} features, the network reads {ode.input_size}: give (..., {ode.input_size}).")
    if len(inputs) == 0 or not np.isfinite(inputs).all():
        raise ValueError("u: give at least one input, all of them finite.")
    lowest, terms = math.inf, inputs.shape[1] + 2
    for index, row in (("1", r.w1), ("2", r.w2)):
        V, b = w["V" + index], w["b" + index]
        sizes = np.abs(inputs).max(0) @ np.abs(V).T + np.abs(b) + row
        lowest = min(lowest, float(((inputs @ V.T).min(0) + b - row - outward(2 * terms * U * sizes, terms)).min()))
    return float(inward(torch.sigmoid(torch.tensor(lowest, dtype=torch.float64)).item(), FUNCTION))
