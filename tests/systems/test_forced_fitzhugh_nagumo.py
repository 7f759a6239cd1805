"""FitzHugh-Nagumo under a current: against solutions put together by hand, and the families that the currents come from."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from lemode.systems import FitzHughNagumo, ForcedFitzHughNagumo
from lemode.systems.currents import SmoothCurrent, Steps

T = np.linspace(0, 200, 501)
SYSTEM = ForcedFitzHughNagumo()


@pytest.mark.parametrize("method", [None, pytest.param("Radau", marks=pytest.mark.study)])
def test_a_step_is_two_constant_currents_in_turn(method):
    x0 = np.array([[0.3, 0.0], [-1.0, -0.4]])
    y = SYSTEM.solve(x0, T, current=lambda t: 0.2 if t < 80 else 0.9, breaks=[80.0], method=method)
    first = FitzHughNagumo(I=0.2).solve(x0, T[:201])
    second = FitzHughNagumo(I=0.9).solve(first[:, -1], T[200:])
    # both at rtol 1e-10; DOP853 and Radau differ by 2e-9 over this time
    np.testing.assert_allclose(y, np.concatenate([first, second[:, 1:]], 1), atol=1e-8, rtol=0)


def test_smooth_currents_against_scipy():
    data = SYSTEM.trajectories(3, T, seed=2, current="smooth")
    rng = np.random.default_rng(2)
    x0 = SYSTEM.sample_initial(3, rng)
    I = SmoothCurrent.sample(3, rng)  # the same draws
    np.testing.assert_array_equal(data.x[..., 2], I(T))
    for i in range(3):

        def rhs(t, x, i=i):
            waves = I.amplitude[i] * np.sin(2 * np.pi * t / I.wavelength[i] + I.phase[i])
            return [x[0] - x[0] ** 3 / 3 - x[1] + I.mean[i] + waves.sum(), 0.02 * (x[0] + 0.7 - 0.8 * x[1])]

        exact = solve_ivp(rhs, (0, 200), x0[i], method="DOP853", rtol=1e-12, atol=1e-13, t_eval=T)
        np.testing.assert_allclose(data.x[i, :, :2], exact.y.T, atol=1e-8, rtol=0)  # rtol 1e-10 over a few spikes


@pytest.mark.slow
def test_both_families_share_the_trajectories():
    data = SYSTEM.trajectories(5, T, seed=1)
    assert data.names == ("v", "w", "I")
    assert data.x.shape == (5, 501, 3)
    jumps = (np.diff(data.x[..., 2]) == 0).sum(1)  # a constant piece has no increments, a sum of sines no zero ones
    assert (jumps[:3] == 0).all()
    assert (jumps[3:] > 450).all()
    again = SYSTEM.trajectories(5, T, seed=1)
    np.testing.assert_array_equal(data.x, again.x)


def test_a_sample_of_a_step_current_holds_for_the_interval_that_follows():
    t = np.linspace(0, 100, 251)
    I = Steps.sample(400, np.random.default_rng(0), t, hold=20.0, change=0.4)
    values = I(t)
    assert np.isin(I.breaks, t).all()
    for k in range(len(t) - 1):
        inside = I(t[k] + 0.999 * (t[k + 1] - t[k]))
        np.testing.assert_array_equal(values[:, k], inside)
    changed = np.diff(I.levels, axis=1) != 0
    assert changed.mean() == pytest.approx(0.4, abs=0.04)  # 1,600 draws: three standard errors are 0.037


def test_currents_keep_their_range():
    rng = np.random.default_rng(3)
    t = np.linspace(0, 2000, 4001)
    for I in (SmoothCurrent.sample(200, rng, low=-0.2, high=0.7), Steps.sample(200, rng, t, low=-0.2, high=0.7)):
        values = I(t)
        assert values.shape == (200, 4001)
        assert values.min() >= -0.2
        assert values.max() <= 0.7
        assert np.ptp(values) > 0.8  # and use it
        np.testing.assert_allclose(I(t[7]), values[:, 7], rtol=0, atol=1e-15)


def test_no_current_is_the_constant_one():
    np.testing.assert_array_equal(SYSTEM.solve([0.1, 0.0], T), FitzHughNagumo().solve([0.1, 0.0], T))
    y = SYSTEM.solve([0.1, 0.0], T, current=lambda t: 0.5)
    np.testing.assert_allclose(y, FitzHughNagumo().solve([0.1, 0.0], T), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SYSTEM.trajectories(2, T, current="step"), "current='step': choose 'smooth'"),
        (lambda: SYSTEM.trajectories(0, T), "n=0"),
        (lambda: SYSTEM.trajectories(2, T, x0=[[0, 0]]), "n=2"),
        (
            lambda: SYSTEM.solve([[0, 0]], T, current=SmoothCurrent.sample(2, np.random.default_rng(0))),
            "2 values for 1 initial",
        ),
        (lambda: SYSTEM.solve([0, 0, 0], T, current=lambda t: 0.5), "x0 has shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
