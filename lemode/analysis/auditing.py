"""Every bound of the theory that applies to a trained network, evaluated on the user's own data beside what it bounds."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from .. import kernels
from .._checks import integer, pair
from ..continuous.integrators import refreshed, rk4_step
from ..lem import LEM, LEMCell
from ..threads import one_thread
from ..types import Array, State
from .adjoint import StepsAlong, adjoint, steps_along
from .audit_report import AuditReport, GradientFlow, Row, between
from .bounds import (
    growth_rate,
    input_bound,
    jacobian_bound,
    jacobian_bound_posterior,
    state_radius,
    step_distance_bound,
)
from .discretization import global_error_bound, local_error_bound
from .enclosure import Ball, LayerStep
from .gradients import gradient_bound, quadratic_pull
from .inverse import floors, inverse_bound, inverse_bound_posterior
from .network import GROUPS, plain, row_sums, unit_cube_cell, weights
from .products import row_sums_of_products
from .recursion import block_recursion, posterior_bounds, recursion
from .rounding import FUNCTION, U, dot_above, inward, outward
from .stability import contraction_certificate, logarithmic_norm

__all__ = ["audit"]

# numbers of Jacobians at a time; and the most (2 d)^3 of all of them, ten seconds of norms, by which states are left out of the rows
BLOCK, MOST_WORK = 5_000_000, 5_000_000_000
# a rounding that is left of what has underflowed
NOTHING = 1e-290
# units up to which G_rec is computed for every row, in O(N d^3); beyond, for the largest of all, in O(N d), which is never below it
ROWS_APART = 64


@one_thread()
def audit(
    rnn: LEM,
    u: Tensor,
    target: Tensor | None = None,
    readout: tuple[ArrayLike, ArrayLike] | None = None,
    state: State | None = None,
    max_samples: int = 8,
    max_states: int = 1000,
    dt: float | Tensor | None = None,
) -> AuditReport:
    r"""Evaluate every statement that applies to a trained network on data, and return measured values beside bounds.

    The loss is

    .. math:: E = \frac1N \sum_{n=1}^N \tfrac12 \|y_n - \bar y_n\|_2^2 \quad\text{or, with a readout,}\quad
              \frac1N \sum_{n=1}^N \tfrac12 \|C y_n + c - \bar o_n\|_2^2,

    averaged over samples; y is the output of the last layer. Statement numbers are those of ``theory/``.

    **Stacked layers.** Every statement covers one layer, driven by its own input. Each layer is therefore audited by itself: on the
    output of the layer below, and with the gradient that actually reaches its output from the layers above (measured, then
    taken as given). No row bounds the product of several layers.

    **Rounding.** Bounds are rounded outward, and each measured value comes with a bound on its own rounding: where the two are nearer than
    that, a row is undecided, and says so. What is measured is the network's weights, whatever their dtype, run in float64; of the states
    that were met the derivatives are the exact ones. The rows of 6.2 are measured against a Runge-Kutta method, whose error is estimated.

    Parameters
    ----------
    rnn : LEM
        A trained network, not bidirectional, of scheme 'imex', 'semi_implicit' or 'exponential'. It is copied, not changed;
        everything is computed in float64, without dropout.
    u : (L, N, m), (N, L, m) if batch_first, or (L, m)
        Inputs.
    target : like the output, or of the readout's features; optional
        Zero by default.
    readout : (C, c), optional
        Arrays ``(o, d)`` and ``(o,)``.
    state : (y_0, z_0), each (num_layers, N, d), optional
        Initial state in the unit cube; zero by default.
    max_samples : int
        Gradients and products of Jacobians are evaluated on at most this many sequences, evenly spaced over the batch.
    max_states : int
        Matrix norms are evaluated at no more states than this per layer, evenly spaced over time.
    dt : number, (L,) or (L, N) tensor ((N, L) if batch_first), optional
        The step sizes with which the network is run, as for `lemode.LEM.forward`; each cell's own by default. Where they differ, what is
        known before the data are bounds of the largest, by statement 11.1.

    Returns
    -------
    AuditReport
        Print it for the table; ``to_dict()["rows"]``, ``plot()``, ``holds``.

    Raises
    ------
    TypeError, ValueError
        For another kind of network, weights or data that are not finite, a bidirectional network, an unsupported scheme, dt > 1
        with scheme 'imex', an initial state outside the unit cube, or shapes that do not fit.

    Examples
    --------
    >>> report = audit(lemode.LEM(1, 2, dt=0.1), torch.randn(10, 3, 1), torch.zeros(10, 3, 2))
    >>> report.holds
    True
    """
    for name, value in (("max_samples", max_samples), ("max_states", max_states)):
        if integer(name, value) < 1:
            raise ValueError(f"{name}={value!r}: give a positive integer.")
    net, seq, goal, notes = _prepare(rnn, u, target, readout, max_samples)
    sizes = _step_sizes(net, u, seq, dt, notes)
    picked = _evenly(seq.shape[1], max_samples)
    start = [None] * len(net.cells) if state is None else _initial(state, net, seq.shape[1])
    C_c = None if readout is None else tuple(torch.as_tensor(np.asarray(x, dtype=np.float64)) for x in readout)
    layers = list(_layers(net, seq, start, picked, sizes))
    _backward(layers, goal[:, picked], C_c)
    rows: list[Row] = []
    flows = []
    for layer in layers:
        top = layer is layers[-1]
        there = layer.u.shape[0] * layer.u.shape[1]
        states = min(max_states, max(MOST_WORK // (2 * layer.cell.ode.hidden_size) ** 3, 10))
        if states < min(max_states, there):
            notes.append(
                f"layer {layer.index}: the rows about Jacobians are of {states} of {there:,} states, evenly spaced: a norm of a matrix of "
                f"order {2 * layer.cell.ode.hidden_size:,} takes long."
            )
        rows += [*_state_rows(layer), *_jacobian_rows(layer, states), *_error_rows(layer)]
        flow, flow_rows = _flow(layer)
        flows.append(flow)
        Y = float(goal.abs().max())
        mean_pull = layer.pull.abs().mean(1).numpy()
        pull = quadratic_pull(layer.cell, len(seq), Y, readout, layer.x0) if top else mean_pull
        rows += [*flow_rows, *_gradient_rows(layer, pull, "" if top else ", given the gradient at its output")]
        certificate = contraction_certificate(layer.cell, layer.u)
        if not certificate.holds:
            notes.append(
                f"layer {layer.index}: contraction (5.4) is not certified, Psi = {certificate.Psi:.3g} >= 1; G_unif does not apply."
            )
        growth = float(row_sums_of_products(layer.cell, len(seq))[0][-1]) * math.log10(2)
        if growth > 6:
            notes.append(
                f"layer {layer.index}: a step may grow a perturbation by {jacobian_bound(layer.cell):.3g} (J1), {len(seq)} steps by "
                f"1e{growth:.0f} (J7): over so long a time the a-priori gradient bounds hold but say little; G_adj, from the data, does."
            )
        if math.isinf(inverse_bound(layer.cell)):
            notes.append(f"layer {layer.index}: no a-priori floor (5.2), it needs dt < 1 and dt chi(w2) < 1.")
    return AuditReport(rows, flows, notes)


@dataclass
class _Layer:
    """One layer in float64: its input and states 0..N on the picked samples, and all samples' states."""

    index: int
    cell: LEMCell
    u: Tensor
    ys: Tensor
    zs: Tensor
    every: Tensor  # (2, N + 1, samples, d): all samples, y and z
    gradient: dict[str, Tensor]
    pull: Tensor  # N times the gradient of one sample's E by y_n through the layers above, (N, samples, d)
    along: StepsAlong
    steps: Tensor | None = None  # their sizes, (N, samples or 1, 1), where they differ

    @property
    def sizes(self) -> float | Tensor:
        """As the kernels take them."""
        return self.cell.dt if self.steps is None else self.steps[..., 0]

    def each(self, index: Tensor) -> Tensor | None:
        """The sizes of some of all samples' steps, one after the other, ``(n, 1)``."""
        return None if self.steps is None else self.steps.expand(*self.u.shape[:2], 1).reshape(-1, 1)[index]

    @property
    def x0(self) -> float:
        return float(self.every[:, 0].max())

    @property
    def scope(self) -> str:
        return f"layer {self.index}"


