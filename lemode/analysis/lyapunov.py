r"""Lyapunov spectra by repeated QR: of a map, of a flow, and of a LEM network driven by an input.

Tangent vectors Q are carried along the trajectory and orthonormalised again and again, :math:`D_n Q_{n-1} = Q_n R_n`; then

.. math:: \lambda_i = \lim_{n \to \infty} \frac{1}{t_n} \sum_{k \le n} \log |(R_k)_{ii}| .

Three different questions share this algorithm, and have a function each:

- `spectrum_of_map` iterates a map: a discrete system, or anything else that gives the next state from this one.
- `spectrum_of_flow` integrates an ODE together with its variational equation: a `lemode.systems` system.
- `spectrum_of_closed_loop` does so for a `lemode.Surrogate`, and `spectrum_of_lem` drives a network by a *given* input, both in
  lyapunov_network.py. The latter are conditional exponents: they say whether the network forgets its initial state under
  that input (largest one negative), not whether the system that made the input is chaotic.

Sources: Benettin, Galgani, Giorgilli, Strelcyn, Meccanica 15 (1980) 9-30; Eckmann, Ruelle, Rev. Mod. Phys. 57 (1985) 617.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import checks, count, finite_positive, integer, real, seed
from ..conv import ConvLEM
from ..lem import LEM, LEMCell
from ..types import Array
from .tangent import (
    LyapunovSpectrum,
    differentiate,
    finite,
    initial_state,
    positive,
    qr_spectrum,
    rk4,
    scipy_step,
    to_numpy,
)

FLOW_METHODS = ("rk4", "DOP853", "RK45", "RK23", "Radau", "BDF", "LSODA")

__all__ = ["LyapunovSpectrum", "lyapunov_spectrum", "spectrum_of_flow", "spectrum_of_map"]


@checks(steps=count, dt=real, transient=count, k=integer, blocks=count, seed=seed)
def spectrum_of_map(
    step: Callable[[Any], Any],
    x0: Any,
    steps: int,
    *,
    jacobian: Callable[[Any], Any] | None = None,
    dt: float = 1.0,
    transient: int | None = None,
    k: int | None = None,
    blocks: int = 20,
    seed: int = 0,
) -> LyapunovSpectrum:
    r"""Lyapunov exponents of the map :math:`x_n = f(x_{n-1})`, from its exact Jacobian.

    .. math:: Df(x_{n-1})\, Q_{n-1} = Q_n R_n, \qquad \lambda_i = \frac{1}{N \Delta t} \sum_n \log |(R_n)_{ii}|

    Parameters
    ----------
    step : callable
        f: a state ``(D,)`` to a state ``(D,)``. With ``jacobian=None`` written in torch, since it is then differentiated.
    x0 : (D,) or (n, D)
        Initial state, or an ensemble of n; a tensor, or an array if `jacobian` is given and works on arrays.
        With `jacobian` given, both are called with states shaped as x0; otherwise `step` only ever sees ``(D,)``.
    steps : int
        Steps that are averaged over, after `transient` steps in which trajectory and tangent vectors settle.
    transient : int, optional
        By default no more steps than `steps` are made, and as many of the first are left out as their scatter asks for, at most half.
    jacobian : callable, optional
        x to ``(..., D, D)``. By default forward-mode differentiation of `step`.
    dt : float
        Time a step stands for: exponents are per unit of it.
    k : int, optional
        How many exponents; all D by default.
    blocks : int
        Pieces for the standard error.
    seed : int
        Of the initial tangent vectors.

    Returns
    -------
    LyapunovSpectrum

    Raises
    ------
    ValueError
        For bad shapes, non-finite values, too few steps, or a Jacobian that is zero because `step` leaves torch's graph.
    FloatingPointError
        If the trajectory blows up; the message says when.

    Examples
    --------
    The logistic map at 4 has the exponent log 2 = 0.6931:

    >>> s = spectrum_of_map(lambda x: 4 * x * (1 - x), torch.tensor([0.3], dtype=torch.float64), 200)
    >>> bool(abs(s.exponents[0] - np.log(2)) < 0.05)
    True
    """
    x = initial_state(x0, tensor=jacobian is None)
    shape = tuple(x.shape)
    dt = positive("dt", dt)
    if jacobian is None:
        pushforward = differentiate(step, batched=len(shape) == 2)
    else:
        given = jacobian

        def pushforward(x: Any) -> tuple[Any, Any]:
            return step(x), given(x)

    def advance(Q: Array) -> Array:
        nonlocal x
        new, J = pushforward(x)
        if tuple(np.shape(new)) != shape:
            raise ValueError(
                f"step maps a state of shape {shape} to one of shape {tuple(np.shape(new))}: a map keeps the shape."
            )
        if tuple(np.shape(J)) != (*shape, shape[-1]):
            raise ValueError(
                f"the Jacobian has shape {tuple(np.shape(J))} for a state of shape {shape}: give {(*shape, shape[-1])}."
            )
        x = new
        finite(to_numpy(new), "the state")
        return to_numpy(J) @ Q

    return qr_spectrum(advance, shape, dt, steps, transient, k, blocks, seed)


@checks(
    t=real,
    dt=real,
    transient=real,
    interval=real,
    rtol=finite_positive,
    atol=finite_positive,
    k=integer,
    blocks=count,
    seed=seed,
)
def spectrum_of_flow(
    rhs: Callable[[float, Any], Any],
    x0: Any,
    t: float,
    *,
    jacobian: Callable[[float, Any], Any] | None = None,
    dt: float = 0.01,
    transient: float | None = None,
    interval: float | None = None,
    method: str = "rk4",
    rtol: float = 1e-9,
    atol: float = 1e-9,
    k: int | None = None,
    blocks: int = 20,
    seed: int = 0,
) -> LyapunovSpectrum:
    r"""Lyapunov exponents of the ODE :math:`\dot x = f(t, x)`, with its variational equation.

    .. math:: \dot x = f(t, x), \qquad \dot Q = Df(t, x)\, Q, \qquad Q \to QR \text{ every interval}

    Parameters
    ----------
    rhs : callable
        f(t, x), arrays shaped as x0; or torch if `jacobian` is None and x0 is a tensor ``(D,)``.
    x0 : (D,) or (n, D)
        Initial state, or an ensemble of n, which shortens the time needed (rhs and jacobian then see all n at once).
    t : float
        Time that is averaged over (by every member), after `transient`, in which trajectory and tangent vectors settle.
    transient : float, optional
        By default as in `spectrum_of_map`: a part of t.
    jacobian : callable, optional
        Df(t, x), ``(..., D, D)``.
    dt : float
        Step of 'rk4'.
    interval : float, optional
        Time between orthonormalisations, 10 dt by default. Rounded to whole steps for 'rk4'.
    method : str
        'rk4' with fixed step, or a method of `scipy.integrate.solve_ivp`: 'DOP853', or 'Radau' and 'LSODA' if stiff.
    rtol, atol : float
        Of scipy's methods.
    k, blocks, seed
        As in `spectrum_of_map`.

    Returns
    -------
    LyapunovSpectrum
        Exponents per unit of t.

    Raises
    ------
    ValueError, FloatingPointError
        As in `spectrum_of_map`.

    Examples
    --------
    >>> s = spectrum_of_flow(lambda t, x: -2 * x, np.ones(1), 10.0, jacobian=lambda t, x: -2 * np.eye(1))
    >>> round(float(s.exponents[0]), 6)
    -2.0
    """
    t, dt = positive("t", t), positive("dt", dt)
    if method not in FLOW_METHODS:
        raise ValueError(f"method={method!r}: choose one of {', '.join(FLOW_METHODS)}.")
    interval = 10 * dt if interval is None else positive("interval", interval)
    if transient is not None and (transient < 0 or not np.isfinite(transient)):
        raise ValueError(f"transient={transient:g}: give a time that is not negative.")
    if jacobian is None:
        f, df = _torch_rhs(rhs, x0)
    else:
        f, df = rhs, jacobian
    x = to_numpy(initial_state(x0, tensor=False))
    now = 0.0
    if np.shape(f(now, x)) != x.shape:
        raise ValueError(f"rhs returns shape {np.shape(f(now, x))} for a state of shape {x.shape}: they must agree.")
    if np.shape(df(now, x)) != (*x.shape, x.shape[-1]):
        raise ValueError(
            f"jacobian returns shape {np.shape(df(now, x))} for a state of shape {x.shape}: give {(*x.shape, x.shape[-1])}."
        )
    substeps = max(1, round(interval / dt))
    if method == "rk4":
        interval = substeps * dt

    def advance(Q: Array) -> Array:
        nonlocal x, now
        if method == "rk4":
            for _ in range(substeps):
                x, Q = rk4(f, df, now, x, Q, dt)
                now += dt
        else:
            x, Q = scipy_step(f, df, now, x, Q, interval, method, rtol, atol)
            now += interval
        finite(x, "the state")
        return Q

    before = None if transient is None else round(transient / interval)
    return qr_spectrum(advance, x.shape, interval, int(t / interval + 1e-9), before, k, blocks, seed)


def lyapunov_spectrum(what: Any, x: Any, n: float | None = None, **options: Any) -> LyapunovSpectrum:
    """Lyapunov spectrum of whatever has one: calls the function that fits.

    ==============================  ==========================  ==========================================
    what                            x, n                        calls
    ==============================  ==========================  ==========================================
    object with rhs and jacobian    initial state, time         `spectrum_of_flow`, e.g. a lemode system
    field, such as KS               initial state, time         `spectrum_of_map` of its ``flow_map(dt)``, dt 1 by default
    LEM or LEMCell                  input (no n)                `spectrum_of_lem`: conditional exponents
    fitted Surrogate                history, steps              `spectrum_of_closed_loop`
    callable                        initial state, steps        `spectrum_of_map`: iterates it
    ==============================  ==========================  ==========================================

    The right-hand side of an ODE is a callable, too, and its two arguments t, x tell it from a map: it is refused by name. Give it as
    `lemode.systems.CallableSystem`, which differentiates NumPy code, or to `spectrum_of_flow`.

    Raises
    ------
    TypeError
        If `what` is none of these, or n is missing.

    Examples
    --------
    >>> s = lyapunov_spectrum(lambda x: 0.5 * x, torch.ones(2, dtype=torch.float64), 100)
    >>> [round(float(v), 4) for v in s.exponents]
    [-0.6931, -0.6931]
    """
    from .lyapunov_network import spectrum_of_closed_loop, spectrum_of_lem  # which builds on this file

    if isinstance(what, LEM | LEMCell):
        if n is not None:
            raise TypeError(f"n={n}: the length of the input sets the number of steps of a driven network.")
        return spectrum_of_lem(what, x, **options)
    if n is not None and not np.isfinite(real("n", n)):
        raise ValueError(f"n={n}: give a finite number.")
    if n is None:
        raise TypeError("say how long: lyapunov_spectrum(system, x0, time) or lyapunov_spectrum(map, x0, steps).")
    if callable(getattr(what, "flow_map", None)):  # stiff, and its own integrator has an exact tangent
        dt, transient = positive("dt", options.pop("dt", 1.0)), options.pop("transient", None)
        flow = what.flow_map(dt)
        before = None if transient is None else round(transient / dt)
        return spectrum_of_map(flow, x, int(n / dt + 1e-9), jacobian=flow.jacobian, dt=dt, transient=before, **options)
    if callable(getattr(what, "rhs", None)) and callable(getattr(what, "jacobian", None)):
        return spectrum_of_flow(what.rhs, x, n, jacobian=what.jacobian, **options)
    if isinstance(getattr(getattr(what, "network_", what), "core", None), LEM | ConvLEM):
        return spectrum_of_closed_loop(what, x, int(n), **options)
    if callable(what):
        _refuse_rhs(what)
        return spectrum_of_map(what, x, int(n), **options)
    raise TypeError(
        f"{type(what).__name__} is not a system (rhs and jacobian), a LEM network, a fitted Surrogate, or a map x -> x."
    )


def _refuse_rhs(what: Callable[..., Any]) -> None:
    try:
        parameters = inspect.signature(what).parameters.values()
    except (TypeError, ValueError):  # some functions written in C have none
        return
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) > 1:
        names = ", ".join(p.name for p in needed)
        raise TypeError(
            f"a function of ({names}) is no map x -> x but looks like the right-hand side of an ODE: give "
            "lemode.systems.CallableSystem(rhs, dimension), or call spectrum_of_flow(rhs, x0, t, jacobian=...)."
        )


def _torch_rhs(
    rhs: Callable[[float, Any], Any], x0: Any
) -> tuple[Callable[[float, Array], Array], Callable[[float, Array], Array]]:
    if not isinstance(x0, Tensor) or x0.dim() != 1:
        raise ValueError(
            "a flow needs jacobian=, or a rhs in torch and a tensor x0 (D,), to be differentiated; for a rhs in NumPy give "
            "lyapunov_spectrum a lemode.systems.CallableSystem(rhs, dimension)."
        )

    def f(t: float, x: Array) -> Array:
        with torch.no_grad():
            return to_numpy(rhs(t, torch.as_tensor(x, dtype=x0.dtype)))

    def df(t: float, x: Array) -> Array:
        return to_numpy(differentiate(lambda v: rhs(t, v), batched=False)(torch.as_tensor(x, dtype=x0.dtype))[1])

    return f, df
