"""Known numbers of every system, in seconds; benchmarks/reference_facts.py does the same at length."""

import dataclasses
import sys

import numpy as np
import pytest

from lemode import systems
from lemode.analysis.lyapunov import lyapunov_spectrum
from lemode.metrics import crossing_times, period
from lemode.systems import (
    FitzHughNagumo,
    ForcedFitzHughNagumo,
    HodgkinHuxley,
    LinearTwoScale,
    Lorenz63,
    Lorenz96,
    Lorenz96TwoScale,
    MackeyGlass,
    Robertson,
    Roessler,
    SolveError,
    VanDerPol,
    from_callable,
    from_dysts,
    from_sympy,
)


def close(value, fact, error=0.0):
    return value == pytest.approx(fact.value, rel=0, abs=fact.error + error)


def test_fitzhugh_nagumo_period():
    t = np.arange(0, 800, 0.2)
    x = FitzHughNagumo().solve([0.0, 0.0], t)
    assert close(period(t[2000:], x[2000:, 0], level=0.0), FitzHughNagumo.facts["period"], 1e-5)  # the spline of `period`


def test_thresholds_of_the_forced_fitzhugh_nagumo():
    # at a fixed point with v = -+ sqrt(1 - eps b) the trace vanishes
    s = FitzHughNagumo()
    for side, name in ((-1, "lower threshold"), (1, "upper threshold")):
        v = side * np.sqrt(1 - s.eps * s.b)
        w = (v + s.a) / s.b
        assert close(w - v + v**3 / 3, ForcedFitzHughNagumo.facts[name])


@pytest.mark.slow
def test_van_der_pol_period_and_default_solver():
    t = np.arange(0, 80, 0.01)
    x = VanDerPol().solve([2.0, 0.0], t)
    assert close(period(t[2000:], x[2000:, 0], level=0.0), VanDerPol.facts["period"], 2e-6)  # splines through a jump, 10 points
    assert (VanDerPol().method, VanDerPol(mu=1000.0).method) == ("DOP853", "Radau")
    stiff = VanDerPol(mu=1000.0).solve([2.0, 0.0], [0.0, 2000.0], rtol=1e-8)
    # value of the test set for initial value problems (Mazzia and Magherini 2008), problem VDPOL, at t = 2000 in this scaling
    assert stiff[-1, 0] == pytest.approx(1.706167732170483, abs=1e-6)


@pytest.mark.slow
def test_hodgkin_huxley_spikes_and_rests():
    facts, t = HodgkinHuxley.facts, np.arange(0, 120, 0.01)
    V = HodgkinHuxley().solve([-65.0, 0.05, 0.6, 0.32], t, rtol=1e-8, atol=1e-9)[:, 0]
    late = t > 60
    assert close(period(t[late], V[late], level=-20.0), facts["period"], 1e-5)  # splines at 0.01 ms
    assert close(V[late].max(), facts["peak"], 1e-2)  # the peak between samples
    rest = facts["potential at rest"].value
    quiet, x = HodgkinHuxley(I=0.0), np.array([rest, *HodgkinHuxley().steady_gates(np.array(rest))])
    assert abs(quiet.rhs(0.0, x)[0]) < 1e-8
    # 7 mV above the rest a shock excites one spike, 6 mV do not
    for shock, spikes in ((6.0, 0), (7.0, 1)):
        V = quiet.solve(x + np.array([shock, 0, 0, 0]), t[:3000], rtol=1e-7, atol=1e-8)[:, 0]
        assert len(crossing_times(t[:3000], V, level=0.0)) == spikes


@pytest.mark.slow
def test_robertson():
    y = Robertson().solve([1.0, 0.0, 0.0], [0.0, 40.0, 4e4, 1e11])
    facts = Robertson.facts
    for key, fact in facts.items():
        name, at = key.split(" at ")
        value = y[["40", "4e4", "1e11"].index(at) + 1, Robertson().names.index(name)]
        assert value == pytest.approx(fact.value, rel=1e-8)  # two orders below the 1e-6 that is asked for
    np.testing.assert_allclose(y.sum(1), 1, atol=1e-12)


