"""Computes the reference facts of every system anew and prints them beside the stated values.

Run ``python benchmarks/reference_facts.py > benchmarks/reference_facts.txt`` (3 to 4 minutes on one core), or give the names of the
systems that you want. It exits with status 1 if a computed value misses the stated one by more than both errors together.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from lemode import systems as S
from lemode.analysis.lyapunov import lyapunov_spectrum, spectrum_of_map
from lemode.metrics import period

Array = NDArray[np.float64]
Values = dict[str, tuple[float, float]]  # quantity: value, error


def cycle(system: Any, x0: Any, t: float, count: int, level: float = 0.0, method: str = "DOP853") -> tuple[float, float]:
    """Mean period of the last cycles, and their scatter or the solver's tolerance."""

    def crossing(s: float, x: Array) -> float:
        return float(x[0] - level)

    crossing.direction = 1  # type: ignore[attr-defined]
    jac = {} if method == "DOP853" else {"jac": system.jacobian}
    run = solve_ivp(system.rhs, (0, t), x0, method=method, rtol=1e-11, atol=1e-13, events=crossing, **jac)
    periods = np.diff(run.t_events[0])[-count:]
    return float(periods.mean()), max(float(np.ptp(periods)), 1e-9 * float(periods.mean()))


def exponents(spectrum: Any, which: dict[str, int]) -> Values:
    return {name: (float(spectrum.exponents[i]), 2 * float(spectrum.standard_error[i])) for name, i in which.items()}


def rest(system: Any) -> tuple[Array, float]:
    """Hodgkin and Huxley's state of rest, and the largest real part of its eigenvalues."""

    def state(V: float) -> Array:
        return np.concatenate([[V], system.steady_gates(np.array(V))])

    x = state(brentq(lambda V: system.rhs(0.0, state(V))[0], -80, -20, xtol=1e-13))
    return x, float(np.linalg.eigvals(system.jacobian(0.0, x)).real.max())


def fitzhugh_nagumo() -> Values:
    return {"period": cycle(S.FitzHughNagumo(), [0.0, 0.0], 1600, 5)}


def forced_fitzhugh_nagumo() -> Values:
    def trace(I: float, side: float) -> float:
        s = S.FitzHughNagumo(I=I)
        roots = np.roots([-1 / 3, 0, 1 - 1 / s.b, I - s.a / s.b])
        v = float(roots[np.abs(roots.imag) < 1e-9].real[0])
        return side * float(np.trace(s.jacobian(0.0, np.array([v, (v + s.a) / s.b]))))

    return {
        "lower threshold": (brentq(trace, 0.0, 0.8, args=(1,), xtol=1e-12), 1e-9),
        "upper threshold": (brentq(trace, 0.9, 2.0, args=(1,), xtol=1e-12), 1e-9),
    }


def van_der_pol() -> Values:
    values = [cycle(S.VanDerPol(), [2.0, 0.0], 120, 3, method=method) for method in ("DOP853", "Radau")]
    return {"period": (values[0][0], max(values[0][1], abs(values[0][0] - values[1][0])))}


def hodgkin_huxley() -> Values:
    s = S.HodgkinHuxley()
    x0 = [-65.0, 0.05, 0.6, 0.32]
    late = solve_ivp(s.rhs, (0, 200), x0, method="DOP853", rtol=1e-11, atol=1e-13, t_eval=np.linspace(180, 200, 40001)).y[0]
    growth: Callable[[float], float] = lambda I: rest(replace(s, I=I))[1]  # noqa: E731
    return {
        "potential at rest": (float(rest(replace(s, I=0.0))[0][0]), 1e-9),
        "lower Hopf current": (brentq(growth, 5, 20, xtol=1e-10), 1e-6),
        "upper Hopf current": (brentq(growth, 100, 200, xtol=1e-10), 1e-6),
        "period": cycle(s, x0, 400, 5, level=-20.0),
        "peak": (float(late.max()), 1e-5),
    }


def robertson() -> Values:
    s, t = S.Robertson(), [0.0, 40.0, 4e4, 1e11]
    a = s.solve([1.0, 0, 0], t, rtol=1e-13, atol=1e-22)
    b = s.solve([1.0, 0, 0], t, method="BDF", rtol=1e-12, atol=1e-20)
    difference = np.abs(a - b)
    names = ["y1", "y2", "y3"]
    return {
        f"{name} at {at}": (float(a[k, i]), float(difference[k, i]))
        for k, at in ((1, "40"), (2, "4e4"), (3, "1e11"))
        for i, name in enumerate(names)
    }


