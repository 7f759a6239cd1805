"""Every system of the library: its equations against an independent symbolic transcription, its Jacobian against autograd."""

import functools

import mpmath
import numpy as np
import pytest
import sympy as sp
import torch

from lemode.systems import Lorenz63, Lorenz96, Lorenz96TwoScale, available, describe, get
from lemode.systems.delay import DelaySystem
from lemode.systems.hodgkin_huxley import HodgkinHuxley, _linoid, _linoid_slope

# parameters other than the defaults, so that a constant in place of a parameter shows, and small enough for sympy
PARAMETERS = {
    "Burgers": {"L": 5.0, "N": 9, "nu": 0.3},
    "FitzHughNagumo": {"I": 0.3, "a": 0.6, "b": 0.9, "eps": 0.05},
    "ForcedFitzHughNagumo": {"I": 0.3, "a": 0.6, "b": 0.9, "eps": 0.05},
    "HodgkinHuxley": {"I": 7.0, "C": 1.1, "g_Na": 115.0, "g_K": 35.0, "g_L": 0.2, "E_Na": 51.0, "E_K": -76.0, "E_L": -54.0},
    "KuramotoSivashinsky": {"L": 14.0, "N": 10},
    "LinearTwoScale": {"omega": 0.7, "eps": 0.02},
    "Lorenz63": {"sigma": 9.0, "rho": 20.0, "beta": 2.0},
    "Lorenz96": {"K": 6, "F": 5.0},
    "Lorenz96TwoScale": {"K": 4, "J": 3, "F": 7.0, "h": 0.8, "c": 6.0, "b": 5.0},
    "MackeyGlass": {"beta": 0.3, "gamma": 0.2, "n": 7.0, "tau": 3.0},
    "Robertson": {"k1": 0.05, "k2": 2e3, "k3": 1e2},
    "Roessler": {"a": 0.1, "b": 0.3, "c": 5.0},
    "VanDerPol": {"mu": 3.0},
}
NAMES = sorted(PARAMETERS)


def fitzhugh_nagumo(x, p):
    v, w = x
    return [v - v**3 / 3 - w + p["I"], p["eps"] * (v + p["a"] - p["b"] * w)]


def hodgkin_huxley(x, p):
    """Hodgkin and Huxley's own equations (12), (13), (20), (21), (23), (24) in their V, which is -(V + 65) here."""
    V, m, h, n = x
    v = -(V + 65)
    an, bn = sp.Rational(1, 100) * (v + 10) / (sp.exp((v + 10) / 10) - 1), sp.Rational(1, 8) * sp.exp(v / 80)
    am, bm = sp.Rational(1, 10) * (v + 25) / (sp.exp((v + 25) / 10) - 1), 4 * sp.exp(v / 18)
    ah, bh = sp.Rational(7, 100) * sp.exp(v / 20), 1 / (sp.exp((v + 30) / 10) + 1)
    current = p["g_Na"] * m**3 * h * (V - p["E_Na"]) + p["g_K"] * n**4 * (V - p["E_K"]) + p["g_L"] * (V - p["E_L"])
    gates = [a * (1 - g) - b * g for g, a, b in ((m, am, bm), (h, ah, bh), (n, an, bn))]
    return [(p["I"] - current) / p["C"], *gates]


def lorenz96(x, p):
    K = len(x)
    return [(x[(k + 1) % K] - x[k - 2]) * x[k - 1] - x[k] + p["F"] for k in range(K)]


