"""The continuous side: the ODE that LEM discretizes, solved by torchdiffeq or scipy."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual

from ..conv import ConvODE
from ..ode import MultiscaleODE
from ..types import State
from .inputs import Constant, Function, Input, Samples
from .integrators import ADAPTIVE, FIXED_STEP, SCIPY, Scipy, Settings, Torch, advance, refreshed

__all__ = ["METHODS", "solve"]

METHODS = (*ADAPTIVE, *FIXED_STEP, *SCIPY)


def solve(
    ode: MultiscaleODE,
    t: Tensor | Sequence[float],
    u: Tensor | Samples | Callable[[Tensor], Tensor] | None = None,
    state0: State | None = None,
    method: str = "dopri5",
    rtol: float = 1e-7,
    atol: float = 1e-9,
    adjoint: bool = False,
    event_times: Sequence[float] | Tensor = (),
    max_evaluations: int = 50_000,
    options: dict[str, Any] | None = None,
) -> State:
    r"""Solve the ODE along an input: the limit that LEM discretizes.

    .. math::

        \dot y = \hat\sigma(W_2 y + V_2 u(t) + b_2) \odot (\tanh(W_y z + V_y u(t) + b_y) - y), \qquad
        \dot z = \hat\sigma(W_1 y + V_1 u(t) + b_1) \odot (\tanh(W_z y + V_z u(t) + b_z) - z)

    which is equation (1) of arXiv:2110.04744. The solver restarts wherever u or its derivative jumps, and controls the error of
    each sample of a batch by itself.

    Parameters
    ----------
    ode : MultiscaleODE
        As in ``rnn.cells[0].ode``.
    t : (T,) or (T, N)
        Strictly increasing output times, the first being that of `state0`. With N, each sample has its own: all are advanced together
        in a normalised time, in which entry k is reached at k.
    u : tensor (m,) or (N, m), `lemode.Samples`, or callable
        A constant; samples, whose kind 'constant' is LEM's convention; or ``u(t)`` returning (m,) or (N, m) for a 0-dimensional t, (N,)
        where `t` is (T, N). Zero by default.
    state0 : (y, z), each (d,) or (N, d)
        Zero by default.
    method : str
        torchdiffeq: 'dopri5', 'dopri8', 'bosh3', 'fehlberg2', 'adaptive_heun'; with a fixed step 'euler', 'midpoint', 'heun3', 'rk4',
        'explicit_adams', 'implicit_adams', which step from one output time to the next unless ``options={"step_size": h}``.
        scipy: 'Radau', 'BDF', 'LSODA' for stiff equations, handed the exact Jacobian; 'DOP853', 'RK45', 'RK23'. They solve one sample
        after another in float64 on the CPU, and **their result carries no gradient**.
    rtol, atol : float
        Tolerances of the local error.
    adjoint : bool
        Gradients by `torchdiffeq.odeint_adjoint`, in memory that does not grow with the number of steps; otherwise through the solver's
        operations. They reach the parameters, those of a parametrization too, `state0`, u, the values of Samples, and whatever a
        callable uses; not `t`. ``adjoint=True`` gives first derivatives only.
    event_times : sequence of float
        Where a callable u jumps.
    max_evaluations : int
        Of the vector field between two output times; beyond it the solver gives up.
    options : dict
        Handed to the solver.

    Returns
    -------
    y, z : (T, d) or (T, N, d)
        In the dtype of the ode; entry 0 is `state0`.

    Raises
    ------
    ValueError, TypeError
        For input that does not fit; the message names the value and the remedy.
    lemode.SolveError
        If the solver gives up. The message names the time, the stiffness ratio found there (largest over smallest decay rate of
        the Jacobian), and a solver to try.
    RuntimeError
        Inside a transformation of torch.func, in forward mode with a method that has none, for a second derivative through
        ``adjoint=True``, or if a callable u uses a tensor at some times only, which the adjoint method cannot know.

    Warns
    -----
    lemode.continuous.inputs.DiscontinuityWarning
        If a callable u jumps at a time that is not among `event_times`.

    Examples
    --------
    >>> rnn = lemode.LEM(1, 4, dt=0.1)
    >>> u = torch.sin(torch.arange(1, 21) * 0.1)[:, None]
    >>> t = 0.1 * torch.arange(21)
    >>> y, z = solve(rnn.cells[0].ode, t, Samples(t[1:], u))   # what rnn(u) approximates
    >>> y.shape
    torch.Size([21, 4])
    """
    _check_solver(ode, method, rtol, atol, adjoint, max_evaluations)
    times = _times(t)
    settings = Settings(method, float(rtol), float(atol), int(max_evaluations), _options(options))
    _refuse_transforms(ode, u, state0, method, adjoint)
    refreshed(ode)
    N, batched = _batch(ode, times, u, state0)
    x0 = _initial(ode, state0, N)
    drive = _input(ode, times, u, N, batched, _events(event_times))
    if method in SCIPY:
        _refuse_gradient(method, state0, drive)
        solver = Scipy(ode, settings)
        columns = times.unbind(1) if times.dim() == 2 else [times] * N
        rows = [advance(solver, columns[k], drive.sample(k), x0[k : k + 1]) for k in range(N)]
        x = torch.cat(rows, 1).to(x0)
    else:
        x = advance(Torch(ode, settings, adjoint), times, drive, x0)
    z, y = x.chunk(2, -1)
    return (y, z) if batched else (y[:, 0], z[:, 0])


def _check_solver(ode: object, method: str, rtol: float, atol: float, adjoint: bool, max_evaluations: int) -> None:
    if not isinstance(ode, MultiscaleODE):
        raise TypeError(f"ode is {type(ode).__name__}: give a lemode.MultiscaleODE, such as rnn.cells[0].ode of a lemode.LEM.")
    if isinstance(ode, ConvODE):
        raise TypeError(
            "ode is ConvODE: solve() is for states (d,), not for fields; ConvLEM(..., dt=) with a small dt solves its ODE."
        )
    if method not in METHODS:
        raise ValueError(f"method={method!r}: choose one of {', '.join(METHODS)}.")
    if method in SCIPY and any(getattr(type(ode), f) is not getattr(MultiscaleODE, f) for f in ("forward", "gates", "linear")):
        raise TypeError(
            f"{type(ode).__name__} defines its own vector field, and method={method!r} reads the weights only: use 'dopri5'."
        )
    for name, value in (("rtol", rtol), ("atol", atol), ("max_evaluations", max_evaluations)):
        if not (isinstance(value, numbers.Real) and math.isfinite(value) and float(value) > 0):
            raise ValueError(f"{name}={value!r}: give a positive number.")
    dtype = ode.weight_ih.dtype
    if method in ADAPTIVE and dtype.itemsize < 4:
        raise ValueError(
            f"the ode is in {dtype}, whose {-round(math.log10(torch.finfo(dtype).eps))} digits hold no error estimate: solve "
            "copy.deepcopy(ode).float(), or use a fixed step, e.g. method='rk4'."
        )
    if adjoint and method in SCIPY:
        raise ValueError(
            f"adjoint=True: method={method!r} gives no gradients; use method='dopri5', or another of torchdiffeq's."
        )


def _options(options: object) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise TypeError(f"options={options!r}: give a dict, e.g. options={{'step_size': 0.1}}.")
    step = options.get("step_size", 1.0)
    if step is not None and not (isinstance(step, numbers.Real) and math.isfinite(step) and float(step) > 0):
        raise ValueError(f"options: step_size={step!r}: give a positive number.")
    return options


def _refuse_transforms(ode: MultiscaleODE, u: object, state0: object, method: str, adjoint: bool) -> None:
    """Solvers choose their steps by the values, and torchdiffeq's own autograd functions have no forward mode."""
    states = state0 if isinstance(state0, tuple | list) else ()
    inputs = (u.values,) if isinstance(u, Samples) else (u,)
    for x in (*ode.parameters(), *vars(ode).values(), *states, *inputs):
        if not isinstance(x, Tensor):
            continue
        if torch._C._functorch.is_functorch_wrapped_tensor(x):
            raise RuntimeError(
                "solve() does not run inside vmap, jvp, jacfwd, jacrev or grad of torch.func: give a batch (N, d) instead of vmap, and "
                "differentiate by torch.autograd, e.g. torch.autograd.functional.jacobian."
            )
        if (method not in FIXED_STEP or adjoint) and unpack_dual(x).tangent is not None:
            raise RuntimeError(
                f"method={method!r}{' with adjoint=True' * adjoint} has no forward-mode derivative: use method='rk4' with "
                "options={'step_size': h} and adjoint=False, or backward mode."
            )


