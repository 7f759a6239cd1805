"""Systems: right-hand side and Jacobian against sympy, solutions against an independent solver, errors that name the cause."""

import inspect

import numpy as np
import pytest
import scipy.integrate
import sympy
from scipy.integrate import solve_ivp

from lemode import Trajectories
from lemode.systems import CallableSystem, FitzHughNagumo, SolveError

T_BENCHMARK = np.linspace(0, 400, 1001)


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


def test_every_trajectory_of_a_batch_is_accurate():
    """The batch shares its steps, yet each of 200 trajectories keeps the 1e-8 that the benchmark needs."""
    system = FitzHughNagumo()
    data = system.trajectories(200, T_BENCHMARK, seed=1)
    assert data.x.shape == (200, 1001, 2)
    assert data.names == ("v", "w")
    # nearest to the excitability threshold v(0) = -0.56, where the solution is most sensitive, and another
    hardest = np.argsort(np.abs(data.x[:, 0, 0] + 0.56))[:2]
    for i in (*hardest, 0):
        exact = solve_ivp(system.rhs, (0, 400), data.x[i, 0], method="DOP853", rtol=1e-13, atol=1e-15, t_eval=T_BENCHMARK)
        assert np.abs(exact.y.T - data.x[i]).max() < 1e-8


@pytest.mark.parametrize(("method", "tolerance"), [("Radau", 1e-7), ("BDF", 1e-5), ("LSODA", 1e-6), ("RK45", 1e-7)])
def test_other_solvers_agree(method, tolerance):
    # tolerances: what each method's global error is at rtol 1e-10 over one relaxation cycle, times ten
    system, t = FitzHughNagumo(), np.linspace(0, 60, 61)
    x0 = np.array([[0.5, 0.0], [-0.9, 0.0]])
    np.testing.assert_allclose(system.solve(x0, t, method=method), system.solve(x0, t), atol=tolerance, rtol=0)


def test_shapes_and_seeds():
    system, t = FitzHughNagumo(), np.linspace(0, 1, 5)
    one, many = system.solve([0.1, 0.0], t), system.solve([[0.1, 0.0], [0.2, 0.0]], t)
    assert one.shape == (5, 2)
    assert many.shape == (2, 5, 2)
    np.testing.assert_allclose(one, many[0], rtol=1e-10)
    a, b, c = (system.trajectories(3, t, seed=s).x for s in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


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


def test_a_users_function_is_solved_at_once_where_it_can_be():
    mu = 5.0
    columns = CallableSystem(lambda t, x: np.array([x[1], mu * (1 - x[0] ** 2) * x[1] - x[0]]), 2)
    single = CallableSystem(lambda t, x: [x[1], mu * (1 - x[0] ** 2) * x[1] - x[0]] if np.ndim(x[0]) == 0 else 1 / 0, 2)
    mixing = CallableSystem(lambda t, x: x - x.mean(), 2)  # accepts columns but means something else by them
    assert (columns.vectorized, single.vectorized, mixing.vectorized) == (True, False, False)
    x0, t = np.array([[2.0, 0.0], [0.5, 0.1], [1.0, -1.0]]), np.linspace(0, 5, 11)
    np.testing.assert_allclose(columns.solve(x0, t), single.solve(x0, t), rtol=0, atol=1e-12)
    J = columns.jacobian(0.0, x0)
    exact = np.stack([[[0, 1], [-2 * mu * a * b - 1, mu * (1 - a**2)]] for a, b in x0])
    np.testing.assert_allclose(J, exact, rtol=1e-8, atol=1e-8)  # central differences


def test_blow_up_says_when():
    system = CallableSystem(lambda t, x: x**2, 1)  # from 1: 1 / (1 - t)
    with pytest.raises(SolveError, match=r"t=(0\.9|1 ).*blows up"):
        system.solve([1.0], np.linspace(0, 2, 21))
    with pytest.raises(SolveError, match="initial state 1"):
        system.solve([[0.1], [1.0]], np.linspace(0, 2, 21), method="RK45")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.solve([0.0], [0, 1]), r"x0 has shape \(1,\).*D=2"),
        (lambda s: s.solve([0.0, np.nan], [0, 1]), "not finite"),
        (lambda s: s.solve([0.0, 0.0], [1, 0]), "increasing"),
        (lambda s: s.solve(np.empty((0, 2)), [0, 1]), r"\(0, 2\)"),
        (lambda s: s.trajectories(0, [0, 1]), "n=0"),
        (lambda s: s.trajectories(3, [0, 1], x0=[[0, 0]]), "n=3"),
        (lambda s: CallableSystem(lambda t, x: x[:1], 2), r"shape \(1,\).*\(2,\)"),
        (lambda s: CallableSystem(lambda t, x: x, 2, names=("a",)), "2 names"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(FitzHughNagumo())


class TestTrajectories:
    def test_keeps_types_and_selects(self):
        data = Trajectories(np.arange(4), np.zeros((2, 4, 3), np.float32), ("a", "b", "c"))
        assert data.x.dtype == np.float32
        assert data.select(["c", "a"]).names == ("c", "a")
        assert len(data[1:]) == 1
        assert len(data[-1]) == 1
        assert [len(one) for one in data] == [1, 1]
        assert data.step == 1.0

    @pytest.mark.parametrize(
        ("t", "x", "names", "message"),
        [
            ([0, 1], np.zeros((0, 2, 1)), (), "no data"),
            ([0, 1], np.zeros(2), (), r"shape \(2,\)"),
            ([0, 1, 2], np.zeros((1, 2, 1)), (), r"t has shape \(3,\)"),
            ([0, 0], np.zeros((1, 2, 1)), (), "increasing"),
            ([0, 1], np.zeros((1, 2, 2)), ("a", "a"), "different names"),
            ([0, 1], np.array([[["a"], ["b"]]]), (), "real numbers"),
            ([0, 1], np.zeros((1, 2, 1), complex), (), "real numbers"),
            (
                [0, 1],
                np.array([[[0.0], [1.0]], [[0.0], [np.nan]]]),
                ("v",),
                r"nan in trajectory 1 at time index 1, variable 'v'",
            ),
            ([0, 1], np.array([[[np.inf], [1.0]]]), (), r"inf in trajectory 0 at time index 0"),
        ],
    )
    def test_bad_data(self, t, x, names, message):
        with pytest.raises(ValueError, match=message):
            Trajectories(np.array(t), x, names)

    def test_uneven_times_have_no_step(self):
        with pytest.raises(ValueError, match="not evenly spaced"):
            _ = Trajectories(np.array([0.0, 1.0, 3.0]), np.zeros((1, 3, 1))).step
        with pytest.raises(ValueError, match=r"\['z'\]: choose from x0"):
            Trajectories(np.arange(2), np.zeros((1, 2, 1))).select(["z"])


def test_scipy_still_has_no_error_norm_of_ones_own():
    """`BatchDOP853` overrides a private method. When this fails: give the norm as the option, or see what the method is called now."""
    parameters = inspect.signature(scipy.integrate.DOP853).parameters
    assert not [name for name in parameters if "norm" in name]
    assert callable(scipy.integrate.DOP853._estimate_error_norm)