def _prepare(
    rnn: LEM, u: Tensor, target: Tensor | None, readout: tuple[ArrayLike, ArrayLike] | None, max_samples: int
) -> tuple[LEM, Tensor, Tensor, list[str]]:
    if not isinstance(rnn, LEM):
        raise TypeError(
            f"rnn is {type(rnn).__name__}: audit reads a lemode.LEM; wrap other networks' data in one, or audit their LEM."
        )
    if rnn.bidirectional:
        raise ValueError("bidirectional=True: the statements are about a causal recursion; audit a network of one direction.")
    net = _copied(rnn)
    for cell in net.cells:
        weights(unit_cube_cell(cell))
    seq = _sequence("u", u, rnn.batch_first)
    if seq.shape[-1] != rnn.input_size:
        raise ValueError(f"u has {seq.shape[-1]} features, the network reads input_size={rnn.input_size}.")
    features = rnn.hidden_size if readout is None else _features(readout, rnn.hidden_size)
    goal = (
        torch.zeros(*seq.shape[:2], features, dtype=torch.float64)
        if target is None
        else _sequence("target", target, rnn.batch_first)
    )
    if goal.shape != (*seq.shape[:2], features):
        L, N = seq.shape[:2]
        needed = (L, features) if u.dim() == 2 else (N, L, features) if rnn.batch_first else (L, N, features)
        raise ValueError(f"target has shape {tuple(torch.as_tensor(target).shape)}: these inputs need {needed}.")
    notes = ["computed in float64 on a copy of the network; each statement covers one layer driven by its own input."]
    if seq.shape[1] > max_samples:
        notes.append(
            f"gradients and Jacobians use {max_samples} of {seq.shape[1]} sequences, evenly spaced; state bounds use all."
        )
    if target is None:
        notes.append("no target given: the loss compares with zero.")
    return net, seq, goal, notes


