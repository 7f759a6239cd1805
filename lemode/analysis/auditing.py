"""Every bound of the theory that applies to a trained network, evaluated on the user's own data beside what it bounds."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

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
from .audit_report import AuditReport, GradientFlow, Row
from .bounds import (
    growth_rate,
    input_bound,
    jacobian_bound,
    jacobian_bound_posterior,
    state_radius,
    step_distance_bound,
)
from .discretization import global_error_bound, local_error_bound
from .gradients import gradient_bound, quadratic_pull
from .inverse import inverse_bound, inverse_bound_posterior
from .jacobian import input_jacobian, step_jacobian, trajectory_vjp
from .network import GROUPS, plain, unit_cube_cell, weights
from .products import row_sums_of_products
from .recursion import adjoint_bound, block_recursion, posterior_recursion, recursion
from .stability import contraction_certificate, logarithmic_norm

__all__ = ["audit"]

# numbers of Jacobians at a time; and the most (2 d)^3 of all of them, ten seconds of norms, by which states are left out of the rows
BLOCK, MOST_WORK = 5_000_000, 5_000_000_000
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
) -> AuditReport:
    r"""Evaluate every statement that applies to a trained network on data, and return measured values beside bounds.

    The loss is

    .. math:: E = \frac1N \sum_{n=1}^N \tfrac12 \|y_n - \bar y_n\|_2^2 \quad\text{or, with a readout,}\quad
              \frac1N \sum_{n=1}^N \tfrac12 \|C y_n + c - \bar o_n\|_2^2,

    averaged over samples; y is the output of the last layer. Statement numbers are those of ``theory/``.

    **Stacked layers.** Every statement covers one layer, driven by its own input. Each layer is therefore audited by itself: on the
    output of the layer below, and with the gradient that actually reaches its output from the layers above (measured, then
    taken as given). No row bounds the product of several layers.

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
    picked = _evenly(seq.shape[1], max_samples)
    start = [None] * len(net.cells) if state is None else _initial(state, net, seq.shape[1])
    C_c = None if readout is None else tuple(torch.as_tensor(np.asarray(x, dtype=np.float64)) for x in readout)
    layers = list(_layers(net, seq, start, picked))
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
        growth = row_sums_of_products(layer.cell, len(seq))[0][-1] / math.log(10)
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


def _layers(net: LEM, seq: Tensor, start: list[State] | list[None], picked: Tensor) -> Iterator[_Layer]:
    for k, (cell, initial) in enumerate(zip(net.cells, start, strict=True)):
        assert isinstance(cell, LEMCell)
        zero = seq.new_zeros(seq.shape[1], cell.ode.hidden_size)
        y0, z0 = (zero, zero) if initial is None else initial
        with torch.no_grad():
            ys, zs = kernels.run(cell.ode, cell.scheme, seq, y0, z0, cell.dt)
        ys, zs = torch.cat([y0[None], ys]), torch.cat([z0[None], zs])
        yield _Layer(k, cell, seq[:, picked], ys[:, picked], zs[:, picked], torch.stack([ys, zs]).abs(), {}, ys[:0])
        seq = ys[1:]


def _backward(layers: list[_Layer], goal: Tensor, readout: tuple[Tensor, ...] | None) -> None:
    """Fill in every layer's gradient and pull, from the last layer down."""
    steps, samples, _ = goal.shape
    residual = layers[-1].ys[1:] - goal if readout is None else layers[-1].ys[1:] @ readout[0].T + readout[1] - goal
    reaching = (residual if readout is None else residual @ readout[0]) / (steps * samples)
    for layer in reversed(layers):
        layer.pull = reaching * (steps * samples)
        cell, ode, u = layer.cell, layer.cell.ode, layer.u.clone().requires_grad_(True)
        ys, _ = kernels.run(ode, cell.scheme, u, layer.ys[0], layer.zs[0], cell.dt)
        names = [name for name, _ in ode.named_parameters()]
        found = torch.autograd.grad(ys, [u, *ode.parameters()], reaching)
        parts = dict(zip(names, found[1:], strict=True))
        hh, ih = parts["weight_hh"].chunk(3), parts["weight_ih"].chunk(4)
        blocks = [*hh, parts["weight_zy"], *ih, *(parts["bias"].chunk(4) if "bias" in parts else ())]
        # a network without bias has no b blocks to bound
        layer.gradient = dict(zip(GROUPS, blocks, strict=False))
        reaching = found[0]


