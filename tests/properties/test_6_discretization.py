"""6.1, 6.2: order and errors. 6.3: linear stability. 7.1, 7.2: time scales. 7.3: dt = 2 is a tanh network. psi, G, chi, A: the engine."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lem_cases import assert_bounded, cases, network
from scipy.integrate import solve_ivp

from lemode import analysis
from lemode.analysis.network import weights

EPS = np.finfo(float).eps


def exact(cell, u, y, z, t):
    """The ODE's solution after time t at constant input, for states (n, d), by DOP853 at a relative tolerance of 1e-11."""
    w, shape = weights(cell), (2, *y.shape)
    drive = {k: u @ w["V" + k].T + w["b" + k] for k in "12zy"}

    def field(_, x):
        y, z = x.reshape(shape)
        g1, g2 = 1 / (1 + np.exp(-(y @ w["W1"].T + drive["1"]))), 1 / (1 + np.exp(-(y @ w["W2"].T + drive["2"])))
        dy = g2 * (np.tanh(z @ w["Wy"].T + drive["y"]) - y)
        return np.concatenate([dy, g1 * (np.tanh(y @ w["Wz"].T + drive["z"]) - z)], None)

    x0 = np.concatenate([y, z], None)
    return solve_ivp(field, (0, t), x0, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1].reshape(shape)


@given(case=cases(max_d=4, max_N=8, dts=st.floats(0.01, 1.0) | st.just(1.0), max_scale=4.0))
def test_6_2_local_and_global_error(case):
    (y, z), u = case.cube_states(3), case.inputs(3)
    step = torch.stack(case.cell.scheme.step(case.cell.ode, (y, z), u, case.dt)).numpy()
    # 1e-10: the reference's own error
    assert_bounded(
        np.abs(step - exact(case.cell, u.numpy(), y.numpy(), z.numpy(), case.dt)).max(),
        analysis.local_error_bound(case.cell),
        atol=1e-10,
    )
    ys, zs = case.run(y[0], z[0])
    x = np.stack([y[:1].numpy(), z[:1].numpy()])
    for n in range(case.N):
        x = exact(case.cell, case.u[n].numpy(), x[0], x[1], case.dt)
        error = np.abs(x[:, 0] - np.stack([ys[n + 1].numpy(), zs[n + 1].numpy()])).max()
        assert_bounded(error, analysis.global_error_bound(case.cell, n + 1, case.u), atol=1e-10 * (n + 1))


def test_6_2_error_bounds_are_attained_as_dt_vanishes():
    # x' = 1 - x from -1: the step errs by 2 (e^-dt - 1 + dt) = dt^2 (1 - dt/3 + ...)
    dt = 1e-3
    cell = network(1, dt=dt, b1=40.0, b2=40.0, bz=40.0, by=40.0)
    minus = -torch.ones(1, dtype=torch.float64)
    y, _ = cell.scheme.step(cell.ode, (minus, minus), torch.zeros(1, dtype=torch.float64), dt)
    error = abs(float(y) - (1 - 2 * np.exp(-dt)))
    assert analysis.local_error_bound(cell) == pytest.approx(error, rel=4e-4)
    assert analysis.global_error_bound(cell, 1) == pytest.approx(error, rel=4e-4)


# at y = (-1, -1), unit 1 moves at the largest speed, 2, and unit 0 reads it; its pre-activation there is nothing
ACROSS = [[0.0, 1e3], [0.0, 0.0]]
ATTAINED = {
    "w1 / 2": {"W1": -np.array(ACROSS), "b1": [-1e3, 40.0], "bz": 40.0, "b2": 40.0, "by": 40.0},
    "wz": {"Wz": ACROSS, "bz": [1e3, 40.0], "b1": 40.0, "b2": 40.0, "by": 40.0},
    "w2 / 2": {"W2": -np.array(ACROSS), "b2": [-1e3, 40.0], "by": 40.0},
    "wy": {"Wy": ACROSS, "by": [1e3, 40.0], "b2": 40.0, "b1": 40.0, "bz": 40.0},
}