def _step_sizes(net: LEM, u: Tensor, seq: Tensor, dt: float | Tensor | None, notes: list[str]) -> Tensor | None:
    """The sizes ``(N, samples or 1)`` where they differ; of the copied cells the largest, which bounds hold for, 11.1."""
    if dt is None:
        return None
    if isinstance(dt, Tensor):
        dt = dt.detach().to("cpu", torch.float64)
    found = net._steps(dt, torch.as_tensor(u).to(torch.float64), seq.shape[0], seq.shape[1], torch.float64)
    largest = float(found.max()) if isinstance(found, Tensor) else found
    for cell in net.cells:
        assert isinstance(cell, LEMCell)
        cell.dt = largest
        unit_cube_cell(cell)
    if not isinstance(found, Tensor) or float(found.min()) == largest:
        return None
    notes.append(
        f"steps of {float(found.min()):.3g} to {largest:.3g}: bounds that know no data are those of the largest (11.1)."
    )
    return found


def _copied(rnn: LEM) -> LEM:
    """In float64, with the weights themselves as parameters, whatever parametrization or hook they are computed by."""
    training = rnn.training
    rnn.eval()  # a spectral norm goes on with its power iteration when training
    try:
        with torch.no_grad():
            for cell in rnn.layers():
                refreshed(cell.ode)
        net = copy.deepcopy(rnn).double().cpu()
    finally:
        rnn.train(training)
    for cell in net.layers():
        cell.ode = plain(cell.ode)
    return net


def _features(readout: object, d: int) -> int:
    if not (isinstance(readout, tuple | list) and len(readout) == 2):
        raise ValueError(f"readout is {type(readout).__name__}: give a pair (C, c) of arrays (o, {d}) and (o,).")
    C, c = (np.shape(x) for x in readout)
    if len(C) != 2 or C[1] != d or c != C[:1]:
        raise ValueError(f"readout of shapes {C}, {c}: give C (o, {d}) and c (o,).")
    return int(C[0])


