r"""Tubes: what is proved about all trajectories that start near a given one, where bounds from the weights alone say nothing.

Along a trajectory with Jacobians :math:`J_k`, products :math:`\Phi_{n,k} = J_{n-1} \cdots J_k`, and :math:`R_k(e)` a bound on
:math:`|DF(v) - J_k|` over the box :math:`|v - v_k| \le e` (`lemode.analysis.enclosure`),

.. math:: e_n = |\Phi_{n,0}|\,e_0 + \sum_{k<n} |\Phi_{n,k+1}|\,(R_k(e_k)\,e_k + \rho_k)

bounds the distance of every trajectory that starts within :math:`e_0`, with steps that err by :math:`\rho_k`; statement 8.1, proof in
``theory/along_data.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .._checks import array, checks, pair, tensor
from ..lem import LEM, LEMCell
from ..types import Array, State
from .enclosure import LayerStep, enclose_layers
from .rounding import U, outward, unit_roundoff

__all__ = ["Spread", "Tube", "check_work", "tube_along"]

# products of matrices, in multiplications: some minutes on one core
WORK = 1e12


class Spread:
    r"""What a linear recursion makes of noise in boxes: :math:`\sum_k |A_{n-1} \cdots A_{k+1}|\, q_k`, for some columns of q at a time.

    Nothing is lost to turning boxes, as it would be by a bound on the size of :math:`A_{n-1}` alone.

    Examples
    --------
    A rotation keeps a disc, and a box that is turned is measured anew, not once more at each step:

    >>> c = np.sqrt(0.5)
    >>> spread, still = Spread(2, steps=8), np.zeros((2, 1))
    >>> spread.add(np.ones((2, 1)))
    >>> for _ in range(8):
    ...     spread.advance(np.array([[c, -c], [c, c]]), still)
    >>> spread.total().round(3).ravel()
    array([1., 1.])
    """

    def __init__(self, size: int, steps: int, columns: int = 1) -> None:
        self.size, self.count = size, 0
        self.G = np.empty((size, (steps + 1) * size))
        self.q = np.empty(((steps + 1) * size, columns))

    def add(self, q: Array) -> None:
        """Noise ``(size, columns)`` from now on."""
        here = slice(self.count * self.size, (self.count + 1) * self.size)
        self.G[:, here], self.q[here] = np.eye(self.size), q
        self.count += 1

    def advance(self, A: Array, q: Array) -> None:
        """One step by the matrix A, then noise q; what the product loses to rounding is the caller's to add to q."""
        filled = slice(0, self.count * self.size)
        self.G[:, filled] = A @ self.G[:, filled]
        self.add(q)

    def reach(self, M: Array) -> Array:
        """Of one column: how far M times what there is can be from zero; less than ``abs(M) @ total``, where things cancel."""
        n = self.count * self.size
        rounding = 2 * (self.size + 2) * U * (np.abs(M) @ self.total()[:, 0])
        return outward(np.abs(M @ self.G[:, :n]) @ self.q[:n, 0] + rounding, n)

    def total(self) -> Array:
        """``(size, columns)``."""
        n = self.count * self.size
        return outward(np.abs(self.G[:, :n]) @ self.q[:n], n)


def check_work(size: int, steps: int, what: str) -> None:
    """ValueError where a recursion over so many steps would take hours.

    Examples
    --------
    >>> check_work(1001, 600, "a horizon")
    Traceback (most recent call last):
    ValueError: a horizon of 600 steps in 1001 dimensions takes 2e+14 multiplications: give at most 44 steps, or a smaller network.
    """
    if steps**2 / 2 * size**3 > WORK:
        most = int((2 * WORK / size**3) ** 0.5)
        raise ValueError(
            f"{what} of {steps} steps in {size} dimensions takes {steps**2 / 2 * size**3:.0g} multiplications: "
            + (f"give at most {most} steps, or a smaller network." if most else "it is for smaller networks.")
        )


@dataclass(frozen=True)
class Tube:
    r"""What holds for every trajectory that starts in a box around a given one; see `tube_along`.

    Attributes
    ----------
    y, z : (N + 1, layers, d)
        The trajectory in the middle, the initial state first.
    radius_y, radius_z : (N + 1, layers, d)
        How far any of the trajectories is from it; inf after the last step for which something is proved.
    product : (N + 1,)
        A bound on :math:`\|J_n \cdots J_1\|_\infty` along any of the trajectories; 1 at n = 0, inf as above.
    steps : int
        The last step for which something is proved.

    Examples
    --------
    >>> found = tube_along(lemode.LEMCell(1, 4, dt=0.1), torch.zeros(50, 1), radius=1e-3)
    >>> found.steps, found.radius_y.shape, float(found.product[0])
    (50, (51, 1, 4), 1.0)
    """

    y: Array
    z: Array
    radius_y: Array
    radius_z: Array
    product: Array
    steps: int

    def __str__(self) -> str:
        last = self.steps
        reach = max(self.radius_y[last].max(), self.radius_z[last].max())
        return (
            f"Proved for {last} of {len(self.product) - 1} steps: trajectories stay within {reach:.3g} of the one in the middle, "
            f"and ||J_{last} ... J_1||_inf <= {self.product[last]:.4g} along each of them."
        )