def _worst(
    statement: str, quantity: str, scope: str, measured: Tensor | Array, bound: Tensor | Array | float, lower: bool = False
) -> Row:
    """The row at the entry whose bound is the closest to being violated."""
    x, y = np.broadcast_arrays(np.asarray(measured, dtype=float), np.asarray(bound, dtype=float))
    with np.errstate(all="ignore"):
        ratio = np.nan_to_num(y / x if lower else x / y, nan=0.0, posinf=np.inf)
    k = np.unravel_index(np.argmax(ratio), ratio.shape)
    return Row(statement, quantity, scope, float(x[k]), float(y[k]), lower)


def _state_rows(layer: _Layer) -> Iterator[Row]:
    cell, steps = layer.cell, len(layer.u)
    r = state_radius(cell.dt, np.arange(steps + 1), x0=layer.x0, scheme=cell.scheme.name)
    for name, x in zip("yz", layer.every, strict=True):
        yield _worst("S1", f"|{name}_n|", layer.scope, x.amax((1, 2))[1:], r[1:])
    with torch.no_grad():
        g1, g2 = cell.ode.gates(layer.ys[:-1], layer.u)
    for name, x, g in (("y", layer.ys, g2), ("z", layer.zs, g1)):
        bound = state_radius(cell.dt, steps, gates=g.numpy(), x0=x[0].numpy(), scheme=cell.scheme.name)
        yield _worst("S1 a posteriori", f"|{name}_N|", layer.scope, x[-1].abs(), bound)