def linear_two_scale() -> Values:
    s = S.LinearTwoScale()
    spectrum = lyapunov_spectrum(s, [1.0, 0.0, 0.0], 2 * np.pi, transient=0.1 * np.pi, dt=np.pi / 16000)
    t = np.linspace(0, 10, 101)
    error = float(np.abs(s.solve([1.0, 0.0, 3.0], t) - s.exact([1.0, 0.0, 3.0], t)).max())
    return {"lambda_3": (float(spectrum.exponents[2]), 0.05), "error": (error, 0.0)}  # RK4 at h/eps = 0.2: 1e-5


def lorenz63() -> Values:
    s = S.Lorenz63()
    spectrum = lyapunov_spectrum(s, s.sample_initial(128, np.random.default_rng(0)), 1000.0, transient=20.0)
    values = exponents(spectrum, {"lambda_1": 0, "lambda_2": 1, "lambda_3": 2})
    return {**values, "sum of exponents": (float(spectrum.exponents.sum()), 1e-3)}


def roessler() -> Values:
    s = S.Roessler()
    x0 = s.sample_initial(256, np.random.default_rng(0))
    spectrum = lyapunov_spectrum(s, x0, 2000.0, transient=100.0, dt=0.04, interval=0.4)
    return exponents(spectrum, {"lambda_1": 0, "lambda_2": 1, "lambda_3": 2})


def lorenz96() -> Values:
    s = S.Lorenz96()
    x0 = s.sample_initial(64, np.random.default_rng(0))
    spectrum = lyapunov_spectrum(s, x0, 100.0, transient=10.0, dt=0.02)
    positive = int((spectrum.exponents > 2 * spectrum.standard_error).sum())
    return {
        **exponents(spectrum, {"lambda_1": 0}),
        "positive exponents": (float(positive), 0.0),
        "Kaplan-Yorke dimension": (spectrum.kaplan_yorke, 0.1),
        "sum of exponents": (float(spectrum.exponents.sum()), 1e-3),
    }


def lorenz96_two_scale() -> Values:
    """The largest exponent from the separation of neighbours, renormalised: the Jacobian has 70,000 entries."""
    s, h, d = S.Lorenz96TwoScale(), 0.002, 1e-6

    def advance(x: Array, steps: int) -> Array:
        for _ in range(steps):
            k1 = s.rhs(0.0, x)
            k2 = s.rhs(0.0, x + h / 2 * k1)
            k3 = s.rhs(0.0, x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + s.rhs(0.0, x + h * k3))
        return x

    rng = np.random.default_rng(0)
    x = s.sample_initial(16, rng)
    e = rng.normal(size=x.shape)
    rates, X, energy = [], [], []
    for k in range(600):  # of 0.05 time units; the first 100 align the neighbours
        e *= d / np.linalg.norm(e, axis=1, keepdims=True)
        both = advance(np.concatenate([x, x + e]), 25)
        x, e = both[:16], both[16:] - both[:16]
        if k >= 100:
            rates.append(np.log(np.linalg.norm(e, axis=1) / d) / 0.05)
            slow, fast = x[:, : s.K], x[:, s.K :]
            X.append(slow.mean(1))
            energy.append(s.F * slow.mean(1) - (slow**2).mean(1) - s.c * s.J * (fast**2).mean(1))
    return {
        name: (float(np.mean(v)), 2 * float(np.mean(v, 0).std(ddof=1) / 4))  # by the scatter of 16 members
        for name, v in (("lambda_1", rates), ("mean of X", X), ("energy balance", energy))
    }