def test_linear_two_scale_equals_its_exact_solution():
    s, t = LinearTwoScale(omega=0.7, eps=1e-3), np.array([2.0, 2.001, 2.01, 3.0, 9.0])
    x0 = s.sample_initial(3, np.random.default_rng(0))
    np.testing.assert_allclose(s.solve(x0, t), s.exact(x0, t), atol=1e-8)  # rtol 1e-10
    # the formula itself: it satisfies the equation, by central differences of h = 1e-5 in a solution of scale 1e-3
    h = 1e-5
    fine = s.exact(x0, np.array([2.0, 2.0 + 5e-4 - h, 2.0 + 5e-4, 2.0 + 5e-4 + h]))
    np.testing.assert_allclose((fine[:, 3] - fine[:, 1]) / (2 * h), s.rhs(0.0, fine[:, 2]), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("system", "t", "dt", "top", "tolerance"),
    [
        # 32 members; tolerances are three standard errors of the length
        (Lorenz63(), 50.0, 0.01, Lorenz63.facts["lambda_1"].value, 0.03),
        (Roessler(), 150.0, 0.1, Roessler.facts["lambda_1"].value, 0.012),
    ],
)
def test_exponents_of_the_small_chaotic_flows(system, t, dt, top, tolerance):
    x0 = system.sample_initial(32, np.random.default_rng(0))
    s = lyapunov_spectrum(system, x0, t, transient=10.0, dt=dt)
    assert s.exponents[0] == pytest.approx(top, abs=tolerance)
    assert abs(s.exponents[1]) < tolerance
    if isinstance(system, Lorenz63):
        assert s.exponents.sum() == pytest.approx(system.facts["sum of exponents"].value, abs=1e-3)


@pytest.mark.slow
def test_lorenz96():
    system = Lorenz96()
    x0 = system.sample_initial(8, np.random.default_rng(0))
    s = lyapunov_spectrum(system, x0, 10.0, transient=2.0, dt=0.02, k=2)
    assert s.exponents[0] == pytest.approx(1.68, abs=0.15)  # 80 time units in all: standard error 0.05
    x = system.solve(x0, np.linspace(0, 40, 401), rtol=1e-6)
    assert np.mean(x**2) / (8 * x.mean()) == pytest.approx(1, abs=0.01)  # F <X> = <X^2>, over 320 time units
    # the nonlinearity alone conserves the energy
    np.testing.assert_allclose(np.sum(x0 * (system.rhs(0.0, x0) + x0 - system.F), -1), 0, atol=1e-10)


def test_lorenz96_two_scale_conserves_energy_but_for_forcing_and_damping():
    system = Lorenz96TwoScale()
    x = np.random.default_rng(0).normal(size=(3, 264))
    X, Y = x[:, :8], x[:, 8:]
    rate = (x * system.rhs(0.0, x)).sum(-1)
    exact = system.F * X.sum(-1) - (X**2).sum(-1) - system.c * (Y**2).sum(-1)
    np.testing.assert_allclose(rate, exact, rtol=1e-12)
    np.testing.assert_allclose(system.subgrid(x), -Y.reshape(3, 8, 32).sum(-1), rtol=1e-12)  # h c / b = 1
    assert system.names[8:10] == ("Y0_0", "Y1_0")
    assert system.names[8 + 32] == "Y0_1"


class TestMackeyGlass:
    def test_first_steps_are_exact(self):
        # from the constant history H: x' = p - gamma x for t < tau, with p = beta H / (1 + H^10)
        s, t = MackeyGlass(), np.linspace(3.0, 20.0, 18)
        p = 0.2 * 0.5 / (1 + 0.5**10)
        exact = p / 0.1 + (0.5 - p / 0.1) * np.exp(-0.1 * (t - 3.0))
        np.testing.assert_allclose(s.solve([0.5], t)[:, 0], exact, atol=1e-11)

    @pytest.mark.slow
    def test_period_at_the_bifurcation_and_beyond(self):
        # linearised at x = 1: w and tau in closed form; just above the delay of the bifurcation the period is nearly that,
        # 0.5 % beyond it is longer by as much
        tau, P = (MackeyGlass.facts[k].value for k in ("Hopf delay", "period at the Hopf delay"))
        t = np.arange(0, 3000, 0.5)
        x = MackeyGlass(tau=1.005 * tau).solve([0.9], t, rtol=1e-7, atol=1e-8)[:, 0]
        assert period(t[4000:], x[4000:]) == pytest.approx(P, rel=0.01)
        assert np.ptp(x[4000:]) > 0.03  # a cycle
        x = MackeyGlass(tau=0.98 * tau).solve([0.9], t, rtol=1e-7, atol=1e-8)[:, 0]
        assert np.ptp(x[5000:]) < 0.01  # not yet

    @pytest.mark.slow
    def test_period_by_two_methods(self):
        s, t = MackeyGlass(tau=8.0), np.arange(0, 600, 0.25)
        steps = period(t[1200:], s.solve([0.5], t)[1200:, 0])
        ode = s.discretized(24)
        collocation = period(t[1200:], ode.solve(np.full(25, 0.5), t, rtol=1e-8, atol=1e-9)[1200:, 0])
        assert steps == pytest.approx(MackeyGlass.facts["period at tau = 8"].value, rel=1e-5)
        assert collocation == pytest.approx(steps, rel=1e-5)

    def test_batch_history_and_the_ordinary_form(self):
        s, t = MackeyGlass(), np.linspace(0, 40, 41)
        both = s.solve([[0.5], [1.1]], t)
        np.testing.assert_allclose(s.solve([1.1], t), both[1], atol=1e-9)
        wave = s.solve([1.0], t, history=lambda u: [np.cos(0.1 * u)])
        assert np.abs(wave - s.solve([1.0], t)).max() > 0.01
        data = s.trajectories(2, t, seed=0, transient=200.0)
        long = s.trajectories(2, np.concatenate([[-200.0], t]), seed=0, transient=0.0)
        np.testing.assert_allclose(data.x, long.x[:, 1:], atol=1e-7)
        # a smooth history on the attractor: collocation follows the method of steps
        ode = s.discretized(40)
        past = s.trajectories(1, np.concatenate([ode.points[::-1], np.linspace(1, 30, 30)]), seed=3, transient=300.0)
        y = ode.solve(past.x[0, 40::-1, 0], np.linspace(0, 30, 31), rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(y[1:, 0], past.x[0, 41:, 0], atol=2e-4)  # it has kinks in high derivatives still

    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda s: s.rhs(0.0, np.ones(1)), TypeError, r"delay equation.*discretized\(\)"),
            (lambda s: s.solve([1.0], [0, 1], method="Radau"), ValueError, "method of steps"),
            (lambda s: s.solve([1.0], [0, 1], history=lambda u: [0.5]), ValueError, "does not end at x0"),
            (lambda s: dataclasses.replace(s, gamma=-900.0).solve([1.0], [0, 5]), SolveError, "stopped shortly after t=0"),
        ],
    )
    def test_bad_input(self, call, error, message):
        with pytest.raises(error, match=message):
            call(MackeyGlass())