@checks(u=tensor, state=pair, radius=array, input_radius=array)
def tube_along(
    rnn: LEM | LEMCell, u: Tensor, state: State | None = None, *, radius: ArrayLike = 1e-3, input_radius: ArrayLike = 0.0
) -> Tube:
    r"""Every trajectory that starts near a given one: how far it gets, and how large products of its Jacobians are. Statement 8.1.

    .. math::

        |x_n - \bar x_n| \le e_n, \qquad \|J_n \cdots J_1\|_\infty \le \|M_n\|_\infty, \qquad
        M_n = |\Phi_{n,0}| + \sum_{k<n} |\Phi_{n,k+1}|\,R_k(e_k)\,M_k

    for all initial states within `radius` of the given one and all inputs within `input_radius` of u. On a trained network a bound from the
    weights alone grows by orders of magnitude at each step; this one stays near the truth, until it does not: where a distance would
    exceed 2, the width of the cube, it stops. It holds for the network as it runs, in its own precision. It is computed on the CPU in
    float64, wherever the network is.

    Parameters
    ----------
    rnn : LEM or LEMCell
        Of one direction, with scheme 'imex', 'semi_implicit' or 'exponential'.
    u : (N, m)
        The inputs, of one sequence.
    state : (y, z), each (layers, d), or (d,) for a cell, optional
        Zero by default.
    radius : float, or what broadcasts to (2, layers, d)
        Of the initial box, for y and z; not negative.
    input_radius : float or (m,)
        Of the inputs.

    Returns
    -------
    Tube

    Raises
    ------
    TypeError, ValueError
        For another network or scheme, shapes that do not fit, radii that are negative or not finite, or more work than some minutes: N
        steps of D = 2 d layers numbers take N^2 D^3 / 2 multiplications.

    Examples
    --------
    Beside the bound from the weights alone:

    >>> cell = lemode.LEMCell(1, 8, dt=0.5)
    >>> found = tube_along(cell, torch.sin(torch.arange(40.0)).reshape(40, 1), radius=1e-3)
    >>> bool(found.product[-1] < lemode.analysis.jacobian_bound(cell) ** 40)
    True
    """
    cells = _cells(rnn)
    steps = [LayerStep(cell) for cell in cells]
    d, layers, unit = steps[0].d, len(steps), unit_roundoff(cells[0].ode.weight_zy.dtype)
    size = 2 * d * layers
    if u.dim() != 2 or u.shape[1] != steps[0].m or not len(u):
        raise ValueError(f"u has shape {tuple(u.shape)}: give the inputs of one sequence, (N, {steps[0].m}).")
    check_work(size, len(u), "a tube")
    inputs, x = u.detach().to("cpu", torch.float64).numpy(), _start(state, layers, d)
    e = _radii("radius", radius, (2, layers, d))[::-1].transpose(1, 0, 2).reshape(size)  # (z, y) of each layer in turn
    eu = _radii("input_radius", input_radius, (steps[0].m,))
    if not (np.isfinite(inputs).all() and np.isfinite(x).all()):
        raise ValueError("u and state: give finite numbers.")
    N = len(inputs)
    middle, radii, product = np.empty((N + 1, size)), np.full((N + 1, size), np.inf), np.full(N + 1, np.inf)
    spread = Spread(size, N, columns=2)
    noise = np.stack([e, np.ones(size)], 1)
    spread.add(noise)
    middle[0], radii[0], product[0], last = x, e, 1.0, 0
    for n in range(N):
        found = enclose_layers(steps, x, noise[:, 0], inputs[n], eu, unit)
        middle[n + 1] = x = found.image
        if last < n:
            continue
        A = found.by_state.mid
        fresh = (found.by_state.rad + 2 * size * U * np.abs(A)) @ noise
        fresh[:, 0] += found.by_input.size() @ eu + found.own + found.running
        spread.advance(A, outward(fresh, 2 * size))
        after = spread.total()
        if not after[:, 0].max() <= 2:
            noise = np.zeros_like(noise)
            continue
        noise, last = after, n + 1
        radii[last], product[last] = noise[:, 0], noise[:, 1].max()
    by_layer = [a.reshape(N + 1, layers, 2, d) for a in (middle, radii)]
    (y, ey), (z, ez) = ([a[:, :, k] for a in by_layer] for k in (1, 0))
    return Tube(y, z, ey, ez, product, last)


def _cells(rnn: object) -> list[LEMCell]:
    if isinstance(rnn, LEM):
        if rnn.bidirectional:
            raise ValueError("bidirectional=True: a tube follows a causal recursion; take one direction's cells.")
        return list(rnn.layers())
    if isinstance(rnn, LEMCell):
        return [rnn]
    raise TypeError(f"rnn is {type(rnn).__name__}: give a lemode.LEM or a lemode.LEMCell.")


def _start(state: State | None, layers: int, d: int) -> Array:
    if state is None:
        return np.zeros(2 * layers * d)
    y, z = (s.detach().to("cpu", torch.float64).numpy() for s in state)
    if not y.shape == z.shape or y.shape not in ((layers, d), *([(d,)] if layers == 1 else [])):
        raise ValueError(f"state has shapes {y.shape}, {z.shape}: give (y, z), each {(layers, d)}.")
    return np.stack([z.reshape(layers, d), y.reshape(layers, d)], 1).reshape(-1)


def _radii(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    found = np.asarray(value, dtype=np.float64)
    if not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(f"{name}={found.tolist()}: give radii that are finite and not negative.")
    try:
        return np.broadcast_to(found, shape).copy()
    except ValueError:
        raise ValueError(f"{name} has shape {found.shape}: give one number, or {shape}.") from None