@pytest.mark.parametrize("blocks", ATTAINED.values(), ids=ATTAINED)
def test_6_2_no_constant_can_be_smaller(blocks):
    dt = 1e-6
    cell, minus = network(2, dt=dt, **blocks), -np.ones((1, 2))
    step = torch.stack(
        cell.scheme.step(cell.ode, (torch.from_numpy(minus), torch.from_numpy(minus)), torch.zeros(1, 1).double(), dt)
    ).numpy()
    error = np.abs(step - exact(cell, np.zeros((1, 1)), minus, minus, dt)).max()
    # 1e-3 of the constant is the 1 beside the weights' 1,000, and as much what is of a higher order in 1,000 dt
    assert 0.997 < error / analysis.local_error_bound(cell) <= 1


def test_6_1_order_is_one():
    rng = np.random.default_rng(0)
    blocks = {k: rng.standard_normal((3, 3)) for k in ("W1", "W2", "Wz", "Wy")} | {
        "b1": rng.standard_normal(3),
        "bz": rng.standard_normal(3),
    }
    y = z = np.full((1, 3), 0.3)
    reference = exact(network(3, **blocks), np.zeros((1, 1)), y, z, 2.0)
    errors = []
    for steps in (100, 200, 400):
        cell = network(3, dt=2.0 / steps, **blocks)
        state = (torch.from_numpy(y), torch.from_numpy(z))
        for _ in range(steps):
            state = cell.scheme.step(cell.ode, state, torch.zeros(1, 1, dtype=torch.float64), cell.dt)
        errors.append(np.abs(torch.stack(state).numpy() - reference).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all((slopes >= 0.95) & (slopes <= 1.05))


@given(a=st.floats(0.01, 3.0), b=st.floats(0.01, 3.0), pq=st.floats(-30, 2))
def test_6_3_linear_stability(a, b, pq):
    # p q enters only as a product
    M = np.array([[1 - a, a * pq], [b * (1 - a), 1 - b + a * b * pq]])
    radius = np.abs(np.linalg.eigvals(M)).max()
    if abs(radius - 1) > 1e-9:  # eigenvalues of a nearly defective matrix on the circle are known to 1e-8 only
        assert analysis.stability_region(a, b, pq) == (radius < 1)


@given(omega=st.floats(0.05, 50))
def test_6_3_oscillator_limit(omega):
    limit = 2 / (1 + omega)
    assert analysis.stability_region(0.999 * limit, 0.999 * limit, -(omega**2))
    assert not analysis.stability_region(1.001 * limit, 1.001 * limit, -(omega**2))


def test_6_3_the_linearised_pair_is_the_network():
    # the network at the origin with W1 = W2 = 0 has exactly the matrix of the statement
    a, b, p, q = 0.4, 0.6, -1.5, 2.0
    cell = network(1, dt=1.0, Wz=p, Wy=q, b1=np.log(a / (1 - a)), b2=np.log(b / (1 - b)))
    zero = torch.zeros(1, dtype=torch.float64)
    J = analysis.step_jacobian(cell, (zero, zero), zero).matrix().numpy()
    np.testing.assert_allclose(J, [[1 - a, a * p], [b * q * (1 - a), 1 - b + a * b * p * q]], rtol=1e-14)


@given(tau=st.floats(-1, 8).map(lambda e: 10.0**e), dt=st.floats(1e-3, 1.0))
def test_7_1_time_scales(tau, dt):
    decay = -np.expm1(-dt / tau)
    if decay < dt * (1 - 1e-9):
        b = analysis.gate_bias(tau, dt)
        # the gate's relative condition in b is |b|; the rest are roundings of exp, log and the division by dt
        assert dt / (1 + np.exp(-b)) == pytest.approx(decay, rel=(abs(b) + 8) * EPS)
    if tau > 1 + 1e-6:
        b = analysis.gate_bias(tau, dt, mode="rate")
        assert 1 / (1 + np.exp(-b)) == pytest.approx(1 / tau, rel=(abs(b) + 8) * EPS)


@given(x=st.floats(-6, 0).map(lambda e: 10.0**e), n=st.integers(0, 10**7))
def test_7_2_decay_error(x, n):
    error = abs((1 - x) ** n - np.exp(-n * x))
    # (1 - x)^n amplifies the rounding of 1 - x by n
    assert_bounded(error, analysis.decay_error_bound(x), atol=4 * EPS + 2 * EPS * n * np.exp(-n * x))


def test_7_2_decay_error_is_attained():
    x = 1e-4
    assert abs((1 - x) ** 10000 - np.exp(-1.0)) == pytest.approx(analysis.decay_error_bound(x), rel=1e-3)


@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 16))
def test_7_3_dt_2_without_gate_weights_is_a_tanh_network(seed, d):
    rng = np.random.default_rng(seed)
    cell = network(d, dt=2.0, **{k: rng.standard_normal((d, d)) for k in ("Wz", "Wy")}, Vz=rng.standard_normal((d, 1)), bz=0.1)
    p = cell.ode.blocks()
    state = tuple(torch.from_numpy(rng.uniform(-1, 1, d)) for _ in range(2))
    for _ in range(5):
        u = torch.from_numpy(rng.standard_normal(1))
        y, z = cell.scheme.step(cell.ode, state, u, 2.0)
        target_z = torch.tanh(p.Wz @ state[0] + p.Vz @ u + p.bz)
        target_y = torch.tanh(p.Wy @ z)
        # the gate is exactly 1; z + (t - z) then returns t up to the rounding of t - z (at most 2 in size) and of the sum
        assert (z - target_z).abs().max() <= 3 * EPS
        assert (y - target_y).abs().max() <= 3 * EPS
        state = (y, z)