def _refuse_gradient(method: str, state0: State | None, u: Input) -> None:
    for name, wanted in (("u", u.requires_grad()), ("state0", state0 is not None and any(s.requires_grad for s in state0))):
        if wanted and torch.is_grad_enabled():
            raise ValueError(
                f"{name} requires a gradient and method={method!r} gives none: use method='dopri5', or {name}.detach() or torch.no_grad()."
            )


def _times(t: Tensor | Sequence[float]) -> Tensor:
    try:
        times = torch.as_tensor(t)
    except (TypeError, ValueError, RuntimeError) as e:
        raise TypeError(f"t is {type(t).__name__} ({e}): give times as a tensor or a list of numbers.") from None
    if times.is_complex():
        raise TypeError("t is complex: give real times.")
    times = times.detach().to("cpu", torch.float64)
    if times.dim() not in (1, 2) or len(times) < 2 or not times.numel():
        raise ValueError(f"t has shape {tuple(times.shape)}: give at least two times, (T,), or (T, N) for times of their own.")
    if not bool(torch.isfinite(times).all() & (times.diff(dim=0) > 0).all()):
        raise ValueError("t: give finite, strictly increasing times.")
    return times


def _batch(ode: MultiscaleODE, t: Tensor, u: object, state0: State | None) -> tuple[int, bool]:
    """N, and whether there is a batch at all."""
    if state0 is not None:
        if not (isinstance(state0, tuple | list) and len(state0) == 2 and all(isinstance(s, Tensor) for s in state0)):
            raise ValueError("state0: give a pair (y, z) of tensors.")
        y, z = state0
        if y.shape != z.shape or y.dim() not in (1, 2) or y.shape[-1] != ode.hidden_size:
            raise ValueError(
                f"state0 has shapes {tuple(y.shape)} and {tuple(z.shape)}: give (d,) or (N, d) twice, with d={ode.hidden_size}."
            )
    sizes = {
        "t": t.shape[1] if t.dim() == 2 else None,
        "u": u.batch if isinstance(u, Samples) else len(u) if isinstance(u, Tensor) and u.dim() == 2 else None,
        "state0": len(state0[0]) if state0 is not None and state0[0].dim() == 2 else None,
    }
    given = {name: size for name, size in sizes.items() if size is not None}
    for name, size in given.items():
        if size == 0:
            raise ValueError(f"{name} holds a batch of size 0: there is nothing to solve; give at least one sample.")
    if len(set(given.values())) > 1:
        raise ValueError(
            f"batch sizes differ: {', '.join(f'{name} has {size}' for name, size in given.items())}; give one N to all."
        )
    return next(iter(given.values()), 1), bool(given)


