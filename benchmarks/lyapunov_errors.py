"""Whether the standard errors of Lyapunov exponents are right: 200 short runs of each system, and how their z-scores scatter; Markdown.

    python benchmarks/lyapunov_errors.py > benchmarks/lyapunov_errors.md

z is the distance from the true exponent over the error that a run says; its root mean square is 1 where errors are right, known to 5 % by
200 runs. The transient is the default, left out as each run itself asks for. True are the zero along any flow, what Sprott, Chaos and
Time-Series Analysis (2003), lists for Henon, Lorenz and Roessler, -a log a - (1 - a) log(1 - a) of the skew tent map, here with a start
that is far away, and for van der Pol's cycle the mean of its divergence over a period. Runs begin at drawn states
and at drawn times, and end at drawn ones.
"""

import argparse
import functools
from unittest import mock

import numpy as np
from scipy.integrate import solve_ivp

import lemode
from lemode.analysis import lyapunov, spectrum_of_map, tangent
from lemode.systems import Lorenz63, Roessler, VanDerPol

A = 0.3
TENT = -A * np.log(A) - (1 - A) * np.log(1 - A)
LATE = 40  # intervals of orthonormalisation; over half of them beginnings and ends are drawn each


def henon(x):
    return np.stack([1 - 1.4 * x[..., 0] ** 2 + x[..., 1], 0.3 * x[..., 0]], -1)


def henon_jacobian(x):
    J = np.zeros((*x.shape, 2))
    J[..., 0, 0], J[..., 0, 1], J[..., 1, 0] = -2.8 * x[..., 0], 1.0, 0.3
    return J


def tent(v):
    """Beside a number that falls to zero."""
    return np.stack([np.where(v[..., 0] < A, v[..., 0] / A, (1 - v[..., 0]) / (1 - A)), 0.9 * v[..., 1]], -1)


def tent_jacobian(v):
    """Diagonal; its slope is the larger the farther that number is from zero."""
    J = np.zeros((*v.shape, 2))
    J[..., 0, 0] = np.where(v[..., 0] < A, 1 / A, -1 / (1 - A)) * np.exp(v[..., 1])
    J[..., 1, 1] = 0.1
    return J


def divergence_of_van_der_pol() -> float:
    """Its mean over a period from one maximum to the next, by a solver whose tolerance is 1e-12."""
    top = lambda t, v: v[1]  # noqa: E731
    top.direction = -1
    found = solve_ivp(
        lambda t, v: [v[1], (1 - v[0] ** 2) * v[1] - v[0], 1 - v[0] ** 2], (0, 200), [2.0, 0.0, 0.0], "DOP853", events=top,
        rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    (before, after), (start, end) = found.t_events[0][-2:], found.y_events[0][-2:, 2]
    return float((end - start) / (after - before))


def each(advance, shape, interval, count, transient, k, blocks, seed):
    """The runs of an ensemble, integrated at once, one by one."""
    rates = tangent.qr_rates(advance, shape, interval, count, 0, k, blocks, seed)
    drawn = np.random.default_rng(1).integers(0, LATE // 2, (shape[0], 2))
    return [
        tangent.summary(rates[begin : len(rates) - end, i : i + 1], shape[-1], interval, None, blocks)
        for i, (begin, end) in enumerate(drawn)
    ]


def of_map(step, jacobian, draw, steps, rng, runs):
    with mock.patch.object(lyapunov, "qr_spectrum", each):
        return spectrum_of_map(step, draw(rng, runs), steps + LATE, jacobian=jacobian)


def of_flow(make, t, dt, rng, runs):
    system = make()
    with mock.patch.object(lyapunov, "qr_spectrum", each):
        late = 10 * dt * LATE
        return lyapunov.spectrum_of_flow(
            system.rhs, system.sample_initial(runs, rng), t + late, jacobian=system.jacobian, dt=dt
        )


def drawn_henon(rng, runs):
    return 0.1 + 0.05 * rng.random((runs, 2))


def drawn_tent(rng, runs):
    return np.stack([rng.random(runs), np.full(runs, 3.0)], -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    cycle = functools.partial(of_flow, functools.partial(VanDerPol, mu=1.0), dt=0.05)
    # time of a run; true exponents, None where none is known
    systems = {
        "skew tent map, diagonal": (functools.partial(of_map, tent, tent_jacobian, drawn_tent), 400, (TENT,)),
        "Henon": (functools.partial(of_map, henon, henon_jacobian, drawn_henon), 300, (0.41922, np.log(0.3) - 0.41922)),
        "van der Pol, mu=1": (cycle, 60.0, (0.0, None)),
        "van der Pol, mu=1, longer": (cycle, 150.0, (0.0, None)),
        "Lorenz63": (functools.partial(of_flow, Lorenz63, dt=0.02), 200.0, (0.9056, 0.0, -14.5723)),
        "Roessler": (functools.partial(of_flow, Roessler, dt=0.05), 300.0, (0.0714, 0.0)),
    }
    print(f"Output of `python benchmarks/lyapunov_errors.py`, lemode {lemode.__version__}.\n", flush=True)
    print("z: distance from the true exponent over the error that a run says. Left out: share of a run, by default.\n")
    print("| system | time of a run | runs | left out | exponent | true | z, root mean square | z, mean | error, mean |")
    print("|" + "---|" * 9)
    for name, (run, t, true) in systems.items():
        found = run(rng=np.random.default_rng(0), runs=runs, **({"t": t} if isinstance(t, float) else {"steps": t}))
        left = np.mean([s.transient / (s.transient + s.times[-1]) for s in found])
        if name.startswith("van"):
            true = (0.0, divergence_of_van_der_pol())
        for i, exact in enumerate(true):
            errors = np.array([s.standard_error[i] for s in found])
            z = np.array([s.exponents[i] - exact for s in found]) / errors
            print(
                f"| {name} | {t:g} | {runs} | {100 * left:.0f} % | {i + 1} | {exact:.4f} | {np.sqrt(np.mean(z**2)):.2f} "
                f"| {z.mean():+.2f} | {errors.mean():.2g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
