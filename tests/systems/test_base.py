"""Every system: solutions of many initial states against an independent solver, shapes, seeds, errors that name the cause."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lemode.systems import CallableSystem, FitzHughNagumo, SolveError

T_BENCHMARK = np.linspace(0, 400, 1001)


@pytest.mark.slow
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