def _sequence(name: str, x: Tensor, batch_first: bool) -> Tensor:
    if isinstance(x, PackedSequence):
        raise TypeError(
            f"{name} is a PackedSequence: an audit is about sequences of one length; unpack with pad_packed_sequence and audit those "
            "of a length together."
        )
    if not isinstance(x, Tensor | np.ndarray):
        raise TypeError(
            f"{name} is {type(x).__name__}: give a tensor (L, N, features), (N, L, features) if batch_first, or (L, features)."
        )
    x = torch.as_tensor(x).detach()
    if x.is_complex() or x.is_nested:
        raise TypeError(f"{name} is {'nested' if x.is_nested else x.dtype}: give a tensor of real numbers and one shape.")
    x = x.to("cpu", torch.float64)
    if x.dim() not in (2, 3) or x.numel() == 0:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}: give (L, N, features), (N, L, features) if batch_first, or (L, features)."
        )
    if not bool(torch.isfinite(x).all()):
        raise ValueError(f"{name} contains values that are not finite: remove or fill them first.")
    return x.unsqueeze(1) if x.dim() == 2 else x.transpose(0, 1) if batch_first else x


def _initial(state: State, net: LEM, samples: int) -> list[State]:
    y, z = (s.detach().to("cpu", torch.float64) for s in pair("state", state))
    shape = (len(net.cells), samples, net.hidden_size)
    y, z = (s.unsqueeze(1) if s.dim() == 2 else s for s in (y, z))
    if y.shape != shape or z.shape != shape:
        raise ValueError(f"state has shapes {tuple(y.shape)}, {tuple(z.shape)}: give (y_0, z_0), each {shape}.")
    if not float(torch.maximum(y.abs(), z.abs()).max()) <= 1:
        raise ValueError("state: the statements need an initial state in the unit cube |y|, |z| <= 1.")
    return list(zip(y, z, strict=True))


def _evenly(n: int, at_most: int) -> Tensor:
    return torch.linspace(0, n - 1, min(n, at_most)).round().long()


def _layers(
    net: LEM, seq: Tensor, start: list[State] | list[None], picked: Tensor, sizes: Tensor | None = None
) -> Iterator[_Layer]:
    steps = None if sizes is None else (sizes if sizes.shape[1] == 1 else sizes[:, picked])[..., None]
    for k, (cell, initial) in enumerate(zip(net.cells, start, strict=True)):
        assert isinstance(cell, LEMCell)
        zero = seq.new_zeros(seq.shape[1], cell.ode.hidden_size)
        y0, z0 = (zero, zero) if initial is None else initial
        with torch.no_grad():
            ys, zs = kernels.run(cell.ode, cell.scheme, seq, y0, z0, cell.dt if sizes is None else sizes)
        ys, zs = torch.cat([y0[None], ys]), torch.cat([z0[None], zs])
        some = seq[:, picked], ys[:, picked], zs[:, picked]
        yield _Layer(k, cell, *some, torch.stack([ys, zs]).abs(), {}, ys[:0], steps_along(cell, *some, steps), steps)
        seq = ys[1:]


def _backward(layers: list[_Layer], goal: Tensor, readout: tuple[Tensor, ...] | None) -> None:
    """Fill in every layer's gradient and pull, from the last layer down."""
    steps, samples, _ = goal.shape
    residual = layers[-1].ys[1:] - goal if readout is None else layers[-1].ys[1:] @ readout[0].T + readout[1] - goal
    reaching = (residual if readout is None else residual @ readout[0]) / (steps * samples)
    for layer in reversed(layers):
        layer.pull = reaching * (steps * samples)
        cell, ode, u = layer.cell, layer.cell.ode, layer.u.clone().requires_grad_(True)
        ys, _ = kernels.run(ode, cell.scheme, u, layer.ys[0], layer.zs[0], layer.sizes)
        names = [name for name, _ in ode.named_parameters()]
        found = torch.autograd.grad(ys, [u, *ode.parameters()], reaching)
        parts = dict(zip(names, found[1:], strict=True))
        hh, ih = parts["weight_hh"].chunk(3), parts["weight_ih"].chunk(4)
        blocks = [*hh, parts["weight_zy"], *ih, *(parts["bias"].chunk(4) if "bias" in parts else ())]
        # a network without bias has no b blocks to bound
        layer.gradient = dict(zip(GROUPS, blocks, strict=False))
        reaching = found[0]