def mackey_glass() -> Values:
    s = S.MackeyGlass()
    ode = s.discretized(40)
    x0 = ode.sample_initial(16, np.random.default_rng(0))
    spectrum = lyapunov_spectrum(ode, x0, 10000.0, transient=500.0, dt=0.1, interval=5.0, k=2)
    t = np.arange(0, 2000, 0.25)
    eight = replace(s, tau=8.0)
    steps = period(t[4000:], eight.solve([0.5], t)[4000:, 0])
    collocation = period(t[4000:], eight.discretized(30).solve(np.full(31, 0.5), t, rtol=1e-9, atol=1e-10)[4000:, 0])
    slope = float(s.slopes(0.0, np.ones(1), np.ones(1))[1].item())  # linearised at x = 1: i w = -gamma + slope exp(-i w tau)
    w = np.sqrt(slope**2 - s.gamma**2)
    return {
        **exponents(spectrum, {"lambda_1": 0, "lambda_2": 1}),
        "period at tau = 8": (steps, max(1e-6, abs(steps - collocation))),
        "Hopf delay": (float(np.arccos(s.gamma / slope) / w), 1e-12),
        "period at the Hopf delay": (float(2 * np.pi / w), 1e-12),
    }


def kuramoto_sivashinsky() -> Values:
    s = S.KuramotoSivashinsky(N=32, step=0.25)
    x0 = s.sample_initial(64, np.random.default_rng(0))
    flow = s.flow_map(1.0)
    spectrum = spectrum_of_map(flow, x0, 2500, jacobian=flow.jacobian, dt=1.0, transient=100, k=8)
    u = s.solve(x0, np.arange(0, 400, 2.0))
    v, q = np.abs(np.fft.rfft(u)) ** 2, s.wavenumbers
    balance = (v * q**4).sum(-1) / (v * q**2).sum(-1).mean()
    t = [0.0, 1.0]
    default = S.KuramotoSivashinsky()
    start = default.sample_initial(1, np.random.default_rng(1))
    radau = default.solve(start, t, method="Radau", rtol=1e-10, atol=1e-11)
    names = {f"lambda_{i + 1}": i for i in range(6)}
    return {
        **exponents(spectrum, names),
        "Kaplan-Yorke dimension": (spectrum.kaplan_yorke, 0.05),
        "mean of u_xx^2 over that of u_x^2": (float(balance.mean()), 2 * float(balance.mean(1).std(ddof=1) / 8)),
        "error over a time unit": (float(np.abs(default.solve(start, t) - radau).max()), 0.0),
    }


def burgers() -> Values:
    s, t = S.Burgers(), np.arange(4.0)
    u0 = np.sin(s.grid) + 0.5 * np.cos(2 * s.grid)
    return {"error": (float(np.abs(s.solve(u0, t) - s.exact(u0, t)).max()), 0.0)}


COMPUTATIONS: dict[str, Callable[[], Values]] = {
    "Burgers": burgers,
    "FitzHughNagumo": fitzhugh_nagumo,
    "ForcedFitzHughNagumo": forced_fitzhugh_nagumo,
    "HodgkinHuxley": hodgkin_huxley,
    "KuramotoSivashinsky": kuramoto_sivashinsky,
    "LinearTwoScale": linear_two_scale,
    "Lorenz63": lorenz63,
    "Lorenz96": lorenz96,
    "Lorenz96TwoScale": lorenz96_two_scale,
    "MackeyGlass": mackey_glass,
    "Robertson": robertson,
    "Roessler": roessler,
    "VanDerPol": van_der_pol,
}


def main(names: list[str]) -> int:
    available = S.available()
    unknown = set(names) - set(available)
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(available)}", file=sys.stderr)
        return 2
    missed = 0
    print(f"{'system':<21} {'quantity':<34} {'computed':>22} {'error':>8} {'stated':>22} {'error':>8}")
    for name in names or list(available):
        start = time.process_time()
        facts, values = available[name].facts, COMPUTATIONS[name]()
        for quantity in dict.fromkeys([*facts, *values]):
            value, error = values.get(quantity, (np.nan, np.nan))
            line = f"{name:<21} {quantity:<34} {value:>22.12g} {error:>8.1g}"
            if quantity in facts:
                fact = facts[quantity]
                holds = abs(value - fact.value) <= error + fact.error + 1e-12 * abs(fact.value)
                line += f" {fact.value:>22.12g} {fact.error:>8.1g}{'' if holds else '  MISSED'}"
                missed += not holds
            print(line, flush=True)
        print(f"{name:<21} ({time.process_time() - start:.0f} s)", flush=True)
    print(f"{missed} of the stated values missed." if missed else "Every stated value is reproduced.")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