def _initial(ode: MultiscaleODE, state0: State | None, N: int) -> Tensor:
    """``(N, 2 d)`` in the order (z, y)."""
    weight = ode.weight_zy
    if state0 is None:
        return weight.new_zeros(N, 2 * ode.hidden_size)
    for name, s in zip("yz", state0, strict=True):
        _check_values(f"initial {name}", s, weight.dtype)
    y, z = state0
    return torch.cat([z, y], -1).expand(N, -1)


def _input(ode: MultiscaleODE, t: Tensor, u: object, N: int, batched: bool, events: Tensor) -> Input:
    m, dtype = ode.input_size, ode.weight_ih.dtype
    if len(events) and not callable(u):
        raise ValueError("event_times are for a callable u: of the other kinds of input the jumps are known.")
    if u is None:
        return Constant(ode.weight_ih.new_zeros(m))
    if isinstance(u, Samples):
        if len(events):
            raise ValueError("event_times are for a callable u: of samples the jumps are known.")
        _check_features("samples", u.values, m)
        _check_values("samples", u.values, dtype)
        first = u.t[0] if u.kind != "constant" else t[0]
        if bool((t[0] < first).any() | (t[-1] > u.t[-1] + 1e-12 * u.t[-1].abs()).any()):
            raise ValueError(
                f"samples reach from t={float(u.t[0].max()):g} to {float(u.t[-1].min()):g}, the solution from {float(t[0].min()):g} to "
                f"{float(t[-1].max()):g}: give samples for all of it."
            )
        return u.on_batch(N)
    if isinstance(u, Tensor):
        if u.dim() not in (1, 2):
            raise ValueError(f"u has shape {tuple(u.shape)}: give (m,) or (N, m), or lemode.Samples(t, values) for a series.")
        _check_features("u", u, m)
        _check_values("u", u, dtype)
        return Constant(u)
    if not callable(u):
        raise TypeError(f"u is {type(u).__name__}: give a tensor, lemode.Samples, or a function of t.")
    coarse = torch.finfo(dtype).eps * float(t.abs().max())  # between two times that u can tell apart
    if coarse > 1e-3 * float(t.diff(dim=0).min()):
        raise ValueError(
            f"t reaches {float(t.abs().max()):g}, where {dtype} tells u(t) times {coarse:.2g} apart, too coarse for intervals of "
            f"{float(t.diff(dim=0).min()):.2g}: let t start near 0, solve in float64 (ode.double()), or give u as lemode.Samples."
        )
    function = Function(u, events, ode.weight_ih.detach())
    with torch.no_grad():
        value = function(t[0])
        if not isinstance(value, Tensor) or tuple(value.shape) not in {(m,), (N, m)} or value.dtype != dtype:
            what = f"{tuple(value.shape)}, {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"u(t) returned {what}: return a tensor ({m},) or ({N}, {m}) of {dtype}.")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"u(t) is not finite at t={float(t[0].max()):g}, where the solution starts: check the function there."
            )
        function.warn_of_jumps(t[0], t[-1])
    return function


def _check_features(name: str, value: Tensor, m: int) -> None:
    if value.shape[-1] != m:
        raise ValueError(f"{name}: {value.shape[-1]} features, the ode reads input_size={m}.")


def _check_values(name: str, value: Tensor, dtype: torch.dtype) -> None:
    if value.dtype != dtype:
        raise ValueError(f"{name}: {value.dtype}, the parameters are {dtype}; convert one, e.g. by .to({dtype}).")
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name}: holds a value that is not finite.")


def _events(times: Sequence[float] | Tensor) -> Tensor:
    try:
        events = torch.as_tensor(times, dtype=torch.float64).detach().flatten()
    except (TypeError, ValueError, RuntimeError) as e:
        raise TypeError(f"event_times={times!r} ({e}): give a list of times.") from None
    if not bool(torch.isfinite(events).all()):
        raise ValueError(f"event_times={events.tolist()}: give finite times.")
    return events