def _worst(statement: str, quantity: str, scope: str, known: Sequence[Any] | Array, bound: Any, lower: bool = False) -> Row:
    """The row at the entry that is violated, or undecided, or whose bound is the closest to being either.

    What is known are the measured values and their roundings.
    """
    x, e, y = np.broadcast_arrays(*(np.asarray(a, dtype=float) for a in (*known, bound)))
    e = np.where(e < NOTHING, 0.0, e)
    low, high = between(x, e)
    with np.errstate(all="ignore"):
        ratio = np.nan_to_num(y / x if lower else x / y, nan=0.0, posinf=np.inf)
    violated, met = (high < y, low >= y) if lower else (low > y, high <= y)
    rank = violated * 2 + ~met * 1
    worst = rank == rank.max()
    k = np.unravel_index(np.argmax(np.where(worst, ratio, -1.0)), ratio.shape)
    return Row(statement, quantity, scope, float(x[k]), float(y[k]), lower, float(e[k]))


def _state_rows(layer: _Layer) -> Iterator[Row]:
    cell, steps = layer.cell, len(layer.u)
    r = state_radius(cell.dt, np.arange(steps + 1), x0=layer.x0, scheme=cell.scheme.name)
    # a step of a run rounds by a unit of the state and some of what it adds, but never leaves the cube: S4
    added, n = 8 * U * min(cell.dt, 1.0), np.arange(steps + 1)
    rounds = np.where(r == 1, 0.0, outward(n * (2 * U * r + added), 3))
    for name, x in zip("yz", layer.every, strict=True):
        yield _worst("S1", f"|{name}_n|", layer.scope, (x.amax((1, 2))[1:], rounds[1:]), r[1:])
    with torch.no_grad():
        g1, g2 = cell.ode.gates(layer.ys[:-1], layer.u)
    rad = layer.along.rad
    room = 8
    if layer.steps is not None:  # gates that take as much at the largest size, rounded three times more
        g1, g2, room = g1 * (layer.steps / cell.dt), g2 * (layer.steps / cell.dt), 16
    for name, x, g, off in (("y", layer.ys, g2, rad.keep_y), ("z", layer.zs, g1, rad.keep_z)):
        bound = state_radius(cell.dt, steps, gates=g.numpy(), x0=x[0].numpy(), scheme=cell.scheme.name)
        wrong = np.where(bound == 1, 0.0, outward(2 * off.sum(0).numpy() + room * U * steps, steps))
        yield _worst("S1 a posteriori", f"|{name}_N|", layer.scope, (x[-1].abs(), wrong), bound)


