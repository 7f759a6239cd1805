"""The time scales a network works at, measured along data and compared with those a system is known to have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import array, checks, pair, real, tensor
from ..lem import LEM, LEMCell
from ..schemes import get_scheme
from ..types import Array

__all__ = ["KnownScale", "Timescales", "timescales"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class KnownScale:
    """How a network covers one known time scale.

    Attributes
    ----------
    scale : float
        The known time scale.
    units_within_2 : float
        Fraction of all units (y and z, all layers) whose median lies within a factor 2 of it.
    visits_within_2 : float
        Fraction of all (unit, time) pairs within a factor 2: a unit may pass through a scale without resting there.
    nearest : (layer, variable, unit)
        The unit with the nearest median, by ratio.
    nearest_scale : float
        That median.

    Examples
    --------
    >>> rnn = lemode.LEM(1, 4, dt=0.5)
    >>> scale = timescales(rnn, torch.zeros(20, 1), dt_physical=0.1, known=[0.4, 40.0]).known[1]
    >>> scale.scale, scale.units_within_2  # gates near 1/2 are 100 times too fast for it
    (40.0, 0.0)
    """

    scale: float
    units_within_2: float
    visits_within_2: float
    nearest: tuple[int, str, int]
    nearest_scale: float


@dataclass(frozen=True)
class Timescales:
    """Effective time scales of every unit along data, in the time unit of `dt_physical`.

    Attributes
    ----------
    quantiles : (Q,)
        Levels; the median is among them.
    z, y : (layers, Q, d)
        Quantiles over the data of each unit's time scale.
    known : tuple of KnownScale
        One for each known time scale that was given.
    dt_physical : float
        Time of one step; no unit is faster.

    Examples
    --------
    >>> rnn = lemode.LEM(1, 4, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in rnn.parameters()]
    >>> scales = timescales(rnn, torch.zeros(20, 1), dt_physical=0.1)
    >>> scales.median  # all gates are 1/2: one step of 0.1 goes a quarter of the way
    array([[[0.4, 0.4, 0.4, 0.4],
            [0.4, 0.4, 0.4, 0.4]]])
    """

    quantiles: tuple[float, ...]
    z: Array
    y: Array
    known: tuple[KnownScale, ...]
    dt_physical: float

    @property
    def median(self) -> Array:
        """Each unit's median time scale, ``(layers, 2, d)``, z before y."""
        middle = self.quantiles.index(0.5)
        return np.stack([self.z[:, middle], self.y[:, middle]], axis=1)

    @property
    def spread(self) -> float:
        """Slowest over fastest median: the range of scales the network uses at once."""
        return float(self.median.max() / self.median.min())

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for json."""
        return {
            "dt_physical": self.dt_physical,
            "quantiles": list(self.quantiles),
            "z": self.z.tolist(),
            "y": self.y.tolist(),
            "spread": self.spread,
            "known": [vars(k) | {"nearest": list(k.nearest)} for k in self.known],
        }

    def __str__(self) -> str:
        lines = ["layer  state  " + "  ".join(f"{f'{100 * q:.0f} %':>9}" for q in self.quantiles) + "   of the units' medians"]
        for layer, both in enumerate(self.median):
            for name, medians in zip("zy", both):
                row = "  ".join(f"{v:9.4g}" for v in np.quantile(medians, self.quantiles))
                lines.append(f"{layer:5}  {name:>5}  {row}")
        if self.known:
            lines.append("known scale  units within 2x  visits within 2x  nearest unit")
        for k in self.known:
            layer, name, unit = k.nearest
            where = f"{name}[{unit}] of layer {layer} at {k.nearest_scale:.4g}"
            lines.append(f"{k.scale:11.4g}  {k.units_within_2:15.1%}  {k.visits_within_2:16.1%}  {where}")
        return "\n".join(lines)


@checks(u=tensor, state=pair, dt_physical=real, known=array)
def timescales(
    rnn: LEM,
    u: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    dt_physical: float = 1.0,
    known: Sequence[float] = (),
) -> Timescales:
    r"""Effective time scale of every unit along data: the time in which it would cover its distance to its target.

    .. math:: \tau_n = \frac{\Delta t_{\text{physical}}}{\ell_n}, \qquad x_n - x_{n-1} = \ell_n\, (\hat x_n - x_{n-1})

    with the leak :math:`\ell_n = \Delta t\, g_n` of LEM, which makes :math:`\tau` the inverse rate 1/g of the ODE in physical
    units; for the other schemes the leak is theirs. A step with :math:`\ell = 1` forgets the past, so :math:`\tau \ge`
    `dt_physical` for every :math:`\Delta t \le 1`. See ``theory/time_scales.py``.

    Parameters
    ----------
    rnn : LEM
        Unidirectional.
    u : (L, m) or (L, N, m)
        Input, time first (also for ``batch_first``).
    state : (y_0, z_0), optional
        As for `LEM.states`; zero by default.
    dt_physical : float
        Time between two inputs, in any unit; results are in that unit.
    known : sequence of float
        Time scales the system is known to have, in the same unit.

    Returns
    -------
    Timescales

    Raises
    ------
    TypeError
        For a network that is no LEM, or an input that is no tensor.
    ValueError
        For an input that does not fit the network, a dt_physical or a known scale that is not a positive number.

    Examples
    --------
    >>> rnn = LEM(1, 4, dt=0.5)
    >>> scales = timescales(rnn, torch.zeros(20, 1), dt_physical=0.1, known=[0.4])
    >>> scales.median.shape, bool((scales.median >= 0.1).all())
    ((1, 2, 4), True)
    """
    if not isinstance(rnn, LEM):
        raise TypeError(f"{type(rnn).__name__} is not a LEM: only its gates are time scales.")
    for name, values in (("dt_physical", [dt_physical]), ("known", list(known))):
        if not all(np.isfinite(v) and v > 0 for v in values):
            raise ValueError(f"{name}={dt_physical if name == 'dt_physical' else known}: give finite positive numbers.")
    if not isinstance(u, Tensor):
        raise TypeError(f"input is {type(u).__name__}: give a torch tensor (L, m) or (L, N, m).")
    seq = u.unsqueeze(1) if u.dim() == 2 else u
    if not len(seq):
        raise ValueError(f"input of shape {tuple(u.shape)} has no time steps: give at least one.")
    if not bool(torch.isfinite(seq).all()):
        raise ValueError("the input has entries that are not finite.")
    with torch.no_grad():
        layers = rnn.states(seq, state)
        taus = []
        for k, (ys, _) in enumerate(layers):
            cell = rnn.cells[k]
            assert isinstance(cell, LEMCell)
            y0 = torch.zeros_like(ys[:1]) if state is None else state[0][k].unsqueeze(0)
            gates = cell.ode.gates(torch.cat([y0, ys[:-1]]), seq)
            # the leak of the schemes that are no LEM: Euler's, and the exact one
            leak = get_scheme({"explicit": "imex", "strang": "exponential"}.get(cell.scheme.name, cell.scheme.name)).leak
            assert leak is not None
            # (2, L N, d), z before y
            taus.append(torch.stack([dt_physical / leak(cell.dt * g).double().flatten(0, 1) for g in gates]).cpu().numpy())
            seq = ys
    tau = np.stack(taus)  # (layers, 2, L N, d)
    q = np.quantile(tau, QUANTILES, axis=2)  # (Q, layers, 2, d)
    return Timescales(QUANTILES, q[:, :, 0].swapaxes(0, 1), q[:, :, 1].swapaxes(0, 1), _compare(tau, known), float(dt_physical))


def _compare(tau: Array, known: Sequence[float]) -> tuple[KnownScale, ...]:
    median = np.median(tau, axis=2)
    found = []
    for scale in known:
        layer, variable, unit = np.unravel_index(np.argmin(np.abs(np.log(median / scale))), median.shape)
        near, visits = (np.mean((x >= scale / 2) & (x <= scale * 2)) for x in (median, tau))
        where = (int(layer), "zy"[variable], int(unit))
        found.append(KnownScale(float(scale), float(near), float(visits), where, float(median[layer, variable, unit])))
    return tuple(found)