def test_from_sympy_equals_the_system_by_hand_and_depends_on_time():
    import torch

    s = from_sympy({"x": "sigma*(y - x)", "y": "x*(rho - z) - y", "z": "x*y - beta*z"}, {"sigma": 10, "rho": 28, "beta": 8 / 3})
    x = np.random.default_rng(0).normal(size=(2, 3, 3))
    for u in (x, torch.tensor(x)):
        np.testing.assert_allclose(s.rhs(0.0, u), Lorenz63().rhs(0.0, u), rtol=1e-14)
        np.testing.assert_allclose(s.jacobian(0.0, u), Lorenz63().jacobian(0.0, u), rtol=1e-14)
    driven = from_sympy({"x": "-x + cos(t)"}, method="Radau")
    t = np.linspace(0, 5, 6)
    exact = (np.cos(t) + np.sin(t)) / 2 + (1 - 0.5) * np.exp(-t)
    np.testing.assert_allclose(driven.solve([1.0], t)[:, 0], exact, atol=1e-8)
    with pytest.raises(ValueError, match="formulas contain g, k: give each"):
        from_sympy({"q": "p", "p": "-g*sin(q) - k*p"})
    with pytest.raises(ValueError, match="empty"):
        from_sympy({})


def test_from_callable_takes_a_jacobian():
    s = from_callable(lambda t, x: -50 * (x - np.cos(t)), 1, jacobian=lambda t, x: [[-50.0]])
    assert s.jacobian(0.0, np.zeros((4, 1))).shape == (4, 1, 1)
    assert from_callable(lambda t, x: -50 * x, 1).jacobian(0.0, np.ones(1)) == pytest.approx(-50, rel=1e-8)
    t = np.linspace(0, 2, 5)
    np.testing.assert_allclose(s.solve([0.0], t, method="Radau"), s.solve([0.0], t), atol=1e-8)


def test_from_dysts():
    if "dysts" not in sys.modules:
        pytest.importorskip("dysts")
    s = from_dysts("Lorenz")
    x = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(s.rhs(0.0, x), Lorenz63(rho=s.model.rho, beta=s.model.beta, sigma=s.model.sigma).rhs(0.0, x))
    assert s.trajectories(2, [0.0, 1.0]).x.shape == (2, 2, 3)
    with pytest.raises(ValueError, match="did you mean 'Lorenz'"):
        from_dysts("Lorentz")
    with pytest.raises(ValueError, match="no ordinary differential equation"):
        from_dysts("MackeyGlass")


def test_from_dysts_without_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dysts", None)
    with pytest.raises(ImportError, match=r"pip install 'lemode\[dysts\]'"):
        from_dysts("Lorenz")


def test_every_fact_has_its_computation():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[2] / "benchmarks" / "reference_facts.py"
    spec = importlib.util.spec_from_file_location("reference_facts", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert sorted(module.COMPUTATIONS) == sorted(systems.available())
    table = path.with_suffix(".txt").read_text()  # its committed output
    for name, cls in systems.available().items():
        assert cls.facts, name
        for quantity in cls.facts:
            assert f"{name:<21} {quantity} " in table, (name, quantity)
    assert "Every stated value is reproduced." in table