# ---- the engine ----------------------------------------------------------------------------------------------------------------------

SIZE = st.just(0.0) | st.floats(-4, 2).map(lambda e: 10.0**e)


@given(s=st.sampled_from([0.0, 1.0]) | st.floats(0, 10), A=SIZE, B=SIZE, r=st.sampled_from([0.0, 1.0]) | st.floats(0, 1))
def test_G_lem_G_is_the_maximum(s, A, B, r):
    g, h = np.linspace(0, 1, 401)[:, None], np.linspace(0, 1, 401)
    grid = (g * (-s + (1 - g) * (r + h) * A + (1 - h * h) * B)).max()
    value = analysis.lem_G(s, A, B, r)
    scale = s + 2 * A + B
    assert_bounded(grid, value, atol=1e-13 * (1 + scale))
    # a grid of spacing 1/400 misses a smooth maximum by at most a curvature, below 6 scale, times (1/800)^2
    assert value - grid <= 2e-5 * scale


@given(a=SIZE, b=SIZE, r=st.floats(0, 1))
def test_psi_gamma_beta_are_maxima(a, b, r):
    h = np.linspace(0, 1, 4001)
    for value, radius in ((analysis.psi(a, b), 1.0), (analysis.psi_r(a, b, r), r)):
        grid = ((radius + h) * a + (1 - h * h) * b).max()
        assert grid * (1 - 1e-14) - 1e-15 <= value <= grid * (1 + 1e-7) + 1e-15
    assert_bounded(analysis.gam(a, b), a / 2 + max(0.0, b - 1))
    assert_bounded(analysis.beta(a, b), a / 2 + b)
    assert analysis.gam(a, b) == analysis.lem_G(1.0, a, b)
    assert analysis.beta(a, b) == analysis.lem_G(0.0, a, b)


@given(w=SIZE)
def test_chi_is_the_maximum(w):
    g = np.linspace(0, 1, 4001)
    grid = (g * (1 + 2 * w * (1 - g))).max()
    assert grid * (1 - 1e-14) <= analysis.chi(w) <= grid * (1 + 1e-7)


@given(N=st.integers(1, 200), dt=st.floats(1e-4, 1.0), G=st.just(0.0) | st.floats(-12, 1.5).map(lambda e: 10.0**e))
def test_A_linear_growth_is_the_sum(N, dt, G):
    powers = (1 + dt * G) ** np.arange(N)  # the sum over n and k has N - j terms of power j
    value = dt * ((N - np.arange(N)) * powers).sum() / N
    assert analysis.linear_growth(N, dt, G) == pytest.approx(value, rel=1e-11)