def _jacobian_rows(layer: _Layer, states: int) -> Iterator[Row]:
    cell, scope = layer.cell, layer.scope
    flat = [x.reshape(-1, x.shape[-1]) for x in (layer.u, layer.ys[:-1], layer.zs[:-1])]
    index = _evenly(len(flat[0]), states)
    certificate = contraction_certificate(cell, layer.u)
    t = torch.ones(2 * cell.ode.hidden_size, dtype=torch.float64)
    t[: len(t) // 2] = certificate.r
    with torch.no_grad():
        # a few states at a time: each has a matrix of (2 d)^2 numbers, and some copies of it
        parts = [
            _measured(cell, flat[0][some], (flat[1][some], flat[2][some]), t)
            for some in index.split(max(BLOCK // len(t) ** 2, 1))
        ]
        m = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        yield _worst("J1", "||J||_inf", scope, m["inf"], jacobian_bound(cell))
        yield _worst("J2 a posteriori", "||J||_inf", scope, m["inf"], m["rho"])
        yield _worst("J3", "||J||_1", scope, m["one"], jacobian_bound(cell, 1))
        yield _worst("J4", "||J||_2", scope, m["two"], jacobian_bound(cell, 2))
        yield _worst("J5", "||dx_n/du_n||_inf", scope, m["inputs"], input_bound(cell))
        yield _worst("J6", "||J - I||_inf", scope, m["distance"], step_distance_bound(cell, float(m["most"].max())))
        if math.isfinite(inverse_bound(cell)):
            yield _worst("5.2", "||1/J||_inf", scope, m["inverse"], inverse_bound(cell))
        known = torch.isfinite(m["inverse_rho"]) & torch.isfinite(m["inverse"])
        if bool(known.any()):
            yield _worst("5.2 a posteriori", "||1/J||_inf", scope, m["inverse"][known], m["inverse_rho"][known])
        yield Row("5.3", "mu_inf(DF)", scope, float(m["mu"].max()), growth_rate(cell.ode))
        if certificate.holds:
            yield _worst("5.4", "||J||_r", scope, m["weighted"], certificate.factor(cell))
        yield Row("5.4", "least gate", scope, float(m["least"].min()), certificate.gate_min, lower=True)


def _measured(cell: LEMCell, u: Tensor, state: State, t: Tensor) -> dict[str, Tensor]:
    """What the rows of the Jacobian are about, for each state."""
    J = step_jacobian(cell, state, u).matrix()
    g = torch.stack(cell.ode.gates(state[0], u))
    # a saturated gate at dt = 1 makes J singular: its inverse then has no finite norm to report
    singular = torch.linalg.inv_ex(J)
    return {
        "inf": J.abs().sum(-1).amax(-1), "one": J.abs().sum(-2).amax(-1), "two": torch.linalg.matrix_norm(J, 2),
        "rho": jacobian_bound_posterior(cell, state, u), "most": g.amax((0, 2)), "least": g.amin((0, 2)),
        "distance": (J - torch.eye(J.shape[-1], dtype=J.dtype)).abs().sum(-1).amax(-1),
        "inputs": torch.cat(input_jacobian(cell, state, u), -2).abs().sum(-1).amax(-1),
        "mu": logarithmic_norm(cell.ode, state, u),
        "inverse": torch.where(singular.info == 0, singular.inverse.abs().sum(-1).amax(-1), math.inf),
        "inverse_rho": inverse_bound_posterior(cell, state, u),
        "weighted": (t[:, None] * J / t).abs().sum(-1).amax(-1),
    }  # fmt: skip


def _error_rows(layer: _Layer) -> Iterator[Row]:
    """LEM beside the ODE it discretizes, over one step and over the first 20, by 16 Runge-Kutta steps a LEM step."""
    cell, steps = layer.cell, min(20, len(layer.u))
    if cell.scheme.name != "imex":
        return
    with torch.no_grad():
        flat = [x.reshape(-1, x.shape[-1]) for x in (layer.u, layer.ys[:-1], layer.zs[:-1], layer.ys[1:], layer.zs[1:])]
        index = _evenly(len(flat[0]), 200)
        u, y, z, y_next, z_next = (x[index] for x in flat)
        y, z = _flow_map(cell, u, y, z)
        error = torch.maximum((y - y_next).abs(), (z - z_next).abs()).amax(-1)
        yield _worst("6.2", "one-step error", layer.scope, error, local_error_bound(cell))
        y, z, errors = layer.ys[0], layer.zs[0], []
        for n in range(steps):
            y, z = _flow_map(cell, layer.u[n], y, z)
            errors.append(float(torch.maximum((y - layer.ys[n + 1]).abs(), (z - layer.zs[n + 1]).abs()).max()))
        bounds = np.array([global_error_bound(cell, n + 1, layer.u) for n in range(steps)])
        yield _worst("6.2", f"error, {steps} steps", layer.scope, np.array(errors), bounds)


def _flow_map(cell: LEMCell, u: Tensor, y: Tensor, z: Tensor, substeps: int = 16) -> State:
    h = cell.dt / substeps
    for _ in range(substeps):
        y, z = rk4_step(lambda t, y, z: cell.ode(y, z, u), 0.0, (y, z), h)
    return y, z


def _flow(layer: _Layer) -> tuple[GradientFlow, list[Row]]:
    """The last step's loss, flowing back through the layer's own recursion."""
    cell, steps = layer.cell, len(layer.u)
    v = layer.pull[-1]
    with torch.no_grad():
        vys, vzs = trajectory_vjp(cell, layer.u, layer.ys, layer.zs, (v, torch.zeros_like(v)))
        rho = jacobian_bound_posterior(cell, (layer.ys[:-1], layer.zs[:-1]), layer.u)
    measured = (vys.abs().sum(-1) + vzs.abs().sum(-1)).numpy()  # (N + 1, samples)
    lag = np.arange(steps, -1, -1)[:, None]
    start = measured[-1]
    with np.errstate(over="ignore", under="ignore", divide="ignore"):  # of logarithms: nothing times inf is nothing
        # |v J_N ... J_k|_1 <= |v| |J_N ... J_k| 1, and v acts on y
        scale, rows_of = row_sums_of_products(cell, steps)
        ceiling = np.exp(scale[:, None] + np.log(rows_of[:, v.shape[-1] :] @ v.abs().numpy().T))[::-1]
        growth = np.concatenate([np.cumsum(rho.log().numpy()[::-1], 0)[::-1], np.zeros((1, len(start)))])
        posterior = np.exp(np.log(start) + growth)
        posterior = np.minimum(posterior, ceiling)
        floor = start * inverse_bound(cell) ** -lag.astype(float)
    rows = [
        _worst("J7", "|dE_N/dx_k|_1", layer.scope, measured[:-1], ceiling[:-1]),
        _worst("J2 a posteriori", "|dE_N/dx_k|_1", layer.scope, measured[:-1], posterior[:-1]),
    ]
    if math.isfinite(inverse_bound(cell)):
        rows.append(_worst("5.2", "|dE_N/dx_k|_1", layer.scope, measured[:-1], floor[:-1], lower=True))
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
    with torch.no_grad():
        # the loss is the mean over samples, and so is its bound
        data = layer.pull, groups, layer.u, layer.ys, layer.zs
        posterior, adjoint = (f(cell, *data).mean(0) for f in (posterior_recursion, adjoint_bound))
    closed = {"inf": "G_inf", "one": "G_1", "ref": "G_ref", "uniform": "G_unif"}
    for k, group in enumerate(groups):
        measured, quantity, scope = float(layer.gradient[group].abs().max()), f"|dE/d{group}|", layer.scope + condition
        values = {name: gradient_bound(cell, steps, pull, group, kind, u_max=size, u=layer.u) for kind, name in closed.items()}
        best = min(values, key=lambda name: values[name])
        yield Row(best, quantity, scope, measured, values[best])
        yield Row("G_rec", quantity, scope, measured, float(priori[k]))
        rows = layer.gradient[group].abs().reshape(cell.ode.hidden_size, -1).amax(1)
        yield _worst("G_rec a posteriori", quantity, scope, rows, posterior[k])
        yield _worst("G_adj a posteriori", quantity, scope, rows, adjoint[k])