def _jacobian_rows(layer: _Layer, states: int) -> Iterator[Row]:
    cell, scope = layer.cell, layer.scope
    flat = [x.reshape(-1, x.shape[-1]) for x in (layer.u, layer.ys[:-1], layer.zs[:-1])]
    index = _evenly(len(flat[0]), states)
    certificate = contraction_certificate(cell, layer.u)
    t = np.ones(2 * cell.ode.hidden_size)
    t[: len(t) // 2] = certificate.r
    # a few states at a time: each has a matrix of (2 d)^2 numbers, and some copies of it
    parts = [
        _measured(cell, flat[0][some], (flat[1][some], flat[2][some]), t, layer.each(some))
        for some in index.split(max(BLOCK // len(t) ** 2, 1))
    ]
    m = {name: np.concatenate([part[name] for part in parts], -1) for name in parts[0]}
    yield _worst("J1", "||J||_inf", scope, m["inf"], jacobian_bound(cell))
    yield _worst("J2 a posteriori", "||J||_inf", scope, m["inf"], m["rho"])
    yield _worst("J3", "||J||_1", scope, m["one"], jacobian_bound(cell, 1))
    yield _worst("J4", "||J||_2", scope, m["two"], jacobian_bound(cell, 2))
    yield _worst("J5", "||dx_n/du_n||_inf", scope, m["inputs"], input_bound(cell))
    yield _worst("J6", "||J - I||_inf", scope, m["distance"], step_distance_bound(cell, float(m["most"].max())))
    if math.isfinite(inverse_bound(cell)):
        yield _worst("5.2", "||1/J||_inf", scope, m["inverse"], inverse_bound(cell))
    known = np.isfinite(m["inverse_rho"]) & np.isfinite(m["inverse"][0])
    if known.any():
        yield _worst("5.2 a posteriori", "||1/J||_inf", scope, m["inverse"][:, known], m["inverse_rho"][known])
    yield _worst("5.3", "mu_inf(DF)", scope, m["mu"], growth_rate(cell.ode))
    if certificate.holds:
        # the shortest step contracts the least
        shortest = cell.dt if layer.steps is None else float(layer.steps.min())
        yield _worst("5.4", "||J||_r", scope, m["weighted"], certificate.factor(_of_size(cell, shortest)))
    yield _worst("5.4", "least gate", scope, m["least"], certificate.gate_min, lower=True)


def _of_size(cell: LEMCell, dt: float) -> LEMCell:
    other = copy.copy(cell)
    other.dt = dt
    return other


def _measured(cell: LEMCell, u: Tensor, state: State, t: Array, dt: Tensor | None = None) -> dict[str, Array]:
    """What the rows of the Jacobian are about, at each state: values and their roundings, ``(2, n)``, or bounds, ``(n,)``."""
    y, z, e = (a.numpy() for a in (*state, u))
    found = LayerStep(cell, None if dt is None else dt.numpy()).enclose(
        np.concatenate([z, y], -1), np.zeros(len(t)), e, np.zeros(e.shape[-1]), U
    )
    J, by_u = found.state, found.input
    with torch.no_grad():
        g, mu = torch.stack(cell.ode.gates(state[0], u)).numpy(), logarithmic_norm(cell.ode, state, u).numpy()
    off_a = _argument_errors(cell, state, u)
    with np.errstate(over="ignore"):  # the logarithm of the slope, g (1 - g), has one of at most 1
        off_g = np.minimum(outward(g * (1 - g + 2 * U) * off_a[:2] * np.exp(off_a[:2]) + FUNCTION * U * g, 6), 1.0)
    least = g.reshape(2, len(e), -1).transpose(1, 0, 2).reshape(len(e), -1)
    which = least.argmin(-1)[:, None]
    off_least = np.take_along_axis(off_g.transpose(1, 0, 2).reshape(len(e), -1), which, -1)[:, 0]
    return {
        "inf": _row_norm(J), "one": _row_norm(Ball(J.mid.swapaxes(-1, -2), J.rad.swapaxes(-1, -2))), "two": _norm2(J),
        "rho": jacobian_bound_posterior(cell, state, u, dt).numpy(), "most": (g + off_g).max((0, 2)).clip(max=1.0),
        "least": np.stack([np.take_along_axis(least, which, -1)[:, 0], off_least]),
        "distance": _row_norm(J.plus(Ball.exact(-np.eye(len(t))))), "inputs": _row_norm(by_u),
        "mu": np.stack([mu, _field_error(cell, off_a)]), "inverse": _inverse_norm(J),
        "inverse_rho": inverse_bound_posterior(cell, state, u, dt).numpy(),
        "weighted": _row_norm(Ball(t[:, None] * J.mid / t, outward(t[:, None] * J.rad / t + 4 * U * np.abs(t[:, None] * J.mid / t), 4))),
    }  # fmt: skip


def _row_norm(A: Ball) -> Array:
    rows, n = np.abs(A.mid).sum(-1), A.mid.shape[-1]
    off = outward(A.rad.sum(-1) + 2 * n * U * rows, n)
    largest = rows.max(-1)  # the exact one is between those of the rows' ends
    ends = np.maximum((rows + off).max(-1) - largest, largest - (rows - off).max(-1))
    return np.stack([largest, outward(ends + 4 * U * largest, 2)])


def _norm2(A: Ball) -> Array:
    """The error of the singular values themselves is LAPACK's: a modest multiple of the order, in units of the largest."""
    sizes, n = np.linalg.norm(A.mid, 2, (-2, -1)), A.mid.shape[-1]
    return np.stack([sizes, outward(np.sqrt(np.square(A.rad).sum((-2, -1))) + 8 * n * U * sizes, n * n)])


def _inverse_norm(A: Ball) -> Array:
    """Of X, about the inverse of A: if ||1 - X A|| <= r < 1, the norm of the inverse is within ||X|| r/(1 - r) of ||X||."""
    n = A.mid.shape[-1]
    inverse = torch.linalg.inv_ex(torch.from_numpy(A.mid))
    X = inverse.inverse.numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        sizes = np.abs(X).sum(-1).max(-1)
        rest = np.abs(X @ A.mid - np.eye(n)) + np.abs(X) @ (A.rad + 2 * (n + 2) * U * np.abs(A.mid))
        r = outward(rest.sum(-1).max(-1), 2 * n)
        off = np.where(r < 1, outward(sizes * r / (1 - r) + 2 * n * U * sizes, n), math.inf)
    # a saturated gate at dt = 1 makes J singular: its inverse then has no finite norm to report
    known = (inverse.info.numpy() == 0) & np.isfinite(sizes)
    return np.stack([np.where(known, sizes, math.inf), np.where(known & np.isfinite(off), off, math.inf)])


def _argument_errors(cell: LEMCell, state: State, u: Tensor) -> Array:
    """What the arguments of the gates and candidates 1, 2, z, y of the ODE lack, ``(4, n, d)``."""
    y, z, e = (a.abs().numpy() for a in (*state, u))
    w = {name: np.abs(x) for name, x in weights(cell).items()}
    terms = y.shape[-1] + e.shape[-1] + 2
    sizes = [x @ w["W" + k].T + e @ w["V" + k].T + w["b" + k] for k, x in (("1", y), ("2", y), ("z", y), ("y", z))]
    return np.asarray(outward(2 * terms * U * np.stack(sizes), terms))


def _field_error(cell: LEMCell, off: Array) -> Array:
    """What rounding may have done to the logarithmic norm: the slopes of g, g (1 - g) and 1 - tanh^2 are at most 1/4, 1/10 and 4/5."""
    r, few = row_sums(cell), 32 * U
    one, two, of_z, of_y = off
    rows_z = one / 4 + r.w1 * (one / 5 + of_z / 4 + few) + r.wz * (one / 4 + 0.8 * of_z + few)
    rows_y = two / 4 + r.w2 * (two / 5 + of_y / 4 + few) + r.wy * (two / 4 + 0.8 * of_y + few)
    terms = 2 * U * (2 * r.w1.shape[0] + 8)
    sums = 1 + np.maximum((r.w1 + r.wz).max(), (r.w2 + r.wy).max())
    return np.asarray(outward(np.maximum(rows_z.max(-1), rows_y.max(-1)) + few + terms * sums, 8))


def _error_rows(layer: _Layer) -> Iterator[Row]:
    """LEM beside the ODE it discretizes, over one step and over the first 20, by 16 Runge-Kutta steps a LEM step."""
    cell, steps = layer.cell, min(20, len(layer.u))
    if cell.scheme.name != "imex":
        return
    with torch.no_grad():
        flat = [x.reshape(-1, x.shape[-1]) for x in (layer.u, layer.ys[:-1], layer.zs[:-1], layer.ys[1:], layer.zs[1:])]
        index = _evenly(len(flat[0]), 200)
        u, y, z, y_next, z_next = (x[index] for x in flat)
        # what a step rounds by, here and in each of the reference's
        own = float(np.concatenate([layer.along.rad.keep_z, layer.along.rad.keep_y]).max()) + float(
            outward(_argument_errors(cell, (y, z), u).max(), 0)
        )
        rounds = 8 * own + 1000 * U
        size = cell.dt if layer.steps is None else layer.each(index)
        fine, coarse = _flow_map(cell, size, u, y, z), _flow_map(cell, size, u, y, z, 8)
        yield _worst(
            "6.2", "one-step error", layer.scope, (_apart(fine, (y_next, z_next)), _apart(fine, coarse) + rounds),
            local_error_bound(cell),
        )  # fmt: skip
        fine = coarse = layer.ys[0], layer.zs[0]
        errors, wrong = [], []
        for n in range(steps):
            size = cell.dt if layer.steps is None else layer.steps[n]
            fine, coarse = _flow_map(cell, size, layer.u[n], *fine), _flow_map(cell, size, layer.u[n], *coarse, 8)
            errors.append(float(_apart(fine, (layer.ys[n + 1], layer.zs[n + 1])).max()))
            wrong.append(float(_apart(fine, coarse).max()) + (n + 1) * rounds)
        bounds = np.array([global_error_bound(cell, n + 1, layer.u) for n in range(steps)])
        yield _worst("6.2", f"error, {steps} steps", layer.scope, (np.array(errors), np.array(wrong)), bounds)


def _apart(a: State, b: State) -> Tensor:
    return torch.maximum((a[0] - b[0]).abs(), (a[1] - b[1]).abs()).amax(-1)


def _flow_map(cell: LEMCell, size: Any, u: Tensor, y: Tensor, z: Tensor, substeps: int = 16) -> State:
    h = size / substeps
    for _ in range(substeps):
        y, z = rk4_step(lambda t, y, z: cell.ode(y, z, u), 0.0, (y, z), h)
    return y, z


def _flow(layer: _Layer) -> tuple[GradientFlow, list[Row]]:
    """The last step's loss, flowing back through the layer's own recursion."""
    cell, steps = layer.cell, len(layer.u)
    pull = torch.zeros_like(layer.pull)
    v = pull[-1] = layer.pull[-1]
    found = adjoint(layer.along, pull, windows=True)
    measured = (found.y.abs().sum(-1) + found.z.abs().sum(-1)).numpy()  # (N + 1, samples)
    rounds = np.nan_to_num(outward(found.error.numpy() + 4 * v.shape[-1] * U * measured, 2), nan=np.inf)
    rounds[:, measured[-1] == 0] = 0.0  # what nothing pulls on has no gradient
    start = outward(measured[-1], 2 * v.shape[-1])
    with np.errstate(over="ignore"):
        # |v J_N ... J_k|_1 <= |v| |J_N ... J_k| 1, and v acts on y
        scale, rows_of = row_sums_of_products(cell, steps)
        ceiling = np.ldexp(dot_above(rows_of[:, v.shape[-1] :], v.abs().numpy().T), scale[:, None].astype(np.int32))[::-1]
        posterior, one_more = [start], layer.along.norm.numpy()
        for n in range(steps - 1, -1, -1):
            posterior.append(outward(one_more[n] * posterior[-1], 1))
        posterior = np.fmin(np.stack(posterior[::-1]), ceiling)
        floor = inward(inward(measured[-1], 2 * v.shape[-1]) * floors(cell, np.arange(steps, -1, -1))[:, None], 1)
    known = measured[:-1], rounds[:-1]
    rows = [
        _worst("J7", "|dE_N/dx_k|_1", layer.scope, known, ceiling[:-1]),
        _worst("J2 a posteriori", "|dE_N/dx_k|_1", layer.scope, known, posterior[:-1]),
    ]
    if math.isfinite(inverse_bound(cell)):
        rows.append(_worst("5.2", "|dE_N/dx_k|_1", layer.scope, known, floor[:-1], lower=True))
    flow = GradientFlow(
        layer.index, measured.min(1), np.median(measured, 1), measured.max(1), floor.min(1), ceiling.max(1), posterior.max(1)
    )
    return flow, rows


def _gradient_rows(layer: _Layer, pull: Array, condition: str) -> Iterator[Row]:
    cell, steps, groups = layer.cell, len(layer.u), list(layer.gradient)
    size = layer.u.abs().amax((1, 2)).numpy()
    if cell.ode.hidden_size <= ROWS_APART:
        priori = recursion(cell, pull, groups, size, layer.x0).max(1)
    else:
        priori = np.array([block_recursion(cell, pull, group, size, layer.x0) for group in groups])
    # the loss is the mean over samples, and so is its bound
    seen = posterior_bounds(layer.along, layer.pull, groups, layer.u, layer.ys, layer.zs)
    posterior, by_adjoint, rounds = (outward(x.mean(0), x.shape[0]).where(x.sum(0) > 0, 0.0).numpy() for x in seen)
    closed = {"inf": "G_inf", "one": "G_1", "ref": "G_ref", "uniform": "G_unif"}
    for k, group in enumerate(groups):
        quantity, scope = f"|dE/d{group}|", layer.scope + condition
        rows = layer.gradient[group].abs().reshape(cell.ode.hidden_size, -1).amax(1).numpy()
        measured, wrong = float(rows.max()), float(rounds[k].max())
        values = {name: gradient_bound(cell, steps, pull, group, kind, u_max=size, u=layer.u) for kind, name in closed.items()}
        best = min(values, key=lambda name: values[name])
        yield _worst(best, quantity, scope, (measured, wrong), values[best])
        yield _worst("G_rec", quantity, scope, (measured, wrong), priori[k])
        yield _worst("G_rec a posteriori", quantity, scope, (rows, rounds[k]), posterior[k])
        yield _worst("G_adj a posteriori", quantity, scope, (rows, rounds[k]), by_adjoint[k])