def lorenz96_two_scale(x, p):
    K, J = p["K"], p["J"]
    X, Y = x[:K], x[K:]
    h, c, b, n = p["h"], p["c"], p["b"], K * J
    slow = [f - h * c / b * sum(Y[k * J : (k + 1) * J]) for k, f in enumerate(lorenz96(X, p))]
    fast = [-c * b * Y[(i + 1) % n] * (Y[(i + 2) % n] - Y[i - 1]) - c * Y[i] + h * c / b * X[i // J] for i in range(n)]
    return slow + fast


def galerkin(x, p, symbol):
    """Insert the trigonometric polynomial through the values, keep its wavenumbers below N/2, evaluate at the points.

    By sums over all pairs of coefficients and with numbers: the symbols would run to megabytes.
    """
    N, L = p["N"], p["L"]
    waves = range(-((N - 1) // 2), (N - 1) // 2 + 1)
    c = {k: sum(x[j] * np.exp(-2j * np.pi * k * j / N) for j in range(N)) / N for k in waves}
    q = {k: 2 * np.pi * k / L for k in waves}
    square = {k: sum(c[a] * c[k - a] for a in waves if k - a in c) for k in waves}
    f = {k: symbol(q[k]) * c[k] - 0.5j * q[k] * square[k] for k in waves}
    out = [sum(f[k] * np.exp(2j * np.pi * k * j / N) for k in waves) for j in range(N)]
    if N % 2 == 0:  # the wavenumber N/2 is only damped
        top = sum(x[j] * (-1) ** j for j in range(N)) / N
        out = [out[j] + symbol(np.pi * N / L) * top * (-1) ** j for j in range(N)]
    return np.real(out)


TRANSCRIPTIONS = {
    "Burgers": lambda x, p: galerkin(x, p, lambda q: -p["nu"] * q**2),
    "FitzHughNagumo": fitzhugh_nagumo,
    "ForcedFitzHughNagumo": fitzhugh_nagumo,
    "HodgkinHuxley": hodgkin_huxley,
    "KuramotoSivashinsky": lambda x, p: galerkin(x, p, lambda q: q**2 - q**4),
    "LinearTwoScale": lambda x, p: [-p["omega"] * x[1], p["omega"] * x[0], (x[0] - x[2]) / p["eps"]],
    "Lorenz63": lambda x, p: [p["sigma"] * (x[1] - x[0]), x[0] * (p["rho"] - x[2]) - x[1], x[0] * x[1] - p["beta"] * x[2]],
    "Lorenz96": lorenz96,
    "Lorenz96TwoScale": lorenz96_two_scale,
    "MackeyGlass": lambda x, p: [p["beta"] * x[1] / (1 + x[1] ** p["n"]) - p["gamma"] * x[0]],
    "Robertson": lambda x, p: [
        -p["k1"] * x[0] + p["k3"] * x[1] * x[2],
        p["k1"] * x[0] - p["k3"] * x[1] * x[2] - p["k2"] * x[1] ** 2,
        p["k2"] * x[1] ** 2,
    ],
    "Roessler": lambda x, p: [-x[1] - x[2], x[0] + p["a"] * x[1], p["b"] + x[2] * (x[0] - p["c"])],
    "VanDerPol": lambda x, p: [x[1], p["mu"] * (1 - x[0] ** 2) * x[1] - x[0]],
}


def states(name, shape):
    rng = np.random.default_rng(1)
    system = get(name, **PARAMETERS[name])
    D = 2 if isinstance(system, DelaySystem) else len(system.names)  # x(t) and x(t - tau)
    x = rng.uniform(0.2, 1.5, (*shape, D))
    if name == "HodgkinHuxley":
        x = np.concatenate([rng.uniform(-90, 40, (*shape, 1)), rng.uniform(0, 1, (*shape, 3))], -1)
    return system, x


def evaluate(system, function, x):
    """rhs or jacobian at x, which for a delay equation holds the present and the past."""
    call = getattr(system, function)
    return call(0.0, x[..., :1], x[..., 1:]) if isinstance(system, DelaySystem) else call(0.0, x)


def test_every_system_has_a_transcription():
    assert sorted(available()) == NAMES == sorted(TRANSCRIPTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_equals_its_symbolic_form(name):
    system, x = states(name, (2, 3))
    symbols = sp.symbols(f"x:{x.shape[-1]}", real=True)
    if name in ("Burgers", "KuramotoSivashinsky"):
        f = functools.partial(TRANSCRIPTIONS[name], p=PARAMETERS[name])
    else:
        f = sp.lambdify([symbols], TRANSCRIPTIONS[name](list(symbols), PARAMETERS[name]))
    got = evaluate(system, "rhs", x)
    for i in np.ndindex(2, 3):
        exact = np.array(f(x[i]), dtype=float)
        # rounding of the terms, which may cancel
        np.testing.assert_allclose(got[i], exact, rtol=1e-12, atol=1e-12 * np.abs(exact).max())


@pytest.mark.parametrize("name", NAMES)
def test_jacobian_is_that_of_autograd_for_arrays_and_tensors(name):
    system, x = states(name, (2, 3))
    u = torch.tensor(x)
    rows = u.reshape(-1, x.shape[-1])
    exact = torch.func.vmap(torch.func.jacfwd(lambda v: evaluate(system, "rhs", v)))(rows).reshape(2, 3, -1, x.shape[-1])
    scale = exact.abs().max()
    J, tensor = evaluate(system, "jacobian", x), evaluate(system, "jacobian", u)
    assert isinstance(J, np.ndarray)
    np.testing.assert_allclose(J, exact, rtol=1e-12, atol=1e-13 * scale)
    np.testing.assert_allclose(tensor, exact, rtol=1e-12, atol=1e-13 * scale)
    # the same numbers for a tensor, an array, a batch and one state
    f = evaluate(system, "rhs", x)
    np.testing.assert_allclose(evaluate(system, "rhs", u), f, rtol=1e-12, atol=1e-12 * np.abs(f).max())
    np.testing.assert_allclose(evaluate(system, "rhs", x[1, 2]), f[1, 2], rtol=1e-12, atol=1e-12 * np.abs(f).max())
    assert evaluate(system, "jacobian", x[1, 2]).shape == J.shape[2:]
    assert evaluate(system, "rhs", u.float()).dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_describes_itself(name):
    system = available()[name]()
    assert system.source
    assert set(system.units) <= {"t", *system.names}
    assert system.time_scale_ratio >= 1
    assert all(value > 0 for value in system.time_scales.values())
    assert all(fact.how for fact in system.facts.values())
    assert name in describe()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"MackeyGlass", "Lorenz96TwoScale"}))
def test_initial_states_follow_the_seed(name):
    small = {"KuramotoSivashinsky": {"N": 32}}.get(name, {})
    a, b, c = (get(name, **small).sample_initial(2, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert a.shape == (2, len(get(name, **small).names))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(a[0], a[1])


def test_rates_of_hodgkin_huxley_at_their_removable_singularities():
    # at and around V = -40 and -55 both the values and the slopes, to rounding: against the Taylor series
    x = np.array([0.0, 1e-300, 1e-12, -1e-9, 1e-5, -1e-3, 0.0999, 0.1, 0.1001, -0.1, 3.0, -500.0])
    with mpmath.workdps(700):  # 1e-300 squared still counts
        exact, slope = [1.0], [0.5]
        for v in map(mpmath.mpf, x[1:]):
            e = mpmath.exp(-v)
            exact.append(float(v / (1 - e)))
            slope.append(float((1 - e - v * e) / (1 - e) ** 2))
    np.testing.assert_allclose(_linoid(x), exact, rtol=1e-15)
    np.testing.assert_allclose(_linoid_slope(x), slope, rtol=1e-13)  # cancellation costs two digits at 0.1
    V = np.array([-40.0, -55.0])
    (am, _), _, (an, _) = HodgkinHuxley.rates(V)
    assert am[0] == 1.0
    assert an[1] == 0.1
    J = HodgkinHuxley().jacobian(0.0, torch.tensor([[-40.0, 0.1, 0.5, 0.3], [-55.0, 0.1, 0.5, 0.3]], dtype=torch.float64))
    assert torch.isfinite(J).all()


def test_from_the_shell(capsys):
    from lemode.cli import main

    assert main(["systems"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in NAMES)
    assert main(["systems", "robertson"]) == 0
    out = capsys.readouterr().out
    assert "y1 at 4e4 = 0.03898337708" in out
    assert "t in s" in out
    assert main(["systems", "robertsen"]) == 1
    assert "did you mean Robertson?" in capsys.readouterr().err


def test_lookup():
    assert get("lorenz-63", rho=20.0) == Lorenz63(rho=20.0)
    assert get("Lorenz96", K=5) == Lorenz96(K=5)
    with pytest.raises(ValueError, match="'lorentz63': did you mean Lorenz63"):
        get("lorentz63")
    with pytest.raises(ValueError, match=r"unknown system '!'.*There are Burgers, FitzHughNagumo"):
        get("!")
    with pytest.raises(ValueError, match="at least 4 sites"):
        Lorenz96(K=3)
    with pytest.raises(ValueError, match="K=2, J=3"):
        Lorenz96TwoScale(K=2, J=3)
