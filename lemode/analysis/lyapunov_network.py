r"""Lyapunov spectra of networks: driven by a given input, or in closed loop, feeding on their own output.

The two answer different questions. Driven, the exponents are conditional: they say whether the network forgets its initial
state under that input. In closed loop the network is an autonomous system, and its exponents are to be compared with those of
the system it was trained on.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import checks, count, integer, pair, real, seed, tensor
from ..lem import LEM, LEMCell
from ..types import Array
from .tangent import LyapunovSpectrum, finite, positive, qr_spectrum, to_numpy

__all__ = ["spectrum_of_closed_loop", "spectrum_of_lem"]

TOGETHER = 200_000  # entries of Jacobians that are computed at a time, in closed loop


@checks(u=tensor, state=pair, dt=real, transient=count, k=integer, blocks=count, seed=seed)
def spectrum_of_lem(
    rnn: LEM | LEMCell,
    u: Tensor,
    state: tuple[Tensor, Tensor] | None = None,
    *,
    dt: float | None = None,
    transient: int | None = None,
    k: int | None = None,
    blocks: int = 20,
    seed: int = 0,
) -> LyapunovSpectrum:
    r"""Conditional Lyapunov exponents of a LEM network driven by the input u, from the exact Jacobian of its step.

    The state is (z, y) of the first layer, then of the second, and so on; for a complete spectrum

    .. math:: \sum_i \lambda_i = \frac{1}{N \Delta t} \sum_n \log |\det J_n| .

    A largest exponent below zero means that the network forgets its initial state under this input. Steps and Jacobians are computed
    where the tensors are; every Jacobian is copied to the CPU, where products and factorisations are float64.

    Parameters
    ----------
    rnn : LEM or LEMCell
        Unidirectional; every scheme.
    u : (L, m) or (L, n, m)
        Input, time first (also for ``batch_first``); n inputs are treated as an ensemble.
    state : (y_0, z_0), optional
        As for `LEM.states`, ``(num_layers, n, d)`` each; zero by default.
    dt : float, optional
        Time a step stands for, e.g. the sampling interval of u; the network's own dt by default.
    transient : int, optional
        Leading steps that are not averaged over.
    k, blocks, seed
        As in `spectrum_of_map`, which says what is left out by default, too.

    Returns
    -------
    LyapunovSpectrum

    Raises
    ------
    ValueError
        For an input that does not fit the network, or too few steps.

    Examples
    --------
    >>> rnn = LEM(1, 4, dtype=torch.float64)
    >>> s = spectrum_of_lem(rnn, torch.randn(100, 1, dtype=torch.float64))
    >>> s.exponents.shape, bool(s.exponents[0] < 0)
    ((8,), True)
    """
    if isinstance(rnn, LEMCell):
        cells, default = [rnn], rnn.dt
    elif isinstance(rnn, LEM):
        if rnn.bidirectional:
            raise ValueError("a bidirectional network is not a dynamical system in time: give a unidirectional one.")
        cells, default = [c for c in rnn.cells if isinstance(c, LEMCell)], rnn.dt
    else:
        raise TypeError(f"{type(rnn).__name__} is not a LEM or LEMCell; for another map use spectrum_of_map.")
    ode = cells[0].ode
    if not isinstance(u, Tensor) or u.dim() not in (2, 3) or u.shape[-1] != ode.input_size:
        shape = tuple(u.shape) if isinstance(u, Tensor) else type(u).__name__
        raise ValueError(f"input {shape}: give a tensor (L, {ode.input_size}) or (L, n, {ode.input_size}), time first.")
    if u.dtype != ode.weight_zy.dtype:
        raise ValueError(
            f"input is {u.dtype}, the weights are {ode.weight_zy.dtype}: convert one, e.g. by .to({ode.weight_zy.dtype})."
        )
    if not bool(torch.isfinite(u).all()):
        raise ValueError("the input has entries that are not finite.")
    seq = u.unsqueeze(1) if u.dim() == 2 else u
    size = (len(cells), seq.shape[1], ode.hidden_size)
    y0, z0 = (seq.new_zeros(size), seq.new_zeros(size)) if state is None else state
    if tuple(y0.shape) != size or tuple(z0.shape) != size:
        raise ValueError(f"initial state has shapes {tuple(y0.shape)}, {tuple(z0.shape)}: this input needs {size} each.")
    if y0.dtype != u.dtype or z0.dtype != u.dtype:
        raise ValueError(f"initial state is {y0.dtype}, {z0.dtype}, the input {u.dtype}: give one dtype.")
    before = transient or 0
    if not 0 <= before < len(seq):
        raise ValueError(f"transient={transient} of {len(seq)} steps: leave some to average over.")

    def step(x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        new = []
        for cell, part in zip(cells, x.chunk(len(cells))):
            z, y = part.chunk(2)
            v, z = cell.scheme.step(cell.ode, (y, z), v, cell.dt)  # the layer above reads y
            new += [z, v]
        out = torch.cat(new)
        return out, out

    pushforward = torch.func.vmap(torch.func.jacfwd(step, has_aux=True))
    x = torch.cat([part for y, z in zip(y0, z0) for part in (z, y)], dim=-1).detach()
    n = 0

    def advance(Q: Array) -> Array:
        nonlocal x, n
        with torch.no_grad():
            J, x = pushforward(x, seq[n])
        n += 1
        finite(to_numpy(x), "the state")
        return to_numpy(J) @ Q

    time = positive("dt", default if dt is None else dt)
    return qr_spectrum(advance, tuple(x.shape), time, len(seq) - before, transient, k, blocks, seed)


@checks(steps=count, dt=real, transient=count, k=integer, blocks=count, seed=seed)
def spectrum_of_closed_loop(
    model: Any,
    history: Any,
    steps: int,
    *,
    inputs: Any = None,
    dt: float | None = None,
    transient: int | None = None,
    k: int | None = None,
    blocks: int = 20,
    seed: int = 0,
) -> LyapunovSpectrum:
    r"""Lyapunov exponents of a trained network that feeds on its own predictions.

    .. math:: (x_{n+1}, s_{n+1}) = F(x_n, s_n), \qquad s = (z, y) \text{ of all layers}

    is a map of dimension ``D (1 + delays) + 2 d num_layers``, and ``points (channels + 2 d)`` for a field: its first exponents are to be
    compared with those of the system that made the data, the others say how fast the network's inner state falls in line. Computed in
    float64 whatever the model's precision.

    Of a model with known inputs the exponents are conditional ones, along the inputs that are given: a largest one below zero means that
    runs from other states end up on the same one under these inputs.

    Parameters
    ----------
    model : fitted lemode.Surrogate, or its network
        The network has a `LEM` or `ConvLEM` as ``core`` and ``step(x (T, n, D), state=...) -> (next x, state)``, the state
        ``((y, z), past)``. It is copied, not changed.
    history : (T, D), or (T, D + m) with m inputs as last columns; or a frame or Trajectories of one series, whose columns have names
        What the model is warmed up on, in the units of the data for a Surrogate, normalised for a network; the map starts from
        the prediction at its end.
    steps : int
        Steps in closed loop that are averaged over.
    inputs : (transient + steps + 1, m), where the model has inputs; (steps + 1, m) without a transient
        Their values from the sample after the history on, in the same units.
    dt : float, optional
        Time between two samples: exponents are per unit of it. A Surrogate's own ``step_`` by default, else 1.
    transient, k, blocks, seed
        As in `spectrum_of_map`.

    Returns
    -------
    LyapunovSpectrum

    Raises
    ------
    TypeError
        If the model is not fitted or has no LEM inside.
    ValueError
        For a history or inputs that do not fit, or too few steps.
    FloatingPointError
        If the free run blows up.

    Examples
    --------
    >>> from lemode.surrogate.network import IncrementNetwork
    >>> network = IncrementNetwork(LEM(2, 4), hidden_size=4, dimension=2)
    >>> spectrum_of_closed_loop(network, torch.zeros(5, 2), steps=50).exponents.shape
    (10,)
    """
    network, total = getattr(model, "network_", model), (transient or 0) + steps
    if not (hasattr(getattr(network, "core", None), "backend") and callable(getattr(network, "step", None))):
        raise TypeError(
            f"{type(model).__name__} holds no LEM network that can run free: give a fitted Surrogate, or use spectrum_of_map."
        )
    net = copy.deepcopy(network).double().eval()
    net.core.backend = "reference"  # the hand-written adjoint has no forward-mode derivative
    by_name = getattr(model, "as_array", None)
    given = history if by_name is None else by_name(history)
    # a copy: arrays of pandas are read-only
    series = given.detach().double() if isinstance(given, Tensor) else torch.tensor(np.asarray(given, dtype=np.float64))
    if series.dim() != 2 or not len(series):
        raise ValueError(f"history has shape {tuple(series.shape)}: give (T, D) with at least one sample.")
    if not bool(torch.isfinite(series).all()):
        raise ValueError("the history has entries that are not finite.")
    names, m = getattr(model, "names_", None), len(getattr(network, "input_mean", ()))
    D = len(names) if names else _variables(network)
    if series.shape[1] != D + m:
        read = ", ".join((*names, *model.input_names_)) if names else f"{D} variables and {m} inputs"
        raise ValueError(f"history has {series.shape[1]} columns, and the model reads {D + m}: {read}.")
    drive = _drive(inputs, series[:, D:], total + 1)
    series = series[:, :D]
    if network is not model:
        series = getattr(model, "coordinates", net.normalise)(series)  # of each series its own scale, an angle on its circle
        drive = None if drive is None else net.normalise_inputs(drive)
    ends = (
        None if drive is None else torch.cat([drive[:-1], drive[1:]], -1)
    )  # a network knows the inputs at both ends of a step
    with torch.no_grad():
        x, state = net.step(series.unsqueeze(1), None if ends is None else ends[: len(series)].unsqueeze(1))
    drives = None if ends is None else ends[len(series) :]
    v = torch.cat([part.reshape(-1) for part in (x[-1], *_leaves(state))])

    def step(v: Tensor, e: Tensor | None) -> Tensor:
        """The map on every row of v, as one batch: the series of a network do not know of each other."""
        n = len(v)
        parts = iter(v.split([x[-1].numel(), *(leaf.numel() for leaf in _leaves(state))], 1))
        value = next(parts).reshape(1, n, x.shape[-1])
        new, after = net.step(value, None if e is None else e[None], state=_refilled(state, parts))
        return torch.cat([_by_series(part, n) for part in (new, *_leaves(after))], 1)

    def pushed(v: Tensor, tangents: Tensor, e: Tensor | None) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            after: Any = torch.func.jvp(lambda v: step(v, e), (v,), (tangents,))
        return after

    # forward mode costs the same milliseconds for one tangent and for hundreds: those of many steps go together, where they are few each
    size = v.numel()
    together = min(max(TOGETHER // size**2, 1), total)
    ahead: list[tuple[Array, Array]] = []
    done = 0

    def inputs_of(steps: int, each: int) -> Tensor | None:
        """What drives the next steps, so many times each; there are none beyond the last."""
        if drives is None:
            return None
        return drives[done + torch.arange(steps).clamp(max=len(drives) - 1 - done)].repeat_interleave(each, 0)

    held, bounds = 0, [getattr(net, name, None) for name in ("lower", "upper")]

    def seen(point: Array) -> None:
        """A state that is no number ends it; where the network is held at its bounds, what is found is their exponents."""
        nonlocal held
        finite(point, "the state")
        values = torch.as_tensor(point[: x[-1].numel()]).view(x.shape[1:])
        held += any(bool((values == end).any()) for end in bounds if end is not None)

    def advance(Q: Array) -> Array:
        nonlocal v, done
        if together == 1:
            tangents = torch.as_tensor(Q).T.contiguous()
            after, out = pushed(v.expand(len(tangents), -1).contiguous(), tangents, inputs_of(1, len(tangents)))
            v, done = after[0], done + 1
            seen(to_numpy(v))
            return to_numpy(out).T
        if not ahead:
            points, e = [v], inputs_of(together, 1)
            with torch.no_grad():
                for i in range(together):
                    points.append(step(points[-1][None], None if e is None else e[i : i + 1])[0])
            each = torch.stack(points[:-1]).repeat_interleave(size, 0)
            _, J = pushed(each, torch.eye(size).to(v).repeat(together, 1), inputs_of(together, size))
            v, done = points[-1], done + together
            Js = to_numpy(J.reshape(together, size, size).mT)
            ahead.extend(zip(to_numpy(torch.stack(points[1:]))[::-1], Js[::-1]))
        point, D = ahead.pop()
        seen(point)
        return D @ Q

    time = positive("dt", float(getattr(model, "step_", 1.0)) if dt is None else dt)
    found = qr_spectrum(advance, tuple(v.shape), time, steps, transient, k, blocks, seed)
    if held > 0.01 * total:
        warnings.warn(
            f"the free run is held at the edge of its data's range at {held} of {total} steps: there the exponents are those "
            "of the edge, and not of the model. Fit for longer, or with contain=None.",
            stacklevel=3,
        )
    return found


def _variables(network: Any) -> int:
    """How many a network predicts; one of a field does so at every point."""
    return int(network.head.out_features * math.prod(getattr(network, "grid", ())))


def _drive(inputs: Any, past: Tensor, needed: int) -> Tensor | None:
    """The inputs beside the history and after it, None for a model without any; ValueError if they do not fit."""
    m = past.shape[1]
    if inputs is None:
        if m:
            raise ValueError(
                f"the model is driven by {m} inputs: give inputs=({needed}, {m}), their values from the sample after the history on. "
                "The exponents are then conditional ones, under these inputs."
            )
        return None
    future = torch.as_tensor(inputs, dtype=past.dtype)
    if not m:
        raise ValueError("inputs: the model has none; leave them out.")
    if future.shape != (needed, m):
        raise ValueError(f"inputs have shape {tuple(future.shape)}: give ({needed}, {m}), transient + steps + 1 samples.")
    if not bool(torch.isfinite(future).all()):
        raise ValueError("the inputs have entries that are not finite.")
    return torch.cat([past, future])


def _leaves(state: Any) -> list[Tensor]:
    """The tensors of a nested state."""
    return [leaf for part in state for leaf in _leaves(part)] if isinstance(state, tuple) else [state]


def _refilled(state: Any, parts: Iterator[Tensor]) -> Any:
    """The nested state of many series, with a row of each of the parts for one of them."""
    if isinstance(state, tuple):
        return tuple(_refilled(s, parts) for s in state)
    part = next(parts)
    return part.reshape(len(part), state.shape[0], *state.shape[2:]).transpose(0, 1)


def _by_series(part: Tensor, n: int) -> Tensor:
    """A tensor whose second dimension is the series, ``(n, ...)``."""
    return part.transpose(0, 1).reshape(n, -1)
