"""FitzHugh-Nagumo: its symbolic form, the benchmark's parameters, its limit cycle."""

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from lemode.systems import FitzHughNagumo


def test_fitzhugh_nagumo_equals_its_symbolic_form():
    v, w = sympy.symbols("v w")
    values = {"I": 0.3, "a": 0.6, "b": 0.9, "eps": 0.05}
    f = sympy.Matrix([v - v**3 / 3 - w + values["I"], values["eps"] * (v + values["a"] - values["b"] * w)])
    rhs, jac = sympy.lambdify((v, w), f), sympy.lambdify((v, w), f.jacobian([v, w]))
    system = FitzHughNagumo(**values)
    x = np.random.default_rng(0).normal(size=(3, 4, 2))
    got_f, got_J = system.rhs(0.0, x), system.jacobian(0.0, x)
    for i in np.ndindex(3, 4):
        np.testing.assert_allclose(got_f[i], rhs(*x[i]).ravel(), rtol=1e-14, atol=1e-15)
        np.testing.assert_allclose(got_J[i], jac(*x[i]), rtol=1e-14, atol=1e-15)


def test_defaults_are_the_benchmark():
    s = FitzHughNagumo()
    assert (s.I, s.a, s.b, s.eps) == (0.5, 0.7, 0.8, 0.02)
    x0 = s.sample_initial(1000, np.random.default_rng(0))
    assert np.abs(x0[:, 0]).max() <= 1
    assert x0[:, 0].std() == pytest.approx(1 / np.sqrt(3), rel=0.05)  # uniform in [-1, 1]; 3 standard errors are 4 %
    assert (x0[:, 1] == 0).all()


@pytest.mark.slow
def test_period_of_the_limit_cycle():
    """Three upward crossings by independent event detection: 121.9 within the scatter of the sampling."""
    from lemode.metrics import period

    t = np.arange(0, 1000, 0.4)
    x = FitzHughNagumo().solve([0.0, 0.0], t)
    cross = solve_ivp(
        FitzHughNagumo().rhs, (0, 1000), [0.0, 0.0], rtol=1e-10, atol=1e-12, method="DOP853", events=lambda s, y: y[0]
    )
    exact = np.diff(cross.t_events[0][::2])[-1]
    assert period(t[1000:], x[1000:, 0]) == pytest.approx(exact, rel=1e-6)
